//! `list_files`: what lies in a folder of the workspace.

use std::fmt::Write;
use std::os::fd::OwnedFd;

use async_trait::async_trait;
use rustix::fs::{Dir, FileType};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::arguments::{schema_of, typed};
use crate::context::ToolContext;
use crate::tool::{Tool, ToolError, ToolOutput};
use crate::workspace::{InsidePath, Workspace, blocking, enter, failure_io, stat};

/// Most lines of one answer.
pub const ENTRIES_MAX: usize = 1000;
/// Most folders inside each other that one answer goes through.
pub const DEPTH_MAX: u32 = 5;
/// Most names that are read of one folder, so that a huge one costs bounded memory.
pub const NAMES_READ_MAX: usize = 10_000;

pub struct ListFiles;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// Folder relative to the workspace, with `/` between folders; absent = the workspace itself.
    #[schemars(length(max = 1024))]
    path: Option<String>,
    /// How many levels of folders to go into; 1 (the default) lists only the folder itself.
    #[schemars(range(min = 1, max = 5))]
    depth: Option<u32>,
}

#[async_trait]
impl Tool for ListFiles {
    fn name(&self) -> &'static str {
        "list_files"
    }

    fn description(&self) -> &'static str {
        "Lists a folder of the workspace, sorted by name, one entry a line: `folder`, `file` with its size in bytes, \
         `link` (never followed) or `other`. Gives at most 1000 entries."
    }

    fn parameters(&self) -> Value {
        schema_of::<Arguments>()
    }

    fn is_repeatable(&self) -> bool {
        true
    }

    async fn call(&self, context: &ToolContext, arguments: Value) -> Result<ToolOutput, ToolError> {
        let Arguments { path, depth } = typed(arguments)?;
        let path = InsidePath::parse(path.as_deref().unwrap_or("."))?;
        let (root, cancel) = (context.workspace.clone(), context.cancel.clone());
        blocking(move || {
            let folder = Workspace::open(&root)?.folder(&path)?;
            let mut listing = Listing { cancel, path, ..Listing::default() };
            listing.add(&folder, "", depth.unwrap_or(1).clamp(1, DEPTH_MAX))?;
            Ok(listing.into_output())
        })
        .await
    }
}

#[derive(Default)]
struct Listing {
    cancel: CancellationToken,
    /// The folder that was asked for.
    path: InsidePath,
    text: String,
    entries: usize,
    is_cut: bool,
}

impl Listing {
    /// `prefix` is the way from the asked folder to this one, with a `/` at its end.
    fn add(&mut self, folder: &OwnedFd, prefix: &str, depth: u32) -> Result<(), ToolError> {
        for name in self.names(folder)? {
            if self.cancel.is_cancelled() {
                return Err(ToolError::Cancelled);
            }
            // Gone since its name was read.
            let Ok(seen) = stat(folder, &name) else { continue };
            if self.entries == ENTRIES_MAX {
                self.is_cut = true;
                return Ok(());
            }
            self.entries += 1;
            let place = format!("{prefix}{name}");
            let line = match FileType::from_raw_mode(seen.st_mode) {
                FileType::Directory => format!("folder  {}/", one_line(&place)),
                FileType::RegularFile => format!("file    {}  {} bytes", one_line(&place), seen.st_size),
                FileType::Symlink => format!("link    {}  not followed", one_line(&place)),
                _ => format!("other   {}", one_line(&place)),
            };
            writeln!(self.text, "{line}").expect("a string takes any text");
            // A folder that may not be entered, or that became a link, is listed but not opened.
            if depth > 1
                && FileType::from_raw_mode(seen.st_mode) == FileType::Directory
                && let Ok(inner) = enter(folder, &name, &self.path)
            {
                self.add(&inner, &format!("{place}/"), depth - 1)?;
            }
        }
        Ok(())
    }

    /// Sorted by bytes. Names that are not UTF-8 cannot be asked for, so they are left out and the answer says so.
    fn names(&mut self, folder: &OwnedFd) -> Result<Vec<String>, ToolError> {
        let mut names = Vec::new();
        let entries = Dir::read_from(folder).map_err(|errno| failure_io(&errno.into(), &self.path))?;
        for entry in entries {
            let entry = entry.map_err(|errno| failure_io(&errno.into(), &self.path))?;
            match entry.file_name().to_str() {
                Ok("." | "..") => {}
                Ok(name) if names.len() < NAMES_READ_MAX => names.push(name.to_owned()),
                _ => self.is_cut = true,
            }
            if names.len() == NAMES_READ_MAX && self.is_cut {
                break;
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn into_output(mut self) -> ToolOutput {
        if self.entries == 0 && !self.is_cut {
            return ToolOutput { text: format!("`{}` is empty", self.path) };
        }
        if self.is_cut {
            self.text.push_str("[there are more entries; list a folder inside this one]\n");
        }
        ToolOutput { text: self.text }
    }
}

/// A name may hold line breaks, which would read as further entries.
fn one_line(place: &str) -> String {
    place.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
