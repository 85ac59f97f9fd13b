//! Connect's schemas, which records may carry in front of themselves (`{"schema":...,"payload":...}`): found in a batch
//! as they change, and each asked about once.
//!
//! A record that carries the schema of the record before costs one comparison of it, and one that carries none a
//! look at its first bytes. Of a schema seen earlier the record is read up to the schema's end; only of one that was
//! never seen as a whole.

use hashbrown::HashMap;
use xxhash_rust::xxh3::xxh3_128;

use super::scan::Scanner;
use crate::record::RawBatch;

/// How Connect begins a record that carries its schema.
const BEGINNING: &str = r#"{"schema":"#;

/// Schemas remembered, by 24 bytes each and the text of the last one; at one more all are forgotten and asked about
/// again as they come. A topic has one for each table that is routed to it, and one more after a change.
const MAX_SCHEMAS: usize = 10_000;

/// The schemas that a worker's records have carried.
#[derive(Debug, Default)]
pub(super) struct CarriedSchemas {
    /// Whether the tables lack columns of a schema, by the hash of its text.
    lacking: HashMap<u128, bool>,
    /// The last one of which they lack none.
    last: String,
}

impl CarriedSchemas {
    /// Whether the tables lack columns of a schema that a record of the batch carries. `lacks` says it of one, and is
    /// asked once; of one with columns that are lacking again after [`CarriedSchemas::ask_again`]. Records of more than
    /// `max_record_bytes` do not count.
    pub fn lack_columns(
        &mut self,
        batch: &RawBatch,
        max_record_bytes: u64,
        mut lacks: impl FnMut(&str) -> bool,
    ) -> bool {
        let mut found = false;
        for record in &batch.records {
            let Some(value) = batch.value(record) else {
                continue;
            };
            if self.carries_last(value) || value.len() as u64 > max_record_bytes {
                continue;
            }
            found |= self.lacks_columns(value, &mut lacks);
        }
        found
    }

    /// Forgets of which schemas columns were lacking.
    pub fn ask_again(&mut self) {
        self.lacking.retain(|_, lacks| !*lacks);
    }

    #[inline]
    fn carries_last(&self, value: &[u8]) -> bool {
        let rest = value.strip_prefix(BEGINNING.as_bytes());
        !self.last.is_empty() && rest.is_some_and(|rest| rest.starts_with(self.last.as_bytes()))
    }

    fn lacks_columns(&mut self, value: &[u8], lacks: &mut impl FnMut(&str) -> bool) -> bool {
        if !may_carry_schema(value) {
            return false;
        }
        let Ok(text) = simdutf8::basic::from_utf8(value) else {
            return false;
        };
        let hash = |schema: &str| xxh3_128(schema.as_bytes());
        let is_known = |schema: &&str| self.lacking.contains_key(&hash(schema));
        let known = first_value(text).filter(is_known);
        let Some(schema) = known.or_else(|| carried_schema(text)) else {
            return false;
        };
        let lacking = match self.lacking.get(&hash(schema)) {
            Some(&lacking) => lacking,
            None => {
                let lacking = lacks(schema);
                if self.lacking.len() >= MAX_SCHEMAS {
                    self.lacking.clear();
                }
                self.lacking.insert(hash(schema), lacking);
                lacking
            }
        };
        if !lacking {
            schema.clone_into(&mut self.last);
        }
        lacking
    }
}

/// Whether the first member of an object is one of the wrapper's.
fn may_carry_schema(value: &[u8]) -> bool {
    let Some(inside) = value.trim_ascii_start().strip_prefix(b"{") else {
        return false;
    };
    let inside = inside.trim_ascii_start();
    let wrapper = [b"\"schema\"".as_slice(), b"\"payload\""];
    // A key may be written with escapes.
    let is_escaped = || {
        inside
            .iter()
            .skip(1)
            .take_while(|&&byte| byte != b'"')
            .any(|&byte| byte == b'\\')
    };
    wrapper.iter().any(|key| inside.starts_with(key)) || is_escaped()
}

/// What stands behind [`BEGINNING`], in a record that begins so.
fn first_value(text: &str) -> Option<&str> {
    let rest = text.strip_prefix(BEGINNING)?;
    let mut json = Scanner::new(rest);
    json.skip_value(1).ok()?;
    Some(json.between(0, json.at))
}

/// The schema of a record that is a wrapper around an object: `schema`, `payload` and nothing else, as the decoder
/// asks of it too.
fn carried_schema(text: &str) -> Option<&str> {
    let mut json = Scanner::new(text);
    let mut key = String::new();
    let (mut schema, mut payload) = (None, None);
    json.skip_whitespace();
    json.expect(b'{', "").ok()?;
    loop {
        json.skip_whitespace();
        let slot = match json.text(&mut key).ok()? {
            "schema" => &mut schema,
            "payload" => &mut payload,
            _ => return None,
        };
        json.skip_whitespace();
        json.expect(b':', "").ok()?;
        json.skip_whitespace();
        let start = json.at;
        json.skip_value(1).ok()?;
        if slot.replace(json.between(start, json.at)).is_some() {
            return None;
        }
        json.skip_whitespace();
        if json.eat(b'}') {
            break;
        }
        json.expect(b',', "").ok()?;
    }
    json.expect_end().ok()?;
    let is_object = |text: &&str| text.starts_with('{');
    payload.filter(is_object)?;
    schema.filter(is_object)
}

#[cfg(test)]
mod tests {
    use super::super::testing::raw_batch;
    use super::*;

    /// The schemas asked about, and whether the batch waits for any.
    fn asked(
        carried: &mut CarriedSchemas,
        records: &[&str],
        lacking: &[&str],
    ) -> (Vec<String>, bool) {
        let records: Vec<Option<&str>> = records.iter().copied().map(Some).collect();
        let mut asked = Vec::new();
        let waits = carried.lack_columns(&raw_batch(&records), 1000, |schema| {
            asked.push(schema.to_owned());
            lacking.contains(&schema)
        });
        (asked, waits)
    }

    const A: &str = r#"{"schema":{"fields":[]},"payload":{"x":1}}"#;
    const SCHEMA_OF_A: &str = r#"{"fields":[]}"#;
    const B: &str = r#"{"schema":{"fields":["b"]},"payload":{"x":1}}"#;
    const SCHEMA_OF_B: &str = r#"{"fields":["b"]}"#;

    #[test]
    fn each_schema_is_asked_about_once_and_again_when_it_lacked_columns() {
        let mut carried = CarriedSchemas::default();
        let a_and_b = vec![SCHEMA_OF_A.to_owned(), SCHEMA_OF_B.to_owned()];
        let batch = [A, B, A, A, B];
        assert_eq!(asked(&mut carried, &batch, &[SCHEMA_OF_B]), (a_and_b, true));
        // Until something has changed it only waits.
        assert_eq!(asked(&mut carried, &batch, &[]), (vec![], true));
        assert_eq!(asked(&mut carried, &[A, A], &[]), (vec![], false));
        carried.ask_again();
        let b = vec![SCHEMA_OF_B.to_owned()];
        assert_eq!(asked(&mut carried, &batch, &[]), (b, false));
        assert_eq!(asked(&mut carried, &batch, &[SCHEMA_OF_B]), (vec![], false));
    }

    #[test]
    fn a_schema_counts_however_its_record_is_written_but_only_in_a_wrapper() {
        let wrapped = [
            " { \"schema\" : {\"fields\":[]} , \"payload\" : {\"x\":1} } ",
            r#"{"payload":{"x":1},"schema":{"fields":[]}}"#,
            r#"{"\u0073chema":{"fields":[]},"payload":{"x":1}}"#,
        ];
        for record in wrapped {
            let mut carried = CarriedSchemas::default();
            let found = asked(&mut carried, &[record, record], &[SCHEMA_OF_A]);
            assert_eq!(found, (vec![SCHEMA_OF_A.to_owned()], true), "{record}");
        }
        let too_long = format!(
            r#"{{"schema":{{}},"payload":{{"x":"{}"}}}}"#,
            "x".repeat(1000)
        );
        let bare = [
            r#"{"before":null,"after":{"x":1},"op":"c"}"#,
            r#"{"schema":{"fields":[]},"payload":{"x":1},"more":1}"#,
            r#"{"schema":{"fields":[]},"schema":{"fields":[]},"payload":{"x":1}}"#,
            r#"{"schema":{"fields":[]},"payload":null}"#,
            r#"{"schema":{"fields":[]},"payload":{"x":1}"#,
            r#"{"schema":{"fields":[]}}"#,
            r#"{"schema":"public","payload":{"x":1}}"#,
            r#"{"schema":null,"payload":{"x":1}}"#,
            "{}",
            "[",
            "",
            &too_long,
        ];
        let mut carried = CarriedSchemas::default();
        assert_eq!(asked(&mut carried, &bare, &[]), (vec![], false));
    }

    #[test]
    fn bytes_that_are_no_text_are_no_schema() {
        let mut carried = CarriedSchemas::default();
        let records = [Some(b"{\"schema\":\xff}".as_slice()), None];
        assert!(!carried.lack_columns(&raw_batch(&records), 1000, |_| true));
    }
}
