//! CSV records straight into Arrow columns: one row a record.
//!
//! Which cell is which column is configured, or the order of the job's columns; a topic has no header line. Cells
//! are split as RFC 4180 says, a cell in quotes may hold delimiters, line breaks and doubled quotes; `csv-core`
//! does this, and like it we take a quote inside of a cell without quotes for a character.
//!
//! | a record that is | is |
//! |---|---|
//! | null | `null_value` |
//! | longer than the job's limit | `too_large` |
//! | empty; with a quote that is not closed; with a second row; with text that is not UTF-8 | `malformed` |
//! | with more or fewer cells than there should be; with a cell that does not fit its column; with an empty one where the column is required | `schema_mismatch` |
//! | with an empty event id | `missing_event_id` |
//! | with an empty event time | `missing_event_time` |
//!
//! The first line that applies decides. An empty cell is null, with quotes or without.
//!
//! | column | cell |
//! |---|---|
//! | string | any text |
//! | int, long | digits, with a sign |
//! | float, double | a number that is finite |
//! | boolean | `true`, `t`, `1`, `false`, `f`, `0`, in any case |
//! | decimal | digits, exactly |
//! | date | `YYYY-MM-DD` |
//! | time | `hh:mm:ss` |
//! | timestamptz, timestamp | ISO-8601, or digits of epoch milliseconds |
//! | binary | base64 |

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::columns::{ColumnBuilder, Unit, Values};
use super::frame;
use super::message::{Failure, excerpt};
use super::rows::RowColumns;
use super::target::{Target, targets};
use super::{Decode, Decoded, decimal, timestamp};
use crate::error::{Error, Result};
use crate::job::CsvSettings;
use crate::record::{ErrorType, RawBatch};
use crate::schema::Column;

/// A decoder of CSV records; see the module's documentation for what it takes for what.
#[derive(Debug)]
pub struct CsvDecoder {
    rows: CsvRows,
    columns: RowColumns,
}

/// Reads rows into columns.
#[derive(Debug)]
struct CsvRows {
    targets: Vec<Target>,
    /// For each cell, its column, if it is one.
    cells: Vec<Option<usize>>,
    /// Columns that no cell is for.
    absent: Vec<usize>,
    reader: Reader,
    /// The cells of the record at hand, one behind the other, and where they end.
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl CsvDecoder {
    /// A decoder of records into `columns`. `event_id` and `event_time` are places in them. Values longer than
    /// `max_record_bytes` are `too_large`.
    ///
    /// # Errors
    /// Columns of the same name; an id or a time that is no column, or of another type; a cell that is named
    /// twice, or a required column that no cell is for; a delimiter that cannot be one.
    pub fn new(
        columns: &[Column],
        event_id: Option<usize>,
        event_time: usize,
        max_record_bytes: u64,
        csv: &CsvSettings,
    ) -> Result<CsvDecoder> {
        super::check_columns(columns, event_id, Some(event_time))?;
        if matches!(csv.delimiter, b'"' | b'\r' | b'\n') || !csv.delimiter.is_ascii() {
            return Err(Error::configuration(format!(
                "`csv.delimiter` cannot be {:?}",
                char::from(csv.delimiter)
            ))
            .hint("it must be an ASCII character that is no quote and no line break"));
        }
        let targets = targets(columns, event_id, event_time);
        let names: Vec<&str> = match csv.columns.as_slice() {
            [] => columns.iter().map(|column| column.name).collect(),
            named => named.iter().map(String::as_str).collect(),
        };
        let mut cells = vec![None; names.len()];
        let mut absent = Vec::new();
        for (cell, name) in names.iter().enumerate() {
            if names[..cell].contains(name) {
                return Err(Error::configuration(format!(
                    "`csv.columns` names `{name}` twice"
                )));
            }
        }
        for (place, target) in targets.iter().enumerate() {
            match target.find(|name| names.iter().position(|cell| *cell == name)) {
                Some(cell) => match cells[cell].replace(place) {
                    None => {}
                    Some(other) => {
                        return Err(Error::configuration(format!(
                            "the cell `{}` would be two columns, `{}` and `{}`",
                            names[cell], columns[other].name, target.column.name
                        ))
                        .hint("leave one of them out, or its alias"));
                    }
                },
                None if target.required.is_some() => {
                    return Err(Error::configuration(format!(
                        "`csv.columns` lacks the required column `{}`",
                        target.column.name
                    ))
                    .hint("name every cell of a row, in order; those that are no column of the job are skipped"));
                }
                None => absent.push(place),
            }
        }
        let rows = CsvRows {
            targets,
            // One more than there should be, so that a row with more is noticed.
            ends: vec![0; cells.len() + 1],
            cells,
            absent,
            reader: ReaderBuilder::new().delimiter(csv.delimiter).build(),
            text: Vec::new(),
        };
        Ok(CsvDecoder {
            rows,
            columns: RowColumns::new(columns, max_record_bytes),
        })
    }
}

impl CsvRows {
    /// Adds a record as one row; after a failure the columns must be cut back.
    fn read(
        &mut self,
        value: &[u8],
        builders: &mut [ColumnBuilder],
    ) -> std::result::Result<(), Failure> {
        let count = split(&mut self.reader, value, &mut self.text, &mut self.ends)?;
        let expected = self.cells.len();
        if count != expected {
            let found = match count > expected {
                true => format!("more than {expected}"),
                false => count.to_string(),
            };
            return Err(mismatch(format!(
                "the row has {found} cells, should have {expected}: see `csv.columns` and `csv.delimiter`"
            )));
        }
        let mut start = 0;
        for (cell, &end) in self.cells.iter().zip(&self.ends) {
            let bytes = &self.text[start..end];
            start = end;
            let text = simdutf8::basic::from_utf8(bytes)
                .map_err(|_| malformed("text that is not UTF-8"))?;
            let Some(place) = *cell else { continue };
            let target = &self.targets[place];
            if text.is_empty() {
                if target.required.is_some() {
                    return Err(target.missing("is empty"));
                }
                builders[place].append_null();
                continue;
            }
            append(&mut builders[place], text)
                .map_err(|reason| target.mismatch(&format!("{} is {reason}", excerpt(text))))?;
        }
        for &place in &self.absent {
            builders[place].append_null();
        }
        Ok(())
    }
}

#[cold]
fn malformed(what: &str) -> Failure {
    Failure::new(ErrorType::Malformed, format!("not a row of CSV: {what}"))
}

#[cold]
fn mismatch(message: String) -> Failure {
    Failure::new(ErrorType::SchemaMismatch, message)
}

/// Splits a record into cells: how many there are, as far as there is room for their ends.
fn split(
    reader: &mut Reader,
    value: &[u8],
    text: &mut Vec<u8>,
    ends: &mut [usize],
) -> std::result::Result<usize, Failure> {
    if value.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
        return Err(malformed("the record is empty"));
    }
    if let Some(failure) = frame::instead_of_text(value) {
        return Err(failure);
    }
    reader.reset();
    // The cells of a row never have more bytes than the row, and one to spare tells its end from a want of room.
    text.resize(value.len() + 1, 0);
    let (found, read, written, mut count) = reader.read_record(value, text, ends);
    let found = match found {
        // The row has no line break of its own at the end.
        ReadRecordResult::InputEmpty => {
            let (text, ends) = (&mut text[written..], &mut ends[count..]);
            let (found, _, _, more) = reader.read_record(b"\n", text, ends);
            count += more;
            found
        }
        found => found,
    };
    match found {
        ReadRecordResult::Record => {}
        ReadRecordResult::OutputEndsFull => return Ok(ends.len()),
        // A line break does not end the row: it stands inside of quotes.
        _ => return Err(malformed("a quote that is not closed")),
    }
    match value[read..]
        .iter()
        .all(|byte| matches!(byte, b'\r' | b'\n'))
    {
        true => Ok(count),
        false => Err(malformed(
            "another row behind the first; a record is one row",
        )),
    }
}

/// Adds a cell to its column, or says why it does not fit.
fn append(builder: &mut ColumnBuilder, text: &str) -> std::result::Result<(), &'static str> {
    const FULL: &str = "too much: the text of the batch is too long";
    const RANGE: &str = "out of range in microseconds";
    match &mut builder.values {
        Values::Strings(_) => builder.push_string(text).map_err(|_| FULL)?,
        Values::Ints(values) => values.push(text.parse().map_err(|_| "no integer of 32 bits")?),
        Values::Longs(values) => values.push(text.parse().map_err(|_| "no integer of 64 bits")?),
        Values::Floats(values) => {
            let value = text.parse().ok().filter(|value: &f32| value.is_finite());
            values.push(value.ok_or("no number that a float can hold")?);
        }
        Values::Doubles(values) => {
            let value = text.parse().ok().filter(|value: &f64| value.is_finite());
            values.push(value.ok_or("no number that a double can hold")?);
        }
        Values::Booleans(values) => {
            let is = |words: [&str; 3]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
            values.push(match () {
                () if is(["true", "t", "1"]) => true,
                () if is(["false", "f", "0"]) => false,
                () => return Err("neither true nor false"),
            });
        }
        Values::Decimals {
            values,
            precision,
            scale,
        } => values.push(decimal::parse(text, *precision, *scale).map_err(decimal::Unfit::reason)?),
        Values::Dates(values) => values.push(timestamp::parse_date(text.as_bytes())?),
        Values::Times(values) => values.push(timestamp::parse_time(text.as_bytes())?),
        Values::Timestamps { values, .. } => values.push(match text.parse::<i64>() {
            Ok(millis) => Unit::Millis.to_micros(millis).ok_or(RANGE)?,
            Err(_) => timestamp::parse(text.as_bytes())?,
        }),
        Values::Bytes(values) => {
            let bytes = STANDARD.decode(text).map_err(|_| "not base64")?;
            values.push(&bytes).map_err(|_| FULL)?;
        }
        Values::Maps(_) => return Err("nothing that a map can be read from"),
    }
    Ok(())
}

impl Decode for CsvDecoder {
    fn decode(&mut self, batch: &RawBatch) -> Decoded {
        let CsvDecoder { rows, columns } = self;
        columns.decode(batch, |value, builders| rows.read(value, builders))
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;
    use proptest::prelude::*;

    use super::super::testing::{Cell, LONG_TEXT, lands_up_to_the_limit, raw_batch, row};
    use super::*;
    use crate::schema::ColumnType;

    const COLUMNS: &[Column] = &[
        Column::required("event_id", ColumnType::String),
        Column::required("event_time", ColumnType::Timestamptz),
        Column::optional("note", ColumnType::String),
        Column::optional("total", ColumnType::Long).aliases(&["amount"]),
    ];

    fn settings(columns: &[&str], delimiter: u8) -> CsvSettings {
        CsvSettings {
            columns: columns.iter().map(|&name| name.to_owned()).collect(),
            delimiter,
        }
    }

    fn new(columns: &[Column], csv: &CsvSettings) -> Result<CsvDecoder> {
        CsvDecoder::new(columns, Some(0), 1, 8 << 20, csv)
    }

    /// The rows of records, or what each fails with.
    fn decode(
        columns: &[Column],
        csv: &CsvSettings,
        value: &[u8],
    ) -> std::result::Result<Vec<Cell>, (ErrorType, String)> {
        let mut decoder = new(columns, csv).expect("a decoder");
        let decoded = decoder.decode(&raw_batch(&[Some(value)]));
        match decoded.failures.first() {
            None => Ok(row(&decoded, columns, 0)),
            Some(failure) => Err((failure.error_type, failure.message.clone())),
        }
    }

    /// As RFC 4180 has it; `always` puts quotes around every cell.
    fn write(cells: &[String], delimiter: char, always: bool) -> String {
        let quoted = cells.iter().map(|cell| {
            let needs = cell.contains([delimiter, '"', '\r', '\n']);
            match always || needs {
                true => format!("\"{}\"", cell.replace('"', "\"\"")),
                false => cell.clone(),
            }
        });
        quoted.collect::<Vec<_>>().join(&delimiter.to_string())
    }

    #[test]
    fn one_cell_is_not_two_columns() {
        let columns = [COLUMNS, &[Column::optional("amount", ColumnType::Long)][..]].concat();
        let names = settings(&["event_id", "event_time", "amount"], b',');
        let error = new(&columns, &names).expect_err("refused").to_string();
        assert!(
            error.contains("two columns, `total` and `amount`"),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn any_text_comes_out_as_it_went_in(
            notes in proptest::collection::vec("([a-z,;\"\r\n\té]|\u{feff}){0,12}", 1..6),
            delimiter in prop_oneof![Just(','), Just(';'), Just('\t')],
            always: bool, end in prop_oneof![Just(""), Just("\n"), Just("\r\n")],
            bad in proptest::option::of("[\",\n]{1,4}")
        ) {
            let mut records = Vec::new();
            let mut expected = Vec::new();
            for (at, note) in notes.iter().enumerate() {
                let cells = [format!("id{at}"), "1970-01-01T00:00:01Z".to_owned(), note.clone(), at.to_string()];
                records.push(Some(format!("{}{end}", write(&cells, delimiter, always))));
                expected.push([
                    Cell::Text(cells[0].clone()),
                    Cell::Integer(1_000_000),
                    if note.is_empty() { Cell::Null } else { Cell::Text(note.clone()) },
                    Cell::Integer(at as i64),
                ]);
            }
            // A bad record in front changes none of its neighbours.
            let before = usize::from(bad.is_some());
            records.splice(0..0, bad.into_iter().map(Some));
            let mut decoder = new(COLUMNS, &settings(&[], delimiter as u8)).expect("a decoder");
            let decoded = decoder.decode(&raw_batch(&records));
            prop_assert_eq!(decoded.failures.len(), before);
            prop_assert_eq!(decoded.rows.len(), notes.len());
            for (at, expected) in expected.iter().enumerate() {
                prop_assert_eq!(&row(&decoded, COLUMNS, at)[..], expected);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, columns in 0usize..4) {
            let mut decoder = new(&COLUMNS[..2 + columns.min(2)], &settings(&[], b',')).expect("a decoder");
            let decoded = decoder.decode(&raw_batch(&[Some(bytes)]));
            prop_assert_eq!(decoded.rows.len() + decoded.failures.len(), 1);
        }
    }

    #[test]
    fn cells_are_named_by_the_configuration() {
        let csv = settings(&["event_time", "amount", "ignored", "event_id"], b'|');
        let found = decode(COLUMNS, &csv, b"1000|7|any \"thing|a");
        assert_eq!(
            found,
            Ok(vec![
                Cell::Text("a".to_owned()),
                Cell::Integer(1_000_000),
                Cell::Null,
                Cell::Integer(7)
            ])
        );
    }

    #[test]
    fn every_type_has_its_text() {
        use ColumnType as C;
        let decimal = C::Decimal {
            precision: 6,
            scale: 2,
        };
        let reads = |column_type, text: &str| {
            let columns = &[COLUMNS[0], COLUMNS[1], Column::optional("it", column_type)];
            let record = format!("a,1970-01-01 00:00:00Z,{text}");
            decode(columns, &settings(&[], b','), record.as_bytes())
                .map(|cells| cells[2].clone())
                .map_err(|(error_type, _)| error_type)
        };
        let is = |column_type, text: &str, cell: Cell| {
            assert_eq!(reads(column_type, text), Ok(cell), "{text}");
        };
        is(C::Int, "-7", Cell::Integer(-7));
        is(C::Long, "9223372036854775807", Cell::Integer(i64::MAX));
        is(C::Float, "0.5", Cell::Float(0.5f64.to_bits()));
        is(C::Double, "1e3", Cell::Float(1000f64.to_bits()));
        is(C::Boolean, "True", Cell::Boolean(true));
        is(C::Boolean, "0", Cell::Boolean(false));
        is(decimal, "-12.5", Cell::Decimal(-1250));
        is(C::Date, "1970-01-03", Cell::Integer(2));
        is(C::Time, "00:00:01", Cell::Integer(1_000_000));
        is(C::Timestamp, "-1", Cell::Integer(-1000));
        is(
            C::Timestamptz,
            "1970-01-01T01:00:00+01:00",
            Cell::Integer(0),
        );
        is(C::Binary, "AQI=", Cell::Bytes(vec![1, 2]));
        is(C::Binary, "\"\"", Cell::Null);
        for (column_type, text) in [
            (C::Int, "2147483648"),
            (C::Int, "1.0"),
            (C::Int, " 1"),
            (C::Long, "x"),
            (C::Float, "1e99"),
            (C::Double, "NaN"),
            (C::Boolean, "yes"),
            (decimal, "1.005"),
            (C::Date, "03.01.1970"),
            (C::Time, "24:00"),
            (C::Timestamptz, "99999999999999999"),
            (C::Binary, "%"),
        ] {
            assert_eq!(
                reads(column_type, text),
                Err(ErrorType::SchemaMismatch),
                "{text}"
            );
        }
    }

    #[test]
    fn each_cause_has_its_name() {
        use ErrorType as E;
        let fails = |value: &[u8], error_type, part: &str| {
            let (found, message) =
                decode(COLUMNS, &settings(&[], b','), value).expect_err("a failure");
            assert_eq!(found, error_type, "{message}");
            assert!(message.contains(part), "{message}");
        };
        fails(b"", E::Malformed, "empty");
        fails(b"\r\n", E::Malformed, "empty");
        fails(b"a,1,\"x,3", E::Malformed, "not closed");
        fails(b"a,1,x,3\nb,1,x,3", E::Malformed, "another row");
        fails(b"a,1,\xff,3", E::Malformed, "UTF-8");
        fails(b"\0\0\0\0\x01{}", E::Malformed, "json_sr");
        fails(b"a,1,x", E::SchemaMismatch, "has 3 cells, should have 4");
        fails(b"a,1,x,3,5", E::SchemaMismatch, "more than 4");
        fails(b"a,1,x,3,5,6,7,8,9", E::SchemaMismatch, "more than 4");
        fails(b"a;1;x;3", E::SchemaMismatch, "`csv.delimiter`");
        fails(b"a,1,x,many", E::SchemaMismatch, "`many`");
        fails(b",1,x,3", E::MissingEventId, "is empty");
        fails(b"\"\",1,x,3", E::MissingEventId, "is empty");
        fails(b"a,,x,3", E::MissingEventTime, "is empty");
        let large = format!("a,1,x,{}", " ".repeat(8 << 20));
        fails(large.as_bytes(), E::TooLarge, "the job's limit is 8388608");
    }

    #[test]
    fn a_long_text_lands_where_the_limit_allows_it() {
        let record = format!("a,1,\"{}\",3", "x".repeat(LONG_TEXT));
        let landed = lands_up_to_the_limit(record.as_bytes(), |limit| {
            let csv = settings(&[], b',');
            CsvDecoder::new(COLUMNS, Some(0), 1, limit, &csv).expect("a decoder")
        });
        let note = landed.columns.column(2).as_string::<i32>().value(0);
        assert_eq!(note.len(), LONG_TEXT);
    }

    #[test]
    fn settings_that_cannot_be_are_refused() {
        for (columns, delimiter, part) in [
            (&["event_id", "event_id"][..], b',', "twice"),
            (
                &["event_id", "total"],
                b',',
                "lacks the required column `event_time`",
            ),
            (&[], b'"', "delimiter"),
            (&[], b'\n', "delimiter"),
        ] {
            let error = new(COLUMNS, &settings(columns, delimiter)).expect_err("no decoder");
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
