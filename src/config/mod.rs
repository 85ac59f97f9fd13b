//! The configuration: what the file says, joined with the defaults, the jobs' code and `--set`.
//!
//! | step | where |
//! |---|---|
//! | YAML text to a tree in which every value knows its line | `tree` |
//! | `${env:NAME}` and `${file:PATH}` | `variables` |
//! | tree to what the file says, everything optional | `file`, with `read` |
//! | that to what is in force, and where each setting came from | `resolve` |
//! | what is in force as YAML or JSON, secrets masked | `show` |
//!
//! Every problem of a file is found in one go.

mod file;
pub mod nearest;
mod origin;
mod read;
mod resolve;
mod schema;
mod set;
mod show;
mod tree;
pub mod units;
mod variables;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use strandline_operators::job::{Job, JobSettings};
use strandline_operators::{Error, Result};

pub use file::CatalogType;
pub use origin::{At, Origin, Place};
use read::Problems;
pub use schema::json_schema_for;
pub(crate) use show::without_password;
pub use show::{MASK, Setting, is_secret};

/// The configuration read when no other is named.
pub const DEFAULT_FILE: &str = "./strandline.yaml";

/// The environment variable that names the configuration.
pub const FILE_VARIABLE: &str = "STRANDLINE_CONFIG";

/// Largest configuration file read. A thousand jobs are half a MiB.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// The configuration in force.
#[derive(Clone, Debug)]
pub struct Config {
    /// The Kafka cluster.
    pub kafka: Kafka,
    /// The schema registry, if there is one.
    pub schema_registry: Option<SchemaRegistry>,
    /// The Iceberg catalog.
    pub catalog: Catalog,
    /// What does not depend on Kafka or the catalog.
    pub engine: Engine,
}

/// What is in force besides Kafka and the catalog; every one of these has a default.
#[derive(Clone, Debug)]
pub struct Engine {
    /// Folder of what a job keeps on this host; relative to the current directory.
    pub state_dir: PathBuf,
    /// Where UI, API and metrics are served; `None` for nowhere. Port 0 means any free one.
    pub http: Option<SocketAddr>,
    /// What API, metrics and UI ask for, if anything.
    pub http_token: Option<Secret>,
    /// What HTTP is served behind TLS with, if it is.
    pub http_tls: Option<HttpTls>,
    /// How `launch` restarts a job that failed.
    pub restart: Restart,
    /// The settings of every job of the registry, by name.
    pub jobs: BTreeMap<String, JobSettings>,
    /// Every setting in force and where it came from, in the order of the documentation.
    pub settings: Vec<Setting>,
}

/// What HTTP is served behind TLS with: PEM files, relative to the current directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpTls {
    /// The certificate, and what leads to its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// The Kafka cluster.
#[derive(Clone, Debug)]
pub struct Kafka {
    /// Brokers to start from, `host:port`, comma separated.
    pub bootstrap_servers: String,
    /// librdkafka properties, verbatim.
    pub properties: Properties,
}

/// The schema registry. `Debug` hides the password of its address.
#[derive(Clone)]
pub struct SchemaRegistry {
    /// Its address.
    pub url: String,
    /// User for basic authentication.
    pub username: Option<String>,
    /// Password for basic authentication.
    pub password: Option<Secret>,
    /// Token for bearer authentication.
    pub bearer_token: Option<Secret>,
    /// PEM file of certificate authorities that the server's certificate may come from.
    pub ssl_ca_location: Option<String>,
    /// PEM file of our own certificate.
    pub ssl_certificate_location: Option<String>,
    /// PEM file of its private key.
    pub ssl_key_location: Option<String>,
}

/// The Iceberg catalog. `Debug` hides the password of its address.
#[derive(Clone)]
pub struct Catalog {
    /// The kind of catalog.
    pub catalog_type: CatalogType,
    /// Its address.
    pub uri: String,
    /// Where tables are kept: a local path or `file://`. Always there for a SQL catalog.
    pub warehouse: Option<String>,
    /// Properties of the catalog and its file system, verbatim.
    pub properties: Properties,
}

impl fmt::Debug for SchemaRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchemaRegistry")
            .field("url", &show::without_password(&self.url))
            .field("username", &self.username)
            .field("password", &self.password)
            .field("bearer_token", &self.bearer_token)
            .field("ssl_ca_location", &self.ssl_ca_location)
            .field("ssl_certificate_location", &self.ssl_certificate_location)
            .field("ssl_key_location", &self.ssl_key_location)
            .finish()
    }
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalog")
            .field("catalog_type", &self.catalog_type)
            .field("uri", &show::without_password(&self.uri))
            .field("warehouse", &self.warehouse)
            .field("properties", &self.properties)
            .finish()
    }
}

/// How `launch` restarts a job that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    /// Restarts in a row before giving up.
    pub attempts: u32,
    /// Wait before a restart.
    pub delay: Duration,
}

impl Default for Restart {
    fn default() -> Self {
        Restart {
            attempts: 3,
            delay: Duration::from_secs(30),
        }
    }
}

/// Text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps a secret.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The secret, for the one who needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// Properties passed on verbatim. Secrets among them are not printed by `Debug`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties(pub BTreeMap<String, String>);

impl Deref for Properties {
    type Target = BTreeMap<String, String>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |key: &str, value: &str| {
            if is_secret(key) {
                MASK.to_owned()
            } else {
                value.to_owned()
            }
        };
        f.debug_map()
            .entries(self.0.iter().map(|(k, v)| (k, shown(k, v))))
            .finish()
    }
}

/// What a configuration is read from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// `KEY=VALUE`, as given to `--set`; later ones win.
    pub set: Vec<String>,
    /// The job that a `KEY` such as `commit.interval` belongs to.
    pub job: Option<String>,
}

impl Sources {
    /// The file that is read: the one named on the command line, else `$STRANDLINE_CONFIG`, else
    /// `./strandline.yaml` if it is there.
    pub fn find_file(named: Option<&Path>) -> Option<PathBuf> {
        let from_variable = || {
            std::env::var_os(FILE_VARIABLE)
                .filter(|v| !v.is_empty())
                .map(PathBuf::from)
        };
        let default = || Some(PathBuf::from(DEFAULT_FILE)).filter(|f| f.exists());
        named
            .map(Path::to_owned)
            .or_else(from_variable)
            .or_else(default)
    }
}

/// A configuration that has been read, and may lack Kafka and the catalog: enough for `list` and `plan`.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The file it was read from.
    pub file: Option<PathBuf>,
    /// The Kafka cluster, if the configuration names one.
    pub kafka: Option<Kafka>,
    /// The schema registry, if the configuration names one.
    pub schema_registry: Option<SchemaRegistry>,
    /// The Iceberg catalog, if the configuration names one.
    pub catalog: Option<Catalog>,
    /// Everything else.
    pub engine: Engine,
}

impl Draft {
    /// Reads a configuration for the jobs of the registry.
    ///
    /// # Errors
    /// All problems of the configuration in one error, each with file, line and column.
    pub fn load(sources: &Sources, jobs: &[Job]) -> Result<Draft> {
        Self::load_in(sources, jobs, &|name| std::env::var(name).ok())
    }

    fn load_in(
        sources: &Sources,
        jobs: &[Job],
        environment: variables::Environment<'_>,
    ) -> Result<Draft> {
        let mut root = match &sources.file {
            Some(file) => {
                let shown: Arc<str> = file
                    .strip_prefix("./")
                    .unwrap_or(file)
                    .display()
                    .to_string()
                    .into();
                let place = |line, column| Place::File {
                    file: shown.clone(),
                    line,
                    column,
                };
                tree::parse(&read_file(file)?, &place, &format!("`{shown}`"))?
            }
            None => tree::Node::empty(Origin::DEFAULT),
        };
        let names: Vec<&str> = jobs.iter().map(|j| j.name).collect();
        for argument in &sources.set {
            set::apply(&mut root, argument, sources.job.as_deref(), &names)?;
        }
        let mut problems = Problems::default();
        variables::replace(&mut root, environment, &mut problems);
        if let Some(error) = std::mem::take(&mut problems).into_error() {
            return Err(error);
        }
        let said = file::ConfigFile::read(&root, &mut problems);
        let draft = resolve::resolve(said, sources.file.clone(), jobs, &mut problems);
        problems.into_error().map_or(Ok(draft), Err)
    }

    /// The whole configuration.
    ///
    /// # Errors
    /// Kafka or the catalog is missing; the hint shows the lines to add.
    pub fn require(self) -> Result<Config> {
        let whence = match &self.file {
            Some(file) => format!("in {}", file.strip_prefix("./").unwrap_or(file).display()),
            None => format!(
                "no configuration file: neither `-c FILE`, nor ${FILE_VARIABLE}, nor {DEFAULT_FILE}"
            ),
        };
        let missing = |key: &str, lines: &str| {
            let lines = lines.replace('\n', "\n          ");
            Error::configuration(format!("`{key}` is missing"))
                .hint(format!("add these lines:\n          {lines}"))
                .context(whence.clone())
        };
        let mut problems = Vec::new();
        if self.kafka.is_none() {
            let lines = "kafka:\n  bootstrap_servers: localhost:9092";
            problems.push(missing("kafka.bootstrap_servers", lines));
        }
        if self.catalog.is_none() {
            let lines = "catalog:\n  type: sql\n  uri: sqlite://./data/catalog.db\n  warehouse: ./data/warehouse";
            problems.push(missing("catalog", lines));
        }
        match (self.kafka, self.catalog) {
            (Some(kafka), Some(catalog)) => Ok(Config {
                kafka,
                schema_registry: self.schema_registry,
                catalog,
                engine: self.engine,
            }),
            _ => Err(joined(&problems)),
        }
    }
}

impl Config {
    /// A configuration with every default, for a cluster and a catalog that the program itself brings.
    pub fn with_defaults(kafka: Kafka, catalog: Catalog, jobs: &[Job]) -> Config {
        let mut problems = Problems::default();
        let draft = resolve::resolve(file::ConfigFile::default(), None, jobs, &mut problems);
        Config {
            kafka,
            schema_registry: None,
            catalog,
            engine: draft.engine,
        }
    }

    /// The settings of a job of the registry.
    ///
    /// # Errors
    /// There is no such job; the hint has the nearest name.
    pub fn job(&self, name: &str) -> Result<&JobSettings> {
        self.engine.job(name)
    }
}

impl Engine {
    /// The settings of a job of the registry.
    ///
    /// # Errors
    /// There is no such job; the hint has the nearest name.
    pub fn job(&self, name: &str) -> Result<&JobSettings> {
        self.jobs
            .get(name)
            .ok_or_else(|| unknown_job(name, self.jobs.keys().map(String::as_str)))
    }

    /// The folder of what a job keeps on this host: `<state_dir>/<job>`.
    pub fn job_dir(&self, job: &str) -> PathBuf {
        self.state_dir.join(job)
    }
}

/// The error for a job name that is not in the registry.
pub(crate) fn unknown_job<'a>(
    name: &str,
    jobs: impl IntoIterator<Item = &'a str> + Clone,
) -> Error {
    Error::configuration(format!("there is no job `{name}`"))
        .hint(nearest::hint(name, "jobs", jobs))
}

fn read_file(file: &Path) -> Result<String> {
    let cannot = |why: String| {
        Error::configuration(format!(
            "cannot read the configuration `{}`: {why}",
            file.display()
        ))
        .hint(format!("name another with `-c FILE` or ${FILE_VARIABLE}"))
    };
    let length = std::fs::metadata(file)
        .map_err(|e| cannot(e.to_string()))?
        .len();
    if length > MAX_FILE_BYTES {
        return Err(cannot(format!(
            "it has {length} bytes, more than {MAX_FILE_BYTES}"
        )));
    }
    std::fs::read_to_string(file).map_err(|e| cannot(e.to_string()))
}

/// One error that says all of them, each as if it stood alone.
fn joined(problems: &[Error]) -> Error {
    match problems {
        [only] => only.clone(),
        _ => {
            let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
            Error::configuration(all.join("\nerror: "))
        }
    }
}

#[cfg(test)]
mod tests;
