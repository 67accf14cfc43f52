//! From the bytes of tokens to text that may be shown: whole characters, and never a part of a stop text.

/// Holds back what is not decided yet.
#[derive(Debug, Default)]
pub struct TextOut {
    stops: Vec<String>,
    bytes: Vec<u8>,
    held: String,
    stopped: bool,
}

impl TextOut {
    pub fn new(stops: &[String]) -> Self {
        Self { stops: stops.iter().filter(|stop| !stop.is_empty()).cloned().collect(), ..Self::default() }
    }

    /// A stop text was met; nothing more comes out.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// Takes the bytes of a token and gives the text that is now certain, often empty.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.bytes.extend_from_slice(bytes);
        let whole = take_whole(&mut self.bytes);
        self.held.push_str(&whole);
        self.release(false)
    }

    /// The rest, when the answer ends; bytes of a torn character become U+FFFD.
    pub fn finish(&mut self) -> String {
        let rest = std::mem::take(&mut self.bytes);
        self.held.push_str(&String::from_utf8_lossy(&rest));
        self.release(true)
    }

    fn release(&mut self, all: bool) -> String {
        if self.stopped {
            self.held.clear();
            return String::new();
        }
        if let Some(at) = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min() {
            self.stopped = true;
            self.held.truncate(at);
            return std::mem::take(&mut self.held);
        }
        let keep = if all { 0 } else { self.stop_beginning() };
        let rest = self.held.split_off(self.held.len() - keep);
        std::mem::replace(&mut self.held, rest)
    }

    /// Bytes at the end that may be the beginning of a stop text.
    fn stop_beginning(&self) -> usize {
        let beginning = |stop: &String| {
            let longest = self.held.len().min(stop.len() - 1);
            (1..=longest)
                .rev()
                .find(|len| stop.is_char_boundary(*len) && self.held.ends_with(&stop[..*len]))
                .unwrap_or(0)
        };
        self.stops.iter().map(beginning).max().unwrap_or(0)
    }
}

/// Takes whole characters off the front; what can never become one is replaced by U+FFFD.
pub fn take_whole(bytes: &mut Vec<u8>) -> String {
    let mut text = String::new();
    loop {
        match std::str::from_utf8(bytes) {
            Ok(rest) => {
                text.push_str(rest);
                bytes.clear();
                return text;
            }
            Err(error) => {
                let valid = error.valid_up_to();
                text.push_str(&String::from_utf8_lossy(&bytes[..valid]));
                match error.error_len() {
                    Some(bad) => {
                        text.push(char::REPLACEMENT_CHARACTER);
                        bytes.drain(..valid + bad);
                    }
                    None => {
                        bytes.drain(..valid);
                        return text;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn characters_torn_over_tokens_come_out_whole() {
        let mut out = TextOut::new(&[]);
        assert_eq!(out.push(&[b'a', 0xe6, 0x97]), "a");
        assert_eq!(out.push(&[0xa5, b'b']), "日b");
        assert_eq!(out.push(&[0xff, b'c', 0xe6]), "\u{fffd}c");
        assert_eq!(out.finish(), "\u{fffd}");
    }

    #[test]
    fn a_stop_text_over_several_tokens_is_never_shown() {
        let mut out = TextOut::new(&["END".to_owned(), "\n\nUser:".to_owned()]);
        assert_eq!(out.push(b"The E"), "The ");
        assert_eq!(out.push(b"N"), "");
        assert_eq!(out.push(b"emy\n"), "ENemy");
        assert_eq!(out.push(b"\nUse"), "");
        assert_eq!(out.push(b"r: x"), "");
        assert!(out.stopped());
        assert_eq!(out.push(b"more") + &out.finish(), "");
    }

    proptest! {
        #[test]
        fn however_it_is_cut_the_text_is_the_text_up_to_the_first_stop(text in "[abé日]{0,30}", stop in "[abé]{1,3}", cuts in prop::collection::vec(1_usize..4, 0..40)) {
            let mut out = TextOut::new(std::slice::from_ref(&stop));
            let mut shown = String::new();
            let mut rest = text.as_bytes();
            for cut in cuts {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                shown += &out.push(now);
                rest = later;
            }
            shown += &out.push(rest);
            shown += &out.finish();
            prop_assert_eq!(shown.as_str(), text.split(stop.as_str()).next().unwrap());
        }
    }
}
