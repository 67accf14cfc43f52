//! How deep a text would nest, found without building anything.
//!
//! The parser bounds brackets and dotted keys each on its own; together they could still nest
//! thousands of levels, and dropping such a tree would overflow the stack of a worker thread.

/// Far above what a readable document has, far below what a small stack can walk.
const LEVELS_MAX: usize = 400;

/// The byte position where the text nests too deep. Brackets, braces and dots inside strings and
/// comments do not count.
pub(super) fn too_deep(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut open: Vec<usize> = Vec::new();
    let (mut at, mut depth, mut dots) = (0, 0, 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'#' => {
                at += bytes[at..].iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len() - at);
                continue;
            }
            b'"' | b'\'' => {
                at = after_string(bytes, at);
                continue;
            }
            b'{' | b'[' => {
                open.push(dots);
                depth += dots + 1;
                dots = 0;
            }
            b'}' | b']' => {
                dots = open.pop().unwrap_or(0);
                depth = depth.saturating_sub(dots + 1);
            }
            b'.' => dots += 1,
            b',' => dots = 0,
            b'\n' if open.is_empty() => dots = 0,
            _ => {}
        }
        if depth + dots > LEVELS_MAX {
            return Some(at);
        }
        at += 1;
    }
    None
}

/// The position after the string that starts at `start`; one-line strings end with their line.
fn after_string(bytes: &[u8], start: usize) -> usize {
    let quote = bytes[start];
    let many_lines = bytes[start..].starts_with(&[quote; 3]);
    let mut at = start + if many_lines { 3 } else { 1 };
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' if quote == b'"' => at += 1,
            b'\n' if !many_lines => return at,
            byte if *byte == quote && !many_lines => return at + 1,
            byte if *byte == quote && bytes[at..].starts_with(&[quote; 3]) => return at + 3,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}
