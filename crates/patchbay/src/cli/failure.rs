//! How a command fails: a sentence for people, a code for scripts.

use std::io::Write;
use std::process::ExitCode;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Success,
    Failure,
    Usage,
    /// No gateway answers.
    Unreachable,
    /// The gateway answers, and refuses: credentials or scope.
    Refused,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Success => 0,
            Exit::Failure => 1,
            Exit::Usage => 2,
            Exit::Unreachable => 3,
            Exit::Refused => 4,
        })
    }
}

#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub error: anyhow::Error,
    /// The output has said it already.
    is_told: bool,
}

impl Failure {
    fn new(exit: Exit, error: anyhow::Error) -> Self {
        Self { exit, error, is_told: false }
    }

    pub fn general(error: anyhow::Error) -> Self {
        Self::new(Exit::Failure, error)
    }

    /// A failure in plain words.
    pub fn because(message: impl std::fmt::Display) -> Self {
        Self::general(anyhow::anyhow!("{message}"))
    }

    pub fn usage(message: impl std::fmt::Display) -> Self {
        Self::new(Exit::Usage, anyhow::anyhow!("{message}"))
    }

    pub fn unreachable(error: anyhow::Error) -> Self {
        Self::new(Exit::Unreachable, error)
    }

    pub fn refused(message: impl std::fmt::Display) -> Self {
        Self::new(Exit::Refused, anyhow::anyhow!("{message}"))
    }

    /// For a command whose output tells what is wrong; nothing more is said.
    pub fn told(exit: Exit) -> Self {
        Self { exit, error: anyhow::anyhow!("the output tells what is wrong"), is_told: true }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::general(error.into())
    }
}

/// Says to people what went wrong.
pub fn report(failure: &Failure) {
    if !failure.is_told {
        // Where nobody reads messages, the exit code is left.
        let _ = writeln!(anstream::stderr().lock(), "patchbay: {:#}", failure.error);
    }
}
