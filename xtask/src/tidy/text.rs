//! Rules for every tracked text file: nothing unfinished, nothing of one machine, nothing too long.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::finding::Finding;
use super::source::{Source, is_word, occurrences};

/// Past this many lines a file is asked which second thing lives in it.
const LINES_MAX: usize = 600;

/// The longest file that is read; what is larger is an asset.
const BYTES_MAX: u64 = 2 * 1024 * 1024;

/// Written by programs: lock files name the registries, generated files are as long as they are.
const GENERATED: &[&str] = &["schema/", "docs/reference/", "web/src/api/aleph.ts", "web/src/api/events.ts"];

/// Files that git knows or would add, without those it ignores.
pub fn tracked(root: &Path) -> Result<Vec<String>> {
    let answer = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("cannot run git")?;
    if !answer.status.success() {
        bail!("git ls-files: {}", String::from_utf8_lossy(&answer.stderr).trim());
    }
    let list = String::from_utf8(answer.stdout).context("a file name is not UTF-8")?;
    let mut files: Vec<String> = list.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect();
    files.sort();
    // A file that is deleted but not committed yet is still in the index.
    files.retain(|path| root.join(path).is_file());
    Ok(files)
}

pub fn findings(root: &Path, files: &[String]) -> Result<Vec<Finding>> {
    let mut findings = vec![];
    for path in files {
        let file = root.join(path);
        if is_lock_file(path) || file.metadata().is_ok_and(|meta| meta.len() > BYTES_MAX) {
            continue;
        }
        let bytes = std::fs::read(&file).with_context(|| format!("cannot read {path}"))?;
        let Ok(text) = String::from_utf8(bytes) else { continue };
        findings.extend(in_file(path, &text));
    }
    Ok(findings)
}

fn in_file(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = machine(path, text);
    if GENERATED.iter().any(|start| path.starts_with(start)) {
        return findings;
    }
    findings.extend(unfinished(path, text));
    findings.extend(length(path, text));
    findings
}

fn is_lock_file(path: &str) -> bool {
    path.ends_with(".lock") || path.ends_with("-lock.json") || path.ends_with("-lock.yaml")
}

/// Words of unfinished work: in comments of Rust, anywhere in other code, not in prose.
fn unfinished(path: &str, text: &str) -> Vec<Finding> {
    let comments;
    let searched = match path.rsplit('.').next() {
        Some("rs") => {
            comments = Source::new(path, text).comments;
            comments.as_str()
        }
        Some("ts" | "tsx" | "js" | "mjs" | "css" | "html" | "py" | "sh" | "toml" | "yml" | "yaml" | "sql") => text,
        _ => return vec![],
    };
    let mut findings = vec![];
    for (word, why) in [
        (concat!("FIX", "ME"), "it means that the change is not to be merged"),
        (concat!("TO", "DO"), "write its number behind it, as in `(#12)`, or do it"),
    ] {
        for at in occurrences(searched, word) {
            if !(why.contains('#') && has_number(&searched[at + word.len()..])) {
                findings.push(Finding::error("unfinished", place(path, text, at), format!("{word} in a comment"), why));
            }
        }
    }
    findings
}

/// Whether `(#12)` or `#12` follows.
fn has_number(rest: &str) -> bool {
    let rest = rest.trim_start_matches([' ', '(']);
    rest.strip_prefix('#').is_some_and(|number| number.starts_with(|c: char| c.is_ascii_digit()))
}

/// Folders of one machine and hosts of package registries.
fn machine(path: &str, text: &str) -> Vec<Finding> {
    // In pieces, so that this file does not break its own rule.
    const FOLDERS: &[&[&str]] = &[&["/wo", "rk/"], &["/ro", "ot/"], &["/tm", "p/"], &["/shar", "ed/"]];
    const HOSTS: &[&[&str]] = &[
        &["registry.", "npmjs"],
        &["registry.", "yarnpkg"],
        &["crates.", "io/api"],
        &["index.crates", ".io"],
        &["static.crates", ".io"],
        &["pypi", ".org"],
        &["pythonhosted", ".org"],
        &["deb.", "debian.org"],
        &["proxy.", "golang.org"],
    ];
    let mut findings = vec![];
    for folder in FOLDERS {
        for (at, found) in text.match_indices(&folder.concat()) {
            let before = text[..at].bytes().last();
            let after = text[at + found.len()..].bytes().next();
            let is_start =
                !before.is_some_and(|byte| is_word(byte) || matches!(byte, b'.' | b'-' | b'/' | b'}' | b')' | b'*'));
            if is_start && after.is_some_and(|byte| byte.is_ascii_lowercase()) {
                let why = "a path of one machine; take it from the environment, or make a temporary folder";
                findings.push(Finding::error("machine", place(path, text, at), format!("`{found}` stands here"), why));
            }
        }
    }
    for host in HOSTS {
        for (at, found) in text.match_indices(&host.concat()) {
            let why = "packages come through their ordinary clients, which know their registry";
            findings.push(Finding::error("machine", place(path, text, at), format!("`{found}` stands here"), why));
        }
    }
    findings
}

/// A warning only: tables, matches and tests may be as long as they are plain.
fn length(path: &str, text: &str) -> Option<Finding> {
    let is_code = [".rs", ".ts", ".tsx", ".py", ".sh", ".css"].iter().any(|end| path.ends_with(end));
    let source = is_code.then(|| Source::new(path, text))?;
    if source.is_test_file() || source.lines() <= LINES_MAX {
        return None;
    }
    let what = format!("{} lines", source.lines());
    Some(Finding::warning("length", path, what, format!("past {LINES_MAX}, what second thing lives there?")))
}

fn place(path: &str, text: &str, offset: usize) -> String {
    let line = text.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count() + 1;
    format!("{path}:{line}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        in_file(path, text).into_iter().map(|finding| format!("{} {}", finding.rule, finding.place)).collect()
    }

    #[test]
    fn unfinished_work_is_found_in_comments() {
        let todo = concat!("TO", "DO");
        assert_eq!(found("a.rs", &format!("// {todo}: later\n")), ["unfinished a.rs:1"]);
        assert_eq!(found("a.rs", &format!("// {todo} (#12): later\n// {todo}(#3) x\n")), [""; 0]);
        assert_eq!(found("a.rs", &format!("let x = \"{todo}\";\n")), [""; 0]);
        assert_eq!(found("a.py", concat!("x = 1  # FIX", "ME\n")), ["unfinished a.py:1"]);
        assert_eq!(found("a.md", &format!("{todo}\n")), [""; 0]);
    }

    #[test]
    fn paths_of_a_machine_and_registries_are_found() {
        assert_eq!(found("a.md", concat!("x\nsee /wo", "rk/main\n")), ["machine a.md:2"]);
        assert_eq!(found("a.toml", concat!("u = \"https://pypi", ".org/simple\"")), ["machine a.toml:1"]);
        assert_eq!(found("Cargo.lock", concat!("registry.", "npmjs.org")), ["machine Cargo.lock:1"]);
        assert_eq!(found("a.md", concat!("docs/wo", "rk/x and $T/tm", "p/x and /tm", "p/*\n")), [""; 0]);
    }

    #[test]
    fn only_code_has_a_length() {
        let long = "x\n".repeat(LINES_MAX + 1);
        assert_eq!(found("a.rs", &long), ["length a.rs"]);
        assert_eq!(found("a/tests.rs", &long), [""; 0]);
        assert_eq!(found("a.md", &long), [""; 0]);
        assert_eq!(found("schema/a.ts", &long), [""; 0]);
    }
}
