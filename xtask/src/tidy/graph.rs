//! The crate graph as `cargo metadata` tells it, for the features and the platform that we build.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
pub struct Graph {
    pub packages: Vec<Package>,
    pub workspace_members: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub struct Package {
    pub id: String,
    pub name: String,
    pub version: String,
    /// An SPDX expression.
    pub license: Option<String>,
    /// Where it came from; `None` for a crate of this workspace.
    pub source: Option<String>,
    pub dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
pub struct Dependency {
    pub name: String,
    /// `None` for a normal one, else `dev` or `build`.
    pub kind: Option<String>,
}

impl Dependency {
    pub fn is_dev(&self) -> bool {
        self.kind.as_deref() == Some("dev")
    }
}

impl Graph {
    /// Asks Cargo, without the network where the crates are there already.
    pub fn read(root: &Path) -> Result<Self> {
        let platform = host()?;
        let ask = |more: &[&str]| {
            let arguments = ["metadata", "--format-version", "1", "--all-features", "--filter-platform", &platform];
            Command::new(env!("CARGO")).args(arguments).args(more).current_dir(root).output()
        };
        let mut answer = ask(&["--offline", "--locked"]).context("cannot run cargo metadata")?;
        if !answer.status.success() {
            answer = ask(&["--locked"]).context("cannot run cargo metadata")?;
        }
        if !answer.status.success() {
            bail!("cargo metadata: {}", String::from_utf8_lossy(&answer.stderr).trim());
        }
        serde_json::from_slice(&answer.stdout).context("cannot read the answer of cargo metadata")
    }

    /// The crates of this workspace.
    pub fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }

    pub fn member_names(&self) -> BTreeSet<&str> {
        self.members().map(|package| package.name.as_str()).collect()
    }

    /// The crates of others.
    pub fn foreign(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| package.source.is_some())
    }
}

/// The platform we build for, as rustc names it.
fn host() -> Result<String> {
    let answer = Command::new("rustc").arg("-vV").output().context("cannot run rustc")?;
    let text = String::from_utf8_lossy(&answer.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc -vV names no host")?;
    Ok(host.to_owned())
}
