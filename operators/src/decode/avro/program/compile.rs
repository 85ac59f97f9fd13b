//! Resolving a writer's schema to the job's columns.

use super::super::super::columns::Unit;
use super::{
    Branch, Conversion, Decimal, Logical, Physical, Program, Skip, Step, TypeId, Types, name_of,
};
use crate::decode::message::Failure;
use crate::decode::target::Target;
use crate::record::ErrorType;
use crate::schema::ColumnType;

impl Program {
    /// Resolves a writer's schema to the job's columns. `checks_passed_texts`: whether texts that no column wants must be
    /// UTF-8.
    ///
    /// # Errors
    /// Why no record of this schema can land.
    pub fn compile(
        types: Types,
        targets: &[Target],
        checks_passed_texts: bool,
    ) -> Result<Program, Failure> {
        if !matches!(types.get(types.root).physical, Physical::Record(_)) {
            return Err(mismatch(format!(
                "the schema is a {}, but a record is needed",
                types.name
            )));
        }
        let mut located = Vec::new();
        let mut absent = Vec::new();
        for (place, target) in targets.iter().enumerate() {
            match target.find(|name| locate(&types, name)) {
                Some(path) => located.push((path, place)),
                None if target.required.is_some() => {
                    return Err(target.missing(&format!("is not in schema `{}`", types.name)));
                }
                None => absent.push(place),
            }
        }
        let compiler = Compiler {
            types: &types,
            targets,
            located,
        };
        let steps = compiler.record(types.root, &[])?;
        Ok(Program {
            types,
            steps,
            absent,
            checks_passed_texts,
        })
    }
}

fn mismatch(message: String) -> Failure {
    Failure::new(ErrorType::SchemaMismatch, message)
}

/// The way to a field: its place in each record, from the outermost on.
type Path = Vec<usize>;

/// The way to the field of a name, with a dot before each record's field.
fn locate(types: &Types, name: &str) -> Option<Path> {
    let mut path = Path::new();
    let mut within = types.root;
    for part in name.split('.') {
        let (record, _) = record_of(types, within)?;
        let Physical::Record(fields) = &types.get(record).physical else {
            return None;
        };
        let place = fields.iter().position(|(field, _)| field == part)?;
        path.push(place);
        within = fields[place].1;
    }
    Some(path)
}

/// The record that values of a type are, and the branch that is null, if they may be null.
fn record_of(types: &Types, id: TypeId) -> Option<(TypeId, Option<i64>)> {
    let is_record = |id: TypeId| matches!(types.get(id).physical, Physical::Record(_));
    let is_null = |id: TypeId| types.get(id).physical == Physical::Null;
    match &types.get(id).physical {
        Physical::Record(_) => Some((id, None)),
        Physical::Union(branches) => match *branches.as_slice() {
            [null, record] if is_null(null) && is_record(record) => Some((record, Some(0))),
            [record, null] if is_null(null) && is_record(record) => Some((record, Some(1))),
            _ => None,
        },
        _ => None,
    }
}

struct Compiler<'a> {
    types: &'a Types,
    targets: &'a [Target],
    /// The fields that targets are filled from.
    located: Vec<(Path, usize)>,
}

impl Compiler<'_> {
    /// The steps of a record at a place. No deeper than the longest name has dots.
    fn record(&self, id: TypeId, at: &[usize]) -> Result<Vec<Step>, Failure> {
        let Physical::Record(fields) = &self.types.get(id).physical else {
            return Ok(Vec::new());
        };
        let mut steps = Vec::with_capacity(fields.len());
        for (place, (name, id)) in fields.iter().enumerate() {
            let path = [at, &[place][..]].concat();
            let located = self.located.iter();
            let mut here = located.clone().filter(|(found, _)| *found == path);
            let within: Vec<usize> = located
                .filter(|(found, _)| found.starts_with(&path))
                .map(|(_, target)| *target)
                .collect();
            match (here.next(), here.next()) {
                (Some((_, target)), None) => steps.push(self.field(*target, *id)?),
                (Some((_, one)), Some((_, other))) => {
                    return Err(mismatch(format!(
                        "field `{name}` of schema `{}` would be two columns, `{}` and `{}`",
                        self.types.name,
                        self.targets[*one].column.name,
                        self.targets[*other].column.name
                    )));
                }
                (None, _) => match record_of(self.types, *id).filter(|_| !within.is_empty()) {
                    None => steps.push(Step::Skip(Skip::of(self.types, *id))),
                    Some((record, None)) => steps.extend(self.record(record, &path)?),
                    Some((record, Some(null))) => steps.push(Step::OptionalRecord {
                        null,
                        within: self.record(record, &path)?,
                        targets: within,
                    }),
                },
            }
        }
        Ok(steps)
    }

    /// Reads a field into a column.
    fn field(&self, target: usize, id: TypeId) -> Result<Step, Failure> {
        let types = self.types;
        let column = &self.targets[target].column;
        let unfit = || {
            mismatch(format!(
                "field `{}` of schema `{}` is {}, which does not fit column `{}` ({})",
                self.targets[target].field(),
                types.name,
                name_of(types, id),
                column.name,
                column.column_type.name()
            ))
        };
        let into = |id| resolve(types, id, column.column_type);
        Ok(match &types.get(id).physical {
            Physical::Union(branches) => {
                let branches: Vec<Branch> = branches
                    .iter()
                    .map(|&branch| match types.get(branch).physical {
                        Physical::Null => Branch::Null,
                        _ => into(branch).map_or(Branch::Unfit(branch), Branch::Read),
                    })
                    .collect();
                match branches.as_slice() {
                    [Branch::Null, Branch::Read(into)] => Step::Optional {
                        target,
                        null: 0,
                        into: into.clone(),
                    },
                    [Branch::Read(into), Branch::Null] => Step::Optional {
                        target,
                        null: 1,
                        into: into.clone(),
                    },
                    _ if branches.iter().any(|b| matches!(b, Branch::Read(_))) => {
                        Step::Union { target, branches }
                    }
                    _ => return Err(unfit()),
                }
            }
            // A field that is always null.
            Physical::Null => Step::Union {
                target,
                branches: Vec::new(),
            },
            _ => Step::Read {
                target,
                into: into(id).ok_or_else(unfit)?,
            },
        })
    }
}

/// How a type's values are read into a column of another; `None` when they do not fit.
fn resolve(types: &Types, id: TypeId, column: ColumnType) -> Option<Conversion> {
    use ColumnType as C;
    use Logical as L;
    use Physical as P;
    let found = types.get(id);
    Some(match (column, &found.physical, found.logical) {
        (C::String, P::String, _) => Conversion::String,
        (C::String, P::Bytes, L::None) => Conversion::BytesAsString,
        (C::String, P::Enum(symbols), _) => Conversion::Symbol(symbols.clone()),
        (C::String, P::Fixed(16), L::Uuid) => Conversion::FixedUuid,
        (C::Int, P::Int, _) => Conversion::Int,
        (C::Long, P::Int, _) => Conversion::IntAsLong,
        (C::Long, P::Long, _) => Conversion::Long,
        (C::Float, P::Int, L::None) => Conversion::IntAsFloat,
        (C::Float, P::Long, L::None) => Conversion::LongAsFloat,
        (C::Float, P::Float, _) => Conversion::Float,
        (C::Double, P::Int, L::None) => Conversion::IntAsDouble,
        (C::Double, P::Long, L::None) => Conversion::LongAsDouble,
        (C::Double, P::Float, _) => Conversion::FloatAsDouble,
        (C::Double, P::Double, _) => Conversion::Double,
        (C::Boolean, P::Boolean, _) => Conversion::Boolean,
        (C::Date, P::Int, L::Date) => Conversion::Int,
        (C::Date, P::String, L::None) => Conversion::TextDate,
        (C::Time, P::Int, L::TimeMillis) => Conversion::TimeOfDay {
            unit: Unit::Millis,
            int: true,
        },
        (C::Time, P::Long, L::TimeMicros) => Conversion::TimeOfDay {
            unit: Unit::Micros,
            int: false,
        },
        (C::Time, P::String, L::None) => Conversion::TextTime,
        (C::Timestamptz, P::Long, L::TimestampMillis | L::None) => Conversion::Micros(Unit::Millis),
        (C::Timestamptz, P::Long, L::TimestampMicros) => Conversion::Micros(Unit::Micros),
        (C::Timestamptz, P::Long, L::TimestampNanos) => Conversion::Micros(Unit::Nanos),
        (C::Timestamp, P::Long, L::LocalTimestampMillis | L::None) => {
            Conversion::Micros(Unit::Millis)
        }
        (C::Timestamp, P::Long, L::LocalTimestampMicros) => Conversion::Micros(Unit::Micros),
        (C::Timestamp, P::Long, L::LocalTimestampNanos) => Conversion::Micros(Unit::Nanos),
        (C::Timestamptz | C::Timestamp, P::String, L::None) => Conversion::TextTimestamp,
        (C::Binary, P::Bytes, _) => Conversion::Bytes,
        (C::Binary, P::String, _) => Conversion::StringAsBytes,
        (C::Binary, P::Fixed(size), _) => Conversion::Fixed(*size),
        (C::Decimal { precision, scale }, physical, logical) => {
            let of = |from| Decimal {
                from,
                precision,
                scale,
            };
            match (physical, logical) {
                (P::Bytes, L::Decimal { scale, .. }) => Conversion::DecimalBytes(of(scale)),
                (P::Fixed(size), L::Decimal { scale, .. }) => {
                    Conversion::DecimalFixed(of(scale), *size)
                }
                (P::String, L::None) => Conversion::DecimalText(of(0)),
                (P::Int, L::None) => Conversion::DecimalLong(of(0), true),
                (P::Long, L::None) => Conversion::DecimalLong(of(0), false),
                _ => return None,
            }
        }
        _ => return None,
    })
}
