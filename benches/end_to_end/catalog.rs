//! Where the tables of a run are, and how a reader hears of their commits.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use strandline::connectors::iceberg::{CatalogKind, CatalogSettings, IcebergConnector};

use crate::Outcome;
use crate::table::local;

/// A file may be written to again within so long and keep its time: a tick of the kernel's clock, and as much again.
const SAME_TIME: Duration = Duration::from_millis(20);

/// A REST catalog, and what it keeps on this machine.
#[derive(Clone, Debug)]
pub struct RestCatalog {
    /// Where it answers.
    pub uri: String,
    /// Where its tables are.
    pub warehouse: String,
    /// Its SQLite database.
    pub database: PathBuf,
}

/// The reader of one table in a catalog on SQLite, asked by itself or through the server before it.
pub struct Watched {
    settings: CatalogSettings,
    database: PathBuf,
    table: String,
    connector: Option<IcebergConnector>,
    /// What the catalog said last, and when its database had last been written to before it was asked.
    known: Option<(SystemTime, PathBuf)>,
}

impl Watched {
    /// Of a table in a REST catalog.
    pub fn rest(catalog: &RestCatalog, table: &str) -> Watched {
        let settings = CatalogSettings {
            kind: CatalogKind::Rest,
            uri: catalog.uri.clone(),
            warehouse: catalog.warehouse.clone(),
            properties: Default::default(),
        };
        Watched::new(settings, catalog.database.clone(), table)
    }

    /// Of a table in a SQL catalog in a folder.
    pub fn sql(folder: &Path, table: &str) -> Watched {
        let database = folder.join("catalog.db");
        let settings = CatalogSettings {
            kind: CatalogKind::Sql,
            uri: format!("sqlite://{}", database.display()),
            warehouse: folder.join("warehouse").display().to_string(),
            properties: Default::default(),
        };
        Watched::new(settings, database, table)
    }

    fn new(settings: CatalogSettings, database: PathBuf, table: &str) -> Watched {
        Watched {
            settings,
            database,
            table: table.to_owned(),
            connector: None,
            known: None,
        }
    }

    /// The table's current metadata file; `None` before there is one.
    ///
    /// # Errors
    /// The catalog cannot be opened.
    pub fn metadata_file(&mut self) -> Outcome<Option<PathBuf>> {
        if !self.database.exists() {
            return Ok(None);
        }
        if self.connector.is_none() {
            self.connector = Some(IcebergConnector::open(&self.settings)?);
        }
        let Some(connector) = &self.connector else {
            return Ok(None);
        };
        // To ask costs whoever answers the reading of all metadata, a few milliseconds, of which the engine that is
        // measured would get less: so only when the database has been written to.
        let written = last_written(&self.database);
        if let (Some(written), Some((then, file))) = (written, &self.known)
            && written == *then
            && written.elapsed().is_ok_and(|ago| ago > SAME_TIME)
        {
            return Ok(Some(file.clone()));
        }
        // The catalog may be busy, or in the making.
        let facts = connector.inspect(&self.table).ok().flatten();
        let file = facts.map(|facts| local(&facts.metadata_location));
        self.known = written.zip(file.clone());
        Ok(file)
    }
}

/// When a database of SQLite, or its log of writes, was last written to.
fn last_written(database: &Path) -> Option<SystemTime> {
    let mut log = database.as_os_str().to_owned();
    log.push("-wal");
    [database, Path::new(&log)]
        .iter()
        .filter_map(|file| file.metadata().ok()?.modified().ok())
        .max()
}
