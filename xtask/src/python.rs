//! The judge's Python: a virtual environment in the cache, made once for each list of requirements.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Result;
use crate::command::{run, say, succeeds};
use crate::places;

/// What the interpreter must be able to do. PyIceberg wants 3.10.
const CHECK: &str = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))";

/// A Python that can make virtual environments.
pub fn interpreter() -> Option<&'static str> {
    // The first may be one of the user's own, without venv; Debian's is at the second.
    ["python3", "/usr/bin/python3"]
        .into_iter()
        .find(|python| succeeds(python, &["-c", CHECK]))
}

/// The Python of the environment that `tests/judge/requirements.txt` describes.
pub fn environment(repository: &Path) -> Result<PathBuf> {
    let requirements = repository.join("tests/judge/requirements.txt");
    let listed = fs::read_to_string(&requirements)
        .map_err(|e| format!("cannot read `{}`: {e}", requirements.display()))?;
    let mut hasher = DefaultHasher::new();
    listed.hash(&mut hasher);
    let folder = places::cache()?.join(format!("python-{:016x}", hasher.finish()));
    let python = folder.join("bin/python");
    let complete = folder.join(".complete");

    // The system's Python may have gone or changed since: the environment only links to it.
    let is_ready =
        || complete.is_file() && succeeds(&python.to_string_lossy(), &["-c", "import pyiceberg"]);
    let _lock = places::lock(&folder.with_extension("lock"))?;
    if is_ready() {
        return Ok(python);
    }
    say(format!(
        "preparing the judge's Python in {}",
        folder.display()
    ));
    let interpreter =
        interpreter().ok_or("no Python 3.10 with venv\n  hint: apt-get install python3-venv")?;
    run(Command::new(interpreter)
        .args(["-m", "venv", "--clear"])
        .arg(&folder))?;
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-r",
    ];
    run(Command::new(&python)
        .args(pip)
        .arg(&requirements)
        .stdin(Stdio::null()))?;
    places::write_file(&complete, "")?;
    Ok(python)
}
