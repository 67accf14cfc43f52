//! The tools that exist, by name.

use std::sync::Arc;

use crate::arguments::CheckedTool;
use crate::ask_user::AskUserTool;
use crate::current_time::CurrentTime;
use crate::list_files::ListFiles;
use crate::read_file::ReadFile;
use crate::search_sessions::SearchSessions;
use crate::tool::Tool;
use crate::write_file::WriteFile;

/// Longest tool name, in characters; vendors allow no more.
pub const NAME_CHARS_MAX: usize = 64;

#[derive(Clone, Default)]
pub struct Registry {
    tools: Vec<CheckedTool>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    #[error("`{0}` is not a tool name: it must have 1 to 64 characters of a-z 0-9 _")]
    Name(String),
    #[error("there is a tool `{0}` already")]
    Taken(&'static str),
    #[error("{0}")]
    Schema(String),
}

impl Registry {
    /// The tools that come with the gateway.
    pub fn built_in() -> Self {
        let tools: [Arc<dyn Tool>; 6] = [
            Arc::new(ReadFile),
            Arc::new(WriteFile),
            Arc::new(ListFiles),
            Arc::new(CurrentTime),
            Arc::new(SearchSessions),
            Arc::new(AskUserTool),
        ];
        Self { tools: tools.into_iter().map(CheckedTool::trusted).collect() }
    }

    /// Adds a tool at the end.
    pub fn with(mut self, tool: Arc<dyn Tool>) -> Result<Self, RegistryError> {
        let name = tool.name();
        if !is_tool_name(name) {
            return Err(RegistryError::Name(name.to_owned()));
        }
        if self.get(name).is_some() {
            return Err(RegistryError::Taken(name));
        }
        self.tools.push(CheckedTool::new(tool).map_err(RegistryError::Schema)?);
        Ok(self)
    }

    pub fn get(&self, name: &str) -> Option<&Arc<dyn Tool>> {
        self.tools.iter().map(CheckedTool::tool).find(|tool| tool.name() == name)
    }

    pub fn names(&self) -> Vec<&'static str> {
        self.tools.iter().map(|checked| checked.tool().name()).collect()
    }

    /// The named tools, in the registry's order and each once; all of them for `None`, none for an
    /// empty list. Names that no tool has are passed over: [`Registry::unknown`] tells them.
    pub fn select(&self, names: Option<&[String]>) -> Vec<CheckedTool> {
        let is_wanted = |checked: &&CheckedTool| match names {
            None => true,
            Some(names) => names.iter().any(|name| name == checked.tool().name()),
        };
        self.tools.iter().filter(is_wanted).cloned().collect()
    }

    /// Those of `names` that no tool has, in their order.
    pub fn unknown(&self, names: &[String]) -> Vec<String> {
        names.iter().filter(|name| self.get(name).is_none()).cloned().collect()
    }
}

/// 1 to 64 characters of `a-z 0-9 _`.
pub fn is_tool_name(name: &str) -> bool {
    let is_legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=NAME_CHARS_MAX).contains(&name.len()) && name.bytes().all(is_legal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_are_reported_and_the_rest_selected_once_in_order() {
        let wanted = ["write_file", "fly", "read_file", "read_file", ""].map(String::from);
        let registry = Registry::built_in();
        let names: Vec<_> = registry.select(Some(&wanted)).iter().map(|checked| checked.tool().name()).collect();
        assert_eq!(names, ["read_file", "write_file"]);
        assert_eq!(registry.unknown(&wanted), ["fly", ""]);
    }

    #[test]
    fn without_a_list_all_tools_are_selected_and_with_an_empty_one_none() {
        let registry = Registry::built_in();
        assert_eq!(registry.select(None).len(), registry.names().len());
        assert!(registry.select(Some(&[])).is_empty());
    }

    #[test]
    fn the_parameters_of_our_own_tools_are_schemas() {
        for own in Registry::built_in().select(None) {
            CheckedTool::new(Arc::clone(own.tool())).expect("compiles");
        }
    }

    #[test]
    fn a_name_is_taken_only_once() {
        let again = Registry::built_in().with(Arc::new(CurrentTime));
        assert_eq!(again.err(), Some(RegistryError::Taken("current_time")));
    }

    #[test]
    fn tool_names_are_short_lower_case_words() {
        let long = "x".repeat(65);
        let verdicts = ["read_file", "a1", "", "Read", "a-b", "a b", "é", &long].map(is_tool_name);
        assert_eq!(verdicts, [true, true, false, false, false, false, false, false]);
    }
}
