//! The tags of a savepoint: each says whose it is, and that of the primary brings the savepoint itself.

use std::collections::HashMap;

use iceberg::spec::{SnapshotReference, SnapshotRetention};
use iceberg::table::Table;
use iceberg::{TableRequirement, TableUpdate};
use serde::{Deserialize, Serialize};
use strandline_operators::{Error, ErrorKind, Result};

use super::super::change::change;
use super::super::pointer::Change;
use super::super::tables;
use super::taking::Taking;
use super::{Savepoint, TablePoint, VERSION, property_name, read};

/// What a secondary says of a tag: whose it is.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SecondaryTag {
    version: u32,
    id: String,
    primary_uuid: String,
    snapshot_id: i64,
}

impl Taking<'_> {
    /// Makes the savepoint: its document and the primary's tag, in one commit.
    pub(super) fn tag_primary(&self, savepoint: &Savepoint) -> Result<()> {
        let ident = tables::ident(&savepoint.primary.name)?;
        let json = serde_json::to_string(savepoint)
            .map_err(|e| Error::internal(format!("cannot write a savepoint: {e}")))?;
        let job = &self.settings.name;
        let tagged = change(self.catalog, &ident, |table| {
            if let Some(found) = read(table, job, self.name)?
                && found.id == savepoint.id
            {
                return Ok(None);
            }
            self.require_free(table)?;
            let properties = HashMap::from([(property_name(job, self.name), json.clone())]);
            let snapshot_id = savepoint.primary.snapshot_id;
            // Not the branch: the tag is right wherever that has gone meanwhile.
            tag(table, self.name, snapshot_id, properties).map(Some)
        });
        if let Err(error) = tagged {
            // Another attempt under this name was quicker, and ours has moved its tags.
            if error.kind() == ErrorKind::Configuration
                && let Some(found) = read(&self.catalog.load(&ident)?, job, self.name)?
            {
                self.align_tags(&found)?;
            }
            return Err(error);
        }
        Ok(())
    }

    /// Tags a secondary, in the place of what an earlier attempt under this name has left there.
    pub(super) fn tag_secondary(&self, savepoint: &Savepoint, point: &TablePoint) -> Result<()> {
        let job = &self.settings.name;
        let property_name = property_name(job, self.name);
        let ours = SecondaryTag {
            version: VERSION,
            id: savepoint.id.clone(),
            primary_uuid: savepoint.primary.uuid.clone(),
            snapshot_id: point.snapshot_id,
        };
        let json = serde_json::to_string(&ours)
            .map_err(|e| Error::internal(format!("cannot write a savepoint: {e}")))?;
        change(self.catalog, &tables::ident(&point.name)?, |table| {
            let metadata = table.metadata();
            let known = metadata.properties().get(&property_name);
            let known = known.and_then(|json| serde_json::from_str::<SecondaryTag>(json).ok());
            let tagged = metadata.snapshot_for_ref(self.name);
            if let Some(tagged) = tagged {
                match &known {
                    Some(known) if *known == ours && tagged.snapshot_id() == point.snapshot_id => {
                        return Ok(None);
                    }
                    // What an attempt left behind that ended before the primary's commit.
                    Some(known) if known.primary_uuid == ours.primary_uuid => {}
                    _ => {
                        return Err(Error::configuration(format!(
                            "table `{}` has a branch or tag `{}` already, which is no savepoint of this job",
                            point.name, self.name
                        ))
                        .hint("give it another name: `--name`"));
                    }
                }
            }
            let properties = HashMap::from([(property_name.clone(), json.clone())]);
            tag(table, self.name, point.snapshot_id, properties).map(Some)
        })?;
        Ok(())
    }

    /// Sees to it that the tags of the secondaries are those of the savepoint that was made: two attempts
    /// under one name may have crossed.
    pub(super) fn align_tags(&self, savepoint: &Savepoint) -> Result<()> {
        for secondary in &savepoint.secondaries {
            self.tag_secondary(savepoint, secondary)?;
        }
        Ok(())
    }
}

/// A change that sets a tag and properties, if the tag is as it was found.
fn tag(
    table: &Table,
    name: &str,
    snapshot_id: i64,
    properties: HashMap<String, String>,
) -> Result<Change> {
    let metadata = table.metadata();
    if metadata.snapshot_by_id(snapshot_id).is_none() {
        return Err(Error::unreachable(format!(
            "snapshot {snapshot_id} of table `{}` was expired while it was to be tagged",
            table.identifier()
        ))
        .hint("try again"));
    }
    Ok(Change {
        requirements: vec![
            TableRequirement::UuidMatch {
                uuid: metadata.uuid(),
            },
            TableRequirement::RefSnapshotIdMatch {
                r#ref: name.to_owned(),
                snapshot_id: metadata.snapshot_for_ref(name).map(|s| s.snapshot_id()),
            },
        ],
        updates: vec![
            TableUpdate::SetSnapshotRef {
                ref_name: name.to_owned(),
                reference: SnapshotReference::new(
                    snapshot_id,
                    SnapshotRetention::Tag {
                        max_ref_age_ms: None,
                    },
                ),
            },
            TableUpdate::SetProperties {
                updates: properties,
            },
        ],
    })
}
