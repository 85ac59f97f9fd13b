//! The fields of a Protobuf schema, and the column that would hold each.

use super::conversion::{self, name_of};
use super::schema::messages;
use crate::decode::evolution::Field;
use crate::io::RegisteredSchema;
use crate::schema::Column;

/// The fields of those messages of the schema's file that have a field for each of `needed`: which message a record is,
/// only the record says. Of fields of one name the first counts.
///
/// # Errors
/// It cannot be parsed.
pub(in crate::decode) fn fields(
    schema: &RegisteredSchema,
    needed: &[&Column],
) -> Result<Vec<Field>, String> {
    let mut messages = messages(schema)?;
    messages.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut found: Vec<Field> = Vec::new();
    for (_, message) in &messages {
        let has = |name: &str| message.get_field_by_name(name).is_some();
        let fits = |column: &&Column| has(column.name) || column.aliases.iter().any(|a| has(a));
        if !needed.iter().all(fits) {
            continue;
        }
        for field in message.fields() {
            if found.iter().all(|known| known.name != field.name()) {
                found.push(Field {
                    name: field.name().to_owned(),
                    column_type: conversion::column_type(&field).ok_or_else(|| name_of(&field)),
                });
            }
        }
    }
    Ok(found)
}
