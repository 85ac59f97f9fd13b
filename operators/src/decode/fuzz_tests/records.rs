//! Records that are changed at random.
//!
//! Each round changes some of the corpus and puts them between good ones: nothing panics, every record is a row, a dead
//! letter or nothing, and the good ones land as they do alone.

use arrow_array::RecordBatch;

use super::super::message::MAX_MESSAGE_BYTES;
use super::super::recognise::{look, recognise};
use super::*;
use crate::job::{Peek, PeekAt};
use crate::record::{Headers, Span};
use crate::schema::RAW_COLUMNS;
use crate::time::EventTime;

/// Records of a round that are changed.
const CHANGED: usize = 6;

/// Bytes that a changed record has at most.
const MAX_BYTES: usize = 16 << 10;

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
}

/// Prints how to repeat a round that panics.
struct Say<'a> {
    corpus: &'static str,
    seed: u64,
    batch: &'a RawBatch,
}

impl Drop for Say<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("STRANDLINE_FUZZ_SEED={}, {}", self.seed, self.corpus);
            for record in &self.batch.records {
                let value = self.batch.value(record).unwrap_or_default();
                println!("{}\t{}", self.corpus, STANDARD.encode(value));
            }
        }
    }
}

/// What one decoder is fed.
struct Fed {
    /// The name of its records in the corpus.
    corpus: &'static str,
    settings: JobSettings,
}

fn of(format: Format) -> Fed {
    Fed {
        corpus: format.name(),
        settings: settings(format),
    }
}

/// Records that are kept as bytes.
fn raw(corpus: &'static str, format: Format, event_id: &str, event_time: &str) -> Fed {
    let at = |place: &str| PeekAt::parse(place).expect("a place in a record");
    let mut settings = settings(Format::Raw);
    settings.columns = RAW_COLUMNS.to_vec();
    settings.peek = Some(Peek {
        format,
        event_id: at(event_id),
        event_time: at(event_time),
    });
    Fed { corpus, settings }
}

/// A batch of these values, each record with a timestamp and with what the lines of its value say: the first is its key
/// and its header `id`, the second its header `time`, the third the name of another header.
fn batch_of(values: &[Option<Vec<u8>>]) -> RawBatch {
    let mut batch = raw_batch(values);
    let mut arena = batch.arena.to_vec();
    let end = arena.len() as u32;
    arena.extend(b"idtime");
    let id = Span {
        start: end,
        end: end + 2,
    };
    let time = Span {
        start: id.end,
        end: id.end + 4,
    };
    let mut headers = Headers::default();
    for record in &mut batch.records {
        record.timestamp = Some(EventTime(77));
        let lines = record.value.map(|value| lines_of(&arena, value));
        let lines = lines.unwrap_or_default();
        record.key = lines.first().copied();
        for (name, &line) in [id, time].into_iter().zip(&lines) {
            headers.push(name, Some(line));
        }
        if let Some(&name) = lines.get(2) {
            headers.push(name, None);
        }
        headers.close_record();
    }
    batch.arena = arena.into();
    batch.headers = Some(headers);
    batch
}

/// The first lines of a value.
fn lines_of(arena: &[u8], value: Span) -> Vec<Span> {
    let mut start = value.start;
    let bytes = &arena[value.start as usize..value.end as usize];
    let lines = bytes.split(|byte| *byte == b'\n').take(3);
    let span = |line: &[u8]| {
        let end = start + line.len() as u32;
        let span = Span { start, end };
        start = end + 1;
        span
    };
    lines.map(span).collect()
}

fn fuzz(fed: &Fed) {
    let Fed { corpus, settings } = fed;
    let mut decoder = decoder_of(settings);
    let name = *corpus;
    let corpus = corpus_of(name);
    let has_header = settings.has_schema_ids();
    // What the good ones become alone.
    let good: Vec<(&Vec<u8>, RecordBatch)> = corpus
        .iter()
        .filter_map(|record| {
            let decoded = decoder.decode(&batch_of(&[Some(record.clone())]));
            (decoded.rows.len() == 1).then_some((record, decoded.columns))
        })
        .collect();
    assert!(good.len() >= 3, "{} good records of {name}", good.len());
    let seeds = seeds(1);
    let rounds = seeds.end - seeds.start;
    let mut landed = 0;
    for seed in seeds {
        let mut draw = Draw(seed);
        let mut records = Vec::new();
        let mut expected = Vec::new();
        for _ in 0..CHANGED {
            records.push(Some(draw.changed(&corpus, has_header)));
            let (record, columns) = &good[draw.below(good.len())];
            expected.push((records.len() as u32, columns));
            records.push(Some((*record).clone()));
        }
        let batch = batch_of(&records);
        let say = Say {
            corpus: name,
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
            sees_something(&records, settings);
        }
        drop(say);
    }
    println!(
        "{name}: {landed} of {} changed records land",
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
    ($($name:ident: $fed:expr),* $(,)?) => {
        $(#[test]
        fn $name() {
            fuzz(&$fed);
        })*
    };
}

fuzz!(
    json_survives_any_change: of(Format::Json),
    json_sr_survives_any_change: of(Format::JsonSr),
    avro_survives_any_change: of(Format::Avro),
    avro_sr_survives_any_change: of(Format::AvroSr),
    protobuf_sr_survives_any_change: of(Format::ProtobufSr),
    csv_survives_any_change: of(Format::Csv),
    debezium_json_survives_any_change: of(Format::DebeziumJson),
    debezium_json_sr_survives_any_change: of(Format::DebeziumJsonSr),
    raw_avro_survives_any_change:
        raw("raw", Format::AvroSr, "field:event_id", "field:event_time"),
    raw_json_survives_any_change:
        raw("json", Format::Json, "field:event_id", "field:event_time"),
    raw_with_headers_survives_any_change: raw("raw_lines", Format::Json, "header:id", "header:time"),
    raw_with_keys_survives_any_change: raw("raw_lines", Format::Json, "key", "timestamp"),
);
