//! A column to be filled from a field of a binary record.

use super::message::Failure;
use crate::record::ErrorType;
use crate::schema::Column;

/// A column to be filled.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// The column.
    pub column: Column,
    /// The field's name in the record, where it is not the column's.
    pub field: Option<String>,
    /// What a record without a value is; `None` when the column may be null.
    pub required: Option<ErrorType>,
}

impl Target {
    pub fn field(&self) -> &str {
        self.field.as_deref().unwrap_or(self.column.name)
    }

    /// The place of the target's field among those that `named` finds: the one of its name, else of one of the
    /// column's aliases.
    pub fn find<T>(&self, named: impl Fn(&str) -> Option<T>) -> Option<T> {
        let aliases = self.column.aliases.iter();
        named(self.field()).or_else(|| aliases.copied().find_map(named))
    }

    #[cold]
    pub fn missing(&self, found: &str) -> Failure {
        let role = match self.required {
            Some(ErrorType::MissingEventId) => "the event id",
            Some(ErrorType::MissingEventTime) => "the event time",
            _ => "a required field",
        };
        Failure::new(
            self.required.unwrap_or(ErrorType::SchemaMismatch),
            format!("field `{}`, {role}, {found}", self.field()),
        )
    }

    #[cold]
    pub fn mismatch(&self, reason: &str) -> Failure {
        let (field, column) = (self.field(), self.column.column_type.name());
        let message = format!("field `{field}` does not fit its column ({column}): {reason}");
        Failure::new(ErrorType::SchemaMismatch, message)
    }
}

/// The columns as targets; id and time are required, whatever the column says.
pub(super) fn targets(
    columns: &[Column],
    event_id: Option<usize>,
    event_time: usize,
) -> Vec<Target> {
    let places = columns.iter().enumerate();
    places
        .map(|(place, &column)| Target {
            column,
            field: None,
            required: if Some(place) == event_id {
                Some(ErrorType::MissingEventId)
            } else if place == event_time {
                Some(ErrorType::MissingEventTime)
            } else {
                column.required.then_some(ErrorType::SchemaMismatch)
            },
        })
        .collect()
}
