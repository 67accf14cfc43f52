//! Query strings, as forms write them.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Names and values in order; `+` is a space, bytes that are not UTF-8 are replaced.
pub fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    })
}

/// The first value of `name`.
pub fn first<'a>(query: Option<&'a str>, name: &str) -> Option<Cow<'a, str>> {
    pairs(query?).find(|(key, _)| key == name).map(|(_, value)| value)
}

fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let spaced = text.replace('+', " ");
    Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_and_the_first_one_counts() {
        let query = Some("message=a+b%26c%C3%A9&message=second&flag&token=");
        assert_eq!(first(query, "message").as_deref(), Some("a b&cé"));
        assert_eq!(first(query, "flag").as_deref(), Some(""));
        assert_eq!(first(query, "token").as_deref(), Some(""));
        assert_eq!(first(query, "other"), None);
        assert_eq!(first(None, "message"), None);
    }
}
