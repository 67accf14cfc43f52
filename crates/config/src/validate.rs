//! Checking a configuration that someone hands over, without putting it into force.

use serde::Serialize;
use serde_json::Value;

use crate::layers::Layers;
use crate::overlay::without_nulls;
use crate::problem::{Finding, Origin, Problem, Problems};
use crate::root::Root;
use crate::text::{self, Parsed};

/// What came of a check; serializes as `config.validate` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Validation {
    pub valid: bool,
    pub errors: Vec<Finding>,
    pub warnings: Vec<Finding>,
}

impl Layers {
    /// Checks an object, or a text in TOML or JSON, over the defaults. Applies nothing. References
    /// to variables are followed, files are not opened.
    pub fn validate_value<T: Root>(&self, config: &Value) -> Validation {
        match config {
            Value::String(text) => self.validate_text::<T>(text),
            Value::Object(_) => self.validate_tree::<T>(config.clone()),
            _ => refused(Problem::new(Origin::Given, "", "expected an object, or a text in TOML or JSON")),
        }
    }

    /// A text that begins with `{` is JSON, any other is TOML.
    pub fn validate_text<T: Root>(&self, config: &str) -> Validation {
        if config.len() <= text::FILE_BYTES_MAX && config.trim_start().starts_with('{') {
            return match serde_json::from_str::<Value>(config) {
                Ok(tree) => self.validate_tree::<T>(tree),
                Err(error) => {
                    let place = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
                    let message = format!("not JSON: {}", reason_of(&error));
                    refused(Problem::new(Origin::Given, "", message).at(place(error.line()), place(error.column())))
                }
            };
        }
        match text::parse(config.as_bytes(), &Origin::Given) {
            Ok(parsed) => verdict(self.check_given::<T>(parsed).map(|loaded| loaded.warnings)),
            Err(problems) => verdict(Err(problems)),
        }
    }

    fn validate_tree<T: Root>(&self, tree: Value) -> Validation {
        match without_nulls(tree) {
            Value::Object(tree) => {
                verdict(self.check_given::<T>(Parsed::placeless(tree)).map(|loaded| loaded.warnings))
            }
            _ => refused(Problem::new(Origin::Given, "", "expected an object")),
        }
    }
}

/// The reason alone; the place is told apart from it.
fn reason_of(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().to_owned()
}

fn refused(problem: Problem) -> Validation {
    verdict(Err(problem.into()))
}

fn verdict(outcome: Result<Vec<Problem>, Problems>) -> Validation {
    match outcome {
        Ok(warnings) => Validation { valid: true, errors: Vec::new(), warnings: Problems(warnings).findings() },
        Err(problems) => Validation { valid: false, errors: problems.findings(), warnings: Vec::new() },
    }
}
