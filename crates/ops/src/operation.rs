//! The trait that every operation implements.

use model::{ErrorKind, OpError, Scope};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::call::Call;

/// How much a call costs, for rate limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Reads what is at hand, or steers what runs already.
    Default,
    /// Changes something that stays.
    Write,
    /// Starts a run, or asks other servers.
    Heavy,
}

/// One thing a caller can ask. The type's doc comment is the text of the published reference.
pub trait Operation: JsonSchema + Send + 'static {
    /// `noun.verb`.
    const NAME: &'static str;
    /// What the caller's credentials must hold; `None` for what everybody connected may ask.
    const SCOPE: Option<Scope>;
    const CLASS: Class = Class::Default;
    /// What can go wrong besides bad parameters and internal errors.
    const ERRORS: &'static [ErrorKind] = &[];
    type Params: DeserializeOwned + JsonSchema + Send;
    type Output: Serialize + JsonSchema + Send;

    fn run(call: &Call, params: Self::Params) -> impl Future<Output = Result<Reply<Self::Output>, OpError>> + Send;
}

/// An answer, and what may start only once the answer is on its way.
pub struct Reply<T> {
    pub output: T,
    pub then: Option<Box<dyn FnOnce() + Send>>,
}

impl<T> From<T> for Reply<T> {
    fn from(output: T) -> Self {
        Self { output, then: None }
    }
}

impl<T> Reply<T> {
    /// `then` runs after the answer was queued for the caller, also when the caller is gone.
    pub fn followed_by(output: T, then: impl FnOnce() + Send + 'static) -> Self {
        Self { output, then: Some(Box::new(then)) }
    }

    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Reply<U> {
        Reply { output: change(self.output), then: self.then }
    }
}
