//! How a command fails: a sentence for people, a code for scripts.

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
}

impl Failure {
    pub fn general(error: anyhow::Error) -> Self {
        Self { exit: Exit::Failure, error }
    }

    pub fn usage(message: impl std::fmt::Display) -> Self {
        Self { exit: Exit::Usage, error: anyhow::anyhow!("{message}") }
    }

    pub fn unreachable(error: anyhow::Error) -> Self {
        Self { exit: Exit::Unreachable, error }
    }

    pub fn refused(message: impl std::fmt::Display) -> Self {
        Self { exit: Exit::Refused, error: anyhow::anyhow!("{message}") }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::general(error.into())
    }
}

/// Says to people what went wrong.
pub fn report(failure: &Failure) {
    anstream::eprintln!("patchbay: {:#}", failure.error);
}
