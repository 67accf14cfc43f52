//! What a push is held to: every step runs, also when an earlier one failed, and the last line counts.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::{codegen, tidy};

/// Tests that passed and failed; a step that is no test counts as one failure when it fails.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
}

/// Whether a step succeeded, and the tests that it ran.
type Step<'a> = dyn FnMut() -> Result<(bool, Counts)> + 'a;

pub fn run(root: &Path) -> Result<bool> {
    let mut total = Counts::default();
    let mut failed_steps = vec![];
    let has_nextest =
        Command::new(env!("CARGO")).args(["nextest", "--version"]).output().is_ok_and(|o| o.status.success());
    let tests: &[&str] = if has_nextest {
        &["nextest", "run", "--workspace", "--locked", "--no-fail-fast", "--no-tests=pass", "--color=never"]
    } else {
        &["test", "--workspace", "--locked", "--no-fail-fast", "--lib", "--bins", "--tests"]
    };
    let steps: [(&str, &mut Step<'_>); 6] = [
        ("format", &mut || cargo(root, &["fmt", "--all", "--", "--check"])),
        ("lints", &mut || cargo(root, &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"])),
        ("tidy", &mut || Ok((tidy::run(root)?, Counts::default()))),
        ("tests", &mut || cargo(root, tests)),
        ("documentation tests", &mut || cargo(root, &["test", "--workspace", "--locked", "--no-fail-fast", "--doc"])),
        ("generated files", &mut || Ok((codegen::check(root)?, Counts::default()))),
    ];
    for (name, step) in steps {
        println!("== {name}");
        let (is_good, counts) = step().unwrap_or_else(|error| {
            eprintln!("{name}: {error:#}");
            (false, Counts::default())
        });
        total.passed += counts.passed;
        total.failed += counts.failed;
        if !is_good {
            total.failed += u64::from(counts.failed == 0);
            failed_steps.push(name);
        }
    }
    if !failed_steps.is_empty() {
        println!("failed: {}", failed_steps.join(", "));
    }
    println!("check: {} passed, {} failed", total.passed, total.failed);
    Ok(failed_steps.is_empty())
}

/// Runs Cargo, shows what it says, and counts the tests that its closing lines tell of.
fn cargo(root: &Path, arguments: &[&str]) -> Result<(bool, Counts)> {
    let mut child = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(root)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run cargo {}", arguments[0]))?;
    let out = child.stdout.take().context("stdout is piped")?;
    let err = child.stderr.take().context("stderr is piped")?;
    let other = std::thread::spawn(move || relay(err));
    let mut counts = relay(out);
    let more = other.join().map_err(|_| anyhow::anyhow!("the reader of stderr panicked"))?;
    counts.passed += more.passed;
    counts.failed += more.failed;
    Ok((child.wait()?.success(), counts))
}

fn relay(from: impl Read) -> Counts {
    let mut counts = Counts::default();
    for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        if let Some(more) = closing_line(&line) {
            counts.passed += more.passed;
            counts.failed += more.failed;
        }
    }
    counts
}

/// Reads `test result: ok. 8 passed; 0 failed; …` and `Summary [1s] 9 tests run: 7 passed, 2 failed, …`.
fn closing_line(line: &str) -> Option<Counts> {
    // nextest shows the output of a failed test indented, the closing line of its harness with it.
    let rest = match line.trim_start().strip_prefix("Summary [") {
        Some(rest) => rest.split_once("run:")?.1,
        None => line.strip_prefix("test result:")?.split_once(". ")?.1,
    };
    let mut counts = Counts::default();
    for part in rest.split([',', ';']) {
        let mut words = part.split_whitespace();
        let (Some(number), Some(word)) = (words.next().and_then(|word| word.parse::<u64>().ok()), words.next()) else {
            continue;
        };
        match word {
            "passed" => counts.passed += number,
            "failed" | "timed" | "exec" => counts.failed += number,
            _ => {}
        }
    }
    Some(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_of_both_runners_are_read() {
        let read = |line| closing_line(line).map(|counts| (counts.passed, counts.failed));
        assert_eq!(read("test result: ok. 8 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out"), Some((8, 0)));
        assert_eq!(read("test result: FAILED. 3 passed; 2 failed; 0 ignored"), Some((3, 2)));
        assert_eq!(read("     Summary [   0.010s] 20 tests run: 20 passed (2 slow), 1 skipped"), Some((20, 0)));
        assert_eq!(read("Summary [ 1.2s] 9/12 tests run: 6 passed, 2 failed, 1 timed out, 3 skipped"), Some((6, 3)));
        assert_eq!(read("running 8 tests"), None);
        assert_eq!(read("    test result: FAILED. 0 passed; 1 failed; 0 ignored"), None);
    }
}
