//! Long texts made short.

use std::borrow::Cow;

/// Shortens `text` to at most `chars_max` characters. What is left out is the middle, because the
/// beginning says what a text is and the end how it came out; a note says how much is missing.
pub fn cut_middle(text: &str, chars_max: usize) -> Cow<'_, str> {
    // A character has at least one byte, so most texts need no counting.
    if text.len() <= chars_max {
        return text.into();
    }
    let total = text.chars().count();
    if total <= chars_max {
        return text.into();
    }
    // The note is as long as for the largest number it could hold.
    let note_chars = note(total).chars().count();
    let Some(kept) = chars_max.checked_sub(note_chars) else {
        return text.chars().take(chars_max).collect::<String>().into();
    };
    let tail = kept / 3;
    let head: String = text.chars().take(kept - tail).collect();
    let end: String = text.chars().skip(total - tail).collect();
    format!("{head}{}{end}", note(total - kept)).into()
}

fn note(left_out: usize) -> String {
    format!("\n[… {left_out} characters left out …]\n")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_middle_goes_and_its_length_is_told() {
        let text = format!("begin{}end", "é".repeat(1000));
        let cut = cut_middle(&text, 100);
        assert_eq!(cut.chars().count(), 99);
        assert!(
            cut.starts_with("beginé") && cut.ends_with("éend") && cut.contains("\n[… 940 characters left out …]\n"),
            "{cut}"
        );
    }

    proptest! {
        #[test]
        fn never_longer_than_allowed_and_unchanged_when_short(text in "\\PC{0,300}", chars_max in 0_usize..320) {
            let cut = cut_middle(&text, chars_max);
            prop_assert!(cut.chars().count() <= chars_max);
            if text.chars().count() <= chars_max {
                prop_assert_eq!(cut, text.as_str());
            }
        }
    }
}
