//! Directives: commands that change one turn, and whose message goes on behind them.

use model::Thinking;

/// Largest budget that is understood; more is as good as none.
const BUDGET_MAX: u64 = 1_000_000_000;

/// How much of the tools a turn used its answer tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verbose {
    Off,
    On,
    Full,
}

impl Verbose {
    pub(crate) fn parse(word: &str) -> Option<Self> {
        [Verbose::Off, Verbose::On, Verbose::Full].into_iter().find(|verbose| verbose.word() == word)
    }

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Verbose::Off => "off",
            Verbose::On => "on",
            Verbose::Full => "full",
        }
    }
}

/// Whether an answer tells the model's reasoning. An answer in one piece cannot stream it, so `Stream` is as `On` there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reasoning {
    Off,
    On,
    Stream,
}

impl Reasoning {
    pub(crate) fn parse(word: &str) -> Option<Self> {
        [Reasoning::Off, Reasoning::On, Reasoning::Stream].into_iter().find(|reasoning| reasoning.word() == word)
    }

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Reasoning::Off => "off",
            Reasoning::On => "on",
            Reasoning::Stream => "stream",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Directive {
    Think(Thinking),
    /// Tokens over all model calls of the turn.
    Budget(u64),
    Verbose(Verbose),
    Reasoning(Reasoning),
}

/// All directives of one message; of two of a kind the last one holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Directives {
    pub thinking: Option<Thinking>,
    pub tokens: Option<u64>,
    pub verbose: Option<Verbose>,
    pub reasoning: Option<Reasoning>,
}

/// What the beginning of a message says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read<'a> {
    /// No directive, or one without its value.
    Nothing,
    /// Directives and what to do under them.
    Turn(Directives, &'a str),
    /// Directives alone.
    Settings(Vec<Directive>),
    /// A directive whose value is none.
    Wrong(String),
}

pub(super) fn read(message: &str) -> Read<'_> {
    let mut rest = message.trim();
    let mut found = Vec::new();
    while let Some((name, value, behind)) = next(rest) {
        match directive(&name, value) {
            Some(Ok(directive)) => found.push(directive),
            Some(Err(words)) => return Read::Wrong(words),
            None => break,
        }
        rest = behind;
    }
    match (found.is_empty(), rest.is_empty()) {
        (true, _) => Read::Nothing,
        (false, true) => Read::Settings(found),
        (false, false) => Read::Turn(merged(&found), rest),
    }
}

/// `/name value` and what follows; `None` when the text does not begin like that.
fn next(text: &str) -> Option<(String, &str, &str)> {
    let (name, behind) = text.strip_prefix('/')?.split_once(char::is_whitespace)?;
    let behind = behind.trim_start();
    let (value, rest) = behind.split_once(char::is_whitespace).unwrap_or((behind, ""));
    Some((name.to_ascii_lowercase(), value, rest.trim_start()))
}

/// `None` when the name is no directive's, or when its value is for the command of that name.
fn directive(name: &str, value: &str) -> Option<Result<Directive, String>> {
    let word = value.to_ascii_lowercase();
    let wrong = |accepted: &str| Err(format!("`/{name} {value}` is unknown; `/{name}` takes {accepted}."));
    match name {
        // The command of that name answers for what is no level.
        "think" => word.parse().ok().map(|level| Ok(Directive::Think(level))),
        "budget" => {
            Some(tokens(&word).map_or_else(|| wrong("a number of tokens such as 50k"), |n| Ok(Directive::Budget(n))))
        }
        "verbose" => {
            let verbose = Verbose::parse(&word);
            Some(verbose.map_or_else(|| wrong("off, on or full"), |verbose| Ok(Directive::Verbose(verbose))))
        }
        "reasoning" => {
            let reasoning = Reasoning::parse(&word);
            Some(reasoning.map_or_else(|| wrong("off, on or stream"), |value| Ok(Directive::Reasoning(value))))
        }
        _ => None,
    }
}

/// `12000`, `50k`, `+1.5m`.
fn tokens(word: &str) -> Option<u64> {
    let word = word.strip_prefix('+').unwrap_or(word);
    let (number, unit) = match word.strip_suffix('k') {
        Some(number) => (number, 1_000),
        None => word.strip_suffix('m').map_or((word, 1), |number| (number, 1_000_000)),
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let are_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || whole.len() > 12 || part.len() > 6 || !are_digits(whole) || !are_digits(part) {
        return None;
    }
    let part = part.parse::<u64>().unwrap_or(0) * unit / 10_u64.pow(u32::try_from(part.len()).ok()?);
    let tokens = whole.parse::<u64>().ok()?.checked_mul(unit)? + part;
    (1..=BUDGET_MAX).contains(&tokens).then_some(tokens)
}

fn merged(found: &[Directive]) -> Directives {
    let mut directives = Directives::default();
    for directive in found {
        match *directive {
            Directive::Think(level) => directives.thinking = Some(level),
            Directive::Budget(tokens) => directives.tokens = Some(tokens),
            Directive::Verbose(verbose) => directives.verbose = Some(verbose),
            Directive::Reasoning(reasoning) => directives.reasoning = Some(reasoning),
        }
    }
    directives
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_stand_before_the_message_one_after_the_other() {
        let both = Directives { thinking: Some(Thinking::High), tokens: Some(50_000), ..Directives::default() };
        assert_eq!(read(" /think high /BUDGET 50k  Explain  it "), Read::Turn(both, "Explain  it"));
        let shown =
            Directives { verbose: Some(Verbose::On), reasoning: Some(Reasoning::Stream), ..Directives::default() };
        assert_eq!(read("/verbose on /reasoning stream /etc/passwd"), Read::Turn(shown, "/etc/passwd"));
        assert_eq!(read("/think low"), Read::Settings(vec![Directive::Think(Thinking::Low)]));
        for text in ["Hello", "/think", "/think deeply about it", "/verbose", "/status now", "/thinking low x"] {
            assert_eq!(read(text), Read::Nothing, "{text}");
        }
        assert!(matches!(read("/verbose why"), Read::Wrong(words) if words.contains("off, on or full")));
        assert!(matches!(read("/think low /budget much Hi"), Read::Wrong(_)));
    }

    #[test]
    fn a_budget_is_a_number_with_a_unit() {
        let cases = [("1", 1), ("12000", 12_000), ("50k", 50_000), ("+1.5m", 1_500_000), ("0.25k", 250)];
        for (text, expected) in cases {
            assert_eq!(tokens(text), Some(expected), "{text}");
        }
        for text in ["", "k", "0", "-5", "5g", "1e3", "9999999999999", "5000000m", "1.2.3", "٣"] {
            assert_eq!(tokens(text), None, "{text}");
        }
    }
}
