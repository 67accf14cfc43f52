//! Banned crates, doubled ones, licences and sources: the part of `deny.toml` that needs no network.
//!
//! The file is cargo-deny's, so that tool can be run over the same lists (it adds the advisories).

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::finding::Finding;
use super::graph::{Graph, Package};
use super::licence;

const FILE: &str = "deny.toml";

#[derive(Debug, Deserialize)]
pub struct Rules {
    bans: Bans,
    licenses: Licences,
    sources: Sources,
}

#[derive(Debug, Deserialize)]
struct Bans {
    deny: Vec<Denied>,
}

#[derive(Debug, Deserialize)]
struct Denied {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
    /// The crate itself is fine, a second version of it is not.
    #[serde(default, rename = "deny-multiple-versions")]
    once: bool,
}

#[derive(Debug, Deserialize)]
struct Licences {
    allow: Vec<String>,
    #[serde(default)]
    exceptions: Vec<Exception>,
}

#[derive(Debug, Deserialize)]
struct Exception {
    #[serde(rename = "crate")]
    name: String,
    allow: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Sources {
    #[serde(rename = "allow-registry")]
    registries: Vec<String>,
}

impl Rules {
    pub fn read(root: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(root.join(FILE)).with_context(|| format!("cannot read {FILE}"))?;
        toml::from_str(&text).with_context(|| format!("cannot read {FILE}"))
    }
}

pub fn findings(graph: &Graph, rules: &Rules) -> Vec<Finding> {
    let mut findings = banned(graph, &rules.bans);
    findings.extend(graph.foreign().filter_map(|package| licence_of(package, &rules.licenses)));
    findings.extend(graph.foreign().filter_map(|package| source_of(package, &rules.sources)));
    findings
}

fn banned(graph: &Graph, bans: &Bans) -> Vec<Finding> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in graph.foreign() {
        versions.entry(&package.name).or_default().push(&package.version);
    }
    let mut findings = vec![];
    for denied in &bans.deny {
        let Some(found) = versions.get(denied.name.as_str()) else { continue };
        let name = &denied.name;
        if !denied.once {
            let what = format!("`{name}` {} is in the crate graph (cargo tree -i {name})", found.join(", "));
            findings.push(Finding::error("banned", "Cargo.lock", what, &denied.reason));
        } else if found.len() > 1 {
            let what = format!("`{name}` is in the crate graph {} times: {}", found.len(), found.join(", "));
            findings.push(Finding::error("doubled", "Cargo.lock", what, &denied.reason));
        }
    }
    findings
}

fn licence_of(package: &Package, licences: &Licences) -> Option<Finding> {
    let exceptions = || licences.exceptions.iter().filter(|exception| exception.name == package.name);
    let accepts = |licence: &str| {
        licences.allow.iter().any(|allowed| allowed == licence)
            || exceptions().any(|exception| exception.allow.iter().any(|allowed| allowed == licence))
    };
    let expression = package.license.as_deref().unwrap_or_default();
    if licence::is_met(expression, &accepts) {
        return None;
    }
    let what = format!("`{}` {} has the licence `{expression}`", package.name, package.version);
    Some(Finding::error("licence", "Cargo.lock", what, "no list in deny.toml allows it"))
}

fn source_of(package: &Package, sources: &Sources) -> Option<Finding> {
    let source = package.source.as_deref()?;
    let is_known =
        source.strip_prefix("registry+").is_some_and(|url| sources.registries.iter().any(|known| known == url));
    let what = format!("`{}` {} comes from {source}", package.name, package.version);
    (!is_known).then(|| Finding::error("source", "Cargo.lock", what, "only the registries in deny.toml are trusted"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = r#"
        [bans]
        deny = [
            { crate = "openssl-sys", reason = "one TLS stack" },
            { crate = "rustls", deny-multiple-versions = true, reason = "one TLS stack" },
        ]
        [licenses]
        allow = ["MIT"]
        exceptions = [{ crate = "notify", allow = ["CC0-1.0"] }]
        [sources]
        allow-registry = ["https://registry.test/index"]
    "#;

    fn package(name: &str, version: &str, license: &str) -> Package {
        Package {
            id: format!("{name} {version}"),
            name: name.into(),
            version: version.into(),
            license: Some(license.into()),
            source: Some("registry+https://registry.test/index".into()),
            dependencies: vec![],
        }
    }

    fn seen(packages: Vec<Package>) -> Vec<&'static str> {
        let rules: Rules = toml::from_str(RULES).unwrap();
        let graph = Graph { packages, workspace_members: vec![] };
        findings(&graph, &rules).into_iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn a_clean_graph_passes() {
        assert_eq!(
            seen(vec![package("rustls", "0.23.0", "MIT OR GPL-3.0"), package("notify", "8.0.0", "CC0-1.0")]),
            [""; 0]
        );
    }

    #[test]
    fn each_kind_of_breach_is_found() {
        assert_eq!(seen(vec![package("openssl-sys", "0.9.0", "MIT")]), ["banned"]);
        assert_eq!(seen(vec![package("rustls", "0.22.0", "MIT"), package("rustls", "0.23.0", "MIT")]), ["doubled"]);
        assert_eq!(seen(vec![package("other", "1.0.0", "CC0-1.0")]), ["licence"]);
        let mut fork = package("fork", "1.0.0", "MIT");
        fork.source = Some("git+https://host.test/fork".into());
        assert_eq!(seen(vec![fork]), ["source"]);
    }
}
