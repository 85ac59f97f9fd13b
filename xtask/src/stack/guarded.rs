//! A stack that cannot outlive whoever started it.
//!
//! A guard, in a process group of its own, holds the reading end of a pipe. The pipe ends with its owner,
//! whatever ended that (Ctrl-C, kill -9), and then the guard stops the stack.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{description, down, up};
use crate::Result;
use crate::command::say;
use crate::places;
use crate::stack::service::Service;

/// What the owner tells the guard when the folder is to stay.
const KEEP: &[u8] = b"keep";

/// A stack in a temporary folder, with its guard.
pub struct GuardedStack {
    folder: PathBuf,
    guard: Child,
}

impl GuardedStack {
    /// Starts all services.
    pub fn up() -> Result<GuardedStack> {
        let folder = std::env::temp_dir().join(format!("strandline-test-{}", std::process::id()));
        places::create_folder(&folder)?;
        let this =
            std::env::current_exe().map_err(|e| format!("cannot tell this program's path: {e}"))?;
        let guard = Command::new(this)
            .args(["stack", "guard", "--dir"])
            .arg(&folder)
            .process_group(0)
            .stdin(Stdio::piped())
            .spawn()
            .map_err(|e| format!("cannot start the stack's guard: {e}"))?;
        let stack = GuardedStack { folder, guard };
        match up(&stack.folder, &Service::USUAL) {
            Ok(()) => Ok(stack),
            Err(failure) => {
                stack.down(true)?;
                Err(failure)
            }
        }
    }

    /// The file that describes it.
    pub fn description(&self) -> PathBuf {
        description::path(&self.folder)
    }

    /// Stops all services. The folder goes too, unless logs and tables are wanted for a look.
    pub fn down(mut self, keep_folder: bool) -> Result {
        if let Some(mut pipe) = self.guard.stdin.take()
            && keep_folder
        {
            say(format!("logs and tables stay in {}", self.folder.display()));
            pipe.write_all(KEEP)
                .map_err(|e| format!("cannot tell the stack's guard: {e}"))?;
        }
        let ended = self
            .guard
            .wait()
            .map_err(|e| format!("cannot wait for the stack's guard: {e}"))?;
        if ended.success() {
            Ok(())
        } else {
            Err(format!("the stack's guard failed: {ended}"))
        }
    }
}

/// What the guard does: waits for the end of standard input, then stops the stack.
pub fn guard(folder: &Path) -> Result {
    let mut told = Vec::new();
    // An error ends the wait as the end of the pipe does.
    let _ = std::io::stdin().read_to_end(&mut told);
    down(folder, told != KEEP)
}
