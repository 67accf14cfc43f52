//! Words to look for, and the piece of a text that is shown for a hit.

/// Words of a query beyond this are not looked at.
const WORDS_MAX: usize = 32;

/// Longest snippet, in characters, without the dots at its ends.
const SNIPPET_CHARS: usize = 158;

/// The words to look for: split at spaces, each with at least one letter or digit.
pub fn words_of(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        let word = word.to_lowercase();
        if word.chars().any(char::is_alphanumeric) && !words.contains(&word) {
            words.push(word);
            if words.len() == WORDS_MAX {
                break;
            }
        }
    }
    words
}

/// The first word found, with what stands around it.
pub fn snippet(text: &str, words: &[String]) -> String {
    let chars: Vec<char> = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let hit = words.iter().filter_map(|word| position(&chars, word)).min().unwrap_or(0);
    let mut start = hit.saturating_sub(SNIPPET_CHARS / 3);
    let end = (start + SNIPPET_CHARS).min(chars.len());
    start = start.min(end.saturating_sub(SNIPPET_CHARS));
    let mut cut = String::with_capacity(SNIPPET_CHARS * 2);
    if start > 0 {
        cut.push('…');
    }
    cut.push_str(chars[start..end].iter().collect::<String>().trim());
    if end < chars.len() {
        cut.push('…');
    }
    cut
}

/// Where the letters of `word` start, in any case. Letters whose lower case is several are compared by the first.
fn position(chars: &[char], word: &str) -> Option<usize> {
    let lower = |c: &char| c.to_lowercase().next().unwrap_or(*c);
    let word: Vec<char> = word.chars().filter(|c| c.is_alphanumeric()).collect();
    chars.windows(word.len()).position(|window| window.iter().map(lower).eq(word.iter().copied()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_is_looked_for_once_and_not_too_many() {
        assert_eq!(words_of("a A a"), ["a"]);
        assert_eq!(words_of(" *** \" - "), Vec::<String>::new());
        assert_eq!(words_of(&"x y ".repeat(10)).len(), 2);
        let many: String = (0..1000).map(|n| format!("w{n} ")).collect();
        assert_eq!(words_of(&many).len(), WORDS_MAX);
    }

    #[test]
    fn a_snippet_shows_the_word_in_its_surroundings() {
        let words = words_of("Needle");
        assert_eq!(snippet("a needle here", &words), "a needle here");
        let long = format!("{} NEEDLE {}", "hay ".repeat(200), "straw ".repeat(200));
        let cut = snippet(&long, &words);
        assert!(cut.starts_with('…') && cut.ends_with('…') && cut.contains("NEEDLE"), "{cut}");
        assert!(cut.chars().count() <= 160, "{cut}");
        let end = snippet(&format!("{} needle", "hay ".repeat(200)), &words);
        assert!(end.ends_with("needle") && end.chars().count() > 120, "{end}");
        assert_eq!(snippet("", &words), "");
    }
}
