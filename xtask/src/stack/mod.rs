//! `cargo xtask stack`: a real Kafka broker, a real Iceberg REST catalog and more, in a folder of their own.

mod answering;
pub mod description;
mod go;
pub mod guarded;
mod kafka;
mod options;
mod ports;
mod process;
mod registry;
mod rest;
mod s3;
mod secured;
mod service;
mod wheel;

use std::fs;
use std::path::Path;

use crate::command::say;
use crate::{Result, machine, places};
use options::{Chore, Options};
use process::Process;
use service::Service;

/// Runs a chore of the stack.
pub fn run(args: &[String]) -> Result {
    let Options { chore, folder } = Options::parse(args)?;
    match chore {
        Chore::Up { only } => {
            up(&folder, &only)?;
            status(&folder);
            println!("described in {}", description::path(&folder).display());
            Ok(())
        }
        Chore::Down { purge } => down(&folder, purge),
        Chore::Status => {
            status(&folder);
            Ok(())
        }
        Chore::Start(service) => locked(&folder, || service.start(&folder)),
        Chore::Stop(service) => locked(&folder, || service.stop(&folder)),
        Chore::Kill(service) => locked(&folder, || service.kill(&folder)),
        Chore::Guard => guarded::guard(&folder),
    }
}

/// Starts what does not run yet. When one of them fails, those that this call started are stopped again.
pub fn up(folder: &Path, only: &[Service]) -> Result {
    machine::provide(&[machine::TO_RUN_THE_STACK])?;
    locked(folder, || {
        let mut started: Vec<Service> = Vec::new();
        for &service in only {
            if Process::of(&service.folder(folder)).is_some_and(|process| process.is_alive()) {
                continue;
            }
            started.push(service);
            if let Err(failure) = service.start(folder) {
                for service in started {
                    service.stop(folder)?;
                }
                return Err(failure);
            }
        }
        Ok(())
    })
}

/// Stops what runs; with `purge`, deletes the folder too.
pub fn down(folder: &Path, purge: bool) -> Result {
    if !folder.is_dir() {
        return Ok(());
    }
    locked(folder, || {
        // The second broker before its controller: it asks that to hand over its partitions.
        Service::ALL
            .iter()
            .rev()
            .try_for_each(|service| service.stop(folder))
    })?;
    if purge {
        fs::remove_dir_all(folder)
            .map_err(|e| format!("cannot delete `{}`: {e}", folder.display()))?;
    }
    Ok(())
}

fn status(folder: &Path) {
    for service in Service::ALL {
        let process = Process::of(&service.folder(folder));
        let state = match &process {
            None => "never started".to_owned(),
            Some(process) if process.is_alive() => {
                format!(
                    "running at {}, pid {}",
                    service.address(&process.ports),
                    process.pid
                )
            }
            Some(_) => "stopped".to_owned(),
        };
        println!("{:15} {state}", service.name());
    }
}

/// Holds the stack's lock meanwhile, and describes the stack afterwards.
fn locked(folder: &Path, chore: impl FnOnce() -> Result) -> Result {
    places::create_folder(folder)?;
    let _lock = places::lock(&folder.join("lock"))?;
    let done = chore();
    let described = description::write(folder);
    if let (Err(_), Err(second)) = (&done, &described) {
        say(second);
    }
    done.and(described)
}
