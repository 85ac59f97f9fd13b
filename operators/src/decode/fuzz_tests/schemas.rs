//! Schemas that are changed at random: those of the registry with what they refer to, and those that come with a change.
//!
//! Each round changes one. The columns that it adds are added, as for a job with `schema_evolution: add_columns`, a decoder
//! of them is made and learns it, and the corpus is decoded: nothing panics, every record is a row, a dead letter or
//! nothing, and it takes no time worth mentioning.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::evolution::{new_carried_fields, new_fields};
use super::super::message::MAX_MESSAGE_BYTES;
use super::*;
use crate::decode::Decoded;
use crate::io::ReferencedSchema;
use crate::job::SchemaEvolution;

/// Of a round; it takes a millisecond.
const PATIENCE: Duration = Duration::from_secs(20);

/// Bytes that a schema has at most whose bytes were changed.
const MAX_BYTES: usize = 16 << 10;

/// Words that mean something in a schema that is JSON; the empty one is among them.
const WORDS: &str = " . # a.b my-company op after before source ts_ms type name namespace fields field items values \
    symbols size aliases default logicalType precision scale record enum fixed array map null string bytes int long uuid \
    decimal duration date time-millis timestamp-micros Event shop.Event Level Four event_id event_time properties $ref \
    #/properties/event_id #/$defs/money $defs allOf oneOf format date-time object integer number struct optional \
    parameters org.apache.kafka.connect.data.Decimal io.debezium.time.MicroTimestamp connect.type";

/// The same of Protobuf.
const WORDS_OF_PROTOBUF: &str = "message enum oneof map<string,Event> repeated optional required group extend option \
    reserved extensions package import syntax service { } ; [packed=true] 536870911 0 -1 99999999999999999999 \
    \"\\xff\" .Event";

const JSON_SCHEMA: &str = r##"{"type": "object", "title": "Event",
    "$defs": {"money": {"type": "number"}, "level": {"enum": ["LOW", "HIGH"]}, "loop": {"$ref": "#/$defs/loop"}},
    "properties": {
        "event_id": {"type": "string"}, "event_time": {"type": ["string", "integer"]},
        "a": {"type": "integer"}, "b": {"$ref": "#/$defs/money"}, "c": {"$ref": "#/$defs/level"},
        "d": {"oneOf": [{"type": "null"}, {"type": "string", "format": "date"}]},
        "e": {"type": ["null", "boolean"]}, "f": {"$ref": "#/$defs/loop"}, "g": {"type": "array"}},
    "allOf": [{"properties": {"h": {"type": "string"}}}, {"$ref": "#/$defs/loop"}]}"##;

const JSON_SCHEMA_OF_CHANGES: &str = r##"{"type": "object", "title": "shop.public.orders.Envelope",
    "definitions": {"row": {"type": "object", "properties": {
        "event_id": {"type": "string"}, "event_time": {"type": "integer", "connect.type": "int64"},
        "a": {"oneOf": [{"type": "null"}, {"type": "string", "connect.type": "bytes"}]},
        "b": {"type": "number", "title": "org.apache.kafka.connect.data.Decimal", "connect.type": "bytes",
              "connect.parameters": {"scale": "4", "connect.decimal.precision": "18"}},
        "c": {"type": "boolean"}}}},
    "properties": {
        "before": {"oneOf": [{"type": "null"}, {"$ref": "#/definitions/row"}]},
        "after": {"oneOf": [{"type": "null"}, {"$ref": "#/definitions/row"}]},
        "source": {"type": "object", "properties": {"ts_ms": {"type": "integer"}}},
        "op": {"type": "string"}, "ts_ms": {"type": "integer"}}}"##;

const CONNECT_SCHEMA: &str = r#"{"type": "struct", "name": "shop.public.orders.Envelope", "fields": [
    {"type": "struct", "field": "after", "optional": true, "fields": [
        {"type": "string", "field": "event_id"},
        {"type": "int64", "name": "io.debezium.time.MicroTimestamp", "field": "event_time"},
        {"type": "bytes", "name": "org.apache.kafka.connect.data.Decimal", "field": "price",
         "parameters": {"scale": "2", "connect.decimal.precision": "9"}},
        {"type": "string", "field": "name"}, {"type": "int64", "field": "total"},
        {"type": "boolean", "field": "is_new"}, {"type": "int32", "name": "io.debezium.time.Date", "field": "due"},
        {"type": "array", "field": "tags"}]},
    {"type": "struct", "field": "source", "fields": [{"type": "int64", "field": "ts_ms"}]},
    {"type": "string", "field": "op"}, {"type": "int64", "field": "ts_ms"}]}"#;

impl Draw {
    fn word(&mut self, words: &'static str) -> &'static str {
        let words: Vec<&str> = words.split(' ').collect();
        words[self.below(words.len())]
    }

    /// A schema, changed: mostly by whole parts, so that it mostly stays one.
    fn changed_schema(&mut self, text: &str) -> String {
        match serde_json::from_str::<Value>(text) {
            Ok(mut document) if self.below(4) > 0 => {
                for _ in 0..=self.below(4) {
                    self.change_part(&mut document);
                }
                document.to_string()
            }
            Err(_) if self.below(4) > 0 => self.changed_words(text),
            _ => {
                let mut bytes = text.as_bytes().to_vec();
                self.change(&mut bytes, text.as_bytes());
                bytes.truncate(MAX_BYTES);
                String::from_utf8_lossy(&bytes).into_owned()
            }
        }
    }

    /// Changes one part of JSON.
    fn change_part(&mut self, document: &mut Value) {
        let places = places_of(document);
        let other = document.pointer(&places[self.below(places.len())]);
        let other = other.cloned().unwrap_or_default();
        let word = self.word(WORDS);
        let Some(part) = document.pointer_mut(&places[self.below(places.len())]) else {
            return;
        };
        match (self.below(7), part) {
            (0, part) => *part = other,
            (1, part) => *part = Value::from(word),
            (2, part) => {
                let odd = json!([null, true, 0, -1, 1e300, {}, []]);
                *part = odd[self.below(7)].clone();
            }
            (3, part) => *part = json!({"type": part.take(), "name": word}),
            (4, Value::Object(object)) if !object.is_empty() => {
                let key = object.keys().nth(self.below(object.len())).cloned();
                object.remove(&key.unwrap_or_default());
            }
            (_, Value::Object(object)) => {
                object.insert(word.to_owned(), other);
            }
            (4, Value::Array(list)) => {
                list.pop();
            }
            (_, Value::Array(list)) => list.insert(self.below(list.len() + 1), other),
            (_, part) => *part = json!([part.take(), other]),
        }
    }

    /// A text of words, changed by the word.
    fn changed_words(&mut self, text: &str) -> String {
        let is_end = |c: char| !c.is_alphanumeric() && c != '_';
        let mut words: Vec<&str> = text.split_inclusive(is_end).collect();
        for _ in 0..=self.below(4) {
            let (at, other) = (self.below(words.len()), self.below(words.len()));
            match self.below(5) {
                0 => words.swap(at, other),
                1 => words.insert(at, words[other]),
                2 if words.len() > 1 => {
                    words.remove(at);
                }
                3 => {
                    words[at] = " ";
                    words.insert(at, self.word(WORDS_OF_PROTOBUF));
                    words.insert(at, " ");
                }
                _ => words[at] = words[other],
            }
        }
        words.concat()
    }
}

/// The places of the parts of JSON, its own among them.
fn places_of(document: &Value) -> Vec<String> {
    let mut found = vec![(String::new(), document)];
    let mut next = 0;
    while let Some((place, part)) = found.get(next).cloned() {
        next += 1;
        match part {
            Value::Object(object) => found.extend(object.iter().map(|(key, part)| {
                let key = key.replace('~', "~0").replace('/', "~1");
                (format!("{place}/{key}"), part)
            })),
            Value::Array(list) => {
                let list = list.iter().enumerate();
                found.extend(list.map(|(at, part)| (format!("{place}/{at}"), part)));
            }
            _ => {}
        }
    }
    found.into_iter().map(|(place, _)| place).collect()
}

fn registered(kind: SchemaKind, text: &str, references: &[(&str, &str)]) -> RegisteredSchema {
    let reference = |(name, text): &(&str, &str)| ReferencedSchema {
        name: (*name).to_owned(),
        text: (*text).to_owned(),
    };
    RegisteredSchema {
        kind,
        text: text.to_owned(),
        references: references.iter().map(reference).collect(),
    }
}

/// The schema in one piece, and with the types apart that it refers to.
fn avro() -> [RegisteredSchema; 2] {
    let level = r#"{"type": "enum", "name": "Level", "symbols": ["LOW", "HIGH"]}"#;
    let four = r#"{"type": "fixed", "name": "Four", "size": 4}"#;
    let apart = AVRO
        .replace(level, r#""Level""#)
        .replace(four, r#""Four""#)
        .replacen(r#""name": "#, r#""namespace": "shop", "name": "#, 1);
    let in_shop = |text: &str| text.replacen(r#""name": ""#, r#""name": "shop."#, 1);
    let pair = r#"{"type": "record", "name": "shop.Pair", "fields": [
        {"name": "level", "type": "Level"}, {"name": "four", "type": "Four"}]}"#;
    let (level, four) = (in_shop(level), in_shop(four));
    let references = [
        ("shop.Level", level.as_str()),
        ("shop.Four", four.as_str()),
        ("shop.Pair", pair),
    ];
    [
        registered(SchemaKind::Avro, AVRO, &[]),
        registered(SchemaKind::Avro, &apart, &references),
    ]
}

fn protobuf() -> [RegisteredSchema; 2] {
    let money = r#"syntax = "proto3"; package shop; message Money { int64 units = 1; string currency = 2; }"#;
    let date = r#"import "google/type/date.proto";"#;
    let importing = format!(r#"{date} import "shop/money.proto";"#);
    let apart = PROTOBUF.replace(date, &importing);
    let apart = apart.replace("Event inside", "shop.Money paid = 501; Event inside");
    [
        registered(SchemaKind::Protobuf, PROTOBUF, &[]),
        registered(SchemaKind::Protobuf, &apart, &[("shop/money.proto", money)]),
    ]
}

/// Prints how to repeat a round that panics.
struct Say<'a> {
    seed: u64,
    schema: &'a RegisteredSchema,
}

impl Drop for Say<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("STRANDLINE_FUZZ_SEED={}, {:?}", self.seed, self.schema);
        }
    }
}

fn growing(format: Format) -> JobSettings {
    JobSettings {
        schema_evolution: SchemaEvolution::AddColumns,
        ..settings(format)
    }
}

/// What records become whose schema 1 this is, in the columns that it adds.
fn decoded(format: Format, schema: &RegisteredSchema, batch: &RawBatch) -> Decoded {
    let mut settings = growing(format);
    let found = new_fields(&settings, schema);
    settings.add_columns(&found.columns);
    let mut decoder = decoder(&settings, true).expect("a decoder of the columns that it adds");
    decoder.learn(1, &SchemaAnswer::Known(Arc::new(schema.clone())));
    decoder.decode(batch)
}

/// Every record of a batch is a row, a dead letter or nothing.
fn accounts_for(decoded: &Decoded, batch: &RawBatch) {
    let outcomes = decoded.rows.len() + decoded.failures.len() + decoded.dropped as usize;
    assert_eq!(outcomes, batch.records.len());
    assert_eq!(decoded.columns.num_rows(), decoded.rows.len());
    for failure in &decoded.failures {
        assert!((1..=MAX_MESSAGE_BYTES).contains(&failure.message.len()));
    }
}

/// Changes schemas of the format, in one of `share` of the usual rounds.
fn fuzz(format: Format, schemas: &[RegisteredSchema], share: u64) {
    let records: Vec<Option<Vec<u8>>> = corpus_of(format.name()).into_iter().map(Some).collect();
    let batch = raw_batch(&records);
    for schema in schemas {
        let decoded = decoded(format, schema, &batch);
        assert!(decoded.rows.len() >= 3, "{:?}", decoded.failures);
    }
    let mut usable = 0;
    let seeds = seeds(share);
    let rounds = seeds.end - seeds.start;
    for seed in seeds {
        let mut draw = Draw(seed);
        let mut schema = schemas[draw.below(schemas.len())].clone();
        let place = draw.below(schema.references.len() + 1);
        match schema.references.get_mut(place) {
            Some(reference) => reference.text = draw.changed_schema(&reference.text),
            None => schema.text = draw.changed_schema(&schema.text),
        }
        let say = Say {
            seed,
            schema: &schema,
        };
        let began = Instant::now();
        let decoded = decoded(format, &schema, &batch);
        assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
        accounts_for(&decoded, &batch);
        usable += u64::from(!decoded.rows.is_empty());
        drop(say);
    }
    println!(
        "{}: records land with {usable} of {rounds} changed schemas",
        format.name()
    );
}

#[test]
fn a_registered_avro_schema_survives_any_change() {
    fuzz(Format::AvroSr, &avro(), 5);
}

#[test]
fn a_registered_protobuf_schema_survives_any_change() {
    // Each parses the files that it imports, too.
    fuzz(Format::ProtobufSr, &protobuf(), 20);
}

#[test]
fn a_registered_json_schema_survives_any_change() {
    let schema = registered(SchemaKind::Json, JSON_SCHEMA, &[]);
    fuzz(Format::JsonSr, &[schema], 5);
}

#[test]
fn a_registered_schema_of_changes_survives_any_change() {
    let schema = registered(SchemaKind::Json, JSON_SCHEMA_OF_CHANGES, &[]);
    fuzz(Format::DebeziumJsonSr, &[schema], 5);
}

#[test]
fn a_schema_that_comes_with_a_change_survives_any_change() {
    let change = json!({
        "before": null,
        "after": {"event_id": "a", "event_time": 1_767_225_600_000_000i64, "name": "n", "total": 7, "price": "AQI="},
        "source": {"table": "orders", "lsn": 17, "ts_ms": 1_767_225_600_000i64}, "op": "c", "ts_ms": 1
    });
    for seed in seeds(5) {
        let mut draw = Draw(seed);
        let text = draw.changed_schema(CONNECT_SCHEMA);
        let schema = registered(SchemaKind::Json, &text, &[]);
        let say = Say {
            seed,
            schema: &schema,
        };
        let mut settings = growing(Format::DebeziumJson);
        let carried: Value = serde_json::from_str(&text).unwrap_or_default();
        let found = new_carried_fields(&settings, &carried);
        settings.add_columns(&found.columns);
        let mut decoder = decoder(&settings, false).expect("a decoder of the columns that it adds");
        let wrapped = format!(r#"{{"schema":{text},"payload":{change}}}"#);
        let bare = change.to_string();
        let batch = raw_batch(&[Some(&wrapped), Some(&bare), Some(&wrapped)]);
        let decoded = decoder.decode(&batch);
        accounts_for(&decoded, &batch);
        let message = decoded.failures.iter().find(|failure| failure.record == 1);
        assert_eq!(message, None, "a change without schema lands between them");
        drop(say);
    }
}
