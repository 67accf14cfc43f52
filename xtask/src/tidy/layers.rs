//! Who may depend on whom. The table is the drawing in `ARCHITECTURE.md`, written once more for the
//! machine: a crate that is missing here must be added to both.

use std::collections::BTreeSet;

use super::finding::Finding;
use super::graph::{Graph, Package};

/// For each crate the crates of this workspace that it may name; `*` stands for any rest of a name.
const LAYERS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("config", &["model"]),
    ("store", &["model"]),
    // Its notifications carry messages between nodes.
    ("store-postgres", &["model", "store", "events"]),
    ("store-*", &["model", "store"]),
    ("link-*", &["events"]),
    ("events", &["model"]),
    ("providers", &["model"]),
    ("local-model", &["model", "providers"]),
    ("channels", &["model"]),
    ("tools", &["model"]),
    ("agent", &["model", "providers", "tools"]),
    ("services", &["model", "store", "events", "agent", "providers", "tools", "channels"]),
    ("ops", &["model", "events", "agent", "providers", "tools", "channels", "services"]),
    ("dialect", &["model", "events", "services", "ops"]),
    ("dialect-openai", &["model", "events", "services", "ops", "dialect", "providers"]),
    ("dialect-*", &["model", "events", "services", "ops", "dialect"]),
    ("server", &["model", "events", "services", "dialect", "config"]),
    // The one place where backends are chosen and everything is wired.
    ("patchbay", &["*"]),
    (
        "testkit",
        &[
            "model",
            "config",
            "store",
            "store-sqlite",
            "events",
            "providers",
            "tools",
            "channels",
            "agent",
            "services",
            "ops",
            "dialect",
            "dialect-*",
            "server",
        ],
    ),
    ("testservers", &[]),
    ("xtask", &[]),
];

/// Concrete backends. Tests may name them: SQLite is their temporary store.
const ONLY_FOR_PATCHBAY: &[&str] = &["store-sqlite", "store-postgres", "link-nats", "local-model"];

/// What speaks HTTP, and the only crates that may.
const WIRE: &[(&[&str], &[&str], &str)] = &[
    (
        &["axum", "hyper", "tower", "tower-http", "tungstenite", "tokio-tungstenite"],
        &["dialect", "dialect-*", "server", "patchbay", "testkit"],
        "only dialects and the server know HTTP, SSE and frames",
    ),
    (
        // What both ends of HTTP are made of.
        &["http", "http-body", "http-body-util", "hyper-util"],
        &["dialect", "dialect-*", "server", "providers", "patchbay", "testkit"],
        "only dialects, the server and providers know HTTP",
    ),
    (
        &["reqwest"],
        &["providers", "local-model", "channels", "server", "patchbay", "testkit"],
        "only providers and channels call out, so that limits and the private-address check hold everywhere",
    ),
];

pub fn findings(graph: &Graph) -> Vec<Finding> {
    let members = graph.member_names();
    graph.members().flat_map(|package| [edges(package, &members), wire(package)].concat()).collect()
}

fn edges(package: &Package, members: &BTreeSet<&str>) -> Vec<Finding> {
    let name = package.name.as_str();
    let manifest = manifest(name);
    let Some((_, allowed)) = LAYERS.iter().find(|(pattern, _)| matches(pattern, name)) else {
        return vec![Finding::error(
            "layers",
            manifest,
            format!("`{name}` has no place in the layers"),
            "add it to the table in xtask/src/tidy/layers.rs and to ARCHITECTURE.md",
        )];
    };
    let mut findings = vec![];
    for dependency in &package.dependencies {
        let target = dependency.name.as_str();
        if !members.contains(target) || target == name {
            continue;
        }
        if dependency.is_dev() {
            if matches!(target, "patchbay" | "xtask") {
                findings.push(Finding::error(
                    "layers",
                    &manifest,
                    format!("the tests of `{name}` name `{target}`"),
                    "a test of the whole gateway belongs to `patchbay` or to e2e/",
                ));
            }
            continue;
        }
        if target == "testkit" || !allowed.iter().any(|pattern| matches(pattern, target)) {
            let why = if target == "testkit" {
                "test tools belong into [dev-dependencies]".to_owned()
            } else if ONLY_FOR_PATCHBAY.contains(&target) {
                "only `patchbay` names a concrete backend; others may in [dev-dependencies]".to_owned()
            } else if allowed.is_empty() {
                "it stands below every other crate".to_owned()
            } else {
                format!("it may name only {}", allowed.join(", "))
            };
            findings.push(Finding::error("layers", &manifest, format!("`{name}` depends on `{target}`"), why));
        }
    }
    findings
}

fn wire(package: &Package) -> Vec<Finding> {
    let name = package.name.as_str();
    let mut findings = vec![];
    for (crates, allowed, why) in WIRE {
        if allowed.iter().any(|pattern| matches(pattern, name)) {
            continue;
        }
        for dependency in package.dependencies.iter().filter(|dependency| !dependency.is_dev()) {
            let target = dependency.name.as_str();
            if crates.contains(&target) {
                findings.push(Finding::error("wire", manifest(name), format!("`{name}` depends on `{target}`"), *why));
            }
        }
    }
    findings
}

fn manifest(name: &str) -> String {
    match name {
        "xtask" => "xtask/Cargo.toml".to_owned(),
        _ => format!("crates/{name}/Cargo.toml"),
    }
}

/// `*` at the end stands for any rest.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => pattern == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::graph::Dependency;

    fn package(name: &str, normal: &[&str], dev: &[&str]) -> Package {
        let dependency = |kind: Option<&str>| {
            let kind = kind.map(str::to_owned);
            move |name: &&str| Dependency { name: (*name).to_owned(), kind: kind.clone() }
        };
        let dependencies = normal.iter().map(dependency(None)).chain(dev.iter().map(dependency(Some("dev")))).collect();
        Package {
            id: name.into(),
            name: name.into(),
            version: "0.0.0".into(),
            license: None,
            source: None,
            dependencies,
        }
    }

    fn whats(packages: Vec<Package>) -> Vec<String> {
        let workspace_members = packages.iter().map(|package| package.id.clone()).collect();
        findings(&Graph { packages, workspace_members }).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn edges_that_the_drawing_has_are_fine() {
        let packages = vec![
            package("model", &["serde"], &["proptest"]),
            package("store", &["model"], &[]),
            package("store-sqlite", &["model", "store"], &["testkit"]),
            package("dialect-aleph", &["model", "axum"], &["testkit", "store-sqlite"]),
            package("patchbay", &["store-sqlite", "model", "reqwest"], &[]),
            package("testkit", &["model", "store-sqlite", "axum"], &[]),
        ];
        assert_eq!(whats(packages), [""; 0]);
    }

    #[test]
    fn edges_that_it_has_not_are_named() {
        let packages = vec![
            package("model", &["store"], &[]),
            package("store", &["axum"], &[]),
            package("store-sqlite", &[], &[]),
            package("services", &["store-sqlite", "testkit", "reqwest"], &["patchbay"]),
            package("testkit", &[], &[]),
            package("patchbay", &[], &[]),
            package("gossip", &[], &[]),
        ];
        assert_eq!(
            whats(packages),
            [
                "`model` depends on `store`",
                "`store` depends on `axum`",
                "`services` depends on `store-sqlite`",
                "`services` depends on `testkit`",
                "the tests of `services` name `patchbay`",
                "`services` depends on `reqwest`",
                "`gossip` has no place in the layers",
            ]
        );
    }
}
