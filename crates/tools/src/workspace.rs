//! The one folder that file tools reach, and the only way into it.
//!
//! A path is walked name by name: each folder is opened relative to the one before it and no step
//! follows a symbolic link, so there is no moment at which a name that was checked can be swapped
//! for a link that leads outside. Links are refused even where they point inside: whether they do
//! cannot be known without following them. (`openat2` would do the same in one call, but older
//! kernels and some sandboxes lack it, and a second implementation would need the same proof again.)
//!
//! Only regular files and folders are opened: a FIFO or a device could block or act on being opened.
//! Everything here blocks; callers use [`blocking`].

pub mod path;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use tokio_util::sync::CancellationToken;

pub use self::path::InsidePath;
use self::path::shown;
use crate::tool::ToolError;

/// Names tried for a new temporary file before giving up; each one taken is left from a crash.
const DRAFT_NAMES_MAX: u32 = 100;

/// Bits of a file's mode that a rewrite keeps: permissions, without set-id bits.
const KEPT_MODE_BITS: u32 = 0o777;

/// An open workspace. Holds the folder itself: renaming or replacing it on disk does not move us.
#[derive(Debug)]
pub struct Workspace {
    root: OwnedFd,
}

/// What [`Workspace::write`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    Created,
    Replaced,
}

impl Workspace {
    /// Opens `folder`, making it and its parents when they are missing. The path comes from the
    /// configuration, so it is followed as it is, links included.
    pub fn open(folder: &Path) -> Result<Self, ToolError> {
        let fail = |error: io::Error| ToolError::Failed(format!("the workspace cannot be opened: {error}"));
        std::fs::create_dir_all(folder).map_err(fail)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(folder, flags, Mode::empty()).map_err(|errno| fail(errno.into()))?;
        Ok(Self { root })
    }

    /// Opens a folder below the workspace, or the workspace itself.
    pub fn folder(&self, path: &InsidePath) -> Result<OwnedFd, ToolError> {
        self.walk(path.names(), path)
    }

    /// Opens a regular file for reading.
    pub fn file(&self, path: &InsidePath) -> Result<(File, u64), ToolError> {
        let Some((name, folders)) = path.split_last() else {
            return Err(ToolError::Refused(format!("`{path}` is a folder")));
        };
        let folder = self.walk(folders, path)?;
        let seen = stat(&folder, name).map_err(|errno| failure(errno, path))?;
        require_regular(&seen, path)?;
        // The entry may have been swapped since: no link is followed, opening does not wait for a
        // FIFO's other end, and what was opened is looked at again.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&folder, name, flags, Mode::empty()).map_err(|errno| failure(errno, path))?;
        let opened = rustix::fs::fstat(&file).map_err(|errno| failure(errno, path))?;
        require_regular(&opened, path)?;
        Ok((File::from(file), u64::try_from(opened.st_size).unwrap_or(0)))
    }

    /// Writes a whole file: readers see the old content or the new one, never a part. Makes missing
    /// folders on the way; keeps the permissions of a file that it replaces. Writes nothing at the
    /// path when cancelled before the last step.
    pub fn write(&self, path: &InsidePath, content: &[u8], cancel: &CancellationToken) -> Result<Written, ToolError> {
        let Some((name, folders)) = path.split_last() else {
            return Err(ToolError::Refused(format!("`{path}` is a folder")));
        };
        let folder = self.walk_making(folders, path)?;
        let old = match stat(&folder, name) {
            Ok(old) => Some(old),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(failure(errno, path)),
        };
        if let Some(old) = &old {
            require_regular(old, path)?;
            if old.st_mode & 0o200 == 0 {
                return Err(ToolError::Refused(format!("`{path}` is write-protected")));
            }
        }
        let mut draft = Draft::create(&folder, path)?;
        draft.fill(content, old.as_ref()).map_err(|error| failure_io(&error, path))?;
        if cancel.is_cancelled() {
            return Err(ToolError::Cancelled);
        }
        draft.place(name).map_err(|errno| failure(errno, path))?;
        Ok(if old.is_some() { Written::Replaced } else { Written::Created })
    }

    fn walk(&self, folders: &[String], whole: &InsidePath) -> Result<OwnedFd, ToolError> {
        let mut folder = self.root.try_clone().map_err(|error| failure_io(&error, whole))?;
        for name in folders {
            folder = enter(&folder, name, whole)?;
        }
        Ok(folder)
    }

    fn walk_making(&self, folders: &[String], whole: &InsidePath) -> Result<OwnedFd, ToolError> {
        let mut folder = self.root.try_clone().map_err(|error| failure_io(&error, whole))?;
        for name in folders {
            match rustix::fs::mkdirat(&folder, name.as_str(), Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => folder = enter(&folder, name, whole)?,
                Err(errno) => return Err(failure(errno, whole)),
            }
        }
        Ok(folder)
    }
}

/// Opens a folder inside an open one; never through a link. `whole` is the path to name in errors.
pub fn enter(folder: &OwnedFd, name: &str, whole: &InsidePath) -> Result<OwnedFd, ToolError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::empty()).map_err(|errno| match errno {
        Errno::NOTDIR | Errno::LOOP => match stat(folder, name).map(|seen| FileType::from_raw_mode(seen.st_mode)) {
            Ok(FileType::Symlink) => link_refused(whole),
            _ => ToolError::Failed(format!("`{whole}` cannot be reached: `{}` is not a folder", shown(name))),
        },
        errno => failure(errno, whole),
    })
}

/// What an entry is, without following it.
pub fn stat(folder: &OwnedFd, name: &str) -> Result<Stat, Errno> {
    rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// Runs `work` where blocking is allowed and waits for its end, also when the run is cancelled:
/// otherwise a write could land after the model was told that it did not.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ToolError> + Send + 'static,
) -> Result<T, ToolError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(ToolError::Cancelled),
    }
}

/// A new file under a passing name; removed unless it is placed.
struct Draft<'a> {
    folder: &'a OwnedFd,
    name: String,
    file: File,
    is_placed: bool,
}

impl<'a> Draft<'a> {
    fn create(folder: &'a OwnedFd, path: &InsidePath) -> Result<Self, ToolError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for _ in 0..DRAFT_NAMES_MAX {
            let name = format!(".draft-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            match rustix::fs::openat(folder, &name, flags, Mode::from_raw_mode(0o666)) {
                Ok(file) => return Ok(Self { folder, name, file: File::from(file), is_placed: false }),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(failure(errno, path)),
            }
        }
        Err(ToolError::Failed(format!("`{path}` cannot be written: the folder is full of drafts of earlier writes")))
    }

    fn fill(&mut self, content: &[u8], old: Option<&Stat>) -> io::Result<()> {
        if let Some(old) = old {
            rustix::fs::fchmod(&self.file, Mode::from_raw_mode(old.st_mode & KEPT_MODE_BITS))?;
        }
        self.file.write_all(content)?;
        // Else a crash could leave the new name with no content behind it.
        self.file.sync_data()
    }

    fn place(mut self, name: &str) -> Result<(), Errno> {
        rustix::fs::renameat(self.folder, &self.name, self.folder, name)?;
        self.is_placed = true;
        Ok(())
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if !self.is_placed {
            // Nothing can be done about a failure here, and a draft left behind does no harm.
            let _ = rustix::fs::unlinkat(self.folder, &self.name, AtFlags::empty());
        }
    }
}

fn require_regular(stat: &Stat, path: &InsidePath) -> Result<(), ToolError> {
    let what = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => return Ok(()),
        FileType::Symlink => return Err(link_refused(path)),
        FileType::Directory => "a folder",
        FileType::Fifo => "a pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Unknown => "of an unknown type",
    };
    Err(ToolError::Refused(format!("`{path}` is {what}, not a regular file")))
}

fn link_refused(path: &InsidePath) -> ToolError {
    ToolError::Refused(format!(
        "`{path}` is, or lies behind, a symbolic link; links are not followed, also not those that stay in the workspace"
    ))
}

fn failure(errno: Errno, path: &InsidePath) -> ToolError {
    match errno {
        Errno::NOENT => ToolError::NoFile(path.to_string()),
        Errno::LOOP => link_refused(path),
        errno => failure_io(&errno.into(), path),
    }
}

/// Also for reads of files that were opened here.
pub fn failure_io(error: &io::Error, path: &InsidePath) -> ToolError {
    ToolError::Failed(format!("`{path}` cannot be used: {error}"))
}
