//! The hash of an event id: xxh3-128 of its canonical bytes, with the table's seed.
//!
//! Canonical bytes: a string is its UTF-8 bytes, an integer its eight little-endian bytes. The type is
//! folded into the seed and not into the bytes, so that no id is copied and JSON `1` is not `"1"`. The
//! seed is random per table and kept in its progress: with a known one, crafted collisions would be
//! silent loss.

use arrow_array::{Array, StringArray};
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// The type of an id; the number is part of the hash and must never change.
#[derive(Clone, Copy)]
enum IdType {
    String = 1,
    Integer = 2,
}

/// 2^64 / golden ratio: spreads the type over the whole seed.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

fn typed(seed: u64, id_type: IdType) -> u64 {
    seed ^ (id_type as u64).wrapping_mul(SPREAD)
}

/// The hash of an id that is a string.
///
/// ```
/// use strandline_operators::dedup::hash::{hash_integer, hash_string};
/// assert_ne!(hash_string("1", 7), hash_integer(1, 7), "JSON 1 is not \"1\"");
/// assert_ne!(hash_string("1", 7), hash_string("1", 8), "another table, another hash");
/// ```
pub fn hash_string(id: &str, seed: u64) -> u128 {
    xxh3_128_with_seed(id.as_bytes(), typed(seed, IdType::String))
}

/// The hash of an id that is an integer.
pub fn hash_integer(id: i64, seed: u64) -> u128 {
    xxh3_128_with_seed(&id.to_le_bytes(), typed(seed, IdType::Integer))
}

/// The hashes of a column of ids, one a row. A null row gives the hash of the bytes in its slot, which
/// means nothing: rows without an id are dead letters and must be gone by now.
pub fn hash_strings(ids: &StringArray, seed: u64) -> Vec<u128> {
    let seed = typed(seed, IdType::String);
    (0..ids.len())
        .map(|row| xxh3_128_with_seed(ids.value(row).as_bytes(), seed))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_hash_of_an_id_never_changes() {
        // Hashes stand in state stores of earlier builds: a change here needs a new format version.
        // The published XXH3_128bits of no bytes with seed 0.
        assert_eq!(
            hash_string("", SPREAD),
            0x99aa_06d3_0147_98d8_6001_c324_468d_497f
        );
        assert_eq!(
            hash_string("6f1c", 42),
            164_752_667_921_980_760_677_564_651_184_785_309_026
        );
        assert_eq!(
            hash_integer(1, 42),
            154_521_854_141_772_681_806_560_910_354_176_326_101
        );
    }

    proptest! {
        #[test]
        fn a_column_hashes_as_its_rows_do(ids: Vec<String>, seed: u64) {
            let column = StringArray::from(ids.clone());
            let expected: Vec<u128> = ids.iter().map(|id| hash_string(id, seed)).collect();
            prop_assert_eq!(hash_strings(&column, seed), expected);
        }

        #[test]
        fn an_integer_and_its_bytes_or_digits_as_a_string_differ(id: i64, seed: u64) {
            prop_assert_ne!(hash_integer(id, seed), hash_string(&id.to_string(), seed));
            if let Ok(bytes) = std::str::from_utf8(&id.to_le_bytes()) {
                prop_assert_ne!(hash_integer(id, seed), hash_string(bytes, seed));
            }
        }
    }
}
