//! How much to reason, in the words of OpenAI's wires.

use model::Thinking;

use crate::presets::bare_id;

/// The `reasoning_effort` that comes nearest for this model, or `None` where only silence is safe.
///
/// OpenAI's families know different words: `minimal` only the first GPT-5, `none` those from 5.1 on,
/// `xhigh` those from 5.2 on. Every other reasoning model of this wire knows low, medium and high.
pub(crate) fn effort(model: &str, thinking: Thinking) -> Option<&'static str> {
    let id = bare_id(model);
    let minor = gpt5_minor(&id);
    match thinking {
        Thinking::Off => match minor {
            Some(0) => Some("minimal"),
            Some(_) => Some("none"),
            None => None,
        },
        Thinking::Minimal if minor == Some(0) => Some("minimal"),
        Thinking::Minimal | Thinking::Low => Some("low"),
        Thinking::Medium => Some("medium"),
        Thinking::Xhigh if minor.is_some_and(|minor| minor >= 2) || id.contains("codex-max") => Some("xhigh"),
        Thinking::High | Thinking::Xhigh => Some("high"),
    }
}

/// 0 for `gpt-5` and its sizes, 2 for `gpt-5.2-pro`, `None` for other families.
fn gpt5_minor(id: &str) -> Option<u32> {
    let rest = id.strip_prefix("gpt-5")?;
    match rest.strip_prefix('.') {
        Some(rest) => rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok(),
        None => Some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_is_asked_in_words_it_knows() {
        let words = |model| Thinking::ALL.map(|level| effort(model, level));
        let [none, minimal, low, medium, high, xhigh] = ["none", "minimal", "low", "medium", "high", "xhigh"].map(Some);
        assert_eq!(words("openai/gpt-5-mini"), [minimal, minimal, low, medium, high, high]);
        assert_eq!(words("gpt-5.1"), [none, low, low, medium, high, high]);
        assert_eq!(words("gpt-5.2-pro"), [none, low, low, medium, high, xhigh]);
        assert_eq!(words("o3"), [None, low, low, medium, high, high]);
    }
}
