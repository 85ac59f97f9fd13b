//! Columns that follow the schemas of the registry: what the tables lack is added to them, then the decoder is made
//! anew with the columns that they have.

use std::collections::BTreeSet;
use std::sync::Arc;

use timely::scheduling::SyncActivator;

use super::evolution::{NewFields, new_fields};
use super::{Decode, SchemaIds, decoder};
use crate::background::Background;
use crate::context::Context;
use crate::error::Result;
use crate::io::{RegisteredSchema, TableColumns};
use crate::job::JobSettings;
use crate::schema::AddedColumn;

/// Names asked for, and the columns that the tables have of them.
type Added = (Vec<String>, Vec<AddedColumn>);

/// How the columns of one worker's decoder grow.
pub(super) struct Growth {
    /// With the columns that there are by now.
    settings: JobSettings,
    thread: Background<Vec<AddedColumn>, Added>,
    /// Schemas whose columns are being added.
    waiting: SchemaIds,
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
        Ok(Growth {
            settings: context.settings.as_ref().clone(),
            thread,
            waiting: SchemaIds::new(),
            refused: BTreeSet::new(),
            told: SchemaIds::new(),
        })
    }

    /// Whether records of a schema must wait for columns that it adds; has them added, then.
    pub fn waits_for_columns(&mut self, id: u32, schema: &RegisteredSchema) -> bool {
        let NewFields {
            mut columns,
            left_out,
        } = new_fields(&self.settings, schema);
        columns.retain(|column| !self.refused.contains(&column.name));
        let job = &self.settings.name;
        if !left_out.is_empty() && self.told.insert(id) {
            let fields = left_out.join(", ");
            tracing::warn!(
                job,
                schema_id = id,
                "schema {id} has fields that become no column: {fields}"
            );
        }
        if columns.is_empty() {
            return false;
        }
        let names: Vec<&str> = columns.iter().map(|c| c.name.as_str()).collect();
        tracing::info!(job, schema_id = id, columns = ?names, "schema {id} has fields that the job has no column for");
        self.waiting.insert(id);
        // The queue has no bound of its own, and is never closed.
        let _ = self.thread.order(columns);
        true
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
            let is_column = |name: &String| added.iter().any(|column| column.name == *name);
            self.refused
                .extend(names.into_iter().filter(|name| !is_column(name)));
            has_grown = true;
        }
        // With a registry: without one no schema was heard of.
        has_grown.then(|| decoder(&self.settings, true)).transpose()
    }

    /// Whether a schema waited, and need not any longer.
    pub fn take_waiting(&mut self, id: u32) -> bool {
        self.waiting.remove(&id)
    }
}
