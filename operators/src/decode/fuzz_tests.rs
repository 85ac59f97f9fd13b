//! Every decoder, fed records that are changed at random.
//!
//! The corpus (`operators/tests/corpus/decoders.tsv`) holds good records of each format, and those in which a
//! fault was found. Each round changes some of them and puts them between good ones: nothing panics, every record is
//! a row, a dead letter or nothing, and the good ones land as they do alone. What a round does follows from its seed.
//!
//! `STRANDLINE_FUZZ_ROUNDS` makes it longer, `STRANDLINE_FUZZ_SEED` repeats what a failure prints; both together begin
//! there, as CI does at another place with each commit.

use std::sync::Arc;

use arrow_array::RecordBatch;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::message::MAX_MESSAGE_BYTES;
use super::recognise::{look, recognise};
use super::testing::{Draw, raw_batch};
use super::{Decode, decoder};
use crate::io::{RegisteredSchema, SchemaAnswer, SchemaKind};
use crate::job::{Format, Job, JobSettings, Peek, PeekAt};
use crate::record::RawBatch;
use crate::schema::{Column, ColumnType, RAW_COLUMNS};

const CORPUS: &str = include_str!("../../tests/corpus/decoders.tsv");

/// Rounds of each format when nothing else is said: a few seconds.
const ROUNDS: u64 = 5_000;

/// Records of a round that are changed.
const CHANGED: usize = 6;

/// Bytes that a changed record has at most.
const MAX_BYTES: usize = 16 << 10;

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
    /// One of the corpus, changed; with a header mostly behind it, since nothing gets past a broken one.
    fn changed(&mut self, corpus: &[Vec<u8>], has_header: bool) -> Vec<u8> {
        let mut bytes = corpus[self.below(corpus.len())].clone();
        let kept = match has_header && self.below(8) > 0 {
            true => 5.min(bytes.len()),
            false => 0,
        };
        let mut tail = bytes.split_off(kept);
        for _ in 0..=self.below(3) {
            let other = self.below(corpus.len());
            self.change(&mut tail, &corpus[other]);
            tail.truncate(MAX_BYTES);
        }
        bytes.append(&mut tail);
        bytes
    }

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

/// Prints how to repeat a round that panics.
struct Say<'a> {
    format: Format,
    seed: u64,
    batch: &'a RawBatch,
}

impl Drop for Say<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("STRANDLINE_FUZZ_SEED={}, {}", self.seed, self.format.name());
            for record in &self.batch.records {
                let value = self.batch.value(record).unwrap_or_default();
                println!("{}\t{}", self.format.name(), STANDARD.encode(value));
            }
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
    if format == Format::Raw {
        settings.columns = RAW_COLUMNS.to_vec();
        settings.peek = Some(Peek {
            format: Format::AvroSr,
            event_id: PeekAt::Field("event_id".to_owned()),
            event_time: PeekAt::Field("event_time".to_owned()),
        });
    }
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

fn corpus_of(format: Format) -> Vec<Vec<u8>> {
    let lines = CORPUS.lines().filter_map(|line| line.split_once('\t'));
    let of_format = lines.filter(|(name, _)| *name == format.name());
    of_format
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

fn fuzz(format: Format) {
    let settings = settings(format);
    let mut decoder = decoder_of(&settings);
    let corpus = corpus_of(format);
    let has_header = settings.has_schema_ids();
    // What the good ones become alone.
    let good: Vec<(&Vec<u8>, RecordBatch)> = corpus
        .iter()
        .filter_map(|record| {
            let decoded = decoder.decode(&raw_batch(&[Some(record)]));
            (decoded.rows.len() == 1).then_some((record, decoded.columns))
        })
        .collect();
    assert!(
        good.len() >= 3,
        "{} good records of {}",
        good.len(),
        format.name()
    );
    let (seed, rounds) = (
        variable("STRANDLINE_FUZZ_SEED"),
        variable("STRANDLINE_FUZZ_ROUNDS"),
    );
    let (begin, rounds) = match seed {
        Some(seed) => (seed, rounds.unwrap_or(1)),
        None => (0, rounds.unwrap_or(ROUNDS)),
    };
    let mut landed = 0;
    for seed in begin..begin + rounds {
        let mut draw = Draw(seed);
        let mut records = Vec::new();
        let mut expected = Vec::new();
        for _ in 0..CHANGED {
            records.push(Some(draw.changed(&corpus, has_header)));
            let (record, columns) = &good[draw.below(good.len())];
            expected.push((records.len() as u32, columns));
            records.push(Some((*record).clone()));
        }
        let batch = raw_batch(&records);
        let say = Say {
            format,
            seed,
            batch: &batch,
        };
        let decoded = decoder.decode(&batch);
        let outcomes = decoded.rows.len() + decoded.failures.len() + decoded.dropped as usize;
        assert_eq!(outcomes, records.len(), "every record is accounted for");
        assert_eq!(decoded.columns.num_rows(), decoded.rows.len());
        for (place, columns) in expected {
            let row = decoded.rows.binary_search(&place);
            let row = row.unwrap_or_else(|_| {
                let failure = decoded.failures.iter().find(|f| f.record == place);
                panic!("the good record {place} does not land: {failure:?}")
            });
            assert_eq!(&decoded.columns.slice(row, 1), columns, "record {place}");
        }
        for failure in &decoded.failures {
            assert!((1..=MAX_MESSAGE_BYTES).contains(&failure.message.len()));
        }
        landed += decoded.rows.len() - CHANGED;
        // The recogniser parses a schema each time.
        if seed % 8 == 0 {
            sees_something(&records, &settings);
        }
        drop(say);
    }
    println!(
        "{}: {landed} of {} changed records land",
        format.name(),
        rounds * CHANGED as u64
    );
}

/// The recogniser says something of every record, and of all together.
fn sees_something(records: &[Option<Vec<u8>>], settings: &JobSettings) {
    for value in records.iter().flatten() {
        assert!(!look(value, settings).seen.is_empty());
    }
    let values = records.iter().map(Option::as_deref);
    let told = recognise(values, settings, &mut |id| {
        (id == 1).then_some(SchemaKind::Avro)
    });
    match told {
        Ok(told) => assert_ne!(told.format, Format::Raw),
        Err(unknown) => assert!(!unknown.reason.is_empty()),
    }
}

macro_rules! fuzz {
    ($($name:ident: $format:expr),* $(,)?) => {
        $(#[test]
        fn $name() {
            fuzz($format);
        })*
    };
}

fuzz!(
    json_survives_any_change: Format::Json,
    json_sr_survives_any_change: Format::JsonSr,
    avro_survives_any_change: Format::Avro,
    avro_sr_survives_any_change: Format::AvroSr,
    protobuf_sr_survives_any_change: Format::ProtobufSr,
    csv_survives_any_change: Format::Csv,
    raw_survives_any_change: Format::Raw,
    debezium_json_survives_any_change: Format::DebeziumJson,
    debezium_json_sr_survives_any_change: Format::DebeziumJsonSr,
);
