//! Writing an archive.
//!
//! The manifest comes first and says what follows, and what follows is read only once, while a gateway
//! changes it. So the entries are packed first, and the manifest is put before them afterwards: an
//! archive is two gzip streams, one behind the other, which every reader takes for one.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

use super::disk::with_path;
use super::hashing::Failed;
use super::manifest::{self, FileEntry};
use super::{Progress, hashing};

/// Names and contents are rounded up to this, in bytes.
const BLOCK: usize = 512;

/// The entries behind the manifest.
pub struct Body {
    tar: Builder<GzEncoder<BufWriter<File>>>,
    path: PathBuf,
    scratch: PathBuf,
    files: Vec<FileEntry>,
}

impl Body {
    /// Packs into the new file `path`; `scratch` is a file that comes and goes.
    pub fn create(path: &Path, scratch: PathBuf) -> io::Result<Body> {
        let out = GzEncoder::new(BufWriter::new(create_private(path)?), Compression::default());
        Ok(Body { tar: Builder::new(out), path: path.to_owned(), scratch, files: Vec::new() })
    }

    /// Packs a file that nobody changes.
    pub fn add_still(&mut self, name: &str, source: &Path, progress: &dyn Progress) -> io::Result<()> {
        let mut file = File::open(source).map_err(|error| with_path(error, source))?;
        let (bytes, sha256) = hashing::copy(&mut file, &mut io::sink(), progress).map_err(self.blame(source))?;
        file.rewind().map_err(|error| with_path(error, source))?;
        self.append(name, &file.metadata()?, file, bytes, sha256)
    }

    /// Packs a file as it is in one reading, whatever becomes of it meanwhile. Gives `false` when it is
    /// gone, or is a file no more.
    pub fn add(&mut self, name: &str, source: &Path, progress: &dyn Progress) -> io::Result<bool> {
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let mut file = match OpenOptions::new().read(true).custom_flags(flags).open(source) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) if error.raw_os_error() == Some(libc::ELOOP) => return Ok(false),
            Err(error) => return Err(with_path(error, source)),
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Ok(false);
        }
        let mut copy = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&self.scratch)
            .map_err(|error| with_path(error, &self.scratch))?;
        let (bytes, sha256) = hashing::copy(&mut file, &mut copy, progress).map_err(self.blame(source))?;
        copy.rewind().map_err(|error| with_path(error, &self.scratch))?;
        self.append(name, &metadata, copy, bytes, sha256)?;
        Ok(true)
    }

    /// An error with the file that it is about.
    fn blame(&self, source: &Path) -> impl Fn(Failed) -> io::Error {
        move |failed| match failed {
            Failed::Read(error) => with_path(error, source),
            Failed::Write(error) => with_path(error, &self.scratch),
        }
    }

    fn append(
        &mut self,
        name: &str,
        metadata: &std::fs::Metadata,
        content: File,
        bytes: u64,
        sha256: String,
    ) -> io::Result<()> {
        let mut header = header(bytes, metadata.mode() & 0o777);
        header.set_mtime(u64::try_from(metadata.mtime()).unwrap_or(0));
        self.tar.append_data(&mut header, name, content).map_err(|error| with_path(error, &self.path))?;
        self.files.push(FileEntry { path: name.to_owned(), bytes, sha256 });
        Ok(())
    }

    /// What was packed, once it is on the disk.
    pub fn finish(self) -> io::Result<Vec<FileEntry>> {
        let Body { tar, path, files, .. } = self;
        let ended = tar.into_inner().and_then(GzEncoder::finish);
        let ended = ended.and_then(|out| out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all());
        ended.map_err(|error| with_path(error, &path))?;
        Ok(files)
    }
}

/// Writes the new file `path`: the manifest, then the packed entries of `body`. Gives its size in bytes.
pub fn join(path: &Path, manifest: &[u8], body: &Path) -> io::Result<u64> {
    let file = create_private(path)?;
    write_joined(file, manifest, body).map_err(|error| with_path(error, path))
}

fn write_joined(file: File, manifest: &[u8], body: &Path) -> io::Result<u64> {
    let mut header = header(manifest.len() as u64, 0o600);
    header.set_path(manifest::NAME)?;
    header.set_cksum();
    let mut first = GzEncoder::new(file, Compression::default());
    first.write_all(header.as_bytes())?;
    first.write_all(manifest)?;
    first.write_all(&vec![0; manifest.len().next_multiple_of(BLOCK) - manifest.len()])?;
    let mut out = first.finish()?;
    io::copy(&mut File::open(body)?, &mut out)?;
    out.sync_all()?;
    Ok(out.metadata()?.len())
}

fn header(bytes: u64, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_size(bytes);
    header.set_mode(mode);
    header
}

/// A new file that only its owner reads.
pub fn create_private(path: &Path) -> io::Result<File> {
    let opened = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path);
    opened.map_err(|error| with_path(error, path))
}
