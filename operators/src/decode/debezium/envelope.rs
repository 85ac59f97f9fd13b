//! What an envelope says, found in one pass over its text.

use std::borrow::Cow;

use super::meaning::{Member, SourceMember};
use super::members::Members;
use super::steady::Steady;
use crate::decode::scan::{Malformed, Scanner};

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A change in an envelope.
    Change,
    /// A row without an envelope.
    Row,
    /// A sign of life: `ts_ms` and nothing else.
    Heartbeat,
    /// The begin or end of a transaction.
    Transaction,
    /// Connect's wrapper around nothing.
    NullPayload,
    /// No JSON object at all.
    NotAnObject,
}

/// PostgreSQL's position.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lsn<'a> {
    pub value: i64,
    text: &'a str,
}

impl Lsn<'_> {
    fn of(text: &str) -> Option<Lsn<'_>> {
        let value = text.parse().ok()?;
        Some(Lsn { value, text })
    }
}

/// Where a change comes from.
#[derive(Clone, Debug, Default)]
pub(super) struct Source<'a> {
    pub table: Option<Cow<'a, str>>,
    pub schema: Option<Cow<'a, str>>,
    pub db: Option<Cow<'a, str>>,
    pub lsn: Option<Lsn<'a>>,
    /// MySQL's binary log: file, position, row within the event.
    binlog: [Option<Cow<'a, str>>; 3],
    /// SQL Server: change LSN and the number within it.
    change: [Option<Cow<'a, str>>; 2],
    ts_ms: Option<i64>,
}

impl Source<'_> {
    /// Adds the place in the database's log to a text; `None` when the source says none.
    pub fn write_position(&self, to: &mut String) -> Option<()> {
        let mut join = |parts: &[Option<Cow<'_, str>>]| {
            for (place, part) in parts.iter().flatten().enumerate() {
                if place > 0 {
                    to.push(':');
                }
                to.push_str(part);
            }
        };
        match self {
            Source { lsn: Some(lsn), .. } => to.push_str(lsn.text),
            Source { binlog, .. } if binlog[0].is_some() => join(binlog),
            Source { change, .. } if change[0].is_some() => join(change),
            _ => return None,
        }
        Some(())
    }
}

/// What a record says, besides its row. Texts of JSON are parts of the record.
#[derive(Clone, Debug, Default)]
pub(super) struct Envelope<'a> {
    /// The record, or the payload in Connect's wrapper.
    pub document: &'a str,
    /// The schema in Connect's wrapper.
    pub schema: Option<&'a str>,
    pub op: Option<Cow<'a, str>>,
    /// `None` when null or absent.
    pub before: Option<&'a str>,
    /// `None` when null or absent.
    pub after: Option<&'a str>,
    pub source: Source<'a>,
    /// The connector's time.
    pub ts_ms: Option<i64>,
    /// The database's time.
    pub source_ts_ms: Option<i64>,
    /// The part of the record that is read already, as a row.
    pub read_row: Option<&'a str>,
    has_op: bool,
    has_image: bool,
    has_status: bool,
    has_id: bool,
    is_wrapped: bool,
    is_object: bool,
    members: usize,
}

type Scan<T> = Result<T, Malformed>;

/// The members of the change before.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    /// Of a record.
    record: Members<Member>,
    /// Of the payload in Connect's wrapper.
    payload: Members<Member>,
    source: Steady<SourceMember>,
}

/// Where rows are read that look like the one before, while their change is read.
pub(super) trait ReadRow {
    /// The text of the last schema in a wrapper. It is likely to come again, and then needs no scan.
    fn last_schema(&self) -> Option<&str>;

    /// Reads a row, brace next, of a change with the schema, if any. When it cannot, nothing is read, and the scanner is
    /// anywhere.
    fn read_row(&mut self, json: &mut Scanner<'_>, schema: Option<&str>) -> bool;
}

impl<'a> Envelope<'a> {
    /// Reads a whole record, and `after` in it into `rows` if it can; [`Envelope::read_row`] then says which.
    pub fn read(text: &'a str, shapes: &mut Shapes, rows: &mut impl ReadRow) -> Scan<Envelope<'a>> {
        let mut json = Scanner::new(text);
        let mut envelope = Envelope {
            document: text,
            ..Envelope::default()
        };
        json.skip_whitespace();
        if json.peek() != Some(b'{') {
            return Ok(envelope);
        }
        envelope.is_object = true;
        // Connect writes `schema` first and nothing but these two. What looks like them in a row is a
        // column's, so the whole record decides.
        let (mut wrapped, mut payload, mut others) = (None, None, false);
        shapes.record.visit(&mut json, Member::of, |json, member| {
            let start = json.at;
            match member {
                Member::Schema if wrapped.is_none() => {
                    match rows
                        .last_schema()
                        // A number may be the beginning of a longer one.
                        .filter(|s| s.starts_with('{') && json.rest().starts_with(s.as_bytes()))
                    {
                        Some(known) => json.at += known.len(),
                        None => json.skip_value(1)?,
                    }
                    wrapped = Some(json.between(start, json.at));
                }
                Member::Payload if payload.is_none() => {
                    json.skip_value(1)?;
                    payload = Some(json.between(start, json.at));
                }
                _ => {
                    others = true;
                    envelope.take(json, member, &mut shapes.source, rows)?;
                }
            }
            Ok(())
        })?;
        json.expect_end()?;
        if let (Some(schema), Some(payload), false) = (wrapped, payload, others) {
            let schema = (schema != "null").then_some(schema);
            return Envelope::read_payload(payload, schema, shapes, rows);
        }
        Ok(envelope)
    }

    fn read_payload(
        text: &'a str,
        schema: Option<&'a str>,
        shapes: &mut Shapes,
        rows: &mut impl ReadRow,
    ) -> Scan<Envelope<'a>> {
        let mut json = Scanner::new(text);
        let mut envelope = Envelope {
            document: text,
            schema,
            is_wrapped: true,
            is_object: json.peek() == Some(b'{'),
            ..Envelope::default()
        };
        if envelope.is_object {
            let Shapes {
                payload, source, ..
            } = shapes;
            payload.visit(&mut json, Member::of, |json, member| {
                envelope.take(json, member, source, rows)
            })?;
        }
        Ok(envelope)
    }

    pub fn kind(&self) -> Kind {
        match self {
            _ if self.is_wrapped && self.document == "null" => Kind::NullPayload,
            _ if !self.is_object => Kind::NotAnObject,
            _ if self.has_op && (self.has_image || self.op.as_deref() == Some("t")) => Kind::Change,
            _ if self.has_op && self.op.as_deref() == Some("m") => Kind::Change,
            _ if self.members == 1 && self.ts_ms.is_some() => Kind::Heartbeat,
            _ if self.has_status && self.has_id && self.ts_ms.is_some() => Kind::Transaction,
            _ => Kind::Row,
        }
    }

    /// Takes a member of the envelope or of an unwrapped row.
    fn take(
        &mut self,
        json: &mut Scanner<'a>,
        member: Member,
        source: &mut Steady<SourceMember>,
        rows: &mut impl ReadRow,
    ) -> Scan<()> {
        self.members += 1;
        let start = json.at;
        let is_object = json.peek() == Some(b'{');
        if member == Member::Source && is_object {
            let nothing = SourceMember::Other;
            source.visit(json, SourceMember::of, nothing, |json, member| {
                self.source.take(json, member)
            })?;
            self.source_ts_ms = self.source.ts_ms;
            return Ok(());
        }
        if member == Member::After && is_object && self.read_row.is_none() {
            json.around = 1;
            let is_read = rows.read_row(json, self.schema);
            json.around = 0;
            if is_read {
                self.read_row = Some(json.between(start, json.at));
            } else {
                json.at = start;
                json.skip_value(1)?;
            }
        } else {
            json.skip_value(1)?;
        }
        let value = json.between(start, json.at);
        match member {
            Member::Op => {
                self.has_op = true;
                self.op = text_of(value);
            }
            Member::Before => {
                self.has_image = true;
                self.before = is_object.then_some(value);
            }
            Member::After => {
                self.has_image = true;
                self.after = is_object.then_some(value);
            }
            Member::TsMs => self.ts_ms = value.parse().ok(),
            Member::Status => {
                self.has_status = matches!(text_of(value).as_deref(), Some("BEGIN" | "END"));
            }
            Member::Id => self.has_id = value.starts_with('"'),
            Member::RowOp => self.op = text_of(value),
            Member::RowDeleted => {
                if self.op.is_none() && text_of(value).as_deref() == Some("true") {
                    self.op = Some(Cow::Borrowed("d"));
                }
            }
            Member::RowTable => self.source.table = text_of(value),
            Member::RowSchema => self.source.schema = text_of(value),
            Member::RowDb => self.source.db = text_of(value),
            Member::RowLsn => self.source.lsn = Lsn::of(value),
            Member::RowTsMs => self.ts_ms = value.parse().ok(),
            Member::RowSourceTsMs => self.source_ts_ms = value.parse().ok(),
            Member::Source | Member::Schema | Member::Payload | Member::Other => {}
        }
        Ok(())
    }
}

impl<'a> Source<'a> {
    fn take(&mut self, json: &mut Scanner<'a>, member: SourceMember) -> Scan<()> {
        let start = json.at;
        json.skip_value(2)?;
        let value = json.between(start, json.at);
        match member {
            SourceMember::Table => self.table = text_of(value),
            SourceMember::Schema => self.schema = text_of(value),
            SourceMember::Db => self.db = text_of(value),
            SourceMember::TsMs => self.ts_ms = value.parse().ok(),
            SourceMember::Lsn => self.lsn = Lsn::of(value),
            SourceMember::File => self.binlog[0] = text_of(value),
            SourceMember::Pos => self.binlog[1] = Some(Cow::Borrowed(value)),
            SourceMember::Row => self.binlog[2] = Some(Cow::Borrowed(value)),
            SourceMember::ChangeLsn => self.change[0] = text_of(value),
            SourceMember::EventSerialNo => self.change[1] = Some(Cow::Borrowed(value)),
            SourceMember::Other => {}
        }
        Ok(())
    }
}

/// The text of a JSON string; `None` of anything else.
fn text_of(value: &str) -> Option<Cow<'_, str>> {
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(value).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}
