//! What all rows of a table add up to: the sum of a hash of each row's values, so that order does not matter and a row
//! that lands twice is not cancelled out. DuckDB computes the same over the table (`check.py`).

use md5::{Digest, Md5};
use strandline::generator::{GeneratedRecord, Generator, RecordKind};

use crate::Outcome;

/// The values of a record's row as one text, which `check.py` makes of the row as well; `None` when the record is not
/// what it should be.
pub type Row = fn(&GeneratedRecord) -> Option<String>;

/// The sum over all records that are no copies.
///
/// # Errors
/// A record that is not what it should be.
pub fn of(mut generator: Generator, row: Row) -> Outcome<String> {
    let mut record = GeneratedRecord::empty();
    let mut sum = 0u128;
    while generator.fill(&mut record) {
        if matches!(record.kind, RecordKind::Ordinary | RecordKind::Late) {
            let row = row(&record).ok_or_else(|| format!("not as it should be: {record:?}"))?;
            sum += u128::from(hash(row.as_bytes()));
        }
    }
    Ok(sum.to_string())
}

/// DuckDB's `md5_number_lower`: the last eight bytes of the MD5, little endian.
fn hash(bytes: &[u8]) -> u64 {
    let digest = Md5::digest(bytes);
    digest[8..]
        .iter()
        .rev()
        .fold(0, |number, &byte| number << 8 | u64::from(byte))
}
