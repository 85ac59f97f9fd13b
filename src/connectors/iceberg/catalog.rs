//! Opening a catalog: SQL (SQLite by default) or REST.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use iceberg::io::{S3_ACCESS_KEY_ID, S3_SESSION_TOKEN};
use iceberg::table::Table;
use iceberg::{Catalog, CatalogBuilder, ErrorKind, TableIdent};
use iceberg_catalog_rest::RestCatalogBuilder;
use iceberg_catalog_sql::SqlCatalogBuilder;
use strandline_operators::{Error, Result};

use super::blocking::Blocking;
use super::location::{self, Place};
use super::pointer::{self, Pointer};
use super::rest::{self, NotOpened, RestPointer};
use super::sql::{self, CATALOG_NAME, SqlPointer};
use super::store::{self, Fault, Patience, Properties, Store, StoreFactory};

/// How long opening the catalog may take before it counts as unreachable.
const OPEN_TIMEOUT_MS: u64 = 8_000;

/// How long any other single request to the catalog may take.
const REQUEST_TIMEOUT_MS: u64 = 30_000;

/// Which kind of catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatalogKind {
    /// A SQL database.
    Sql,
    /// An Iceberg REST server.
    Rest,
}

/// The catalog, as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogSettings {
    /// SQL or REST.
    pub kind: CatalogKind,
    /// `sqlite://./data/catalog.db`, `http://localhost:8181`.
    pub uri: String,
    /// A local path, a `file://` or an `s3://` URI; for REST it may be empty, then the server's own is used.
    pub warehouse: String,
    /// Passed to the catalog and to the store as they are: `token`, `credential`, `header.<name>`, `s3.endpoint`, ...
    pub properties: HashMap<String, String>,
}

impl CatalogSettings {
    /// Checks them without reaching for the catalog.
    ///
    /// # Errors
    /// Configuration.
    pub fn validate(&self) -> Result<()> {
        store::validate(&self.properties)?;
        match self.kind {
            CatalogKind::Sql => {
                self.require_sqlite()?;
                location::warehouse_location(&self.warehouse).map(drop)
            }
            CatalogKind::Rest => {
                self.placed_warehouse()?;
                rest::bounded_client(&self.properties).map(drop)
            }
        }
    }

    fn require_sqlite(&self) -> Result<()> {
        if self.uri.starts_with("sqlite:") {
            return Ok(());
        }
        Err(Error::configuration(format!(
            "cannot open the SQL catalog `{}`: only SQLite is built in",
            masked(&self.uri)
        ))
        .hint("set `catalog.uri` to `sqlite://PATH`, or use `catalog.type: rest`"))
    }

    /// Where a REST server's tables are put, when we say it. A server may know its warehouse by a name; only
    /// what looks like a path or a URI says where it is.
    fn placed_warehouse(&self) -> Result<Option<String>> {
        location::is_place(&self.warehouse)
            .then(|| location::warehouse_location(&self.warehouse))
            .transpose()
    }
}

/// An open catalog.
#[derive(Debug)]
pub(super) struct OpenCatalog {
    pub(super) kind: CatalogKind,
    pub(super) blocking: Arc<Blocking>,
    pub(super) catalog: Arc<dyn Catalog>,
    pub(super) pointer: Arc<dyn Pointer>,
    /// Where new tables are put, absolute; `None` when the server decides.
    pub(super) warehouse: Option<String>,
    /// For messages, without its password.
    pub(super) uri: String,
    /// What is configured of the store.
    pub(super) properties: Properties,
}

impl OpenCatalog {
    /// Opens the catalog; a SQLite file is created when missing.
    pub(super) fn open(settings: &CatalogSettings) -> Result<OpenCatalog> {
        let blocking = Arc::new(Blocking::new()?);
        let runtime = blocking.handle()?;
        let opening = async {
            match settings.kind {
                CatalogKind::Sql => open_sql(settings, runtime).await,
                CatalogKind::Rest => open_rest(settings, runtime).await,
            }
        };
        let uri = masked(&settings.uri);
        let opened = blocking.wait_at_most(Duration::from_millis(OPEN_TIMEOUT_MS), opening)?;
        let (catalog, pointer, warehouse) =
            opened.unwrap_or_else(|| Err(unreachable(settings, "no answer within 8 s")))?;
        Ok(OpenCatalog {
            kind: settings.kind,
            blocking,
            catalog,
            pointer,
            warehouse,
            uri,
            properties: Properties::of(&settings.properties),
        })
    }

    /// The store of the warehouse, by what is configured.
    pub(super) fn store(&self) -> Store {
        Store::with(self.properties.clone())
    }

    /// Whether what is configured may be all that it takes to get at the warehouse: a server may hand out the rest, but only
    /// with a table.
    pub(super) fn can_reach(&self, warehouse: &str) -> bool {
        self.kind == CatalogKind::Sql
            || matches!(Place::of(warehouse), Some(Place::Local(_)))
            || !self.properties.is_empty()
            || std::env::var_os("AWS_ACCESS_KEY_ID").is_some()
    }

    /// Runs one request to the catalog, with a bound on its time.
    pub(super) fn ask<T: Send>(
        &self,
        what: &str,
        request: impl Future<Output = iceberg::Result<T>> + Send,
    ) -> Result<T> {
        self.ask_plainly(what, request)?
            .map_err(|e| self.error(what, &e))
    }

    /// As [`OpenCatalog::ask`]; the library's error is handed through.
    fn ask_plainly<T: Send>(
        &self,
        what: &str,
        request: impl Future<Output = iceberg::Result<T>> + Send,
    ) -> Result<iceberg::Result<T>> {
        match self
            .blocking
            .wait_at_most(Duration::from_millis(REQUEST_TIMEOUT_MS), request)?
        {
            Some(answer) => Ok(answer),
            None => Err(Error::unreachable(format!(
                "cannot {what}: the catalog at `{}` did not answer within {} s",
                self.uri,
                REQUEST_TIMEOUT_MS / 1000
            ))
            .hint("see that the catalog and the warehouse are up")),
        }
    }

    /// Reads a table's current version.
    pub(super) fn load(&self, ident: &TableIdent) -> Result<Table> {
        self.ask(&format!("load table `{ident}`"), self.pointer.load(ident))
    }

    /// Reads the current version of a table that the job had open: one that is not there was dropped.
    pub(super) fn reload(&self, ident: &TableIdent) -> Result<Table> {
        let what = format!("load table `{ident}`");
        match self.ask_plainly(&what, self.pointer.load(ident))? {
            Ok(table) => Ok(table),
            Err(e)
                if matches!(
                    e.kind(),
                    ErrorKind::TableNotFound | ErrorKind::NamespaceNotFound
                ) =>
            {
                Err(pointer::gone(ident))
            }
            Err(e) => Err(self.error(&what, &e)),
        }
    }

    /// Reads a table's current version, `None` when there is no such table.
    pub(super) fn load_if_there(&self, ident: &TableIdent) -> Result<Option<Table>> {
        self.ask(&format!("load table `{ident}`"), async {
            match self.pointer.load(ident).await {
                Ok(table) => Ok(Some(table)),
                Err(e)
                    if matches!(
                        e.kind(),
                        ErrorKind::TableNotFound | ErrorKind::NamespaceNotFound
                    ) =>
                {
                    Ok(None)
                }
                Err(e) => Err(e),
            }
        })
    }

    /// The library's error, as one a person can act on.
    pub(super) fn error(&self, what: &str, error: &iceberg::Error) -> Error {
        let what = format!("cannot {what} (catalog `{}`)", self.uri);
        if let Some(fault) = Fault::within(error) {
            return fault
                .clone()
                .explain(what, "see that the warehouse is there and readable");
        }
        let text = format!("{what}: {}", reason(error));
        match error.kind() {
            ErrorKind::TableNotFound | ErrorKind::NamespaceNotFound => {
                Error::configuration(text).hint("run the job once, it creates its tables")
            }
            ErrorKind::DataInvalid
            | ErrorKind::FeatureUnsupported
            | ErrorKind::PreconditionFailed => Error::internal(text),
            _ => Error::unreachable(text)
                .hint("see that the catalog and the warehouse are up and can be reached from here"),
        }
    }
}

/// The message of a library's error with those of its causes.
pub(super) fn reason(error: &iceberg::Error) -> String {
    let mut text = error.message().to_owned();
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        text.push_str(": ");
        text.push_str(&source.to_string());
        cause = source.source();
    }
    text
}

type Parts = (Arc<dyn Catalog>, Arc<dyn Pointer>, Option<String>);

async fn open_sql(settings: &CatalogSettings, runtime: iceberg::Runtime) -> Result<Parts> {
    settings.require_sqlite()?;
    let warehouse = location::warehouse_location(&settings.warehouse)?;
    sql::prepare_sqlite(&settings.uri)
        .await
        .map_err(|e| unreachable(settings, &e))?;
    let uri = sql::driver_uri(&settings.uri);
    let catalog = SqlCatalogBuilder::default()
        .uri(&uri)
        .warehouse_location(&warehouse)
        .props(settings.properties.clone())
        .with_storage_factory(StoreFactory::with(Patience::Brief))
        .with_runtime(runtime.clone())
        .load(CATALOG_NAME, HashMap::new())
        .await
        .map_err(|e| unreachable(settings, &reason(&e)))?;
    let catalog: Arc<dyn Catalog> = Arc::new(catalog);
    let pointer = SqlPointer::connect(&uri, Arc::clone(&catalog), runtime)
        .await
        .map_err(|e| unreachable(settings, &e.to_string()))?;
    Ok((catalog, Arc::new(pointer), Some(warehouse)))
}

async fn open_rest(settings: &CatalogSettings, runtime: iceberg::Runtime) -> Result<Parts> {
    let placed = settings.placed_warehouse()?;
    let mut properties = settings.properties.clone();
    properties.insert(
        "uri".to_owned(),
        settings.uri.trim_end_matches('/').to_owned(),
    );
    let named = placed.clone().unwrap_or_else(|| settings.warehouse.clone());
    if !named.is_empty() {
        properties.insert("warehouse".to_owned(), named.clone());
    }
    // The library merges by name what the server hands out with what is configured: its token must not come to our keys.
    if properties.contains_key(S3_ACCESS_KEY_ID) {
        properties.entry(S3_SESSION_TOKEN.to_owned()).or_default();
    }
    let client = rest::bounded_client(&settings.properties)?;
    let catalog = RestCatalogBuilder::default()
        .with_client(client.clone())
        .with_storage_factory(StoreFactory::with(Patience::Brief))
        .with_runtime(runtime.clone())
        .load(CATALOG_NAME, properties)
        .await
        .map_err(|e| unreachable(settings, &reason(&e)))?;
    let catalog: Arc<dyn Catalog> = Arc::new(catalog);
    let pointer = RestPointer::connect(
        &settings.uri,
        &named,
        &settings.properties,
        client,
        Arc::clone(&catalog),
        runtime,
    )
    .await
    .map_err(|e| match e {
        NotOpened::Unreachable(why) => unreachable(settings, &why),
        NotOpened::Refused(why) => Error::configuration(format!(
            "the Iceberg catalog `{}` refuses our credentials: {why}",
            masked(&settings.uri)
        ))
        .hint("set `token` or `credential` in `catalog.properties`"),
    })?;
    Ok((catalog, Arc::new(pointer), placed))
}

fn unreachable(settings: &CatalogSettings, why: &str) -> Error {
    let hint = match settings.kind {
        CatalogKind::Sql => {
            "see that the folder of `catalog.uri` is there and writable, and that the file is a SQLite database"
        }
        CatalogKind::Rest => "start the REST catalog, or set `catalog.uri` to where it listens",
    };
    Error::unreachable(format!(
        "cannot open the Iceberg catalog `{}`: {why}",
        masked(&settings.uri)
    ))
    .hint(hint)
}

/// The URI without its password.
fn masked(uri: &str) -> String {
    let Some((scheme, rest)) = uri.split_once("://") else {
        return uri.to_owned();
    };
    let authority_end = rest.find('/').unwrap_or(rest.len());
    match rest[..authority_end].rfind('@') {
        Some(at) => {
            let user = rest[..at].split(':').next().unwrap_or_default();
            format!("{scheme}://{user}:***{}", &rest[at..])
        }
        None => uri.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;
    use strandline_operators::ErrorKind as Kind;

    #[test]
    fn a_password_is_never_shown() {
        assert_eq!(
            masked("postgresql://me:secret@host/db"),
            "postgresql://me:***@host/db"
        );
        assert_eq!(
            masked("http://localhost:8181/a@b"),
            "http://localhost:8181/a@b"
        );
        assert_eq!(
            masked("sqlite://./data/catalog.db"),
            "sqlite://./data/catalog.db"
        );
    }

    #[test]
    fn a_rest_catalog_that_is_not_there_is_an_error_within_ten_seconds() {
        let settings = CatalogSettings {
            kind: CatalogKind::Rest,
            // Port 9 (discard) of this host: nothing listens there.
            uri: "http://127.0.0.1:9".to_owned(),
            warehouse: String::new(),
            properties: HashMap::new(),
        };
        let started = Instant::now();
        let error = OpenCatalog::open(&settings).expect_err("nothing listens there");
        assert!(started.elapsed().as_secs() < 10);
        assert_eq!(error.kind(), Kind::Unreachable);
        assert!(error.to_string().contains("http://127.0.0.1:9"), "{error}");
        assert!(error.to_string().contains("refused"), "{error}");
    }

    #[test]
    fn a_catalog_file_in_an_impossible_place_is_an_error_with_its_name() {
        let settings = CatalogSettings {
            kind: CatalogKind::Sql,
            uri: "sqlite:///dev/null/catalog.db".to_owned(),
            warehouse: "/tmp".to_owned(),
            properties: HashMap::new(),
        };
        let error = OpenCatalog::open(&settings).expect_err("not a folder");
        assert_eq!(error.kind(), Kind::Unreachable);
        assert!(error.to_string().contains("/dev/null"), "{error}");
    }
}
