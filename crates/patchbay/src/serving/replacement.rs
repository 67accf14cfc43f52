//! Starting the program anew from inside: for service managers, which own a process and what it starts.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::Context;
use tokio::process::{Child, Command};

/// What a service manager meant for this process alone.
const NOT_INHERITED: [&str; 3] = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"];

/// How this program was started, and the process that is to replace it.
pub struct Replacement {
    program: PathBuf,
    arguments: Vec<OsString>,
    child: Option<Child>,
}

impl Replacement {
    /// The path is looked up now: once the file is replaced, the system only knows the old one.
    pub fn of_this_program() -> anyhow::Result<Replacement> {
        let program = std::env::current_exe().context("the path of this program is unknown")?;
        let mut arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
        if !arguments.iter().any(|argument| argument == "--replace") {
            arguments.push(OsString::from("--replace"));
        }
        Ok(Self { program, arguments, child: None })
    }

    /// Starts what is at the program's path by now, unless a start is under way. It comes to this
    /// process's desk by itself; when it fails, this process goes on.
    pub fn start(&mut self) {
        if let Some(child) = &self.child {
            tracing::warn!(pid = child.id(), "a replacement is under way already");
            return;
        }
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::null());
        for variable in NOT_INHERITED {
            command.env_remove(variable);
        }
        match command.spawn() {
            Ok(child) => {
                tracing::info!(pid = child.id(), program = %self.program.display(), "a replacement was started");
                self.child = Some(child);
            }
            Err(error) => {
                tracing::error!(%error, program = %self.program.display(), "a replacement cannot be started");
            }
        }
    }

    /// Waits until the replacement ended, which it does only when it failed; never without one. Cancel safe.
    pub async fn ended(&mut self) {
        let Some(child) = &mut self.child else { return std::future::pending().await };
        let status = child.wait().await;
        self.child = None;
        match status {
            Ok(status) => tracing::warn!(%status, "the replacement ended; this gateway goes on"),
            Err(error) => tracing::warn!(%error, "the replacement cannot be watched any more"),
        }
    }
}
