//! SPDX licence expressions: whether a list of accepted licences is enough to use a crate.

/// Whether `expression` can be met with licences that `accepts`. The old form `MIT/Apache-2.0` means
/// OR. An expression that cannot be read is not met.
pub fn is_met(expression: &str, accepts: &dyn Fn(&str) -> bool) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let met = alternatives(&mut rest, accepts);
    met == Some(true) && rest.is_empty()
}

fn alternatives(rest: &mut &[&str], accepts: &dyn Fn(&str) -> bool) -> Option<bool> {
    let mut met = all(rest, accepts)?;
    while rest.first() == Some(&"OR") {
        *rest = &rest[1..];
        met |= all(rest, accepts)?;
    }
    Some(met)
}

fn all(rest: &mut &[&str], accepts: &dyn Fn(&str) -> bool) -> Option<bool> {
    let mut met = one(rest, accepts)?;
    while rest.first() == Some(&"AND") {
        *rest = &rest[1..];
        met &= one(rest, accepts)?;
    }
    Some(met)
}

fn one(rest: &mut &[&str], accepts: &dyn Fn(&str) -> bool) -> Option<bool> {
    let (head, tail) = rest.split_first()?;
    *rest = tail;
    match *head {
        "(" => {
            let met = alternatives(rest, accepts)?;
            let (close, tail) = rest.split_first()?;
            *rest = tail;
            (*close == ")").then_some(met)
        }
        ")" | "OR" | "AND" | "WITH" => None,
        licence if rest.first() == Some(&"WITH") => {
            let exception = rest.get(1)?;
            *rest = &rest[2..];
            Some(accepts(&format!("{licence} WITH {exception}")))
        }
        licence => Some(accepts(licence)),
    }
}

#[cfg(test)]
mod tests {
    use super::is_met;

    fn met(expression: &str) -> bool {
        is_met(expression, &|licence| ["MIT", "Zlib", "Apache-2.0 WITH LLVM-exception"].contains(&licence))
    }

    #[test]
    fn expressions_are_weighed() {
        assert!(met("MIT"));
        assert!(met("GPL-3.0 OR MIT"));
        assert!(met("GPL-3.0/MIT"));
        assert!(met("MIT AND Zlib"));
        assert!(met("(GPL-3.0 OR MIT) AND Zlib"));
        assert!(met("Apache-2.0 WITH LLVM-exception OR Apache-2.0"));
    }

    #[test]
    fn what_is_not_accepted_or_not_readable_is_refused() {
        for expression in ["GPL-3.0", "MIT AND GPL-3.0", "Apache-2.0", "", "MIT OR", "(MIT", "MIT Zlib", "MIT WITH"] {
            assert!(!met(expression), "{expression}");
        }
    }
}
