//! Time stamps carried inside payload text.
//!
//! A publisher writes `@<nanoseconds>~` into any string it can get through the
//! server under test; a subscriber finds the stamps again whatever envelope,
//! escaping or batching the server adds around them.

pub fn write(out: &mut Vec<u8>, ns: u64) {
    out.push(b'@');
    out.extend_from_slice(ns.to_string().as_bytes());
    out.push(b'~');
}

pub fn text(ns: u64) -> String {
    format!("@{ns}~")
}

/// Calls `found` with every stamp in `bytes`.
pub fn scan(bytes: &[u8], mut found: impl FnMut(u64)) {
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|b| *b == b'@') {
        rest = &rest[at + 1..];
        let mut value = 0u64;
        let mut digits = 0;
        while digits < rest.len() && digits < 20 && rest[digits].is_ascii_digit() {
            value = value.wrapping_mul(10).wrapping_add(u64::from(rest[digits] - b'0'));
            digits += 1;
        }
        if digits >= 6 && rest.get(digits) == Some(&b'~') {
            found(value);
        }
        rest = &rest[digits..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_stamp() {
        let mut seen = vec![];
        scan(b"{\"a\":\"x@123456~ @9~ mail@host @7654321~\"}", |s| seen.push(s));
        assert_eq!(seen, vec![123456, 7654321]);
    }
}
