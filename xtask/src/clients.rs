//! What the tests look at a running job with: a browser driven from Python, a fuzzer of its API, and promtool.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::command::{run, say, succeeds};
use crate::{Result, machine, places, python};

/// The Debian package that brings promtool. Unpacked, not installed: it would start a server.
const PROMETHEUS: &str = "prometheus";

/// The clients, ready to be used.
pub struct Clients {
    /// A Python with what `tests/clients` imports.
    python: PathBuf,
    promtool: PathBuf,
}

/// Installs what is missing.
pub fn provide(repository: &Path) -> Result<Clients> {
    machine::provide(&[machine::TO_BROWSE])?;
    Ok(Clients {
        python: python::environment(repository, &python::CLIENTS)?,
        promtool: promtool()?,
    })
}

impl Clients {
    /// Tells a command where they are.
    pub fn give(&self, command: &mut Command) {
        command
            .env("STRANDLINE_CLIENTS_PYTHON", &self.python)
            .env("STRANDLINE_PROMTOOL", &self.promtool);
    }
}

/// promtool: the one on the path, else Debian's, unpacked into the cache.
fn promtool() -> Result<PathBuf> {
    if succeeds("promtool", &["--version"]) {
        return Ok(PathBuf::from("promtool"));
    }
    let folder = places::cache()?.join("promtool");
    let program = folder.join("usr/bin/promtool");
    let _lock = places::lock(&folder.with_extension("lock"))?;
    if succeeds(&program.to_string_lossy(), &["--version"]) {
        return Ok(program);
    }
    say(format!("fetching promtool into {}", folder.display()));
    // Unpacked beside, then renamed.
    let fetched = folder.with_extension("fetched");
    let _ = fs::remove_dir_all(&fetched);
    places::create_folder(&fetched)?;
    fetch(&fetched)?;
    let _ = fs::remove_dir_all(&folder);
    fs::rename(&fetched, &folder)
        .map_err(|e| format!("cannot rename `{}`: {e}", fetched.display()))?;
    Ok(program)
}

fn fetch(folder: &Path) -> Result {
    let hint = "\n  hint: install Prometheus, so that `promtool` is on the path";
    let download = || {
        let mut apt = Command::new("apt-get");
        apt.args(["-q", "download", PROMETHEUS])
            .current_dir(folder)
            .stdin(Stdio::null());
        run(&mut apt)
    };
    // The lists of a new machine are empty.
    download()
        .or_else(|_| machine::update().and_then(|()| download()))
        .map_err(|e| format!("{e}{hint}"))?;
    let package = fs::read_dir(folder)
        .map_err(|e| format!("cannot read `{}`: {e}", folder.display()))?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|end| end == "deb"))
        .ok_or_else(|| format!("`apt-get download {PROMETHEUS}` left no package{hint}"))?;
    run(Command::new("dpkg-deb")
        .arg("--extract")
        .arg(&package)
        .arg(folder))?;
    fs::remove_file(&package).map_err(|e| format!("cannot delete `{}`: {e}", package.display()))
}
