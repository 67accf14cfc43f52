//! Removing a server's folder when the test process ends, also when it is killed.
//!
//! What is shared by a process is never dropped, and a killed process drops nothing. So a shell waits
//! for the end of a pipe that only we hold, and then removes the folder.

use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A server that is about to end may still write; then it is tried again.
const SCRIPT: &str = r#"cat; until rm -rf "$0" && [ ! -e "$0" ]; do sleep 0.2; done"#;

/// Removes a folder once this is dropped or the process has ended.
#[derive(Debug)]
pub struct Sweeper(Child);

impl Sweeper {
    pub fn of(folder: &Path) -> Sweeper {
        let mut shell = Command::new("sh");
        shell.args(["-c", SCRIPT]).arg(folder).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Sweeper(shell.spawn().expect("a shell can be started"))
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // Whatever is left is in the system's temporary folder.
        let _ = self.0.wait();
    }
}
