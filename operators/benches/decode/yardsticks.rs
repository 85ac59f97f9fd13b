//! The decoders of the arrow project, as strong as they can be had: a whole batch of records in one call, with nothing
//! between them and no check of what a job needs.

use std::hint::black_box;

use arrow_avro::reader::{Decoder as AvroDecoder, ReaderBuilder as AvroReaderBuilder};
use arrow_avro::schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore};
use arrow_json::reader::{Decoder as JsonDecoder, ReaderBuilder as JsonReaderBuilder};
use strandline_operators::arrow_schema::SchemaRef;
use strandline_operators::record::RawBatch;

use crate::BATCH_RECORDS;

/// arrow-json, to these columns.
pub fn arrow_json(schema: SchemaRef) -> JsonDecoder {
    let builder = JsonReaderBuilder::new(schema).with_batch_size(BATCH_RECORDS);
    builder.build_decoder().expect("a decoder")
}

/// Decodes a batch; returns its rows.
pub fn json_rows(decoder: &mut JsonDecoder, batch: &RawBatch) -> usize {
    let read = decoder.decode(&batch.arena).expect("JSON");
    assert_eq!(read, batch.arena.len(), "the whole batch is read");
    let rows = decoder.flush().expect("rows").expect("rows");
    black_box(rows).num_rows()
}

/// arrow-avro, of records whose header names this schema, to its own columns.
pub fn arrow_avro(id: u32, schema: &str) -> AvroDecoder {
    let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
    let schema = AvroSchema::new(schema.to_owned());
    store.set(Fingerprint::Id(id), schema).expect("a schema");
    let builder = AvroReaderBuilder::new()
        .with_batch_size(BATCH_RECORDS)
        .with_writer_schema_store(store);
    builder.build_decoder().expect("a decoder")
}

/// Decodes a batch; returns its rows.
pub fn avro_rows(decoder: &mut AvroDecoder, batch: &RawBatch) -> usize {
    let read = decoder.decode(&batch.arena).expect("Avro");
    assert_eq!(read, batch.arena.len(), "the whole batch is read");
    let rows = decoder.flush().expect("rows").expect("rows");
    black_box(rows).num_rows()
}
