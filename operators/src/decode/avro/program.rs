//! What to do with each field of a writer's record, worked out once for each schema.
//!
//! The writer's schema is resolved to the job's columns by Avro's rules: a column is the field of its name,
//! else of one of its aliases; int widens to long, float and double, long to float and double, float to
//! double, bytes and string are each other. Beyond these rules a field fits a column as the table says.
//!
//! | column | field |
//! |---|---|
//! | string | string, bytes of UTF-8, enum (its symbol), uuid |
//! | int | int |
//! | long | int, long |
//! | float, double | as the promotions say |
//! | boolean | boolean |
//! | decimal | decimal (bytes or fixed), string of digits, int, long; never rounded |
//! | date | date, string `YYYY-MM-DD` |
//! | time | time-millis, time-micros, string `hh:mm:ss` |
//! | timestamptz | timestamp-millis, -micros, -nanos, long of epoch milliseconds, ISO-8601 string |
//! | timestamp | local-timestamp-millis, -micros, -nanos, long of milliseconds, ISO-8601 string |
//! | binary | bytes, fixed, string |
//!
//! A union fits when the branch that was written fits; null fits an optional column. A name with dots, such as
//! `user.id`, is that of a field within a record, which may be null: no name of Avro's has a dot.

mod compile;
mod skip;

use super::super::columns::Unit;
use super::cursor::{Cursor, Malformed, NO_BRANCH, NO_SYMBOL};
use super::schema::{Logical, Physical, TypeId, Types};
use crate::decode::columns::ColumnBuilder;
use crate::decode::message::Failure;
use crate::decode::target::Target;
use crate::decode::{decimal, timestamp};
use crate::record::ErrorType;
use skip::Skip;

/// Microseconds in a day.
const DAY: i64 = 86_400_000_000;

/// How a value is read into its column.
#[derive(Clone, Debug)]
enum Conversion {
    String,
    BytesAsString,
    StringAsBytes,
    Symbol(Vec<String>),
    FixedUuid,
    Int,
    IntAsLong,
    Long,
    IntAsFloat,
    LongAsFloat,
    Float,
    IntAsDouble,
    LongAsDouble,
    FloatAsDouble,
    Double,
    Boolean,
    Micros(Unit),
    TimeOfDay { unit: Unit, int: bool },
    TextTimestamp,
    TextDate,
    TextTime,
    DecimalBytes(Decimal),
    DecimalFixed(Decimal, usize),
    DecimalText(Decimal),
    DecimalLong(Decimal, bool),
    Bytes,
    Fixed(usize),
}

/// From a scale into a column.
#[derive(Clone, Copy, Debug)]
struct Decimal {
    from: i32,
    precision: u8,
    scale: u8,
}

impl Decimal {
    fn rescale(self, value: i128) -> Result<i128, decimal::Unfit> {
        decimal::rescale(value, self.from, self.precision, self.scale)
    }
}

/// A branch of a union.
#[derive(Clone, Debug)]
enum Branch {
    Null,
    Read(Conversion),
    /// Its values do not fit the column.
    Unfit(TypeId),
}

#[derive(Clone, Debug)]
enum Step {
    Skip(Skip),
    Read {
        target: usize,
        into: Conversion,
    },
    /// The commonest union: null and one other type.
    Optional {
        target: usize,
        null: i64,
        into: Conversion,
    },
    Union {
        target: usize,
        branches: Vec<Branch>,
    },
    /// A record or null. What is within a record that is never null is read where it stands.
    OptionalRecord {
        null: i64,
        within: Vec<Step>,
        /// The columns that are null with it.
        targets: Vec<usize>,
    },
}

/// Why a value is not in its column.
enum Fault {
    Malformed(Malformed),
    Mismatch(&'static str),
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Fault {
        Fault::Malformed(malformed)
    }
}

impl From<decimal::Unfit> for Fault {
    fn from(unfit: decimal::Unfit) -> Fault {
        Fault::Mismatch(unfit.reason())
    }
}

const FULL: Fault = Fault::Mismatch("the text of the batch is too long");

/// How records of one schema are read into columns.
#[derive(Clone, Debug)]
pub(super) struct Program {
    types: Types,
    steps: Vec<Step>,
    /// Targets that the schema has no field for.
    absent: Vec<usize>,
    /// Whether texts that no column wants must be UTF-8.
    checks_passed_texts: bool,
}

impl Program {
    /// Reads a record into the columns, one row, or says why not; then the columns must be cut back.
    #[inline]
    pub fn read(
        &self,
        record: &[u8],
        targets: &[Target],
        builders: &mut [ColumnBuilder],
    ) -> Result<(), Failure> {
        let mut cursor = Cursor::new(record, self.checks_passed_texts);
        let mut failure = None;
        for step in &self.steps {
            if let Err(fault) = self.take(step, &mut cursor, targets, builders, &mut failure) {
                return Err(self.not_avro(fault, record));
            }
        }
        if cursor.left() > 0 {
            let trailing = Malformed {
                at: cursor.at,
                what: "bytes after the end of the record",
            };
            return Err(self.not_avro(trailing, record));
        }
        for &place in &self.absent {
            builders[place].append_null();
        }
        match failure {
            None => Ok(()),
            Some(failure) => Err(failure),
        }
    }

    #[inline]
    fn take(
        &self,
        step: &Step,
        cursor: &mut Cursor<'_>,
        targets: &[Target],
        builders: &mut [ColumnBuilder],
        failure: &mut Option<Failure>,
    ) -> Result<(), Malformed> {
        let (target, read) = match step {
            Step::Skip(skip) => return skip.pass(cursor, &self.types),
            Step::Read { target, into } => (*target, into.read(cursor, &mut builders[*target])),
            Step::Optional { target, null, into } => {
                let branch = cursor.choice(2, NO_BRANCH)? as i64;
                if branch == *null {
                    if targets[*target].required.is_some() {
                        failure.get_or_insert_with(|| targets[*target].missing("is null"));
                    }
                    builders[*target].append_null();
                    return Ok(());
                }
                (*target, into.read(cursor, &mut builders[*target]))
            }
            Step::OptionalRecord {
                null,
                within,
                targets: nulls,
            } => {
                if cursor.choice(2, NO_BRANCH)? as i64 != *null {
                    return self.take_within(within, cursor, targets, builders, failure);
                }
                for &target in nulls {
                    if targets[target].required.is_some() {
                        failure.get_or_insert_with(|| targets[target].missing("is null"));
                    }
                    builders[target].append_null();
                }
                return Ok(());
            }
            Step::Union { target, branches } => {
                let branch = match branches.as_slice() {
                    [] => &Branch::Null,
                    _ => &branches[cursor.choice(branches.len(), NO_BRANCH)?],
                };
                match branch {
                    Branch::Null => {
                        if targets[*target].required.is_some() {
                            failure.get_or_insert_with(|| targets[*target].missing("is null"));
                        }
                        builders[*target].append_null();
                        return Ok(());
                    }
                    Branch::Read(into) => (*target, into.read(cursor, &mut builders[*target])),
                    Branch::Unfit(id) => {
                        cursor.skip(&self.types, *id, 1)?;
                        let found = name_of(&self.types, *id);
                        failure.get_or_insert_with(|| {
                            targets[*target].mismatch(&format!("it is {found}"))
                        });
                        return Ok(());
                    }
                }
            }
        };
        match read {
            Ok(()) => Ok(()),
            Err(Fault::Malformed(malformed)) => Err(malformed),
            Err(Fault::Mismatch(reason)) => {
                failure.get_or_insert_with(|| targets[target].mismatch(reason));
                Ok(())
            }
        }
    }

    /// Takes the steps within a record. Apart, so that the steps of most records are taken in line.
    #[inline(never)]
    fn take_within(
        &self,
        within: &[Step],
        cursor: &mut Cursor<'_>,
        targets: &[Target],
        builders: &mut [ColumnBuilder],
        failure: &mut Option<Failure>,
    ) -> Result<(), Malformed> {
        within
            .iter()
            .try_for_each(|step| self.take(step, cursor, targets, builders, failure))
    }

    #[cold]
    fn not_avro(&self, malformed: Malformed, record: &[u8]) -> Failure {
        Failure::new(
            ErrorType::Malformed,
            format!(
                "not Avro of schema `{}`: {}, at byte {} of {}",
                self.types.name,
                malformed.what,
                malformed.at,
                record.len()
            ),
        )
    }
}

impl Conversion {
    #[inline]
    fn read(&self, cursor: &mut Cursor<'_>, builder: &mut ColumnBuilder) -> Result<(), Fault> {
        match self {
            Conversion::String => return builder.push_string(cursor.string()?).map_err(|_| FULL),
            Conversion::Int => builder.push_int(cursor.int()?),
            Conversion::IntAsLong => builder.push_long(cursor.int()?.into()),
            Conversion::Long => builder.push_long(cursor.long()?),
            Conversion::Double => builder.push_double(cursor.double()?),
            Conversion::Boolean => builder.push_boolean(cursor.boolean()?),
            Conversion::Micros(unit) => {
                let micros = unit.to_micros(cursor.long()?);
                builder.push_long(micros.ok_or(Fault::Mismatch("out of range in microseconds"))?);
            }
            Conversion::Bytes => return builder.push_bytes(cursor.bytes()?).map_err(|_| FULL),
            _ => return self.read_seldom(cursor, builder),
        }
        Ok(())
    }

    fn read_seldom(
        &self,
        cursor: &mut Cursor<'_>,
        builder: &mut ColumnBuilder,
    ) -> Result<(), Fault> {
        match self {
            Conversion::BytesAsString => {
                let text = std::str::from_utf8(cursor.bytes()?)
                    .map_err(|_| Fault::Mismatch("the bytes are not UTF-8"))?;
                builder.push_string(text).map_err(|_| FULL)?;
            }
            Conversion::StringAsBytes => {
                let text = cursor.string()?;
                builder.push_bytes(text.as_bytes()).map_err(|_| FULL)?;
            }
            Conversion::Symbol(symbols) => {
                let symbol = cursor.choice(symbols.len(), NO_SYMBOL)?;
                builder.push_string(&symbols[symbol]).map_err(|_| FULL)?;
            }
            Conversion::FixedUuid => {
                let text = uuid_text(cursor.take(16)?);
                builder.push_string(&text).map_err(|_| FULL)?;
            }
            Conversion::IntAsFloat => builder.push_float(cursor.int()? as f32),
            Conversion::LongAsFloat => builder.push_float(cursor.long()? as f32),
            Conversion::Float => builder.push_float(cursor.float()?),
            Conversion::IntAsDouble => builder.push_double(cursor.int()?.into()),
            Conversion::LongAsDouble => builder.push_double(cursor.long()? as f64),
            Conversion::FloatAsDouble => builder.push_double(cursor.float()?.into()),
            Conversion::TimeOfDay { unit, int } => {
                let value = if *int {
                    cursor.int()?.into()
                } else {
                    cursor.long()?
                };
                let micros = unit.to_micros(value).filter(|m| (0..DAY).contains(m));
                builder.push_long(micros.ok_or(Fault::Mismatch("no time of a day"))?);
            }
            Conversion::TextTimestamp => {
                let parsed = timestamp::parse(cursor.string()?.as_bytes());
                builder.push_long(parsed.map_err(Fault::Mismatch)?);
            }
            Conversion::TextDate => {
                let parsed = timestamp::parse_date(cursor.string()?.as_bytes());
                builder.push_int(parsed.map_err(Fault::Mismatch)?);
            }
            Conversion::TextTime => {
                let parsed = timestamp::parse_time(cursor.string()?.as_bytes());
                builder.push_long(parsed.map_err(Fault::Mismatch)?);
            }
            Conversion::DecimalBytes(decimal) => {
                let value = decimal::from_bytes(cursor.bytes()?)?;
                builder.push_decimal(decimal.rescale(value)?);
            }
            Conversion::DecimalFixed(decimal, size) => {
                let value = decimal::from_bytes(cursor.take(*size)?)?;
                builder.push_decimal(decimal.rescale(value)?);
            }
            Conversion::DecimalText(to) => {
                let value = decimal::parse(cursor.string()?, to.precision, to.scale)?;
                builder.push_decimal(value);
            }
            Conversion::DecimalLong(decimal, int) => {
                let value = if *int {
                    i64::from(cursor.int()?)
                } else {
                    cursor.long()?
                };
                builder.push_decimal(decimal.rescale(value.into())?);
            }
            Conversion::Fixed(size) => {
                builder.push_bytes(cursor.take(*size)?).map_err(|_| FULL)?;
            }
            // The others are read above.
            other => return other.read(cursor, builder),
        }
        Ok(())
    }
}

/// 16 bytes as a UUID is written.
fn uuid_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (i, byte) in bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(nibble.into(), 16).unwrap_or('0'));
        }
    }
    text
}

/// A type's name, for a person.
pub(super) fn name_of(types: &Types, id: TypeId) -> String {
    let found = types.get(id);
    let physical = match &found.physical {
        Physical::Null => "null".to_owned(),
        Physical::Boolean => "boolean".to_owned(),
        Physical::Int => "int".to_owned(),
        Physical::Long => "long".to_owned(),
        Physical::Float => "float".to_owned(),
        Physical::Double => "double".to_owned(),
        Physical::Bytes => "bytes".to_owned(),
        Physical::String => "string".to_owned(),
        Physical::Fixed(size) => format!("fixed({size})"),
        Physical::Enum(_) => "enum".to_owned(),
        Physical::Union(branches) => {
            let names: Vec<String> = branches
                .iter()
                .map(|&branch| match types.get(branch).physical {
                    Physical::Union(_) => "union".to_owned(),
                    _ => name_of(types, branch),
                })
                .collect();
            format!("a union of {}", names.join(", "))
        }
        Physical::Record(_) => "record".to_owned(),
        Physical::Array(_) => "array".to_owned(),
        Physical::Map(_) => "map".to_owned(),
    };
    match found.logical {
        Logical::None => physical,
        logical => format!("{physical} ({logical:?})"),
    }
}
