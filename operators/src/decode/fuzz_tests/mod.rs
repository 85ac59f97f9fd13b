//! Every decoder, fed records that are changed at random, and schemas.
//!
//! The corpus (`operators/tests/corpus/decoders.tsv`) holds good records of each format, and those in which a
//! fault was found. What a round does follows from its seed.
//!
//! `STRANDLINE_FUZZ_ROUNDS` makes it longer, `STRANDLINE_FUZZ_SEED` repeats what a failure prints; both together begin
//! there, as CI does at another place with each commit.

mod records;
mod schemas;

use std::ops::Range;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::testing::{Draw, raw_batch};
use super::{Decode, decoder};
use crate::io::{RegisteredSchema, SchemaAnswer, SchemaKind};
use crate::job::{Format, Job, JobSettings};
use crate::record::RawBatch;
use crate::schema::{Column, ColumnType};

const CORPUS: &str = include_str!("../../../tests/corpus/decoders.tsv");

/// Rounds of each format when nothing else is said: a few seconds.
const ROUNDS: u64 = 5_000;

const COLUMNS: &[Column] = &[
    Column::required("event_id", ColumnType::String),
    Column::required("event_time", ColumnType::Timestamptz),
    Column::optional("name", ColumnType::String),
    Column::optional("total", ColumnType::Long),
    Column::optional("ratio", ColumnType::Double),
    Column::optional("is_new", ColumnType::Boolean),
    Column::optional("price", PRICE),
    Column::optional("day", ColumnType::Date),
    Column::optional("at", ColumnType::Time),
    Column::optional("blob", ColumnType::Binary),
];

const PRICE: ColumnType = ColumnType::Decimal {
    precision: 20,
    scale: 4,
};

const AVRO: &str = r#"{"type": "record", "name": "Event", "fields": [
    {"name": "event_id", "type": "string"},
    {"name": "event_time", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "name", "type": ["null", "string"]},
    {"name": "total", "type": ["long", "null"]},
    {"name": "ratio", "type": "float"},
    {"name": "is_new", "type": "boolean"},
    {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 2}},
    {"name": "day", "type": {"type": "int", "logicalType": "date"}},
    {"name": "blob", "type": {"type": "fixed", "name": "Four", "size": 4}},
    {"name": "tags", "type": {"type": "array", "items": "string"}},
    {"name": "attributes", "type": {"type": "map", "values": ["null", "double"]}},
    {"name": "level", "type": {"type": "enum", "name": "Level", "symbols": ["LOW", "HIGH"]}},
    {"name": "next", "type": ["null", "Event"]}]}"#;

const PROTOBUF: &str = r#"syntax = "proto3";
    import "google/protobuf/timestamp.proto";
    import "google/protobuf/wrappers.proto";
    import "confluent/type/decimal.proto";
    import "google/type/date.proto";
    import "google/type/timeofday.proto";
    message Event {
        string event_id = 1;
        google.protobuf.Timestamp event_time = 2;
        optional string name = 3;
        int64 total = 4;
        double ratio = 5;
        bool is_new = 6;
        confluent.type.Decimal price = 7;
        google.type.Date day = 8;
        google.type.TimeOfDay at = 9;
        google.protobuf.BytesValue blob = 10;
        oneof choice { string text = 20; sint32 number = 21; }
        repeated int32 packed = 30;
        repeated int32 unpacked = 31 [packed = false];
        Event inside = 500;
    }
    message Other { string event_id = 1; google.protobuf.Timestamp event_time = 2; }"#;

impl Draw {
    /// Changes some bytes; `other` gives what may take their place.
    fn change(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        let length = bytes.len();
        let at = self.below(length + 1);
        let end = at + self.below(length - at + 1);
        match self.below(8) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => {
                // Splice: the end of another record.
                bytes.truncate(at);
                bytes.extend(&other[self.below(other.len() + 1)..]);
            }
            3 => {
                let part = bytes[at..end].to_vec();
                let times = 1 + self.below(20);
                bytes.splice(at..at, part.repeat(times));
            }
            4 => bytes.insert(at, self.next() as u8),
            // Bytes that mean much in one format or another.
            5 => {
                let often = [
                    0, 1, 0x7f, 0x80, 0xff, b'"', b'\\', b'{', b'}', b'[', b',', b'\n',
                ];
                bytes.insert(at, often[self.below(often.len())]);
            }
            _ if at == length => bytes.push(self.next() as u8),
            6 => bytes[at] = self.next() as u8,
            _ => bytes[at] ^= 1 << self.below(8),
        }
    }
}

fn settings(format: Format) -> JobSettings {
    let mut settings = Job {
        name: "fuzz",
        columns: COLUMNS,
        ..Job::BRONZE
    }
    .settings();
    settings.format = format;
    settings.avro_schema = Some(AVRO.to_owned());
    settings
}

/// A decoder that knows schema 1.
fn decoder_of(settings: &JobSettings) -> Box<dyn Decode> {
    let mut decoder = decoder(settings, true).expect("a decoder");
    let (kind, text) = match settings.format {
        Format::ProtobufSr => (SchemaKind::Protobuf, PROTOBUF),
        Format::AvroSr | Format::Raw => (SchemaKind::Avro, AVRO),
        _ => (SchemaKind::Json, "{}"),
    };
    let schema = RegisteredSchema {
        kind,
        text: text.to_owned(),
        references: Vec::new(),
    };
    decoder.learn(1, &SchemaAnswer::Known(Arc::new(schema)));
    decoder
}

/// The records of this name.
fn corpus_of(name: &str) -> Vec<Vec<u8>> {
    let lines = CORPUS.lines().filter_map(|line| line.split_once('\t'));
    let of_name = lines.filter(|(other, _)| *other == name);
    of_name
        .map(|(_, text)| STANDARD.decode(text).expect("base64"))
        .collect()
}

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} must be a number")),
    )
}

/// The seeds of a test's rounds, of which it has one in `share`.
fn seeds(share: u64) -> Range<u64> {
    let rounds = variable("STRANDLINE_FUZZ_ROUNDS").map(|rounds| rounds.div_ceil(share));
    match variable("STRANDLINE_FUZZ_SEED") {
        Some(seed) => seed..seed + rounds.unwrap_or(1),
        None => 0..rounds.unwrap_or(ROUNDS.div_ceil(share)),
    }
}
