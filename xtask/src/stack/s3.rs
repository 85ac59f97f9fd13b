//! Versity's S3 gateway over a folder: an object store whose objects are plain files.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

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

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

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
    let port = *ports.first().ok_or("the object store wants a port")?;
    let status = status(port).map_err(|e| format!("GET /{BUCKET}: {e}"))?;
    match status.split(' ').nth(1) {
        Some("403" | "200") => Ok(()),
        _ => Err(format!("GET /{BUCKET}: {status}")),
    }
}

fn status(port: u16) -> std::io::Result<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, REQUEST_TIMEOUT)?;
    stream.set_read_timeout(Some(REQUEST_TIMEOUT))?;
    stream.set_write_timeout(Some(REQUEST_TIMEOUT))?;
    write!(
        stream,
        "GET /{BUCKET} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    )?;
    let mut response = Vec::new();
    stream.take(1 << 20).read_to_end(&mut response)?;
    let text = String::from_utf8_lossy(&response);
    Ok(text.lines().next().unwrap_or("no answer").to_owned())
}
