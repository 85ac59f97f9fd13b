//! What decoding costs: nanoseconds an event, for events of the Roman numeral service.
//!
//! Prints a line a case: the decoder with the keys in one order, with optional fields left out at times,
//! in random order, and with prettier spacing; and serde_json into a struct as a yardstick, which makes no
//! columns, and arrow-json. The same for Avro with the schema registry's header, against arrow-avro and against apache-avro
//! into its own values, and for Avro kept as bytes with id and time peeked; for Debezium's changes in JSON, against
//! arrow-json; and for Protobuf, against prost-reflect's messages. An argument picks the cases whose names contain it. One
//! thread; for each batch the best of several rounds, since other processes only ever add to it.
//!
//! What a decoder does and its yardsticks do not: a bad record costs that record alone, id and event time are there, and
//! a record's bytes are all checked.

#[path = "decode/debezium.rs"]
mod debezium;
#[path = "decode/yardsticks.rs"]
mod yardsticks;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use apache_avro::types::Value;
use apache_avro::{Schema, from_avro_datum, to_avro_datum};
use bytes::Bytes;
use protox::prost_reflect::{DynamicMessage, MessageDescriptor};
use serde::Deserialize;
use strandline_operators::credit::Budget;
use strandline_operators::decode::{AvroDecoder, Decode, JsonDecoder, ProtobufDecoder, RawDecoder};
use strandline_operators::io::{RegisteredSchema, SchemaAnswer, SchemaKind};
use strandline_operators::job::{Format, Job, JobSettings, Peek, PeekAt};
use strandline_operators::record::{RawBatch, RawRecord, Span, TopicPartition};
use strandline_operators::schema::{Column, ColumnType, RAW_COLUMNS, decoded_schema};
use strandline_operators::time::EventTime;

const COLUMNS: &[Column] = &[
    Column::required("event_id", ColumnType::String),
    Column::optional("event_type", ColumnType::String),
    Column::required("event_time", ColumnType::Timestamptz),
    Column::optional("user_id", ColumnType::String),
    Column::optional("session_id", ColumnType::String),
    Column::optional("input_value", ColumnType::Int),
    Column::optional("roman_numeral", ColumnType::String),
    Column::optional("response_time_ms", ColumnType::Double),
    Column::optional("source", ColumnType::String),
];

/// Records in a batch, as many as the source takes at a time.
const BATCH_RECORDS: usize = 4096;
/// Batches of different events, so that nothing is learned by heart.
const BATCHES: usize = 16;
const ROUNDS: usize = 20;

#[derive(Deserialize)]
#[allow(dead_code, reason = "only parsed")]
struct Event<'a> {
    event_id: &'a str,
    event_type: Option<&'a str>,
    event_time: &'a str,
    user_id: Option<&'a str>,
    session_id: Option<&'a str>,
    input_value: Option<i32>,
    roman_numeral: Option<&'a str>,
    response_time_ms: Option<f64>,
    source: Option<&'a str>,
}

/// xorshift64*: events must differ, not be random.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n
    }

    fn uuid(&mut self) -> String {
        let (a, b) = (self.next(), self.next());
        let (a, b) = (a & !0xf000 | 0x4000, b & !(3 << 62) | 1 << 63);
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            a >> 32,
            a >> 16 & 0xffff,
            a & 0xffff,
            b >> 48,
            b & 0xffff_ffff_ffff
        )
    }
}

fn roman(mut value: u64) -> String {
    const DIGITS: [(u64, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    let mut text = String::new();
    for (worth, digit) in DIGITS {
        while value >= worth {
            value -= worth;
            text.push_str(digit);
        }
    }
    text
}

#[derive(Clone, Copy)]
enum Shape {
    SameOrder,
    OptionalAbsent,
    Shuffled,
    Pretty,
}

fn event(random: &mut Random, shape: Shape) -> String {
    let value = 1 + random.below(3999);
    let (second, milli) = (random.below(60), random.below(1000));
    let mut members = vec![
        format!("\"event_id\":\"{}\"", random.uuid()),
        "\"event_type\":\"conversion\"".to_owned(),
        format!(
            "\"event_time\":\"2026-11-21T10:{:02}:{second:02}.{milli:03}Z\"",
            random.below(60)
        ),
        format!("\"user_id\":\"user-{}\"", random.below(100_000)),
        format!("\"session_id\":\"{}\"", random.uuid()),
        format!("\"input_value\":{value}"),
        format!("\"roman_numeral\":\"{}\"", roman(value)),
        format!(
            "\"response_time_ms\":{}.{}",
            random.below(100),
            random.below(10)
        ),
        "\"source\":\"api\"".to_owned(),
    ];
    match shape {
        Shape::SameOrder => {}
        Shape::OptionalAbsent => {
            for place in [8, 4, 3] {
                if random.below(4) == 0 {
                    members.remove(place);
                }
            }
        }
        Shape::Shuffled => {
            for i in (1..members.len()).rev() {
                members.swap(i, random.below(i as u64 + 1) as usize);
            }
        }
        Shape::Pretty => {
            let members: Vec<String> = members
                .iter()
                .map(|m| m.replacen("\":", "\": ", 1))
                .collect();
            return format!("{{\n  {}\n}}", members.join(",\n  "));
        }
    }
    format!("{{{}}}", members.join(","))
}

/// The same event in Avro, with one field more and longer ids, so that it has about 250 bytes too.
const AVRO_SCHEMA: &str = r#"{"type":"record","name":"Conversion","fields":[
    {"name":"event_id","type":"string"},
    {"name":"event_type","type":["null","string"]},
    {"name":"event_time","type":{"type":"long","logicalType":"timestamp-micros"}},
    {"name":"user_id","type":["null","string"]},
    {"name":"session_id","type":["null","string"]},
    {"name":"input_value","type":["null","int"]},
    {"name":"roman_numeral","type":["null","string"]},
    {"name":"response_time_ms","type":["null","double"]},
    {"name":"source","type":["null","string"]},
    {"name":"request_id","type":["null","string"]}]}"#;

/// The id of the schema in the records' headers.
const AVRO_SCHEMA_ID: u32 = 100_026;

const AVRO_COLUMNS: [Column; 10] = {
    let mut columns = [Column::optional("request_id", ColumnType::String); 10];
    let mut i = 0;
    while i < COLUMNS.len() {
        columns[i] = COLUMNS[i];
        i += 1;
    }
    columns
};

fn avro_event(random: &mut Random, schema: &Schema) -> Vec<u8> {
    let some = |value: Value| Value::Union(1, Box::new(value));
    let text = |text: String| some(Value::String(text));
    let value = 1 + random.below(3999);
    let fields = [
        ("event_id", Value::String(random.uuid())),
        ("event_type", text("conversion".to_owned())),
        (
            "event_time",
            Value::TimestampMicros(1_795_255_200_000_000 + random.below(1 << 30) as i64),
        ),
        (
            "user_id",
            text(format!("user-{}-{}", random.below(100_000), random.uuid())),
        ),
        ("session_id", text(random.uuid())),
        ("input_value", some(Value::Int(value as i32))),
        ("roman_numeral", text(roman(value))),
        (
            "response_time_ms",
            some(Value::Double(random.below(1000) as f64 / 10.0)),
        ),
        ("source", text("api.example.com/convert".to_owned())),
        (
            "request_id",
            text(format!("{}-{}", random.uuid(), random.below(10_000_000))),
        ),
    ];
    let fields = fields.map(|(name, value)| (name.to_owned(), value));
    let mut bytes = vec![0];
    bytes.extend(AVRO_SCHEMA_ID.to_be_bytes());
    bytes.extend(to_avro_datum(schema, Value::Record(fields.into())).expect("a record"));
    bytes
}

fn avro_batches() -> Vec<RawBatch> {
    let schema = Schema::parse_str(AVRO_SCHEMA).expect("a schema");
    batches_of(|random| avro_event(random, &schema))
}

fn batches(shape: Shape) -> Vec<RawBatch> {
    batches_of(|random| event(random, shape).into_bytes())
}

fn batches_of(mut event: impl FnMut(&mut Random) -> Vec<u8>) -> Vec<RawBatch> {
    let mut random = Random(0x5eed);
    (0..BATCHES)
        .map(|_| {
            let mut arena = Vec::new();
            let mut records = Vec::new();
            for offset in 0..BATCH_RECORDS {
                let start = arena.len() as u32;
                arena.extend(event(&mut random));
                let value = Some(Span {
                    start,
                    end: arena.len() as u32,
                });
                records.push(RawRecord {
                    offset: offset as i64,
                    timestamp: None,
                    key: None,
                    value,
                });
            }
            RawBatch {
                source: TopicPartition::new("roman-numeral-events", 0),
                start: 0,
                next: BATCH_RECORDS as i64,
                leader_epoch: None,
                received_at: EventTime(0),
                arena: Bytes::from(arena),
                records,
                headers: None,
                credit: Budget::new(1).take(0),
            }
        })
        .collect()
}

fn measure(name: &str, batches: &[RawBatch], mut decode: impl FnMut(&RawBatch) -> usize) {
    let wanted = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'));
    if wanted.is_some_and(|part| !name.contains(&part)) {
        return;
    }
    let events = BATCHES * BATCH_RECORDS;
    let bytes: usize = batches.iter().map(|batch| batch.arena.len()).sum();
    let mut best = vec![Duration::MAX; batches.len()];
    for _ in 0..ROUNDS {
        for (batch, best) in batches.iter().zip(&mut best) {
            let start = Instant::now();
            let decoded = decode(batch);
            *best = start.elapsed().min(*best);
            assert_eq!(decoded, BATCH_RECORDS, "{name}: every event decodes");
        }
    }
    let best = best.iter().sum::<Duration>().as_nanos() as f64 / events as f64;
    println!("{name:<44} {best:>6.0} ns an event of {} B", bytes / events);
}

fn measure_avro() {
    let answer = SchemaAnswer::Known(Arc::new(RegisteredSchema {
        kind: SchemaKind::Avro,
        text: AVRO_SCHEMA.to_owned(),
        references: Vec::new(),
    }));
    let batches = avro_batches();
    let mut avro = AvroDecoder::registered(&AVRO_COLUMNS, Some(0), 2, 8 << 20).expect("a decoder");
    let settings = JobSettings {
        format: Format::Raw,
        columns: RAW_COLUMNS.to_vec(),
        peek: Some(Peek {
            format: Format::AvroSr,
            event_id: PeekAt::Field("event_id".to_owned()),
            event_time: PeekAt::Field("event_time".to_owned()),
        }),
        ..Job::BRONZE.settings()
    };
    let mut raw = RawDecoder::new(&settings, Some(0), 1, true).expect("a decoder");
    let decoders: [(&str, &mut dyn Decode); 2] = [
        ("Avro to columns", &mut avro),
        ("Avro kept, id and time peeked", &mut raw),
    ];
    for (name, decoder) in decoders {
        decoder.learn(AVRO_SCHEMA_ID, &answer);
        measure(name, &batches, |batch| {
            black_box(decoder.decode(batch)).rows.len()
        });
    }
    let mut decoder = yardsticks::arrow_avro(AVRO_SCHEMA_ID, AVRO_SCHEMA);
    measure("arrow-avro to columns", &batches, |batch| {
        yardsticks::avro_rows(&mut decoder, batch)
    });
    let schema = Schema::parse_str(AVRO_SCHEMA).expect("a schema");
    measure("apache-avro to its own values", &batches, |batch| {
        let parse = |record: &RawRecord| {
            let mut datum = &batch.value(record).unwrap_or_default()[5..];
            from_avro_datum(&schema, &mut datum, None)
                .map(black_box)
                .is_ok()
        };
        batch.records.iter().filter(|record| parse(record)).count()
    });
}

const PROTOBUF_SCHEMA: &str = r#"syntax = "proto3";
    import "google/protobuf/timestamp.proto";
    message Conversion {
        string event_id = 1;
        optional string event_type = 2;
        google.protobuf.Timestamp event_time = 3;
        optional string user_id = 4;
        optional string session_id = 5;
        optional int32 input_value = 6;
        optional string roman_numeral = 7;
        optional double response_time_ms = 8;
        optional string source = 9;
        optional string request_id = 10;
    }"#;

/// An event's Protobuf: the texts and numbers are those of [`avro_event`].
fn protobuf_event(random: &mut Random) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend(AVRO_SCHEMA_ID.to_be_bytes());
    // The first message.
    bytes.push(0);
    let varint = |bytes: &mut Vec<u8>, mut value: u64| {
        while value > 0x7f {
            bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
    };
    let text = |bytes: &mut Vec<u8>, field: u8, text: &str| {
        bytes.push(field << 3 | 2);
        varint(bytes, text.len() as u64);
        bytes.extend(text.as_bytes());
    };
    let value = 1 + random.below(3999);
    text(&mut bytes, 1, &random.uuid());
    text(&mut bytes, 2, "conversion");
    let mut time = vec![1 << 3];
    varint(&mut time, 1_795_255_200 + random.below(1 << 10));
    time.push(2 << 3);
    varint(&mut time, random.below(1_000_000) * 1000);
    bytes.extend([3 << 3 | 2, time.len() as u8]);
    bytes.extend(time);
    let user = format!("user-{}-{}", random.below(100_000), random.uuid());
    text(&mut bytes, 4, &user);
    text(&mut bytes, 5, &random.uuid());
    bytes.push(6 << 3);
    varint(&mut bytes, value);
    text(&mut bytes, 7, &roman(value));
    bytes.push(8 << 3 | 1);
    bytes.extend((random.below(1000) as f64 / 10.0).to_le_bytes());
    text(&mut bytes, 9, "api.example.com/convert");
    let request = format!("{}-{}", random.uuid(), random.below(10_000_000));
    text(&mut bytes, 10, &request);
    bytes
}

/// The message of [`PROTOBUF_SCHEMA`], for the yardstick.
fn protobuf_message() -> MessageDescriptor {
    let mut files = protox::file::ChainFileResolver::new();
    files.add(OneFile);
    files.add(protox::file::GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(files);
    compiler.open_file("conversion.proto").expect("a schema");
    let pool = compiler.descriptor_pool();
    pool.get_message_by_name("Conversion").expect("the message")
}

struct OneFile;

impl protox::file::FileResolver for OneFile {
    fn open_file(&self, name: &str) -> Result<protox::file::File, protox::Error> {
        match name {
            "conversion.proto" => protox::file::File::from_source(name, PROTOBUF_SCHEMA),
            other => Err(protox::Error::file_not_found(other)),
        }
    }
}

fn measure_protobuf() {
    let answer = SchemaAnswer::Known(Arc::new(RegisteredSchema {
        kind: SchemaKind::Protobuf,
        text: PROTOBUF_SCHEMA.to_owned(),
        references: Vec::new(),
    }));
    let batches = batches_of(protobuf_event);
    let mut decoder = ProtobufDecoder::new(&AVRO_COLUMNS, Some(0), 2, 8 << 20).expect("a decoder");
    decoder.learn(AVRO_SCHEMA_ID, &answer);
    measure("Protobuf to columns", &batches, |batch| {
        black_box(decoder.decode(batch)).rows.len()
    });
    let message = protobuf_message();
    measure("prost-reflect to its own values", &batches, |batch| {
        let parse = |record: &RawRecord| {
            let bytes = &batch.value(record).unwrap_or_default()[6..];
            DynamicMessage::decode(message.clone(), bytes)
                .map(black_box)
                .is_ok()
        };
        batch.records.iter().filter(|record| parse(record)).count()
    });
}

fn main() {
    measure_avro();
    debezium::measure_debezium();
    measure_protobuf();
    let decoder =
        || JsonDecoder::new(COLUMNS, Some(0), 2, 8 << 20).expect("columns that fit together");
    for (name, shape) in [
        ("to columns, keys in one order", Shape::SameOrder),
        (
            "to columns, optional fields absent at times",
            Shape::OptionalAbsent,
        ),
        ("to columns, keys in random order", Shape::Shuffled),
        ("to columns, pretty-printed", Shape::Pretty),
    ] {
        let mut decoder = decoder();
        measure(name, &batches(shape), |batch| {
            black_box(decoder.decode(batch)).rows.len()
        });
    }
    for (name, shape) in [
        ("arrow-json to columns, one order", Shape::SameOrder),
        ("arrow-json to columns, random order", Shape::Shuffled),
    ] {
        let mut decoder = yardsticks::arrow_json(decoded_schema(COLUMNS));
        measure(name, &batches(shape), |batch| {
            yardsticks::json_rows(&mut decoder, batch)
        });
    }
    for (name, shape) in [
        ("serde_json to a struct, one order", Shape::SameOrder),
        ("serde_json to a struct, random order", Shape::Shuffled),
    ] {
        measure(name, &batches(shape), |batch| {
            let parse = |record: &RawRecord| {
                serde_json::from_slice::<Event<'_>>(batch.value(record).unwrap_or_default())
                    .map(black_box)
                    .is_ok()
            };
            batch.records.iter().filter(|record| parse(record)).count()
        });
    }
}
