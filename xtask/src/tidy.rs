//! The rules that the compiler cannot see, each with a name, over the crate graph and the sources.
//!
//! A line may be excused from a rule by a comment on it or right above it, with a reason:
//! `// tidy: allow(spawn): the handle is awaited in stop`. Test code is free of the rules for sources.

mod bans;
mod cycles;
mod deny;
mod finding;
mod graph;
mod imports;
mod layers;
mod licence;
mod modules;
mod source;
mod text;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};

use self::finding::{Finding, Severity};
use self::source::Source;

/// Prints every finding and a closing line; `false` when one of them is an error.
pub fn run(root: &Path) -> Result<bool> {
    let findings = all(root)?;
    for finding in &findings {
        println!("{finding}");
    }
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    println!("tidy: {errors} errors, {} warnings", findings.len() - errors);
    Ok(errors == 0)
}

fn all(root: &Path) -> Result<Vec<Finding>> {
    let graph = graph::Graph::read(root)?;
    let rules = deny::Rules::read(root)?;
    let mut findings = layers::findings(&graph);
    findings.extend(deny::findings(&graph, &rules));
    let files = text::tracked(root)?;
    findings.extend(text::findings(root, &files)?);
    for (package, sources) in sources_by_crate(root, &files)? {
        findings.extend(sources.iter().flat_map(|source| bans::findings(&package, source)));
        findings.extend(cycles::findings(&sources));
    }
    findings.sort_by(|a, b| (a.severity, a.rule, &a.place).cmp(&(b.severity, b.rule, &b.place)));
    Ok(findings)
}

/// The sources below `crates/<name>/src`, by crate.
fn sources_by_crate(root: &Path, files: &[String]) -> Result<BTreeMap<String, Vec<Source>>> {
    let mut crates: BTreeMap<String, Vec<Source>> = BTreeMap::new();
    for path in files.iter().filter(|path| path.ends_with(".rs")) {
        let mut parts = path.split('/');
        if parts.next() != Some("crates") {
            continue;
        }
        let (Some(package), Some("src")) = (parts.next(), parts.next()) else { continue };
        let text = std::fs::read_to_string(root.join(path)).with_context(|| format!("cannot read {path}"))?;
        crates.entry(package.to_owned()).or_default().push(Source::new(path, &text));
    }
    for sources in crates.values_mut() {
        source::mark_test_modules(sources);
    }
    Ok(crates)
}
