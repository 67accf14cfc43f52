//! The first bytes of an answer decide whether it is text or a tool call.

/// What a call's JSON begins with, in the grammar's own spacing.
pub const CALL_LEAD: &[u8] = b"{\"name\":";

/// Reads the beginning of an answer: `{"name":` with any blanks, also behind `<tool_call>` or a code fence,
/// is a call; anything else is text. Undecided bytes are held.
#[derive(Debug, Default)]
pub struct Opening {
    bytes: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    Undecided,
    /// All that was held, as text.
    Text(Vec<u8>),
    /// Committed to a call; what the model wrote behind the colon already.
    Call {
        rest: Vec<u8>,
    },
}

impl Opening {
    pub fn push(&mut self, bytes: &[u8]) -> Decision {
        self.bytes.extend_from_slice(bytes);
        match self.read() {
            Match::Whole(at) => Decision::Call { rest: self.bytes[at..].trim_ascii_start().to_vec() },
            Match::Part => Decision::Undecided,
            Match::Not => Decision::Text(self.held()),
        }
    }

    /// What is held, when the answer ends undecided.
    pub fn held(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    fn read(&self) -> Match {
        let leads: [&[&[u8]]; 4] = [
            &[b"{", b"\"name\"", b":"],
            &[b"<tool_call>", b"{", b"\"name\"", b":"],
            &[b"<tool_call>", b"[", b"{", b"\"name\"", b":"],
            &[b"```json", b"{", b"\"name\"", b":"],
        ];
        let found = leads.map(|lead| read_lead(&self.bytes, lead));
        found
            .iter()
            .find_map(|found| if let Match::Whole(at) = found { Some(Match::Whole(*at)) } else { None })
            .unwrap_or(if found.iter().any(|found| matches!(found, Match::Part)) { Match::Part } else { Match::Not })
    }
}

enum Match {
    Whole(usize),
    Part,
    Not,
}

fn read_lead(bytes: &[u8], lead: &[&[u8]]) -> Match {
    let mut at = 0;
    for word in lead {
        at += bytes[at..].len() - bytes[at..].trim_ascii_start().len();
        let here = &bytes[at..];
        if here.starts_with(word) {
            at += word.len();
        } else if word.starts_with(here) {
            return Match::Part;
        } else {
            return Match::Not;
        }
    }
    Match::Whole(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(pieces: &[&str]) -> Decision {
        let mut opening = Opening::default();
        let mut last = Decision::Undecided;
        for piece in pieces {
            last = opening.push(piece.as_bytes());
            if last != Decision::Undecided {
                break;
            }
        }
        last
    }

    #[test]
    fn calls_are_known_by_their_lead_in_any_spacing() {
        assert_eq!(decide(&["{\"", "name", "\":", " \"get"]), Decision::Call { rest: Vec::new() });
        assert_eq!(decide(&["\n<tool_call>", "[{ \"name\" : \"a"]), Decision::Call { rest: b"\"a".to_vec() });
        assert_eq!(decide(&["```json\n{\n  \"name\": "]), Decision::Call { rest: Vec::new() });
    }

    #[test]
    fn everything_else_is_text_and_nothing_of_it_is_lost() {
        assert_eq!(decide(&[" ", "The"]), Decision::Text(b" The".to_vec()));
        assert_eq!(decide(&["{\"", "names\""]), Decision::Text(b"{\"names\"".to_vec()));
        assert_eq!(decide(&["<b>"]), Decision::Text(b"<b>".to_vec()));
        assert_eq!(decide(&["{", "\""]), Decision::Undecided);
    }
}
