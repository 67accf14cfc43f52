//! An answer in pieces, whoever gives it.

use futures_util::stream::BoxStream;
use model::Usage;

use crate::errors::ApiError;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(String),
    /// Reasoning, for those who have a place for it.
    Reasoning(String),
    /// A call of a client's tool begins; `index` counts the calls of one answer from 0.
    Call {
        index: usize,
        id: String,
        name: String,
    },
    /// More of the text of a call's arguments.
    Arguments {
        index: usize,
        text: String,
    },
    End(Ended),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    /// As the API words it.
    pub finish: &'static str,
    pub usage: Usage,
    /// The whole text, where it is not just what the pieces said.
    pub text: Option<String>,
}

/// Any number of pieces, then one `End` or one error, then nothing. Dropping it ends the work.
pub(crate) type Pieces = BoxStream<'static, Result<Piece, ApiError>>;
