//! The tables: versions, and commits whose answers get lost.

use std::cmp::Ordering;
use std::sync::Arc;

use strandline_operators::io::WrittenFile;
use strandline_operators::landing::summary;
use strandline_operators::landing::table::{Append, Lineage, Sent, Version, VersionedTable};
use strandline_operators::{Error, Result};

use crate::baton::{Said, give_way};
use crate::world::{InFlight, TableState, World};

/// Answers of the catalog that go wrong: one in so many.
const CATALOG_ODDS: u64 = 12;

pub struct SimVersion(Arc<TableState>);

impl Version for SimVersion {
    fn name(&self) -> String {
        self.0.name.clone()
    }

    fn uuid(&self) -> String {
        "01234567-89ab-cdef-0123-456789abcdef".to_owned()
    }

    fn head(&self) -> Option<i64> {
        self.0.head
    }

    fn has_snapshot(&self, snapshot_id: i64) -> bool {
        self.0.snapshots.contains_key(&snapshot_id)
    }

    fn next_sequence_number(&self) -> i64 {
        self.0.sequence + 1
    }

    fn lineage(&self, _job: &str, expected: i64) -> Lineage {
        let mut at = self.0.head;
        while let Some(snapshot) = at.and_then(|id| self.0.snapshots.get(&id)) {
            match snapshot.sequence.cmp(&expected) {
                Ordering::Equal => return Lineage::Descends,
                Ordering::Less => return Lineage::Past(snapshot.sequence),
                Ordering::Greater => at = snapshot.parent,
            }
        }
        match self.0.head {
            Some(_) => Lineage::Replaced,
            None => Lineage::Empty,
        }
    }

    fn has_snapshot_of(&self, job: &str) -> bool {
        let mut snapshots = self.0.snapshots.values();
        snapshots.any(|s| s.summary.get(summary::JOB).is_some_and(|of| of == job))
    }

    fn since(&self, _job: &str, _generation: u32) -> String {
        "some time".to_owned()
    }

    fn property(&self, name: &str) -> Option<&str> {
        self.0.properties.get(name).map(String::as_str)
    }

    fn properties_with_prefix<'a>(&'a self, prefix: &str) -> Vec<(&'a str, &'a str)> {
        let properties = self.0.properties.iter();
        properties
            .filter_map(|(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())))
            .collect()
    }
}

pub struct SimTable {
    world: World,
    life: usize,
    name: &'static str,
    version: SimVersion,
}

impl SimTable {
    pub fn open(world: &World, life: usize, name: &'static str) -> SimTable {
        let version = SimVersion(Arc::clone(&world.lock().tables[name]));
        SimTable {
            world: world.clone(),
            life,
            name,
            version,
        }
    }

    fn is_away(&self) -> bool {
        self.world.lock().is_away(self.name)
    }

    fn apply(&self, commit: InFlight) -> bool {
        self.world.lock().apply(commit)
    }
}

impl VersionedTable for SimTable {
    type Version = SimVersion;

    fn version(&self) -> &SimVersion {
        &self.version
    }

    fn reload(&mut self) -> Result<()> {
        give_way(Said::Worked);
        let what = || format!("life {}: {} cannot be read", self.life, self.name);
        if self.is_away() || self.world.fault(CATALOG_ODDS, what) {
            return Err(Error::unreachable("the catalog is away"));
        }
        self.version = SimVersion(Arc::clone(&self.world.lock().tables[self.name]));
        Ok(())
    }

    fn refers_to_any(&self, files: &[WrittenFile]) -> Result<bool> {
        let there = &self.version.0.files;
        Ok(files.iter().any(|file| there.contains(file)))
    }

    fn append(&mut self, append: &Append) -> Result<Sent> {
        give_way(Said::Worked);
        if self.is_away() {
            let error = Error::unreachable("the table is away");
            return Ok(Sent::Failed(error));
        }
        let snapshot_id = self.world.lock().new_id();
        let commit = InFlight {
            life: Some(self.life),
            table: self.name,
            head: self.version.0.head,
            snapshot_id,
            append: append.clone(),
        };
        let why = String::new();
        let what = || {
            format!(
                "life {}: the answer to snapshot {snapshot_id} of {}",
                self.life, self.name
            )
        };
        if self.world.fault(CATALOG_ODDS, what) {
            let kind = self.world.below(5);
            self.world.note(|| {
                let kinds = [
                    "is lost, not made",
                    "is lost, made",
                    "is lost, made later",
                    "is a conflict, made",
                    "is that it failed",
                ];
                format!("        {}", kinds[kind as usize])
            });
            return Ok(match kind {
                0 => Sent::Unknown { snapshot_id, why },
                1 => {
                    self.apply(commit);
                    Sent::Unknown { snapshot_id, why }
                }
                2 => {
                    self.world.lock().in_flight.push(commit);
                    Sent::Unknown { snapshot_id, why }
                }
                3 => {
                    self.apply(commit);
                    Sent::Conflict { snapshot_id, why }
                }
                _ => Sent::Failed(Error::unreachable("the catalog said no")),
            });
        }
        let made = self.apply(commit);
        let version = SimVersion(Arc::clone(&self.world.lock().tables[self.name]));
        give_way(Said::Worked);
        if !made {
            return Ok(Sent::Conflict { snapshot_id, why });
        }
        self.version = version;
        Ok(Sent::Committed { snapshot_id })
    }

    fn found(&mut self, _snapshot_id: i64) {}

    fn discard(&mut self, snapshot_id: i64) {
        let mut world = self.world.lock();
        let there = |snapshots: &TableState| snapshots.snapshots.contains_key(&snapshot_id);
        if there(&world.tables[self.name]) {
            world.break_off(format!(
                "the manifests of snapshot {snapshot_id} are deleted"
            ));
        }
    }
}
