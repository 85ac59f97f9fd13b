//! The clients that look at a running job: programs of `tests/clients`, and promtool.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::stack::variable;

/// A program of `tests/clients`, in the Python that it needs.
#[track_caller]
pub fn client(name: &str) -> Command {
    let path = repository().join("tests/clients").join(name);
    let mut command = Command::new(variable("STRANDLINE_CLIENTS_PYTHON"));
    command.arg(path);
    command
}

/// Where pictures are left for a person, and for CI to keep.
pub fn screenshots() -> PathBuf {
    repository().join("target/screenshots")
}

/// A file or folder of the repository.
pub fn in_repository(path: &str) -> PathBuf {
    repository().join(path)
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs `promtool ARGS` in a folder, with this on its standard input; panics with what it finds wrong.
#[track_caller]
pub fn promtool(folder: &Path, args: &[&str], input: &str) -> String {
    let mut promtool = Command::new(variable("STRANDLINE_PROMTOOL"))
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run promtool");
    let mut pipe = promtool.stdin.take().expect("a pipe");
    pipe.write_all(input.as_bytes()).expect("write to promtool");
    drop(pipe);
    succeeded(
        args,
        promtool.wait_with_output().expect("promtool's output"),
    )
}

/// Runs a client to its end; panics with what it finds wrong.
#[track_caller]
pub fn look(mut client: Command) -> String {
    let name = format!("{client:?}");
    succeeded(&[&name], client.output().expect("run the clients' Python"))
}

#[track_caller]
fn succeeded(what: &[&str], output: Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    eprintln!("{said}{complained}");
    assert!(
        output.status.success(),
        "{what:?}: {}\n{said}{complained}",
        output.status
    );
    said
}
