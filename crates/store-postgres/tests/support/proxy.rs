//! A wire that is cut at a commit.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

/// The end of a transaction on its way to the server, as the driver sends it.
const COMMIT: &[u8] = b"COMMIT\0";

/// What becomes of the next commit; those after it pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// It never reaches the server.
    BeforeCommit,
    /// The server commits, and its answer gets lost.
    AfterCommit,
    /// It reaches the server only when the client has come back: its fate is open when it asks.
    Late,
}

/// Passes connections on to a server on loopback, and plays one trick at a time.
pub struct Proxy {
    pub port: u16,
    trick: Arc<Mutex<Option<Cut>>>,
}

impl Proxy {
    /// Its threads end with the connections, and with the process.
    pub fn before(target: u16) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let trick = Arc::new(Mutex::new(None));
        let shared = Arc::clone(&trick);
        let held: Arc<Mutex<Vec<SyncSender<()>>>> = Arc::default();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // A client has come back: what was held for it goes on.
                for held in held.lock().expect("no panic").drain(..) {
                    let _ = held.send(());
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { continue };
                client.set_nodelay(true).and_then(|()| server.set_nodelay(true)).expect("sockets");
                let wire = Wire { client, server, trick: Arc::clone(&shared), held: Arc::clone(&held) };
                wire.start();
            }
        });
        Proxy { port, trick }
    }

    pub fn play(&self, trick: Cut) {
        *self.trick.lock().expect("no panic") = Some(trick);
    }

    /// Whether the trick was played.
    pub fn is_done(&self) -> bool {
        self.trick.lock().expect("no panic").is_none()
    }
}

struct Wire {
    client: TcpStream,
    server: TcpStream,
    trick: Arc<Mutex<Option<Cut>>>,
    held: Arc<Mutex<Vec<SyncSender<()>>>>,
}

impl Wire {
    fn start(self) {
        let (client, server) = (self.client.try_clone().expect("socket"), self.server.try_clone().expect("socket"));
        let (swallow, swallows) = sync_channel(1);
        std::thread::spawn(move || down(server, client, &swallows));
        std::thread::spawn(move || self.up(&swallow));
    }

    /// From the client to the server.
    fn up(mut self, swallow: &SyncSender<()>) {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(count @ 1..) = self.client.read(&mut buffer) {
            let bytes = &buffer[..count];
            let is_commit = bytes.windows(COMMIT.len()).any(|window| window == COMMIT);
            let trick = if is_commit { self.trick.lock().expect("no panic").take() } else { None };
            match trick {
                None => {
                    if self.server.write_all(bytes).is_err() {
                        break;
                    }
                }
                Some(Cut::BeforeCommit) => break,
                Some(Cut::AfterCommit) => {
                    swallow.send(()).expect("the other half waits for the server");
                    self.server.write_all(bytes).expect("the server is there");
                    // The other half ends both once the answer is there.
                    return;
                }
                Some(Cut::Late) => {
                    let (back, is_back) = sync_channel(1);
                    self.held.lock().expect("no panic").push(back);
                    let _ = self.client.shutdown(Shutdown::Both);
                    is_back.recv().expect("the client comes back");
                    // It may be too late by now, which is as good an end as any.
                    let _ = self.server.write_all(bytes);
                    return;
                }
            }
        }
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }
}

/// From the server to the client, until an answer is to be swallowed.
fn down(mut server: TcpStream, mut client: TcpStream, swallows: &Receiver<()>) {
    let mut buffer = vec![0; 1 << 16];
    let mut is_swallowed = false;
    while let Ok(count @ 1..) = server.read(&mut buffer) {
        is_swallowed |= swallows.try_recv().is_ok();
        if is_swallowed {
            if buffer[..count].windows(COMMIT.len()).any(|window| window == COMMIT) {
                break;
            }
        } else if client.write_all(&buffer[..count]).is_err() && !is_swallowed {
            // A client that went away may leave work behind that goes on: the server says when it is over.
            continue;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}
