//! The project's own tasks: `cargo xtask check`, `cargo xtask tidy`, `cargo xtask codegen [--check]`.
//!
//! `check` is what a push is held to. `tidy` holds the rules that the compiler cannot see; `codegen`
//! writes everything that is generated from the gateway's own contract.

#![allow(clippy::print_stdout, reason = "a command-line program: its results go to stdout")]

mod check;
mod codegen;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <command>

  check              format, lints, tidy, tests, documentation tests, generated files
  tidy               the rules of ARCHITECTURE.md over the crate graph and the sources
  codegen            writes schema/, docs/reference/ and web/src/api/ from the gateway's contract
  codegen --check    fails when one of them is stale, and changes nothing";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["check"] => check::run(&root()),
        ["tidy"] => tidy::run(&root()),
        ["codegen"] => codegen::write(&root()),
        ["codegen", "--check"] => codegen::check(&root()),
        ["help" | "--help" | "-h"] | [] => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The folder of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").to_owned()
}
