//! Columns that follow the schemas of the registry, or those that records carry with them: what the tables lack is
//! added to them, then the decoder is made anew with the columns that they have.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;
use timely::scheduling::SyncActivator;

use super::carried::CarriedSchemas;
use super::evolution::{NewFields, new_carried_fields, new_fields};
use super::{Decode, SchemaIds, decoder};
use crate::background::Background;
use crate::context::Context;
use crate::error::Result;
use crate::io::{RegisteredSchema, TableColumns};
use crate::job::{Format, JobSettings};
use crate::record::RawBatch;
use crate::schema::AddedColumn;

/// Names asked for, and the columns that the tables have of them.
type Added = (Vec<String>, Vec<AddedColumn>);

/// How the columns of one worker's decoder grow.
pub(super) struct Growth {
    /// With the columns that there are by now.
    settings: JobSettings,
    thread: Background<Vec<AddedColumn>, Added>,
    /// Names of columns that are being added.
    asked: BTreeSet<String>,
    /// Schemas of the registry that wait for columns.
    waiting: SchemaIds,
    /// The schemas that records carry with them, where the format has such.
    carried: Option<CarriedSchemas>,
    /// Names of fields that were asked for and are no column: the table cannot have them.
    refused: BTreeSet<String>,
    /// Schemas of which it was said what is left out.
    told: SchemaIds,
}

impl Growth {
    /// Starts the thread that asks the tables.
    ///
    /// # Errors
    /// The system gives none.
    pub fn start(
        columns: Arc<dyn TableColumns>,
        context: &Context,
        wake: SyncActivator,
    ) -> Result<Growth> {
        let name = format!("columns-{}", context.worker);
        // An order for each schema that waits, and those are bounded by the batches that do.
        let thread = Background::start(
            &*context.host,
            name,
            None,
            wake,
            move |order: Vec<AddedColumn>| {
                let names = order.iter().map(|column| column.name.clone()).collect();
                let added = columns.add(&order)?;
                Ok(Some((names, added)))
            },
        )?;
        let carries = context.settings.format == Format::DebeziumJson;
        Ok(Growth {
            settings: context.settings.as_ref().clone(),
            thread,
            asked: BTreeSet::new(),
            waiting: SchemaIds::new(),
            carried: carries.then(CarriedSchemas::default),
            refused: BTreeSet::new(),
            told: SchemaIds::new(),
        })
    }

    /// Whether records of a schema must wait for columns that it adds; has them added, then.
    pub fn waits_for_columns(&mut self, id: u32, schema: &RegisteredSchema) -> bool {
        let NewFields { columns, left_out } = new_fields(&self.settings, schema);
        if !left_out.is_empty() && self.told.insert(id) {
            self.tell(&format!("schema {id}"), &left_out);
        }
        let waits = self.adds(&format!("schema {id}"), columns);
        if waits {
            self.waiting.insert(id);
        }
        waits
    }

    /// Whether a batch must wait for columns that the schemas add which its records carry; has them added, then.
    pub fn waits_for_carried(&mut self, batch: &RawBatch) -> bool {
        // Taken out for as long as the rest of this is asked.
        let Some(mut carried) = self.carried.take() else {
            return false;
        };
        let limit = self.settings.max_record_bytes;
        let waits = carried.lack_columns(batch, limit, |schema| self.lacks_columns_of(schema));
        self.carried = Some(carried);
        waits
    }

    /// Whether the tables lack columns of a schema that came with a record; has them added, then.
    fn lacks_columns_of(&mut self, schema: &str) -> bool {
        let schema: Value = serde_json::from_str(schema).unwrap_or_default();
        let NewFields { columns, left_out } = new_carried_fields(&self.settings, &schema);
        let schema = format!(
            "Connect's schema `{}`",
            schema["name"].as_str().unwrap_or("without a name")
        );
        if self.adds(&schema, columns) {
            return true;
        }
        if !left_out.is_empty() {
            self.tell(&schema, &left_out);
        }
        false
    }

    /// Has a schema's columns added, but for those that the tables cannot have; whether there are any.
    fn adds(&mut self, schema: &str, mut columns: Vec<AddedColumn>) -> bool {
        columns.retain(|column| !self.refused.contains(&column.name));
        if columns.is_empty() {
            return false;
        }
        // Another schema may have asked for some of them.
        columns.retain(|column| self.asked.insert(column.name.clone()));
        if !columns.is_empty() {
            let job = &self.settings.name;
            let names: Vec<&str> = columns.iter().map(|c| c.name.as_str()).collect();
            tracing::info!(job, columns = ?names, "{schema} has fields that the job has no column for");
            // The queue has no bound of its own, and is never closed.
            let _ = self.thread.order(columns);
        }
        true
    }

    /// Says what of a schema becomes no column.
    fn tell(&self, schema: &str, left_out: &[String]) {
        let job = &self.settings.name;
        let fields = left_out.join(", ");
        tracing::warn!(job, "{schema} has fields that become no column: {fields}");
    }

    /// The decoder of the columns that there are now, if there are more than before.
    ///
    /// # Errors
    /// The tables cannot be added to.
    pub fn grown(&mut self) -> Result<Option<Box<dyn Decode>>> {
        let mut has_grown = false;
        while let Some(answer) = self.thread.answer() {
            let (names, added) = answer?;
            self.settings.add_columns(&added);
            for name in &names {
                self.asked.remove(name);
            }
            let is_column = |name: &String| added.iter().any(|column| column.name == *name);
            let refused: Vec<String> = names.into_iter().filter(|name| !is_column(name)).collect();
            if !refused.is_empty() {
                let job = &self.settings.name;
                tracing::warn!(job, columns = ?refused, "fields become no column: the table has a column of the name, perhaps in other letters, that they do not fit");
            }
            self.refused.extend(refused);
            has_grown = true;
        }
        if has_grown && let Some(carried) = &mut self.carried {
            carried.ask_again();
        }
        // With a registry: where the format needs none, it makes no difference.
        has_grown.then(|| decoder(&self.settings, true)).transpose()
    }

    /// Whether a schema waited, and need not any longer.
    pub fn take_waiting(&mut self, id: u32) -> bool {
        self.waiting.remove(&id)
    }
}
