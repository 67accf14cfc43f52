//! The thread that starts servers.
//!
//! A server is killed when its parent ends, and the system takes the *thread* that started it for
//! the parent. So one thread starts them all, and it lives as long as the process: it is not joined.

use std::io;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, sync_channel};

type Request = (Command, SyncSender<io::Result<Child>>);

/// Starts the program from the thread that outlives every test.
pub fn spawn(command: Command) -> io::Result<Child> {
    static KEEPER: OnceLock<SyncSender<Request>> = OnceLock::new();
    let keeper = KEEPER.get_or_init(|| {
        let (requests, received) = sync_channel::<Request>(1);
        std::thread::Builder::new()
            .name(String::from("servers"))
            .spawn(move || {
                for (mut command, answer) in received {
                    // Whoever asked waits for the answer.
                    let _ = answer.send(command.spawn());
                }
            })
            .expect("a thread can be started");
        requests
    });
    let (answer, answered) = sync_channel(1);
    keeper.send((command, answer)).expect("the keeper lives as long as the process");
    answered.recv().expect("the keeper answers every request")
}
