//! Which known word was meant by one that is not known.

/// The nearest of `candidates`, when one is near enough to be meant.
///
/// Case, dashes and underscores do not count: `modelName` is `model_name`.
pub(crate) fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let plain_word = plain(word);
    let length = plain_word.chars().count();
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let plain_candidate = plain(candidate);
            let distance = strsim::osa_distance(&plain_word, &plain_candidate);
            let extends = length >= 4
                && plain_candidate.len() >= 4
                && (plain_candidate.starts_with(&plain_word) || plain_word.starts_with(&plain_candidate));
            // A word that begins alike may be off by one more: `alef` for `aleph`.
            let alike = length >= 4 && plain_word.chars().next() == plain_candidate.chars().next();
            let near = distance < length && distance <= (length / 3).max(if alike { 2 } else { 1 });
            (near || extends).then_some((distance, candidate))
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// Whether two names differ only in how they are written.
pub(crate) fn same_word(left: &str, right: &str) -> bool {
    plain(left) == plain(right)
}

fn plain(word: &str) -> String {
    word.chars().filter(|c| *c != '_' && *c != '-').flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_and_a_far_one_is_not() {
        let known = ["model", "fallbacks", "max_turns", "id", "address"];
        assert_eq!(nearest("modle", known), Some("model"));
        assert_eq!(nearest("maxTurns", known), Some("max_turns"));
        assert_eq!(nearest("addr", known), Some("address"));
        assert_eq!(nearest("fallback", known), Some("fallbacks"));
        assert_eq!(nearest("ip", known), Some("id"));
        assert_eq!(nearest("alef", ["argent", "aleph"]), Some("aleph"));
        assert_eq!(nearest("host", ["port"]), None);
        assert_eq!(nearest("x", known), None);
        assert_eq!(nearest("temperature", known), None);
        assert_eq!(nearest("", known), None);
    }
}
