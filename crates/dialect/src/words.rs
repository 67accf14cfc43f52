//! What is wrong with a parameter, in words of ours: the reader's own speak of its types.

/// A fault and, where the reader names one, the field below the path that it is about.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault<'a> {
    pub field: Option<&'a str>,
    pub reason: String,
}

/// Puts the reader's words into ours. What an own type says of its value stays as it is.
pub(crate) fn fault(told: &str) -> Fault<'_> {
    // Without the position, which means nothing once the text was parsed.
    let told = match told.rsplit_once(" at line ") {
        Some((told, place)) if place.starts_with(|c: char| c.is_ascii_digit()) && !place.contains('"') => told,
        _ => told,
    };
    let of_field = |prefix: &str, reason: &str| {
        let field = told.strip_prefix(prefix)?.split('`').next()?;
        Some(Fault { field: Some(field), reason: reason.to_owned() })
    };
    let named = of_field("missing field `", "is required")
        .or_else(|| of_field("duplicate field `", "is given twice"))
        .or_else(|| of_field("unknown field `", "is unknown"));
    named.unwrap_or_else(|| Fault { field: None, reason: reason(told) })
}

fn reason(told: &str) -> String {
    if told.starts_with("data did not match any variant") {
        return String::from("has none of the accepted forms");
    }
    if let Some((_, known)) = told.strip_prefix("unknown variant ").and_then(|rest| rest.split_once(", expected ")) {
        return format!("must be one of {}", list(known));
    }
    let is_of_reader =
        ["invalid type: ", "invalid value: ", "invalid length "].iter().any(|start| told.starts_with(start));
    // The value comes first and may hold anything; of the expected types none holds a comma.
    match told.rsplit_once(", expected ") {
        Some((_, expected)) if is_of_reader => format!("must be {}", shape(expected)),
        _ => told.to_owned(),
    }
}

/// `one of a, b` and `a or b` as `a, b`.
fn list(known: &str) -> String {
    known.strip_prefix("one of ").unwrap_or(known).replace(" or ", ", ")
}

/// A type of the reader's as JSON knows it.
fn shape(expected: &str) -> String {
    let known = match expected {
        "a string" | "a borrowed string" | "string" | "str" | "string or map" | "variant identifier" => "a string",
        "a boolean" | "bool" => "a boolean",
        "a sequence" => "an array",
        "a map" | "map" => "an object",
        "f32" | "f64" => "a number",
        "unit" => "null",
        "i64" | "isize" => "an integer",
        "u64" | "usize" => "an integer of at least 0",
        "i8" => return integer(i8::MIN, i8::MAX),
        "i16" => return integer(i16::MIN, i16::MAX),
        "i32" => return integer(i32::MIN, i32::MAX),
        "u8" => return integer(u8::MIN, u8::MAX),
        "u16" => return integer(u16::MIN, u16::MAX),
        "u32" => return integer(u32::MIN, u32::MAX),
        other if other.starts_with("struct ") || other.contains("tagged enum ") => "an object",
        other if other.starts_with("enum ") => "a string",
        other if other.starts_with("a tuple") || other.starts_with("tuple ") || other.starts_with("an array") => {
            "an array"
        }
        other => other,
    };
    known.to_owned()
}

fn integer<T: std::fmt::Display>(least: T, most: T) -> String {
    format!("an integer from {least} to {most}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reader_speaks_with_our_words() {
        let cases = [
            ("invalid type: integer `1`, expected a string at line 1 column 3", "must be a string"),
            ("invalid type: map, expected a sequence", "must be an array"),
            ("invalid type: sequence, expected struct Params with 3 elements", "must be an object"),
            ("invalid type: sequence, expected internally tagged enum Part", "must be an object"),
            ("invalid type: string \"y\", expected i64", "must be an integer"),
            ("invalid value: integer `-1`, expected u32", "must be an integer from 0 to 4294967295"),
            ("invalid value: integer `-1`, expected u64", "must be an integer of at least 0"),
            ("invalid type: null, expected a time of day", "must be a time of day"),
            ("unknown variant `z`, expected one of `a`, `b`, `c`", "must be one of `a`, `b`, `c`"),
            ("unknown variant `z`, expected `a` or `b`", "must be one of `a`, `b`"),
            ("data did not match any variant of untagged enum Content", "has none of the accepted forms"),
            ("run id `` must be 1 to 256 characters", "run id `` must be 1 to 256 characters"),
        ];
        for (told, expected) in cases {
            assert_eq!(fault(told), Fault { field: None, reason: expected.to_owned() }, "{told}");
        }
        let cases = [
            ("missing field `since`", "since", "is required"),
            ("duplicate field `key`", "key", "is given twice"),
            ("unknown field `kay`, expected `key`", "kay", "is unknown"),
        ];
        for (told, field, reason) in cases {
            assert_eq!(fault(told), Fault { field: Some(field), reason: reason.to_owned() }, "{told}");
        }
    }

    #[test]
    fn a_value_that_holds_the_readers_words_does_not_confuse_it() {
        let told = "invalid type: string \"x, expected u8\", expected i64";
        assert_eq!(fault(told).reason, "must be an integer");
    }
}
