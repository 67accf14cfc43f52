//! The other side of the handover, spoken by hand: so that it can misbehave.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::PATIENCE;

/// One end of the conversation. Sockets that are passed along are closed unread.
pub struct Talk(UnixStream);

impl Talk {
    pub fn connect(socket: &Path) -> Talk {
        Talk::new(UnixStream::connect(socket).unwrap())
    }

    pub fn new(stream: UnixStream) -> Talk {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Talk(stream)
    }

    pub fn say(&mut self, message: &Value) {
        let text = message.to_string();
        self.0.write_all(&u32::try_from(text.len()).unwrap().to_be_bytes()).unwrap();
        self.0.write_all(text.as_bytes()).unwrap();
    }

    /// `None` when the other end is gone.
    pub fn hear(&mut self) -> Option<Value> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).ok()?;
        let mut text = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut text).unwrap();
        Some(serde_json::from_slice(&text).unwrap())
    }

    /// Comes as a successor that is to be waited for so long; gives the offer.
    pub fn greet(&mut self, timeout_ms: u64) -> Value {
        self.say(&json!({ "type": "hello", "version": "9.9.9", "pid": std::process::id(), "timeout_ms": timeout_ms, "drain_ms": 0 }));
        self.hear().unwrap()
    }

    /// Goes on until the store is free.
    pub fn wait_for_release(&mut self) {
        self.say(&json!({ "type": "prepared" }));
        assert_eq!(self.hear(), Some(json!({ "type": "released" })));
    }
}
