//! Apache Iceberg's REST catalog server (the fixture its own clients are tested with), on SQLite.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{answering, s3};
use crate::jars::{self, Distribution};
use crate::{Result, places};

/// The main jar holds everything; its declared dependencies must stay out. 1.11.0 is listed without a jar.
const DISTRIBUTION: Distribution = Distribution {
    name: "iceberg-rest-1.10.1",
    dependencies: "
    <dependency><groupId>org.apache.iceberg</groupId><artifactId>iceberg-open-api</artifactId><version>1.10.1</version>
      <exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions></dependency>
  ",
};

/// The catalog's SQLite database, in the service's folder.
pub fn database(folder: &Path) -> PathBuf {
    folder.join("catalog.db")
}

/// Where the catalog keeps its tables.
pub struct Warehouse {
    /// As the catalog names it.
    pub location: String,
    /// Further settings of the server.
    settings: Vec<(&'static str, String)>,
}

impl Warehouse {
    /// In the service's folder.
    pub fn folder(folder: &Path) -> Warehouse {
        Warehouse {
            location: format!("file://{}", folder.join("warehouse").display()),
            settings: Vec::new(),
        }
    }

    /// In the stack's object store. The server hands out nothing of this: its clients have settings of their own.
    pub fn bucket(endpoint: &str) -> Warehouse {
        let settings = [
            ("CATALOG_IO__IMPL", "org.apache.iceberg.aws.s3.S3FileIO"),
            ("CATALOG_S3_ENDPOINT", endpoint),
            ("CATALOG_S3_PATH__STYLE__ACCESS", "true"),
            ("CATALOG_S3_ACCESS__KEY__ID", s3::ACCESS_KEY_ID),
            ("CATALOG_S3_SECRET__ACCESS__KEY", s3::SECRET_ACCESS_KEY),
            ("CATALOG_CLIENT_REGION", s3::REGION),
            ("AWS_REGION", s3::REGION),
        ];
        Warehouse {
            location: format!("s3://{}/rest", s3::BUCKET),
            settings: settings
                .map(|(name, value)| (name, value.to_owned()))
                .into(),
        }
    }
}

/// The command that starts the server.
pub fn command(folder: &Path, ports: &[u16], warehouse: &Warehouse) -> Result<Command> {
    let port = *ports.first().ok_or("the REST catalog wants a port")?;
    let lib = jars::folder_of(&DISTRIBUTION)?;
    places::create_folder(&folder.join("warehouse"))?;
    let mut server = Command::new("java");
    // In these names `_` stands for a dot and `__` for a hyphen.
    server
        .current_dir(folder)
        .env("CATALOG_REST_PORT", port.to_string())
        .env(
            "CATALOG_CATALOG__IMPL",
            "org.apache.iceberg.jdbc.JdbcCatalog",
        )
        .env(
            "CATALOG_URI",
            format!("jdbc:sqlite:{}", database(folder).display()),
        )
        // Of the two connections that it has by default, one comes to hold a read transaction for ever when
        // readers and commits meet; SQLite then refuses the other's commits (500 "Unknown failure").
        .env("CATALOG_CLIENTS", "1")
        .env("CATALOG_JDBC_USER", "strandline")
        .env("CATALOG_JDBC_PASSWORD", "strandline")
        .env("CATALOG_WAREHOUSE", &warehouse.location)
        .envs(warehouse.settings.iter().map(|(name, value)| (name, value)))
        .args(["-Xmx512m", "-XX:+UseSerialGC", "-cp"])
        .arg(lib.join("*"))
        .arg("org.apache.iceberg.rest.RESTCatalogServer");
    Ok(server)
}

/// Asks for the catalog's configuration.
pub fn ask(ports: &[u16]) -> Result {
    answering::get(ports, "/v1/config", &["200"])
}
