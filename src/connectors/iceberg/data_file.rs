//! The Iceberg description of a Parquet file: counts, sizes and bounds by column, from its footer.

use std::collections::HashMap;

use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, FormatVersion, Literal,
    PrimitiveType, Struct, Type, serialize_data_file_to_json,
};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics;
use strandline_operators::{Error, Result};

use super::files::ParquetTable;

/// Characters kept of a string's bound, as iceberg's default `truncate(16)`.
const BOUND_CHARS: usize = 16;

/// The description as text, which any process can hand to the committer.
pub(super) fn describe(
    table: &ParquetTable,
    metadata: &ParquetMetaData,
    location: &str,
    day: i32,
    rows: u64,
    bytes: u64,
) -> Result<String> {
    let failed = |e: &dyn std::fmt::Display| {
        Error::internal(format!("cannot describe data file `{location}`: {e}"))
    };
    let footer_rows = metadata.file_metadata().num_rows();
    if u64::try_from(footer_rows).ok() != Some(rows) {
        return Err(failed(&format!(
            "its footer counts {footer_rows} rows, {rows} were written"
        )));
    }
    let data_file = build(table, metadata, location, day, rows, bytes).map_err(|e| failed(&e))?;
    serialize_data_file_to_json(data_file, &table.partition_type, FormatVersion::V2)
        .map_err(|e| failed(&e))
}

fn build(
    table: &ParquetTable,
    metadata: &ParquetMetaData,
    location: &str,
    day: i32,
    rows: u64,
    bytes: u64,
) -> std::result::Result<DataFile, String> {
    let mut columns = Columns::default();
    for group in metadata.row_groups() {
        for chunk in group.columns() {
            let descriptor = chunk.column_descr();
            // Only plain columns so far: a name with a dot would be a part of a nested one.
            let [name] = descriptor.path().parts() else {
                continue;
            };
            let Some(field) = table.schema.field_by_name(name) else {
                continue;
            };
            let Type::Primitive(column_type) = field.field_type.as_ref() else {
                continue;
            };
            let id = field.id;
            *columns.sizes.entry(id).or_default() +=
                u64::try_from(chunk.compressed_size()).unwrap_or(0);
            *columns.values.entry(id).or_default() +=
                u64::try_from(chunk.num_values()).unwrap_or(0);
            match chunk.statistics() {
                Some(statistics) => columns.add(id, column_type, statistics),
                None => columns.unknown.push(id),
            }
        }
    }
    columns.forget_unknown();
    DataFileBuilder::default()
        .content(DataContentType::Data)
        .file_path(location.to_owned())
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::from_iter([Some(Literal::date(day))]))
        .partition_spec_id(table.spec_id)
        .record_count(rows)
        .file_size_in_bytes(bytes)
        .column_sizes(columns.sizes)
        .value_counts(columns.values)
        .null_value_counts(columns.nulls)
        .lower_bounds(columns.lower)
        .upper_bounds(columns.upper)
        .split_offsets(Some(
            metadata
                .row_groups()
                .iter()
                .filter_map(|group| group.file_offset())
                .collect(),
        ))
        .build()
        .map_err(|e| e.to_string())
}

#[derive(Default)]
struct Columns {
    sizes: HashMap<i32, u64>,
    values: HashMap<i32, u64>,
    nulls: HashMap<i32, u64>,
    lower: HashMap<i32, Datum>,
    upper: HashMap<i32, Datum>,
    // Columns for which a row group says too little: no bound and no count of nulls may be given.
    unknown: Vec<i32>,
}

impl Columns {
    fn add(&mut self, id: i32, column_type: &PrimitiveType, statistics: &Statistics) {
        match statistics.null_count_opt() {
            Some(nulls) => *self.nulls.entry(id).or_default() += nulls,
            None => self.unknown.push(id),
        }
        // Only nulls in this row group: nothing to bound.
        if statistics.min_bytes_opt().is_none() {
            return;
        }
        match bounds(column_type, statistics) {
            Some((lower, upper)) => {
                match self.lower.get(&id) {
                    Some(known) if *known <= lower => {}
                    _ => drop(self.lower.insert(id, lower)),
                }
                match self.upper.get(&id) {
                    Some(known) if *known >= upper => {}
                    _ => drop(self.upper.insert(id, upper)),
                }
            }
            None => self.unknown.push(id),
        }
    }

    fn forget_unknown(&mut self) {
        for id in &self.unknown {
            self.nulls.remove(id);
            self.lower.remove(id);
            self.upper.remove(id);
        }
    }
}

/// A lower and an upper bound of all values; `None` when the footer gives none of this type.
fn bounds(column_type: &PrimitiveType, statistics: &Statistics) -> Option<(Datum, Datum)> {
    Some(match (column_type, statistics) {
        (PrimitiveType::Boolean, Statistics::Boolean(s)) => {
            (Datum::bool(*s.min_opt()?), Datum::bool(*s.max_opt()?))
        }
        (PrimitiveType::Int, Statistics::Int32(s)) => {
            (Datum::int(*s.min_opt()?), Datum::int(*s.max_opt()?))
        }
        (PrimitiveType::Long, Statistics::Int64(s)) => {
            (Datum::long(*s.min_opt()?), Datum::long(*s.max_opt()?))
        }
        (PrimitiveType::Timestamptz, Statistics::Int64(s)) => (
            Datum::timestamptz_micros(*s.min_opt()?),
            Datum::timestamptz_micros(*s.max_opt()?),
        ),
        (PrimitiveType::Timestamp, Statistics::Int64(s)) => (
            Datum::timestamp_micros(*s.min_opt()?),
            Datum::timestamp_micros(*s.max_opt()?),
        ),
        (PrimitiveType::Time, Statistics::Int64(s)) => (
            Datum::time_micros(*s.min_opt()?).ok()?,
            Datum::time_micros(*s.max_opt()?).ok()?,
        ),
        (PrimitiveType::Date, Statistics::Int32(s)) => {
            (Datum::date(*s.min_opt()?), Datum::date(*s.max_opt()?))
        }
        (PrimitiveType::Float, Statistics::Float(s)) => {
            (Datum::float(*s.min_opt()?), Datum::float(*s.max_opt()?))
        }
        (PrimitiveType::Double, Statistics::Double(s)) => {
            (Datum::double(*s.min_opt()?), Datum::double(*s.max_opt()?))
        }
        (PrimitiveType::String, Statistics::ByteArray(s)) => {
            let lower = lossy(s.min_opt()?.data());
            let upper = std::str::from_utf8(s.max_opt()?.data()).ok()?;
            (
                Datum::string(lower_bound(&lower)),
                Datum::string(upper_bound(upper)?),
            )
        }
        _ => return None,
    })
}

/// The footer cuts long values, perhaps within a character: what is before the cut is still a lower bound.
fn lossy(bytes: &[u8]) -> String {
    let valid = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) => std::str::from_utf8(&bytes[..e.valid_up_to()]).unwrap_or_default(),
    };
    valid.to_owned()
}

fn lower_bound(value: &str) -> String {
    value.chars().take(BOUND_CHARS).collect()
}

/// The first characters with the last of them raised, so that it is above every string that begins so.
fn upper_bound(value: &str) -> Option<String> {
    let mut kept: Vec<char> = value.chars().take(BOUND_CHARS).collect();
    if kept.len() == value.chars().count() {
        return Some(value.to_owned());
    }
    while let Some(last) = kept.pop() {
        let raised = match last {
            '\u{d7ff}' => Some('\u{e000}'),
            other => char::from_u32(other as u32 + 1),
        };
        if let Some(raised) = raised {
            kept.push(raised);
            return Some(kept.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_strings_bounds_enclose_it(value: String) {
            prop_assert!(lower_bound(&value) <= value);
            if let Some(upper) = upper_bound(&value) {
                prop_assert!(upper >= value);
                prop_assert!(upper.chars().count() <= BOUND_CHARS);
            }
        }

        #[test]
        fn an_upper_bound_holds_for_every_longer_string(value in "\\PC{17,30}", tail: String) {
            // Characters beyond the cut do not matter.
            let longer = format!("{}{tail}", value.chars().take(16).collect::<String>());
            if let Some(upper) = upper_bound(&value) {
                prop_assert!(upper >= longer);
            }
        }
    }

    #[test]
    fn there_is_no_upper_bound_above_the_last_character() {
        assert_eq!(upper_bound(&"\u{10ffff}".repeat(17)), None);
        assert_eq!(
            upper_bound(&format!("a{}", "\u{10ffff}".repeat(16))),
            Some("b".to_owned())
        );
    }
}
