//! The Pythons of the tests: virtual environments in the cache, made once for each list of requirements.

use std::ffi::OsStr;
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

/// A Python's pip, about to install what is added to the command.
pub fn pip_install(python: impl AsRef<OsStr>) -> Command {
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "install"])
        .args(["--quiet", "--disable-pip-version-check"])
        .stdin(Stdio::null());
    pip
}

/// What a virtual environment is for.
pub struct Environment {
    /// For a person.
    name: &'static str,
    /// The list, in the repository.
    requirements: &'static str,
    /// What can be imported when it is whole.
    import: &'static str,
}

/// What compares topics and tables, and shares no code with the engine.
pub const JUDGE: Environment = Environment {
    name: "the judge's Python",
    requirements: "tests/judge/requirements.txt",
    import: "import pyiceberg",
};

/// What drives the browser, fuzzes the API and parses metrics.
pub const CLIENTS: Environment = Environment {
    name: "the Python of browser and fuzzer",
    requirements: "tests/clients/requirements.txt",
    import: "import selenium, schemathesis, prometheus_client",
};

/// The Python of an environment.
pub fn environment(repository: &Path, of: &Environment) -> Result<PathBuf> {
    let requirements = repository.join(of.requirements);
    let listed = fs::read_to_string(&requirements)
        .map_err(|e| format!("cannot read `{}`: {e}", requirements.display()))?;
    let mut hasher = DefaultHasher::new();
    listed.hash(&mut hasher);
    let folder = places::cache()?.join(format!("python-{:016x}", hasher.finish()));
    let python = folder.join("bin/python");
    let complete = folder.join(".complete");

    // The system's Python may have gone or changed since: the environment only links to it.
    let is_ready = || complete.is_file() && succeeds(&python.to_string_lossy(), &["-c", of.import]);
    let _lock = places::lock(&folder.with_extension("lock"))?;
    if is_ready() {
        return Ok(python);
    }
    say(format!("preparing {} in {}", of.name, folder.display()));
    let interpreter =
        interpreter().ok_or("no Python 3.10 with venv\n  hint: apt-get install python3-venv")?;
    run(Command::new(interpreter)
        .args(["-m", "venv", "--clear"])
        .arg(&folder))?;
    run(pip_install(&python).arg("-r").arg(&requirements))?;
    places::write_file(&complete, "")?;
    Ok(python)
}
