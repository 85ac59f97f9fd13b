//! Three system calls that the standard library does not have: a child that ends with its parent, a
//! polite signal, and an end without goodbyes. Linux.
//!
//! Safety: `pre_exec` runs between fork and exec, where only async-signal-safe calls are allowed;
//! `prctl` and `getppid` are such calls, and nothing is allocated there. `kill` and `_exit`
//! take no pointers, and `_exit` does not return.
#![allow(unsafe_code)]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Lets the command's process be killed when the thread that starts it ends: a launcher that is killed
/// with -9 leaves no orphans.
pub fn die_with_parent(command: &mut Command) {
    let parent = std::process::id();
    // SAFETY: see the module's documentation.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(io::Error::last_os_error());
            }
            // The parent may have ended before the call above took effect.
            if libc::getppid() as u32 != parent {
                return Err(io::Error::from(io::ErrorKind::BrokenPipe));
            }
            Ok(())
        });
    }
}

/// Sends SIGTERM. A process that is gone already is none of our concern.
pub fn terminate(pid: u32) {
    // SAFETY: `kill` takes plain numbers; a pid that does not exist is an error we ignore.
    unsafe {
        libc::kill(pid as libc::pid_t, libc::SIGTERM);
    }
}

/// Ends this process now, with this exit status: no exit handlers, which would pull what C and C++
/// libraries hold from under the threads that still run.
pub fn exit_now(code: u8) -> ! {
    // SAFETY: `_exit` takes a plain number, may be called from any thread in any state, and leaves
    // nothing of the process that could see what was not cleaned up.
    unsafe { libc::_exit(i32::from(code)) }
}
