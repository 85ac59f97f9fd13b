//! Versity's S3 gateway over a folder: an object store whose objects are plain files.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::answering;
use super::go::{self, Program};
use crate::{Result, places};

const GATEWAY: Program = Program {
    package: "github.com/versity/versitygw/cmd/versitygw@v1.8.0",
    name: "versitygw-1.8.0",
    file: "versitygw",
};

/// The key that it lets in, and its secret.
pub const ACCESS_KEY_ID: &str = "strandline";
/// See [`ACCESS_KEY_ID`].
pub const SECRET_ACCESS_KEY: &str = "not-a-secret";
/// The region that it says it is in.
pub const REGION: &str = "us-east-1";
/// The bucket that it has from the start.
pub const BUCKET: &str = "lake";

/// The folder of its buckets: each is a folder there.
pub fn buckets(folder: &Path) -> PathBuf {
    folder.join("buckets")
}

/// Makes the bucket and gives the command that starts the server.
pub fn command(folder: &Path, ports: &[u16]) -> Result<Command> {
    let port = *ports.first().ok_or("the object store wants a port")?;
    places::create_folder(&buckets(folder).join(BUCKET))?;
    // What it knows of an object stands beside it: not every file system has extended attributes.
    let beside = folder.join("beside");
    places::create_folder(&beside)?;
    let mut server = Command::new(go::program(&GATEWAY)?);
    server
        .current_dir(folder)
        .args(["--access", ACCESS_KEY_ID, "--secret", SECRET_ACCESS_KEY])
        .args(["--region", REGION, "--port"])
        .arg(format!("127.0.0.1:{port}"))
        .args(["posix", "--sidecar"])
        .arg(beside)
        .arg(buckets(folder));
    Ok(server)
}

/// Asks for a bucket's objects, without a signature: that it refuses is an answer.
pub fn ask(ports: &[u16]) -> Result {
    answering::get(ports, &format!("/{BUCKET}"), &["200", "403"])
}
