//! Changes of a table of stock events, as Debezium 3.6 reports them from PostgreSQL in JSON without its schema. Six in ten
//! are inserted, three in ten updated, one in ten deleted; the table's replica identity is full, so that updates and
//! deletes have their former row. The rows have no event id: the position in the log is it.

use std::io::Write;

use chrono::DateTime;
use serde::Deserialize;
use serde_json::value::RawValue;
use strandline::generator::{GeneratedRecord, Made};
use strandline_operators::time::EventTime;

const DATABASE: &str = "warehouse";
const SCHEMA: &str = "public";
const TABLE: &str = "stock_events";
/// Positions start here, as those of a log that was written for a while do; the lowest 26 bits stay free.
const FIRST_LSN: u64 = 0x0016_b374_0000_0000;
/// Bytes of the log between two events.
const LSN_STEP: u64 = 184;
const MICROS_PER_MINUTE: i64 = 60_000_000;

/// Writes one.
pub fn write(made: &mut Made<'_>, out: &mut Vec<u8>) {
    let kind = made.random(0) % 10;
    let op = match kind {
        0..6 => 'c',
        6..9 => 'u',
        _ => 'd',
    };
    out.extend_from_slice(b"{\"before\":");
    if op == 'c' {
        out.extend_from_slice(b"null");
    } else {
        let age = (made.random(1) % 600) as i64 * MICROS_PER_MINUTE;
        let age = if op == 'd' { 0 } else { age };
        let time = EventTime(made.event_time.0 - age);
        write_row(made, time, 2, out);
    }
    out.extend_from_slice(b",\"after\":");
    if op == 'd' {
        out.extend_from_slice(b"null");
    } else {
        let time = made.event_time;
        write_row(made, time, 3, out);
    }
    let lsn = FIRST_LSN + made.index * LSN_STEP;
    let (source_ms, delay_ms) = (made.event_time.0 / 1000 + 3, 100 + made.random(4) % 400);
    let ms = source_ms + delay_ms as i64;
    // Writing to a vector cannot fail.
    let _ = write!(
        out,
        ",\"source\":{{\"version\":\"3.6.3.Final\",\"connector\":\"postgresql\",\"name\":\"{DATABASE}\",\
         \"ts_ms\":{source_ms},\"snapshot\":\"false\",\"db\":\"{DATABASE}\",\"sequence\":\"[\\\"{}\\\",\\\"{lsn}\\\"]\",\
         \"ts_us\":{source_ms}112,\"ts_ns\":{source_ms}112000,\"schema\":\"{SCHEMA}\",\"table\":\"{TABLE}\",\
         \"txId\":{},\"lsn\":{lsn},\"xmin\":null,\"origin\":null,\"origin_lsn\":null}},\"transaction\":null,\
         \"op\":\"{op}\",\"ts_ms\":{ms},\"ts_us\":{ms}503,\"ts_ns\":{ms}503645}}",
        lsn - 56,
        700 + made.index / 3,
    );
}

fn write_row(made: &mut Made<'_>, time: EventTime, draw: u64, out: &mut Vec<u8>) {
    const TYPES: [&str; 4] = [
        "stock.counted",
        "stock.moved",
        "stock.reserved",
        "stock.released",
    ];
    let what = made.random(5);
    let draw = made.random(draw);
    out.extend_from_slice(b"{\"event_type\":\"");
    out.extend_from_slice(TYPES[(what % 4) as usize].as_bytes());
    out.extend_from_slice(b"\",\"event_time\":\"");
    made.write_time(time, out);
    let _ = write!(
        out,
        "\",\"aggregate_type\":\"stock\",\"aggregate_id\":\"{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}\",\
         \"payload\":\"{{\\\"sku\\\":\\\"SKU-{:08}\\\",\\\"place\\\":\\\"ams-{}/{:03}\\\",\\\"quantity\\\":{},\
         \\\"counted_by\\\":\\\"user-{:05x}\\\",\\\"batch\\\":\\\"{draw:016x}\\\"}}\"}}",
        what >> 32,
        what >> 16 & 0xffff,
        what & 0xfff,
        what >> 20 & 0xfff,
        made.random(6) & 0xffff_ffff_ffff,
        what % 100_000_000,
        what % 9,
        draw % 1000,
        draw >> 8 & 0x3ff,
        draw >> 20 & 0xf_ffff,
    );
}

#[derive(Deserialize)]
struct Change<'a> {
    #[serde(borrow)]
    before: Option<&'a RawValue>,
    #[serde(borrow)]
    after: Option<&'a RawValue>,
    #[serde(borrow)]
    source: Source<'a>,
    op: &'a str,
    ts_ms: i64,
}

#[derive(Deserialize)]
struct Source<'a> {
    db: &'a str,
    schema: &'a str,
    table: &'a str,
    ts_ms: i64,
    lsn: u64,
}

#[derive(Deserialize)]
struct Row<'a> {
    event_type: &'a str,
    event_time: &'a str,
    aggregate_type: &'a str,
    aggregate_id: &'a str,
    payload: String,
}

/// `db.schema.table:lsn:op` and all values, as serde_json reads them.
pub fn row(record: &GeneratedRecord) -> Option<String> {
    let change: Change<'_> = serde_json::from_slice(record.value.as_deref()?).ok()?;
    let Change {
        source, op, ts_ms, ..
    } = &change;
    let is_delete = *op == "d";
    let row = if is_delete {
        change.before
    } else {
        change.after
    };
    let row: Row<'_> = serde_json::from_str(row?.get()).ok()?;
    let time = DateTime::parse_from_rfc3339(row.event_time).ok()?;
    Some(format!(
        "{db}.{schema}.{table}:{lsn}:{op}|{time}|{event_type}|{aggregate_type}|{aggregate_id}|{payload}|{op}|{table}|{schema}|{ts}|{source_ts}|{lsn}|{is_delete}|{before}|",
        db = source.db,
        schema = source.schema,
        table = source.table,
        lsn = source.lsn,
        time = time.timestamp_micros(),
        event_type = row.event_type,
        aggregate_type = row.aggregate_type,
        aggregate_id = row.aggregate_id,
        payload = row.payload,
        ts = ts_ms * 1000,
        source_ts = source.ts_ms * 1000,
        before = change.before.map_or("", RawValue::get),
    ))
}
