//! Columns derived from others, after a format's decoder has filled those.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, BooleanArray, RecordBatch};
use arrow_schema::SchemaRef;

use super::{Decode, Decoded, SchemaIds};
use crate::error::{Error, Result};
use crate::io::SchemaAnswer;
use crate::job::{Derived, JobSettings};
use crate::record::RawBatch;
use crate::schema::{Column, ColumnType, decoded_schema};

/// What fills a column.
enum Filling {
    /// The decoder's column at this place.
    Decoded(usize),
    /// Derived from the decoder's column at this place.
    Derived(usize, fn(&str) -> bool),
}

/// A decoder of all columns, around one of those that are not derived.
pub(super) struct DerivingDecoder {
    inner: Box<dyn Decode>,
    schema: SchemaRef,
    fillings: Vec<Filling>,
}

/// The columns that a decoder fills itself.
pub(super) fn decoded_columns(settings: &JobSettings) -> Vec<Column> {
    let is_derived = |column: &Column| settings.derived.iter().any(|d| d.column == column.name);
    let columns = settings.columns.iter().copied();
    columns.filter(|column| !is_derived(column)).collect()
}

impl DerivingDecoder {
    /// Around `inner`, which fills [`decoded_columns`].
    ///
    /// # Errors
    /// A derived column that is not an optional boolean, or is derived from what is no string column.
    pub fn new(settings: &JobSettings, inner: Box<dyn Decode>) -> Result<DerivingDecoder> {
        let decoded = decoded_columns(settings);
        let place = |name: &str, column_type: ColumnType| {
            decoded
                .iter()
                .position(|column| column.name == name && column.column_type == column_type)
        };
        let filling = |column: &Column| {
            let derived = settings.derived.iter().find(|d| d.column == column.name);
            let invalid = |why: &str| {
                Err(Error::configuration(format!(
                    "the column `{}` cannot be derived: {why}",
                    column.name
                )))
            };
            match derived {
                None => match place(column.name, column.column_type) {
                    Some(place) => Ok(Filling::Decoded(place)),
                    None => invalid("it is decoded"),
                },
                Some(_) if column.required || column.column_type != ColumnType::Boolean => {
                    invalid("it must be an optional boolean")
                }
                Some(Derived { from, derive, .. }) => match place(from, ColumnType::String) {
                    Some(place) => Ok(Filling::Derived(place, *derive)),
                    None => invalid(&format!("`{from}` is no string column that is decoded")),
                },
            }
        };
        let fillings = settings.columns.iter().map(filling);
        Ok(DerivingDecoder {
            inner,
            schema: decoded_schema(&settings.columns),
            fillings: fillings.collect::<Result<_>>()?,
        })
    }
}

impl Decode for DerivingDecoder {
    fn decode(&mut self, batch: &RawBatch) -> Decoded {
        let decoded = self.inner.decode(batch);
        let arrays = self.fillings.iter().map(|filling| match filling {
            Filling::Decoded(place) => Arc::clone(decoded.columns.column(*place)),
            Filling::Derived(place, derive) => {
                let from = decoded.columns.column(*place).as_string::<i32>();
                let derived: BooleanArray = from.iter().map(|text| text.map(derive)).collect();
                Arc::new(derived) as ArrayRef
            }
        });
        // Cannot fail: the types were checked when the decoder was made, and all columns have one length.
        let columns = RecordBatch::try_new(self.schema.clone(), arrays.collect())
            .expect("columns of the schema's types and one length");
        Decoded { columns, ..decoded }
    }

    fn missing_schemas(&self, batch: &RawBatch, missing: &mut SchemaIds) {
        self.inner.missing_schemas(batch, missing);
    }

    fn learn(&mut self, id: u32, answer: &SchemaAnswer) {
        self.inner.learn(id, answer);
    }

    fn forget(&mut self, id: u32) {
        self.inner.forget(id);
    }
}

#[cfg(test)]
mod tests {
    use super::super::decoder;
    use super::super::testing::raw_batch;
    use super::*;
    use crate::job::Job;

    const JOB: Job = Job {
        name: "derived",
        columns: &[
            Column::optional("is_long", ColumnType::Boolean),
            Column::required("event_id", ColumnType::String),
            Column::optional("name", ColumnType::String),
            Column::required("event_time", ColumnType::Timestamptz),
        ],
        derived: &[Derived {
            column: "is_long",
            from: "name",
            derive: |name| name.len() > 3,
        }],
        ..Job::BRONZE
    };

    #[test]
    fn a_derived_column_follows_its_origin_and_not_the_record() {
        let mut decoder = decoder(&JOB.settings(), false).expect("a decoder");
        let record = |more: &str| Some(format!(r#"{{"event_id":"a","event_time":1{more}}}"#));
        let decoded = decoder.decode(&raw_batch(&[
            record(r#","name":"four""#),
            record(""),
            record(r#","name":"two","is_long":true"#),
        ]));
        assert_eq!(decoded.failures, []);
        let found: Vec<Option<bool>> = decoded.columns.column(0).as_boolean().iter().collect();
        assert_eq!(found, [Some(true), None, Some(false)]);
        assert_eq!(decoded.columns.column(1).as_string::<i32>().value(2), "a");
    }

    #[test]
    fn a_derived_column_that_cannot_be_is_an_error() {
        for (column, from) in [
            ("is_long", "event_time"),
            ("name", "event_id"),
            ("is_long", "no"),
        ] {
            let mut settings = JOB.settings();
            settings.derived[0].column = column;
            settings.derived[0].from = from;
            assert!(decoder(&settings, false).is_err(), "{column} from {from}");
        }
    }
}
