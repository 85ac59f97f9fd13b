//! The fields of an Avro schema, and the column that would hold each.

use super::super::evolution::Field;
use super::program::name_of;
use super::schema::{Logical, Physical, TypeId, Types};
use crate::io::ReferencedSchema;
use crate::schema::{ColumnType, MAX_DECIMAL_PRECISION};

/// The fields of the record that the schema describes.
///
/// # Errors
/// It cannot be parsed, or describes no record.
pub(in crate::decode) fn fields(
    schema: &str,
    references: &[ReferencedSchema],
) -> Result<Vec<Field>, String> {
    let types = Types::parse(schema, references)?;
    let Physical::Record(fields) = &types.get(types.root).physical else {
        return Err(format!("it is a {}", types.name));
    };
    let field = |(name, id): &(String, TypeId)| Field {
        name: name.clone(),
        column_type: column_type(&types, *id).ok_or_else(|| name_of(&types, *id)),
    };
    Ok(fields.iter().map(field).collect())
}

/// The column type that holds every value of a type, null aside.
pub(super) fn column_type(types: &Types, id: TypeId) -> Option<ColumnType> {
    use ColumnType as C;
    use Logical as L;
    use Physical as P;
    let found = types.get(id);
    Some(match (&found.physical, found.logical) {
        (P::Bytes | P::Fixed(_), L::Decimal { precision, scale }) => C::Decimal {
            precision: u8::try_from(precision)
                .ok()
                .filter(|digits| *digits <= MAX_DECIMAL_PRECISION)?,
            scale: u8::try_from(scale).ok()?,
        },
        (P::Bytes, L::BigDecimal) => return None,
        (P::Boolean, _) => C::Boolean,
        (P::Int, L::Date) => C::Date,
        (P::Int, L::TimeMillis) | (P::Long, L::TimeMicros) => C::Time,
        (P::Int, _) => C::Int,
        (P::Long, L::TimestampMillis | L::TimestampMicros | L::TimestampNanos) => C::Timestamptz,
        (P::Long, L::LocalTimestampMillis | L::LocalTimestampMicros | L::LocalTimestampNanos) => {
            C::Timestamp
        }
        (P::Long, _) => C::Long,
        (P::Float, _) => C::Float,
        (P::Double, _) => C::Double,
        (P::String | P::Enum(_), _) | (P::Fixed(16), L::Uuid) => C::String,
        (P::Bytes | P::Fixed(_), _) => C::Binary,
        (P::Union(branches), _) => {
            let is_null = |id: &&TypeId| types.get(**id).physical == P::Null;
            let mut others = branches.iter().filter(|id| !is_null(id));
            match (others.next(), others.next()) {
                (Some(only), None) => column_type(types, *only)?,
                _ => return None,
            }
        }
        (P::Null | P::Record(_) | P::Array(_) | P::Map(_), _) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::target::targets;
    use super::super::program::Program;
    use super::*;
    use crate::schema::Column;

    #[test]
    fn every_column_that_a_field_would_have_is_one_that_it_fits() {
        let schema = r#"{"type":"record","name":"All","fields":[
            {"name":"a","type":"boolean"},{"name":"b","type":"int"},{"name":"c","type":"long"},
            {"name":"d","type":"float"},{"name":"e","type":"double"},{"name":"f","type":"bytes"},
            {"name":"g","type":"string"},{"name":"h","type":{"type":"fixed","name":"F","size":3}},
            {"name":"i","type":{"type":"fixed","name":"U","size":16,"logicalType":"uuid"}},
            {"name":"j","type":{"type":"string","logicalType":"uuid"}},
            {"name":"k","type":{"type":"enum","name":"N","symbols":["X"]}},
            {"name":"l","type":{"type":"int","logicalType":"date"}},
            {"name":"m","type":{"type":"int","logicalType":"time-millis"}},
            {"name":"n","type":{"type":"long","logicalType":"time-micros"}},
            {"name":"o","type":{"type":"long","logicalType":"timestamp-millis"}},
            {"name":"p","type":{"type":"long","logicalType":"timestamp-nanos"}},
            {"name":"q","type":{"type":"long","logicalType":"local-timestamp-micros"}},
            {"name":"r","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}},
            {"name":"s","type":{"type":"fixed","name":"D","size":8,"logicalType":"decimal","precision":12,"scale":0}},
            {"name":"t","type":{"type":"fixed","name":"P","size":12,"logicalType":"duration"}},
            {"name":"u","type":["null","string"]},
            {"name":"time","type":"long"}]}"#;
        let types = Types::parse(schema, &[]).expect("a schema");
        let mut columns = Vec::new();
        for field in fields(schema, &[]).expect("fields") {
            let column_type = field.column_type.expect("a column");
            let column_type = match field.name.as_str() {
                "time" => ColumnType::Timestamptz,
                _ => column_type,
            };
            columns.push(Column::optional(
                crate::schema::column_name(&field.name),
                column_type,
            ));
        }
        let time = columns.len() - 1;
        Program::compile(types, &targets(&columns, None, time), true).expect("all of them fit");
    }
}
