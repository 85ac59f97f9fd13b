//! What an envelope says, found in one pass over its text.

use std::borrow::Cow;

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

/// Where a change comes from.
#[derive(Clone, Debug, Default)]
pub(super) struct Source<'a> {
    pub table: Option<Cow<'a, str>>,
    pub schema: Option<Cow<'a, str>>,
    pub db: Option<Cow<'a, str>>,
    pub lsn: Option<i64>,
    /// MySQL's binary log: file, position, row within the event.
    binlog: [Option<Cow<'a, str>>; 3],
    /// SQL Server: change LSN and the number within it.
    change: [Option<Cow<'a, str>>; 2],
    ts_ms: Option<i64>,
}

impl Source<'_> {
    /// The place in the database's log; `None` when the source says none.
    pub fn position(&self) -> Option<String> {
        let joined = |parts: &[Option<Cow<'_, str>>]| {
            let said: Vec<&str> = parts.iter().flatten().map(|part| &**part).collect();
            said.join(":")
        };
        match self {
            Source { lsn: Some(lsn), .. } => Some(lsn.to_string()),
            Source { binlog, .. } if binlog[0].is_some() => Some(joined(binlog)),
            Source { change, .. } if change[0].is_some() => Some(joined(change)),
            _ => None,
        }
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
    has_op: bool,
    has_image: bool,
    has_status: bool,
    has_id: bool,
    is_wrapped: bool,
    is_object: bool,
    members: usize,
}

type Scan<T> = Result<T, Malformed>;

impl<'a> Envelope<'a> {
    /// Reads a whole record. `schema`: the text of the last schema in a wrapper, which is likely to come
    /// again, and then needs no scan.
    pub fn read(text: &'a str, schema: Option<&str>) -> Scan<Envelope<'a>> {
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
        members(&mut json, |json, key| {
            let start = json.at;
            match key {
                "schema" if wrapped.is_none() => {
                    match schema.filter(|s| json.rest().starts_with(s.as_bytes())) {
                        Some(known) => json.at += known.len(),
                        None => json.skip_value(1)?,
                    }
                    wrapped = Some(json.between(start, json.at));
                }
                "payload" if payload.is_none() => {
                    json.skip_value(1)?;
                    payload = Some(json.between(start, json.at));
                }
                _ => {
                    others = true;
                    envelope.take(json, key)?;
                }
            }
            Ok(())
        })?;
        json.expect_end()?;
        if let (Some(schema), Some(payload), false) = (wrapped, payload, others) {
            let mut inner = Envelope::read_document(payload)?;
            inner.schema = (schema != "null").then_some(schema);
            inner.is_wrapped = true;
            return Ok(inner);
        }
        Ok(envelope)
    }

    fn read_document(text: &'a str) -> Scan<Envelope<'a>> {
        let mut json = Scanner::new(text);
        let mut envelope = Envelope {
            document: text,
            is_object: json.peek() == Some(b'{'),
            ..Envelope::default()
        };
        if envelope.is_object {
            members(&mut json, |json, key| envelope.take(json, key))?;
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
    fn take(&mut self, json: &mut Scanner<'a>, key: &str) -> Scan<()> {
        self.members += 1;
        let start = json.at;
        if key == "source" && json.peek() == Some(b'{') {
            let source = &mut self.source;
            members(json, |json, key| source.take(json, key))?;
            self.source_ts_ms = self.source.ts_ms;
            return Ok(());
        }
        json.skip_value(1)?;
        let value = json.between(start, json.at);
        match key {
            "op" => {
                self.has_op = true;
                self.op = text_of(value);
            }
            "before" => {
                self.has_image = true;
                self.before = value.starts_with('{').then_some(value);
            }
            "after" => {
                self.has_image = true;
                self.after = value.starts_with('{').then_some(value);
            }
            "ts_ms" => self.ts_ms = value.parse().ok(),
            "status" => {
                self.has_status = matches!(text_of(value).as_deref(), Some("BEGIN" | "END"));
            }
            "id" => self.has_id = value.starts_with('"'),
            // An unwrapped row.
            "__op" => self.op = text_of(value),
            "__deleted" if self.op.is_none() && text_of(value).as_deref() == Some("true") => {
                self.op = Some(Cow::Borrowed("d"));
            }
            "__table" | "__source_table" => self.source.table = text_of(value),
            "__schema" | "__source_schema" => self.source.schema = text_of(value),
            "__db" | "__source_db" => self.source.db = text_of(value),
            "__lsn" | "__source_lsn" => self.source.lsn = value.parse().ok(),
            "__ts_ms" => self.ts_ms = value.parse().ok(),
            "__source_ts_ms" => self.source_ts_ms = value.parse().ok(),
            _ => {}
        }
        Ok(())
    }
}

impl<'a> Source<'a> {
    fn take(&mut self, json: &mut Scanner<'a>, key: &str) -> Scan<()> {
        let start = json.at;
        json.skip_value(2)?;
        let value = json.between(start, json.at);
        match key {
            "table" | "collection" => self.table = text_of(value),
            "schema" => self.schema = text_of(value),
            "db" => self.db = text_of(value),
            "ts_ms" => self.ts_ms = value.parse().ok(),
            "lsn" => self.lsn = value.parse().ok(),
            "file" => self.binlog[0] = text_of(value),
            "pos" => self.binlog[1] = Some(Cow::Borrowed(value)),
            "row" => self.binlog[2] = Some(Cow::Borrowed(value)),
            "change_lsn" => self.change[0] = text_of(value),
            "event_serial_no" => self.change[1] = Some(Cow::Borrowed(value)),
            _ => {}
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

/// Visits the members of an object, object next; `visit` must read the value. A key must not come twice
/// among those that mean something here; the decoder of the row looks at the others.
fn members<'a>(
    json: &mut Scanner<'a>,
    mut visit: impl FnMut(&mut Scanner<'a>, &str) -> Scan<()>,
) -> Scan<()> {
    let mut scratch = String::new();
    json.expect(b'{', "no `{` at the start")?;
    json.skip_whitespace();
    if json.eat(b'}') {
        return Ok(());
    }
    loop {
        json.skip_whitespace();
        let key = json.text(&mut scratch)?;
        json.skip_whitespace();
        json.expect(b':', "no `:` after a key")?;
        json.skip_whitespace();
        visit(json, key)?;
        json.skip_whitespace();
        if json.eat(b'}') {
            return Ok(());
        }
        json.expect(b',', "neither `,` nor `}` after a member")?;
    }
}
