//! Streams that are counted and hashed on the way.

use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};

use super::Progress;

/// Read or written at a time, in bytes.
pub const CHUNK: usize = 128 * 1024;

/// Copies up to the end of `from`; gives how many bytes there were and their SHA-256 in hex.
pub fn copy(from: &mut impl Read, to: &mut impl Write, progress: &dyn Progress) -> io::Result<(u64, String)> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    let mut bytes = 0;
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok((bytes, hex::encode(hash.finalize()))),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hash.update(&buffer[..count]);
        to.write_all(&buffer[..count])?;
        bytes += count as u64;
        progress.advance(count as u64);
    }
}
