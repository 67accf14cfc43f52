//! A server's process: started, ready, ended.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process};

use crate::{PATIENCE, keeper};

/// Lines of a server's log that are kept to be shown when it fails.
const LINES_KEPT: usize = 40;

/// A running server. Dropping it ends it as a crash would.
#[derive(Debug)]
pub struct Process {
    child: Child,
    lines: Lines,
    last_signal: Signal,
    is_over: bool,
}

type Lines = Arc<Mutex<VecDeque<String>>>;

impl Process {
    /// Starts a server and waits until its log holds `ready`; the error is the end of its log.
    /// `last_signal` is what a server that is dropped is sent.
    pub fn start(mut command: Command, ready: &'static str, last_signal: Signal) -> Result<Process, String> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = keeper::spawn(command).map_err(|error| format!("it cannot be started: {error}"))?;
        let log = child.stderr.take().expect("it is piped");
        let lines = Lines::default();
        let (told, is_ready) = sync_channel(1);
        std::thread::spawn({
            let lines = Arc::clone(&lines);
            // Until the log's end, so that the server never waits for a reader. It ends with the server's last
            // process, which nobody waits for.
            move || {
                for line in BufReader::new(log).split(b'\n').map_while(Result::ok) {
                    let line = String::from_utf8_lossy(&line).into_owned();
                    if line.contains(ready) {
                        // Only the first time is waited for.
                        let _ = told.try_send(());
                    }
                    let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                    lines.push_back(line);
                    if lines.len() > LINES_KEPT {
                        lines.pop_front();
                    }
                }
            }
        });
        let process = Process { child, lines, last_signal, is_over: false };
        match is_ready.recv_timeout(PATIENCE) {
            Ok(()) => Ok(process),
            Err(RecvTimeoutError::Timeout) => Err(format!("it is not ready after {PATIENCE:?}: {}", process.log())),
            Err(RecvTimeoutError::Disconnected) => Err(format!("it ended: {}", process.log())),
        }
    }

    /// Ends it with `signal` and waits for its end.
    pub fn end(mut self, signal: Signal) {
        self.signal(signal);
        self.join();
    }

    pub fn signal(&self, signal: Signal) {
        // One that ended by itself is as good.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// The last lines of its log.
    pub fn log(&self) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    fn join(&mut self) {
        // It was told to go; there is nothing else to do about one that cannot be waited for.
        let _ = self.child.wait();
        self.is_over = true;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.is_over {
            self.signal(self.last_signal);
            self.join();
        }
    }
}
