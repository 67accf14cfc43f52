//! How much reasoning a run asks of its model.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Reasoning effort. A provider without reasoning ignores it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Thinking {
    Off,
    Minimal,
    Low,
    #[default]
    Medium,
    High,
    Xhigh,
}

impl Thinking {
    pub const ALL: [Thinking; 6] =
        [Thinking::Off, Thinking::Minimal, Thinking::Low, Thinking::Medium, Thinking::High, Thinking::Xhigh];

    /// The reasoning budget in tokens; 0 for `off`.
    pub const fn budget_tokens(self) -> u32 {
        match self {
            Thinking::Off => 0,
            Thinking::Minimal => 1024,
            Thinking::Low => 2048,
            Thinking::Medium => 4096,
            Thinking::High => 8192,
            Thinking::Xhigh => 16384,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Thinking::Off => "off",
            Thinking::Minimal => "minimal",
            Thinking::Low => "low",
            Thinking::Medium => "medium",
            Thinking::High => "high",
            Thinking::Xhigh => "xhigh",
        }
    }
}

impl FromStr for Thinking {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Thinking::ALL
            .into_iter()
            .find(|level| level.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| format!("`{text}` is none of off, minimal, low, medium, high, xhigh"))
    }
}
