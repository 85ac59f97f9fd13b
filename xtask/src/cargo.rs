//! Cargo, always with the one profile, the one target folder and the whole workspace.
//!
//! The same features are chosen only when the same packages are: a build of fewer packages could build
//! RocksDB again.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::Result;
use crate::command::say;
use crate::places;

/// `cargo` in the repository, to be given a subcommand.
pub fn cargo() -> Result<Command> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(places::repository()?)
        .env("CARGO_TARGET_DIR", places::target()?)
        // An incremental build inlines less: a decoder then takes a quarter more instructions, and what is measured is
        // another program than the one that is shipped.
        .env("CARGO_INCREMENTAL", "0");
    // We run under `cargo run`, which describes this package in our environment. A build script that
    // watches those variables (ring's does) would take the inner cargo for a changed world and rebuild.
    for (name, _) in std::env::vars_os() {
        let described = name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_")
                || name.starts_with("CARGO_MANIFEST_")
                || name.starts_with("CARGO_BIN_")
        });
        if described || name == "CARGO_CRATE_NAME" || name == "CARGO_PRIMARY_PACKAGE" {
            cargo.env_remove(name);
        }
    }
    Ok(cargo)
}

/// Says what the build that comes next does, when it is the long one.
pub fn announce_build() -> Result {
    let target = places::target()?;
    if has_rocksdb(&target.join("release/build")) {
        say("building Strandline");
    } else {
        say(format!(
            "building Strandline and, this once, RocksDB in C++: about a quarter of an hour on two cores (kept in {})",
            target.display()
        ));
    }
    Ok(())
}

fn has_rocksdb(build_folder: &Path) -> bool {
    let Ok(listing) = fs::read_dir(build_folder) else {
        return false;
    };
    listing.flatten().any(|entry| {
        let is_rocksdb = entry
            .file_name()
            .to_string_lossy()
            .starts_with("librocksdb-sys-");
        is_rocksdb && entry.path().join("out/librocksdb.a").is_file()
    })
}
