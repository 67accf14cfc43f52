//! Inside a JSON string: escapes, whole UTF-8 characters, length bounds. Lone surrogates are never written.

/// How far a string is written, after its opening quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TextState {
    /// Characters so far; counted only as far as a bound needs it, so that equal futures are equal states.
    chars: u32,
    inside: Inside,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
enum Inside {
    #[default]
    Nothing,
    /// After a backslash.
    Escape,
    /// Hex digits still to come, and whether the first one was `d`.
    Hex { left: u8, after_d: bool },
    /// Continuation bytes still to come and the bounds of the next one.
    Utf8 { left: u8, low: u8, high: u8 },
}

pub enum TextStep {
    Inside(TextState),
    Closed,
    Illegal,
}

impl TextState {
    pub fn step(self, byte: u8, min: u32, max: Option<u32>) -> TextStep {
        match self.inside {
            Inside::Nothing if byte == b'"' => {
                if self.chars >= min {
                    TextStep::Closed
                } else {
                    TextStep::Illegal
                }
            }
            Inside::Nothing if max.is_some_and(|max| self.chars >= max) => TextStep::Illegal,
            Inside::Nothing => self.open_char(byte, max.unwrap_or(min)),
            Inside::Escape => match byte {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.with(Inside::Nothing),
                b'u' => self.with(Inside::Hex { left: 4, after_d: false }),
                _ => TextStep::Illegal,
            },
            Inside::Hex { left, after_d } => {
                let surrogate = left == 3 && after_d && byte >= b'8';
                if !byte.is_ascii_hexdigit() || surrogate {
                    return TextStep::Illegal;
                }
                match left {
                    1 => self.with(Inside::Nothing),
                    _ => self
                        .with(Inside::Hex { left: left - 1, after_d: left == 4 && byte.eq_ignore_ascii_case(&b'd') }),
                }
            }
            Inside::Utf8 { low, high, .. } if !(low..=high).contains(&byte) => TextStep::Illegal,
            Inside::Utf8 { left: 1, .. } => self.with(Inside::Nothing),
            Inside::Utf8 { left, .. } => self.with(Inside::Utf8 { left: left - 1, low: 0x80, high: 0xbf }),
        }
    }

    /// Writes the shortest rest, closing quote included.
    pub fn close(self, min: u32, out: &mut Vec<u8>) {
        match self.inside {
            Inside::Nothing => {}
            Inside::Escape => out.push(b'n'),
            Inside::Hex { left, .. } => out.extend(std::iter::repeat_n(b'0', usize::from(left))),
            Inside::Utf8 { left, low, .. } => {
                out.push(low);
                out.extend(std::iter::repeat_n(0x80, usize::from(left) - 1));
            }
        }
        out.extend(std::iter::repeat_n(b'-', min.saturating_sub(self.chars) as usize));
        out.push(b'"');
    }

    fn open_char(self, byte: u8, count_up_to: u32) -> TextStep {
        let chars = (self.chars + 1).min(count_up_to);
        let utf8 = |left, low, high| Inside::Utf8 { left, low, high };
        let inside = match byte {
            b'\\' => Inside::Escape,
            0x20..=0x7f => Inside::Nothing,
            0xc2..=0xdf => utf8(1, 0x80, 0xbf),
            0xe0 => utf8(2, 0xa0, 0xbf),
            0xe1..=0xec | 0xee | 0xef => utf8(2, 0x80, 0xbf),
            0xed => utf8(2, 0x80, 0x9f),
            0xf0 => utf8(3, 0x90, 0xbf),
            0xf1..=0xf3 => utf8(3, 0x80, 0xbf),
            0xf4 => utf8(3, 0x80, 0x8f),
            _ => return TextStep::Illegal,
        };
        TextStep::Inside(TextState { chars, inside })
    }

    fn with(self, inside: Inside) -> TextStep {
        TextStep::Inside(TextState { inside, ..self })
    }
}
