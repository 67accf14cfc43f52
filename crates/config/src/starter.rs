//! The first configuration file of a new home folder.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use crate::file::write_new;

/// Writes `text` to `path` if nothing is there, readable for its owner alone (0600); folders that
/// are missing are made for the owner alone (0700). Answers whether it wrote.
pub fn write(path: &Path, text: &str) -> io::Result<bool> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    write_new(path, text.as_bytes())
}
