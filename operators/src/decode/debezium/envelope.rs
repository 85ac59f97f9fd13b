//! What an envelope says, found in one pass over its text.

use std::borrow::Cow;

use super::meaning::{Member, SourceMember, is_enveloped};
use super::members::Members;
use super::steady::Steady;
use crate::decode::scan::{Malformed, Scanner};

/// The row of a change that has none.
pub(super) const NO_ROW: &str = "{}";

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

/// A log whose positions have several parts, and which parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Log {
    /// None of these; PostgreSQL's position is an [`Lsn`].
    #[default]
    Other,
    /// MySQL: file, position, row within the event.
    Binlog,
    /// SQL Server, Db2: LSN of the change, number within it, LSN of the commit.
    ChangeTable,
    /// Oracle: SCN, SCN of the commit, position in XStream, record set in LogMiner, number within it.
    Redo,
    /// MongoDB: order within the second, the second.
    Oplog,
}

/// Parts that a position has at most.
const MAX_PARTS: usize = 5;

/// Where a change comes from.
#[derive(Clone, Debug, Default)]
pub(super) struct Source<'a> {
    pub table: Option<Cow<'a, str>>,
    pub schema: Option<Cow<'a, str>>,
    pub db: Option<Cow<'a, str>>,
    pub lsn: Option<Lsn<'a>>,
    /// The log that the parts are of.
    log: Log,
    parts: [Option<&'a str>; MAX_PARTS],
    ts_ms: Option<i64>,
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
    /// What an unwrapped row says of itself, as JSON.
    row_op: Option<&'a str>,
    row_ts_ms: Option<i64>,
    has_op: bool,
    has_image: bool,
    has_status: bool,
    has_id: bool,
    has_event_count: bool,
    has_data_collections: bool,
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
                    envelope.members += 1;
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
                    envelope.members += 1;
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
            _ if self.is_change() => Kind::Change,
            _ if self.members == 1 && self.ts_ms.is_some() => Kind::Heartbeat,
            _ if self.is_transaction() => Kind::Transaction,
            _ => Kind::Row,
        }
    }

    /// Whether it is a change in its envelope. A truncation and a message need no image.
    fn is_change(&self) -> bool {
        is_enveloped(self.has_op, self.has_image, || {
            matches!(self.op.as_deref(), Some("t" | "m")) && self.source.ts_ms.is_some()
        })
    }

    /// Whether it is the begin or end of a transaction: it has members of such a marker, and no others. A table may
    /// well have columns of those names among its own.
    fn is_transaction(&self) -> bool {
        let needed = [self.has_status, self.has_id, self.ts_ms.is_some()];
        let others = [self.has_event_count, self.has_data_collections];
        let own = needed.iter().chain(&others).filter(|is_there| **is_there);
        needed == [true; 3] && own.count() == self.members
    }

    /// Leaves of an unwrapped row what it says of itself: its `op` is a column like any other.
    pub fn take_as_row(&mut self) {
        self.op = self.row_op.and_then(text_of);
        self.ts_ms = self.row_ts_ms.or(self.ts_ms);
    }

    /// Adds the place of a change in the database's log to a text; `None` when it says none that tells it from others
    /// with the same `row`.
    pub fn write_position(&self, row: &str, to: &mut String) -> Option<()> {
        let source = &self.source;
        if let Some(lsn) = source.lsn {
            to.push_str(lsn.text);
            return Some(());
        }
        match (source.log, source.parts) {
            (Log::Binlog, [Some(_), Some(_), ..]) => join(&source.parts, to),
            (Log::ChangeTable, [Some(_), ..]) => join(&source.parts[..2], to),
            // All that a snapshot's rows have.
            (Log::ChangeTable, [None, _, Some(commit), ..]) => to.push_str(commit),
            (Log::Redo, [Some(_), ..]) => join(&source.parts, to),
            // Changes of one transaction share their place, and of a delete the key alone says which document it is.
            (Log::Oplog, _) if row == NO_ROW => return None,
            (Log::Oplog, [Some(order), second, ..]) => {
                match second {
                    Some(second) => to.push_str(second),
                    None => to.push_str(&self.source_ts_ms?.to_string()),
                }
                to.push(':');
                to.push_str(order);
            }
            _ => return None,
        }
        Some(())
    }

    /// Whether a member of the change is text.
    #[cold]
    pub fn is_text(&self, member: &str) -> bool {
        let document: serde_json::Value = serde_json::from_str(self.document).unwrap_or_default();
        document[member].is_string()
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
            Member::EventCount => self.has_event_count = true,
            Member::DataCollections => self.has_data_collections = true,
            Member::RowOp => self.row_op = Some(value),
            Member::RowDeleted => {
                if self.row_op.is_none() && text_of(value).as_deref() == Some("true") {
                    self.row_op = Some(r#""d""#);
                }
            }
            Member::RowTsMs => self.row_ts_ms = value.parse().ok(),
            Member::RowSourceTsMs => self.source_ts_ms = value.parse().ok(),
            Member::RowSource(member) => self.source.say_of_row(member, value),
            Member::Source | Member::Schema | Member::Payload | Member::Other => {}
        }
        Ok(())
    }
}

impl<'a> Source<'a> {
    fn take(&mut self, json: &mut Scanner<'a>, member: SourceMember) -> Scan<()> {
        let start = json.at;
        json.skip_value(2)?;
        self.say(member, json.between(start, json.at));
        Ok(())
    }

    /// Takes what an unwrapped row says of its source. Apart: changes in envelopes are read without it.
    #[inline(never)]
    fn say_of_row(&mut self, member: SourceMember, value: &'a str) {
        self.say(member, value);
    }

    /// Takes what is said of the source.
    #[inline]
    fn say(&mut self, member: SourceMember, value: &'a str) {
        match member {
            SourceMember::Table => self.table = text_of(value),
            SourceMember::Schema => self.schema = text_of(value),
            SourceMember::Db => self.db = text_of(value),
            SourceMember::TsMs => self.ts_ms = value.parse().ok(),
            SourceMember::Lsn => self.lsn = Lsn::of(value),
            SourceMember::File => self.say_part(Log::Binlog, 0, value),
            SourceMember::Pos => self.say_part(Log::Binlog, 1, value),
            SourceMember::Row => self.say_part(Log::Binlog, 2, value),
            SourceMember::ChangeLsn => self.say_part(Log::ChangeTable, 0, value),
            SourceMember::EventSerialNo => self.say_part(Log::ChangeTable, 1, value),
            SourceMember::CommitLsn => self.say_part(Log::ChangeTable, 2, value),
            SourceMember::Scn => self.say_part(Log::Redo, 0, value),
            SourceMember::CommitScn => self.say_part(Log::Redo, 1, value),
            SourceMember::LcrPosition => self.say_part(Log::Redo, 2, value),
            SourceMember::RsId => self.say_part(Log::Redo, 3, value),
            SourceMember::Ssn => self.say_part(Log::Redo, 4, value),
            SourceMember::Ord => self.say_part(Log::Oplog, 0, value),
            SourceMember::Sec => self.say_part(Log::Oplog, 1, value),
            SourceMember::Other => {}
        }
    }

    /// Takes a part of a position, `place` below [`MAX_PARTS`]. A source is of one log; what it says of it last counts.
    fn say_part(&mut self, log: Log, place: usize, value: &'a str) {
        if self.log != log {
            self.log = log;
            self.parts = [None; MAX_PARTS];
        }
        let text = value.strip_prefix('"');
        let text = text.and_then(|text| text.strip_suffix('"'));
        self.parts[place] = (value != "null").then_some(text.unwrap_or(value));
    }
}

/// Adds the parts that there are to a text.
fn join(parts: &[Option<&str>], to: &mut String) {
    for (place, part) in parts.iter().flatten().enumerate() {
        if place > 0 {
            to.push(':');
        }
        to.push_str(part);
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
