//! Streams that are counted and hashed on the way.

use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};

use super::{INTERRUPTED, Progress};

/// Read or written at a time, in bytes.
pub const CHUNK: usize = 128 * 1024;

/// Which side of a copy failed.
#[derive(Debug)]
pub enum Failed {
    Read(io::Error),
    Write(io::Error),
}

/// Copies up to the end of `from`, unless it is to stop; gives how many bytes there were and their SHA-256 in hex.
pub fn copy(from: &mut impl Read, to: &mut impl Write, progress: &dyn Progress) -> Result<(u64, String), Failed> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    let mut bytes = 0;
    loop {
        if progress.is_stopped() {
            return Err(Failed::Write(io::Error::other(INTERRUPTED)));
        }
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok((bytes, hex::encode(hash.finalize()))),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failed::Read(error)),
        };
        hash.update(&buffer[..count]);
        to.write_all(&buffer[..count]).map_err(Failed::Write)?;
        bytes += count as u64;
        progress.advance(count as u64);
    }
}
