//! The SQL catalog's pointer: one row a table, moved by a compare-and-swap.
//!
//! The library's `SqlCatalog::update_table` loads the table again by itself and ignores errors of COMMIT.
//! Ours writes the metadata file, makes it durable, and then runs one UPDATE that is its own transaction
//! and that only matches the version the change was made for.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use iceberg::spec::TableMetadata;
use iceberg::table::Table;
use iceberg::{Catalog, MetadataLocation, TableIdent};
use sqlx::AnyPool;
use sqlx::any::AnyPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{ConnectOptions, Connection};
use strandline_operators::{Error, Result};

use super::pointer::{Change, NotSwapped, Pointer, Swapped};
use super::store::{self, Fault, Store};

/// The name of the catalog within the database; other tools open it under this name.
pub(super) const CATALOG_NAME: &str = "strandline";

/// How long a writer waits for another process' write to the SQLite file.
const BUSY_TIMEOUT_MS: u64 = 5_000;

/// The pause before the file is opened again that another process is setting up.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// Connections for moving the pointer. One commits; a second one spares it a wait while one is replaced.
const CONNECTIONS: u32 = 2;

/// The pointer in a SQL database.
#[derive(Debug)]
pub(super) struct SqlPointer {
    catalog: Arc<dyn Catalog>,
    pool: AnyPool,
    runtime: iceberg::Runtime,
}

impl SqlPointer {
    pub(super) async fn connect(
        uri: &str,
        catalog: Arc<dyn Catalog>,
        runtime: iceberg::Runtime,
    ) -> Result<SqlPointer, sqlx::Error> {
        sqlx::any::install_default_drivers();
        let pool = AnyPoolOptions::new()
            .max_connections(CONNECTIONS)
            .connect(uri)
            .await?;
        Ok(SqlPointer {
            catalog,
            pool,
            runtime,
        })
    }
}

/// The URI as the driver wants it: a SQLite file is created when missing.
pub(super) fn driver_uri(uri: &str) -> String {
    if !uri.starts_with("sqlite:") || uri.contains("mode=") {
        return uri.to_owned();
    }
    let separator = if uri.contains('?') { '&' } else { '?' };
    format!("{uri}{separator}mode=rwc")
}

/// Creates the SQLite file and its folders when missing, and lets several processes share it: in WAL mode
/// readers do not wait for the writer. WAL keeps SQLite's `synchronous=FULL`: a commit survives power loss.
pub(super) async fn prepare_sqlite(uri: &str) -> Result<(), String> {
    let options = SqliteConnectOptions::from_str(uri)
        .map_err(|e| e.to_string())?
        .create_if_missing(true)
        .busy_timeout(Duration::from_millis(BUSY_TIMEOUT_MS))
        .journal_mode(SqliteJournalMode::Wal);
    let file = options.get_filename().to_path_buf();
    if let Some(folder) = file.parent().filter(|f| *f != Path::new("")) {
        store::create_folder(folder)
            .map_err(|e| format!("cannot create the folder `{}`: {e}", folder.display()))?;
    }
    let deadline = Instant::now() + Duration::from_millis(BUSY_TIMEOUT_MS);
    loop {
        // The change to WAL does not wait for another process that is making it at this moment.
        match options.connect().await {
            Ok(connection) => return connection.close().await.map_err(|e| e.to_string()),
            Err(e) if is_busy(&e) && Instant::now() < deadline => {
                tokio::time::sleep(BUSY_PAUSE).await;
            }
            Err(e) => return Err(why_unwritable(&file).unwrap_or_else(|| e.to_string())),
        }
    }
}

/// Why a SQLite file cannot be written, in the system's words, if it cannot: SQLite itself says of most causes no more than
/// "unable to open database file".
fn why_unwritable(file: &Path) -> Option<String> {
    // What SQLite would have done: the file is created, or nothing of it is touched.
    let opened = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(file);
    let error = opened.err()?;
    Some(format!("`{}` cannot be written: {error}", file.display()))
}

/// Whether SQLite says that somebody else holds the database. The lower byte of its extended codes is the
/// plain one, `SQLITE_BUSY` (5).
fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|e| e.code());
    code.and_then(|code| code.parse::<i32>().ok())
        .is_some_and(|code| code & 0xff == 5)
}

#[async_trait]
impl Pointer for SqlPointer {
    async fn load(&self, ident: &TableIdent) -> iceberg::Result<Table> {
        self.catalog.load_table(ident).await
    }

    async fn swap(&self, base: &Table, change: Change) -> Result<Swapped, NotSwapped> {
        for requirement in &change.requirements {
            requirement
                .check(Some(base.metadata()))
                .map_err(|e| NotSwapped::Conflict(e.message().to_owned()))?;
        }
        let failed = |e: iceberg::Error| {
            NotSwapped::Failed(Error::internal(format!(
                "cannot change the metadata of `{}`: {e}",
                base.identifier()
            )))
        };
        let base_location = base.metadata_location_result().map_err(failed)?.to_owned();
        let mut builder = base
            .metadata()
            .clone()
            .into_builder(Some(base_location.clone()));
        for update in change.updates {
            builder = update.apply(builder).map_err(failed)?;
        }
        let built = builder.build().map_err(failed)?;
        let new_location = MetadataLocation::from_str(&base_location)
            .map_err(failed)?
            .with_next_version()
            .with_new_metadata(&built.metadata);
        self.write_metadata(base, &built.metadata, &new_location)
            .await?;

        let new_location = new_location.to_string();
        // One statement, which the database runs as a transaction of its own: when it succeeds it is durable.
        let moved = sqlx::query(
            "UPDATE iceberg_tables SET metadata_location = $1, previous_metadata_location = $2 \
             WHERE catalog_name = $3 AND table_namespace = $4 AND table_name = $5 AND metadata_location = $6",
        )
        .bind(&new_location)
        .bind(&base_location)
        .bind(CATALOG_NAME)
        .bind(base.identifier().namespace().join("."))
        .bind(base.identifier().name())
        .bind(&base_location)
        .execute(&self.pool)
        .await
        // An error may have come after the commit as well as before.
        .map_err(|e| NotSwapped::Unknown(e.to_string()))?;
        if moved.rows_affected() == 0 {
            // Nobody knows of this file but us. A failure to delete it only leaves it lying there.
            let _ = base.file_io().delete(&new_location).await;
            return Err(NotSwapped::Conflict(
                "the table has a newer version".to_owned(),
            ));
        }
        let table = Table::builder()
            .file_io(base.file_io().clone())
            .identifier(base.identifier().clone())
            .metadata_location(new_location)
            .metadata(built.metadata)
            .runtime(self.runtime.clone())
            .build()
            // It is committed, so never `Failed`: the caller would delete the manifests.
            .map_err(|e| NotSwapped::Unknown(e.to_string()))?;
        let superseded = built
            .expired_metadata_logs
            .into_iter()
            .map(|log| log.metadata_file)
            .collect();
        Ok(Swapped { table, superseded })
    }
}

impl SqlPointer {
    /// Writes the metadata file and makes it, and the names of the manifests beside it, durable.
    async fn write_metadata(
        &self,
        base: &Table,
        metadata: &TableMetadata,
        to: &MetadataLocation,
    ) -> Result<(), NotSwapped> {
        let hint = "see that the warehouse is there, writable, and not full";
        let what = format!(
            "cannot write the metadata of `{}` to `{to}`",
            base.identifier()
        );
        if let Err(e) = metadata.write_to(base.file_io(), to).await {
            return Err(match Fault::within(&e) {
                // Nobody refers to it, and the whole commit can be built again.
                Some(fault) if fault.may_pass() => NotSwapped::Conflict(format!("{what}: {fault}")),
                Some(fault) => NotSwapped::Failed(fault.clone().explain(what, hint)),
                None => NotSwapped::Failed(Error::unreachable(format!("{what}: {e}")).hint(hint)),
            });
        }
        // The library's writer leaves the bytes to the page cache: after a power loss the pointer, which the
        // database did sync, would lead to an empty file.
        Store::of(base.file_io())
            .sync(&to.to_string())
            .map_err(|fault| NotSwapped::Failed(fault.explain(what, hint)))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sqlite_file_is_created_unless_the_uri_says_otherwise() {
        assert_eq!(driver_uri("sqlite://./a.db"), "sqlite://./a.db?mode=rwc");
        assert_eq!(
            driver_uri("sqlite://a.db?cache=private"),
            "sqlite://a.db?cache=private&mode=rwc"
        );
        assert_eq!(driver_uri("sqlite://a.db?mode=ro"), "sqlite://a.db?mode=ro");
        assert_eq!(driver_uri("postgresql://h/d"), "postgresql://h/d");
    }

    #[test]
    fn processes_that_set_a_file_up_at_the_same_moment_wait_for_one_another() {
        let folder = tempfile::tempdir().expect("folder");
        for round in 0..20 {
            let uri = format!("sqlite://{}/{round}.db", folder.path().display());
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        let blocking = crate::connectors::iceberg::blocking::Blocking::new();
                        let prepared = blocking.expect("runtime").wait(prepare_sqlite(&uri));
                        prepared.expect("runtime").expect("prepared");
                    });
                }
            });
        }
    }
}
