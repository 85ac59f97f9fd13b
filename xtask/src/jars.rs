//! The services' jars: fetched by Maven, once, into the cache.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::Result;
use crate::command::{run, say};
use crate::places;

/// The plugin that copies dependencies; pinned, so that a newer default cannot break us.
const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";

/// A service as Maven knows it.
pub struct Distribution {
    /// Name and version; names the folder in the cache, so it changes whenever `dependencies` does.
    pub name: &'static str,
    /// The `<dependency>` elements.
    pub dependencies: &'static str,
}

/// The folder that holds the distribution's jars.
pub fn folder_of(distribution: &Distribution) -> Result<PathBuf> {
    let cache = places::cache()?.join("stack");
    let folder = cache.join(distribution.name);
    let _lock = places::lock(&cache.join(format!("{}.lock", distribution.name)))?;
    let lib = folder.join("lib");
    if lib.is_dir() {
        return Ok(lib);
    }
    say(format!(
        "fetching {} into {}",
        distribution.name,
        folder.display()
    ));
    places::create_folder(&folder)?;
    let dependencies = distribution.dependencies;
    let pom = format!(
        r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>strandline</groupId><artifactId>stack</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>{dependencies}</dependencies>
</project>
"#
    );
    places::write_file(&folder.join("pom.xml"), &pom)?;
    // Copied beside, then renamed: a folder `lib` is a whole one.
    let fetched = folder.join("fetched");
    let _ = fs::remove_dir_all(&fetched);
    run(Command::new("mvn")
        .current_dir(&folder)
        .args([
            "--quiet",
            "--batch-mode",
            "--no-transfer-progress",
            COPY,
            "-DincludeScope=runtime",
        ])
        .arg(format!("-DoutputDirectory={}", fetched.display()))
        .stdin(Stdio::null()))?;
    fs::rename(&fetched, &lib)
        .map_err(|e| format!("cannot rename `{}`: {e}", fetched.display()))?;
    Ok(lib)
}
