//! What the root struct and its sections must be able to do.

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Rules beyond types. The root calls those of its sections and puts their names before the keys
/// with [`Violation::under`].
pub trait Validate {
    /// What makes the configuration unusable. A message never holds the value of a secret.
    fn validate(&self) -> Vec<Violation> {
        Vec::new()
    }

    /// What works but is probably not meant.
    fn warnings(&self) -> Vec<Violation> {
        Vec::new()
    }

    /// The text of [`schema`](crate::schema) for this type when the program carries it: reading it
    /// costs a start less than making it from the types anew. Asked of the root alone.
    fn schema_text() -> Option<&'static str> {
        None
    }
}

/// A broken rule, or a warning, at a key relative to the struct that found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Dotted path; empty for the section as a whole.
    pub key: String,
    pub message: String,
}

impl Violation {
    pub fn new(key: impl Into<String>, message: impl Into<String>) -> Violation {
        Violation { key: key.into(), message: message.into() }
    }

    /// The same violations, seen from the struct that holds this one at `prefix`
    /// (`agents.main`, `listen[0]`).
    pub fn under(prefix: &str, violations: Vec<Violation>) -> impl Iterator<Item = Violation> {
        violations.into_iter().map(move |violation| {
            let key = match violation.key.as_str() {
                "" => prefix.to_owned(),
                key => format!("{prefix}.{key}"),
            };
            Violation { key, message: violation.message }
        })
    }
}

/// The struct that composes all sections. Implemented by whatever fits.
pub trait Root:
    DeserializeOwned + Serialize + JsonSchema + Default + Clone + PartialEq + Validate + Send + Sync + 'static
{
}

impl<T> Root for T where
    T: DeserializeOwned + Serialize + JsonSchema + Default + Clone + PartialEq + Validate + Send + Sync + 'static
{
}
