//! Apache Flink, which the benchmark compares with: assembled once from package registries, and its job,
//! compiled from `benches/flink/job`.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::command::{run, say};
use crate::jars::{self, Distribution};
use crate::{Result, places, python};

/// The version of the distribution. Flink publishes it whole to PyPI, in two source packages of its Python API.
const FLINK: &str = "2.1.3";
/// The newest connectors for that version. Everything that Flink ships itself is left out.
const CONNECTORS: Distribution = Distribution {
    name: "flink-2.1.3-connectors-iceberg-1.11.0",
    dependencies: "
    <dependency><groupId>org.apache.flink</groupId><artifactId>flink-connector-kafka</artifactId><version>5.0.0-2.1</version><exclusions><exclusion><groupId>org.apache.flink</groupId><artifactId>*</artifactId></exclusion><exclusion><groupId>org.slf4j</groupId><artifactId>*</artifactId></exclusion></exclusions></dependency>
    <dependency><groupId>org.apache.iceberg</groupId><artifactId>iceberg-flink-runtime-2.1</artifactId><version>1.11.0</version><exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions></dependency>
    <dependency><groupId>org.apache.hadoop</groupId><artifactId>hadoop-client-api</artifactId><version>3.3.6</version><exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions></dependency>
    <dependency><groupId>org.apache.hadoop</groupId><artifactId>hadoop-client-runtime</artifactId><version>3.3.6</version><exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions></dependency>
    <dependency><groupId>commons-logging</groupId><artifactId>commons-logging</artifactId><version>1.2</version></dependency>
  ",
};
/// What is compared, for the report.
const VERSIONS: &str =
    "Flink 2.1.3, flink-connector-kafka 5.0.0-2.1, iceberg-flink-runtime-2.1 1.11.0";

/// Gives a benchmark what it starts Flink with.
pub fn provide(command: &mut Command) -> Result {
    let home = home()?;
    command
        .env("STRANDLINE_FLINK_JOB", job(&home)?)
        .env("STRANDLINE_FLINK_HOME", home)
        .env("STRANDLINE_FLINK_VERSIONS", VERSIONS);
    Ok(())
}

/// The distribution, with the connectors in its `lib`.
fn home() -> Result<PathBuf> {
    let cache = places::cache()?.join("stack");
    let folder = cache.join(format!("flink-{FLINK}"));
    let home = folder.join("home");
    let _lock = places::lock(&cache.join(format!("flink-{FLINK}.lock")))?;
    if home.is_dir() {
        return Ok(home);
    }
    say(format!("fetching Flink {FLINK} into {}", folder.display()));
    places::create_folder(&folder)?;
    // Put together beside, then renamed: a folder `home` is a whole one.
    let assembled = folder.join("assembled");
    let _ = fs::remove_dir_all(&assembled);
    places::create_folder(&assembled)?;
    unpack(&folder, &assembled)?;
    let connectors = jars::folder_of(&CONNECTORS)?;
    copy_all(&connectors, &assembled.join("lib"))?;
    fs::rename(&assembled, &home)
        .map_err(|e| format!("cannot rename `{}`: {e}", assembled.display()))?;
    Ok(home)
}

/// Downloads the two source packages and copies what they carry of Flink.
fn unpack(folder: &Path, into: &Path) -> Result {
    let interpreter = python::interpreter().ok_or("no Python 3.10 with venv")?;
    let environment = folder.join("pip");
    run(Command::new(interpreter)
        .args(["-m", "venv", "--clear"])
        .arg(&environment))?;
    let pip = |args: &[&str]| {
        run(Command::new(environment.join("bin/python"))
            .args(["-m", "pip", "--quiet", "--disable-pip-version-check"])
            .args(args)
            .current_dir(folder)
            .stdin(Stdio::null()))
    };
    // Their build scripts want setuptools; `download` runs them to learn the version.
    pip(&["install", "setuptools<81", "wheel"])?;
    for package in ["apache-flink-libraries", "apache-flink"] {
        pip(&[
            "download",
            "--no-deps",
            "--no-binary",
            ":all:",
            "--no-build-isolation",
            &format!("{package}=={FLINK}"),
        ])?;
        let name = format!("{}-{FLINK}", package.replace('-', "_"));
        let archive = folder.join(format!("{name}.tar.gz"));
        run(Command::new("tar")
            .arg("xzf")
            .arg(&archive)
            .arg("-C")
            .arg(folder))?;
        let unpacked = folder.join(&name);
        copy_all(&unpacked.join("deps"), into)?;
        for done in [&unpacked, &archive] {
            let _ = fs::remove_dir_all(done).or_else(|_| fs::remove_file(done));
        }
    }
    let _ = fs::remove_dir_all(&environment);
    Ok(())
}

/// `cp -r FROM/. INTO`
fn copy_all(from: &Path, into: &Path) -> Result {
    run(Command::new("cp").arg("-r").arg(from.join(".")).arg(into))
}

/// The job's jar, compiled when its sources have changed.
fn job(home: &Path) -> Result<PathBuf> {
    let sources = places::repository()?.join("benches/flink/job");
    let mut files: Vec<PathBuf> = fs::read_dir(&sources)
        .map_err(|e| format!("cannot read `{}`: {e}", sources.display()))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "java")
        })
        .collect();
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in &files {
        fs::read(file)
            .map_err(|e| format!("cannot read `{}`: {e}", file.display()))?
            .hash(&mut hasher);
    }
    let folder = places::cache()?.join(format!("stack/flink-{FLINK}"));
    let jar = folder.join(format!("bronze-job-{:016x}.jar", hasher.finish()));
    let _lock = places::lock(&folder.join("job.lock"))?;
    if jar.is_file() {
        return Ok(jar);
    }
    say("compiling the Flink job");
    let classes = folder.join("classes");
    let _ = fs::remove_dir_all(&classes);
    run(Command::new("javac")
        .args(["-Xlint:all,-processing,-serial,-classfile", "-d"])
        .arg(&classes)
        .arg("-cp")
        .arg(home.join("lib/*"))
        .args(&files))?;
    let unfinished = jar.with_extension("new");
    run(Command::new("jar")
        .arg("--create")
        .arg("--file")
        .arg(&unfinished)
        .arg("-C")
        .arg(&classes)
        .arg("."))?;
    fs::rename(&unfinished, &jar)
        .map_err(|e| format!("cannot rename `{}`: {e}", unfinished.display()))?;
    Ok(jar)
}
