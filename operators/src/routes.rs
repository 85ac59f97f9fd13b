//! What a route sees of a row: its columns by name, and where it came from.

use std::cell::RefCell;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, RecordBatch};

/// A row that lands, of the primary table's columns. What a route decides may depend on nothing else.
///
/// ```
/// use strandline_operators::routes::Row;
/// fn is_order(row: &Row<'_>) -> bool {
///     row.text("event_type").is_some_and(|kind| kind.starts_with("order"))
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    columns: &'a Columns<'a>,
    row: usize,
}

/// The columns of a batch, each looked for by its name once.
#[derive(Debug)]
pub(crate) struct Columns<'a> {
    rows: &'a RecordBatch,
    /// By the names in the route's code: as many as stand there.
    found: RefCell<Vec<(&'static str, Option<&'a dyn Array>)>>,
}

impl<'a> Columns<'a> {
    pub fn of(rows: &'a RecordBatch) -> Columns<'a> {
        Columns {
            rows,
            found: RefCell::default(),
        }
    }

    /// The row with this place in the batch.
    pub fn row(&'a self, row: usize) -> Row<'a> {
        Row { columns: self, row }
    }

    fn named(&self, name: &'static str) -> Option<&'a dyn Array> {
        let mut found = self.found.borrow_mut();
        // The same text in the code, not an equal one: nothing is compared but its address.
        if let Some((_, column)) = found.iter().find(|(known, _)| std::ptr::eq(*known, name)) {
            return *column;
        }
        let column = self.rows.column_by_name(name).map(AsRef::as_ref);
        found.push((name, column));
        column
    }
}

impl<'a> Row<'a> {
    /// The column, unless it is null here.
    fn column(&self, name: &'static str) -> Option<&'a dyn Array> {
        let column = self.columns.named(name)?;
        column.is_valid(self.row).then_some(column)
    }

    /// A string column; `None` when it is null, or there is no such column of strings.
    pub fn text(&self, column: &'static str) -> Option<&'a str> {
        let column = self.column(column)?.as_string_opt::<i32>()?;
        Some(column.value(self.row))
    }

    /// An int or long column; `None` when it is null, or there is no such column of integers.
    pub fn integer(&self, column: &'static str) -> Option<i64> {
        let column = self.column(column)?;
        let long = column.as_primitive_opt::<Int64Type>();
        let int = column.as_primitive_opt::<Int32Type>();
        long.map(|long| long.value(self.row))
            .or_else(|| int.map(|int| int.value(self.row).into()))
    }

    /// A boolean column; `None` when it is null, or there is no such column of booleans.
    pub fn boolean(&self, column: &'static str) -> Option<bool> {
        let column = self.column(column)?.as_boolean_opt()?;
        Some(column.value(self.row))
    }

    /// The topic that the record was read from.
    pub fn topic(&self) -> &'a str {
        self.text("kafka_topic").unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, BooleanArray, Int32Array, Int64Array, StringArray};

    use super::*;

    #[test]
    fn a_column_is_read_by_its_name_and_null_or_of_another_type_is_none() {
        let columns: [(&str, ArrayRef); 4] = [
            ("text", Arc::new(StringArray::from(vec![Some("a"), None]))),
            ("int", Arc::new(Int32Array::from(vec![Some(-7), None]))),
            (
                "long",
                Arc::new(Int64Array::from(vec![Some(1 << 40), None])),
            ),
            ("flag", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ];
        let rows = RecordBatch::try_from_iter(columns).expect("columns");
        let columns = Columns::of(&rows);
        let (row, nulls) = (columns.row(0), columns.row(1));
        assert_eq!(row.text("text"), Some("a"));
        assert_eq!(
            (row.integer("int"), row.integer("long")),
            (Some(-7), Some(1 << 40))
        );
        assert_eq!(row.boolean("flag"), Some(true));
        assert_eq!(
            (row.text("int"), row.integer("text"), row.boolean("none")),
            (None, None, None)
        );
        assert_eq!(
            (
                nulls.text("text"),
                nulls.integer("int"),
                nulls.boolean("flag")
            ),
            (None, None, None)
        );
        assert_eq!(row.topic(), "");
    }
}
