//! Trades of Binance in Avro, of the schema that the tests of the job `crypto-binance` have.

use md5::{Digest, Md5};
use strandline::generator::{GeneratedRecord, Made};
use strandline_operators::time::EventTime;

/// In the records' headers.
pub const SCHEMA_ID: u32 = 17;

/// Of every record.
pub const SCHEMA: &str = r#"{"type":"record","name":"TradeBinance","namespace":"market","fields":[
    {"name":"message_id","type":"string"},
    {"name":"exchange","type":"string"},
    {"name":"event_time","type":{"type":"long","logicalType":"timestamp-micros"}},
    {"name":"symbol","type":"string"},
    {"name":"price","type":"string"},
    {"name":"quantity","type":{"type":"bytes","logicalType":"decimal","precision":20,"scale":8}},
    {"name":"is_buyer_maker","type":"boolean"}]}"#;

const HEADER_BYTES: usize = 5;
const ID_BYTES: usize = 36;
const SYMBOLS: [&str; 8] = [
    "BTCUSDT",
    "ETHUSDT",
    "SOLUSDT",
    "BNBUSDT",
    "XRPUSDT",
    "DOGEUSDT",
    "1000PEPEUSDT",
    "ADAUSDC",
];

/// Writes one.
pub fn write(made: &mut Made<'_>, out: &mut Vec<u8>) {
    write_header(out);
    write_long(out, ID_BYTES as i64);
    made.write_id(out);
    write_rest(out, made.event_time, [made.random(0), made.random(1)]);
}

/// One that happens now.
pub fn fresh(number: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    write_header(&mut out);
    write_bytes(
        &mut out,
        format!("00000000-0000-4000-8000-{number:012}").as_bytes(),
    );
    // Weyl's sequence: different, and spread.
    let draw = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    write_rest(&mut out, EventTime::now(), [draw, draw.rotate_left(32)]);
    out
}

fn write_header(out: &mut Vec<u8>) {
    out.push(0);
    out.extend_from_slice(&SCHEMA_ID.to_be_bytes());
}

/// What is behind the id.
fn write_rest(out: &mut Vec<u8>, event_time: EventTime, [draw, other]: [u64; 2]) {
    write_bytes(out, b"binance");
    write_long(out, event_time.0);
    write_bytes(out, SYMBOLS[(draw % 8) as usize].as_bytes());
    let price = format!("{}.{:02}", 10 + (draw >> 8) % 99_990, (draw >> 32) % 100);
    write_bytes(out, price.as_bytes());
    // Below 2^38 hundred-millionths: five bytes, the sign's bit clear.
    let quantity = (other >> 26).to_be_bytes();
    write_bytes(out, &quantity[3..]);
    out.push((draw >> 63) as u8);
}

/// `event_id|event_time|schema_id|kafka_key|headers|MD5 of the value`
pub fn row(record: &GeneratedRecord) -> Option<String> {
    let value = record.value.as_deref()?;
    let key = std::str::from_utf8(record.key.as_deref()?).ok()?;
    let schema_id = u32::from_be_bytes(value.get(1..HEADER_BYTES)?.try_into().ok()?);
    // Lengths below 64 are one byte, twice the number.
    let id_at = HEADER_BYTES + 1;
    let id = std::str::from_utf8(value.get(id_at..id_at + ID_BYTES)?).ok()?;
    let exchange_bytes = usize::from(*value.get(id_at + ID_BYTES)?) / 2;
    let time = read_long(value.get(id_at + ID_BYTES + 1 + exchange_bytes..)?)?;
    let digest: String = Md5::digest(value)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    Some(format!("{id}|{time}|{schema_id}|{key}|0|{digest}"))
}

fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_long(out, bytes.len() as i64);
    out.extend_from_slice(bytes);
}

/// Zigzag and seven bits a byte, as Avro has integers.
fn write_long(out: &mut Vec<u8>, number: i64) {
    let mut rest = ((number << 1) ^ (number >> 63)) as u64;
    while rest > 0x7f {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn read_long(bytes: &[u8]) -> Option<i64> {
    let mut number = 0u64;
    for (at, byte) in bytes.iter().take(10).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((number >> 1) as i64 ^ -((number & 1) as i64));
        }
    }
    None
}
