//! A Rust file split into code and comments, and which of it is test code.
//!
//! No parser: the rules look for words and paths, and for that it is enough to know what is code,
//! what is a comment and what is the inside of a string. Both views keep the length and the line
//! ends of the file, so an offset means the same place in all three.

use std::ops::Range;
use std::path::Path;

#[derive(Debug)]
pub struct Source {
    /// Path from the workspace, with `/`.
    pub path: String,
    /// The file with comments and the insides of strings blanked.
    pub code: String,
    /// The file with all but its comments blanked.
    pub comments: String,
    line_starts: Vec<usize>,
    test_ranges: Vec<Range<usize>>,
    /// Modules declared under `#[cfg(test)]` that live in files of their own.
    test_modules: Vec<String>,
    is_test_file: bool,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let (code, comments) = split(text);
        let mut line_starts = vec![0];
        line_starts.extend(text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1));
        let (test_ranges, test_modules) = test_items(&code);
        Self {
            path: path.to_owned(),
            code,
            comments,
            line_starts,
            test_ranges,
            test_modules,
            is_test_file: is_test_path(path),
        }
    }

    /// The line of an offset, counted from 1.
    pub fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }

    pub fn place(&self, offset: usize) -> String {
        format!("{}:{}", self.path, self.line(offset))
    }

    pub fn lines(&self) -> usize {
        self.line_starts.len().saturating_sub(1).max(1)
    }

    pub fn is_test_file(&self) -> bool {
        self.is_test_file
    }

    pub fn is_test(&self, offset: usize) -> bool {
        self.is_test_file || self.test_ranges.iter().any(|range| range.contains(&offset))
    }

    /// The reason of a `tidy: allow(rule): reason` on the line of `offset` or in the comment above it.
    pub fn excuse(&self, rule: &str, offset: usize) -> Option<&str> {
        let marker = format!("tidy: allow({rule}):");
        let mut line = self.line(offset);
        loop {
            let comment = self.line_of(&self.comments, line);
            if let Some(at) = comment.find(&marker) {
                let reason = comment[at + marker.len()..].trim();
                return (!reason.is_empty()).then_some(reason);
            }
            line -= 1;
            let is_comment_line = line > 0
                && self.line_of(&self.code, line).trim().is_empty()
                && !self.line_of(&self.comments, line).trim().is_empty();
            if !is_comment_line {
                return None;
            }
        }
    }

    fn line_of<'a>(&self, view: &'a str, line: usize) -> &'a str {
        let start = self.line_starts[line - 1];
        let end = self.line_starts.get(line).copied().unwrap_or(view.len());
        &view[start..end]
    }

    /// Folder in which this file's child modules lie: `src` for `src/lib.rs`, `src/a` for `src/a.rs`.
    fn module_folder(&self) -> String {
        let path = Path::new(&self.path);
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let folder = path.parent().and_then(Path::to_str).unwrap_or_default();
        match stem {
            "lib" | "main" | "mod" => folder.to_owned(),
            _ => format!("{folder}/{stem}"),
        }
    }
}

/// Marks the files that are modules under `#[cfg(test)]`, and everything below them.
pub fn mark_test_modules(sources: &mut [Source]) {
    let roots: Vec<String> = sources
        .iter()
        .flat_map(|source| {
            let folder = source.module_folder();
            source.test_modules.iter().map(move |name| format!("{folder}/{name}"))
        })
        .collect();
    for source in sources {
        let is_below = |root: &String| {
            source.path.strip_prefix(root.as_str()).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        };
        source.is_test_file |= roots.iter().any(is_below);
    }
}

fn is_test_path(path: &str) -> bool {
    let mut parts: Vec<&str> = path.split('/').collect();
    let file = parts.pop().unwrap_or_default();
    parts.iter().any(|part| matches!(*part, "tests" | "testkit" | "benches" | "examples" | "e2e"))
        || matches!(file, "tests.rs" | "testkit.rs")
        || file.ends_with("_tests.rs")
}

/// Whether the byte may stand inside an identifier.
pub fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// Offsets at which `needle` stands as a whole word or path, not as the end of a longer one.
pub fn occurrences<'a>(code: &'a str, needle: &'a str) -> impl Iterator<Item = usize> + 'a {
    let ends_in_word = needle.bytes().last().is_some_and(is_word);
    code.match_indices(needle).map(|(at, _)| at).filter(move |at| {
        let bytes = code.as_bytes();
        let before = at.checked_sub(1).map(|at| bytes[at]);
        let after = bytes.get(at + needle.len()).copied();
        let is_longer_word = before.is_some_and(is_word) || (ends_in_word && after.is_some_and(is_word));
        !is_longer_word
    })
}

/// Splits a file into its code and its comments.
fn split(text: &str) -> (String, String) {
    let bytes = text.as_bytes();
    let mut code = blank(bytes);
    let mut comments = blank(bytes);
    let mut at = 0;
    while at < bytes.len() {
        let (kind, end) = token(bytes, at);
        match kind {
            Kind::Code => code[at..end].copy_from_slice(&bytes[at..end]),
            Kind::Comment => comments[at..end].copy_from_slice(&bytes[at..end]),
            // The quotes stay, so that a string is still seen to be one argument.
            Kind::Text => {
                code[at] = b'"';
                code[end - 1] = b'"';
            }
        }
        at = end;
    }
    let whole = |view| String::from_utf8(view).expect("tokens end on character boundaries");
    (whole(code), whole(comments))
}

/// As many blanks as there are bytes, with the line ends kept.
fn blank(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| if *byte == b'\n' { b'\n' } else { b' ' }).collect()
}

enum Kind {
    Code,
    Comment,
    Text,
}

/// The token that starts at `at` and where it ends; code comes in pieces of any size.
fn token(bytes: &[u8], at: usize) -> (Kind, usize) {
    let rest = &bytes[at..];
    let starts_word = at == 0 || !is_word(bytes[at - 1]);
    if rest.starts_with(b"//") {
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        return (Kind::Comment, at + end);
    }
    if rest.starts_with(b"/*") {
        return (Kind::Comment, at + block_comment(rest));
    }
    if starts_word && let Some(end) = raw_string(rest) {
        return (Kind::Text, at + end);
    }
    if rest[0] == b'"' {
        return (Kind::Text, at + quoted(rest, b'"'));
    }
    if rest[0] == b'\'' {
        return match char_literal(rest) {
            Some(end) => (Kind::Text, at + end),
            None => (Kind::Code, at + 1),
        };
    }
    let mut end = 1;
    while end < rest.len() && rest[end] >= 0x80 && rest[0] >= 0x80 {
        end += 1;
    }
    (Kind::Code, at + end)
}

fn block_comment(rest: &[u8]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// Length of `r"…"`, `r#"…"#` and their `b` and `c` forms, when one starts here.
fn raw_string(rest: &[u8]) -> Option<usize> {
    let prefix = match rest {
        [b'b' | b'c', b'r', ..] => 2,
        [b'r', ..] => 1,
        _ => return None,
    };
    let hashes = rest[prefix..].iter().take_while(|byte| **byte == b'#').count();
    if rest.get(prefix + hashes) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(hashes + 1, b'#');
    let body = prefix + hashes + 1;
    let end = rest[body..].windows(close.len()).position(|window| window == close);
    Some(end.map_or(rest.len(), |end| body + end + close.len()))
}

fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// Length of a character literal; `None` for a lifetime.
fn char_literal(rest: &[u8]) -> Option<usize> {
    if rest.get(1) == Some(&b'\\') {
        return Some(quoted(rest, b'\''));
    }
    let width = match rest.get(1)? {
        0..=0x7f => 1,
        0x80..=0xdf => 2,
        0xe0..=0xef => 3,
        _ => 4,
    };
    (rest.get(1 + width) == Some(&b'\'')).then_some(width + 2)
}

/// Ranges of the items under `#[cfg(test)]`, and the names of those that live in other files.
fn test_items(code: &str) -> (Vec<Range<usize>>, Vec<String>) {
    let mut ranges = vec![];
    let mut modules = vec![];
    for (start, _) in code.match_indices("#[cfg(") {
        let Some(end) = code[start..].find(']').map(|end| start + end + 1) else { continue };
        if occurrences(&code[start..end], "test").next().is_none() || code[start..end].contains("not(") {
            continue;
        }
        let item = skip_attributes(code, end);
        let brace = code[item..].find('{').map(|at| item + at);
        let semicolon = code[item..].find(';').map(|at| item + at);
        match (brace, semicolon) {
            (Some(brace), semicolon) if semicolon.is_none_or(|at| brace < at) => {
                ranges.push(start..closing_brace(code, brace));
            }
            (_, Some(semicolon)) => {
                let words: Vec<&str> = code[item..semicolon].split_whitespace().collect();
                if let Some(at) = words.iter().position(|word| *word == "mod") {
                    modules.extend(words.get(at + 1).map(|name| (*name).to_owned()));
                }
                ranges.push(start..semicolon + 1);
            }
            _ => {}
        }
    }
    (ranges, modules)
}

fn skip_attributes(code: &str, mut at: usize) -> usize {
    loop {
        at += code[at..].len() - code[at..].trim_start().len();
        if !code[at..].starts_with("#[") {
            return at;
        }
        match code[at..].find(']') {
            Some(end) => at += end + 1,
            None => return at,
        }
    }
}

/// Offset just behind the brace that closes the one at `open`.
pub fn closing_brace(code: &str, open: usize) -> usize {
    let mut depth = 0;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        Source::new("crates/a/src/lib.rs", text).code
    }

    #[test]
    fn comments_and_strings_are_not_code() {
        assert_eq!(code("a // b\nc"), "a     \nc");
        assert_eq!(code("a /* /* b */ */ c"), "a               c");
        assert_eq!(code(r#"f("dbg!(\" x")"#), r#"f("         ")"#);
        assert_eq!(code("r#\"a\"b\"# x").trim_end(), "\"      \" x");
        assert_eq!(code("'\\'' + '\"' + 'ü'"), "\"  \" + \" \" + \"  \"");
        assert_eq!(code("fn f<'a>(x: &'a str)"), "fn f<'a>(x: &'a str)");
        assert_eq!(code("for\"x\""), "for\" \"", "an identifier that ends in r is no raw string");
    }

    #[test]
    fn both_views_keep_every_offset() {
        let text = "// ü\nlet x = \"→\"; /* y */\n";
        let source = Source::new("crates/a/src/lib.rs", text);
        assert_eq!((source.code.len(), source.comments.len()), (text.len(), text.len()));
        assert_eq!(source.line(text.find("let").unwrap()), 2);
        assert_eq!(source.lines(), 2);
    }

    #[test]
    fn a_word_is_found_only_as_a_whole() {
        assert_eq!(occurrences("my_dbg!(a) dbg!(b)", "dbg!").collect::<Vec<_>>(), [11]);
        assert_eq!(occurrences("rand::x operand::y", "rand::").collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn test_code_is_known() {
        let text =
            "fn a() {}\n#[cfg(test)]\n#[allow(x)]\nmod tests { fn b() { } }\nfn c() {}\n#[cfg(not(test))]\nfn d() {}\n";
        let source = Source::new("crates/a/src/lib.rs", text);
        let tested: Vec<bool> = ["fn a", "fn b", "fn c", "fn d"].map(|n| source.is_test(text.find(n).unwrap())).into();
        assert_eq!(tested, [false, true, false, false]);
        assert!(Source::new("crates/a/src/cron/tests.rs", "").is_test_file());
    }

    #[test]
    fn files_of_test_modules_are_test_files() {
        let mut sources = vec![
            Source::new("crates/a/src/run.rs", "#[cfg(test)]\nmod cases;\nmod real;"),
            Source::new("crates/a/src/run/cases.rs", ""),
            Source::new("crates/a/src/run/cases/more.rs", ""),
            Source::new("crates/a/src/run/real.rs", ""),
        ];
        mark_test_modules(&mut sources);
        let tested: Vec<bool> = sources.iter().map(Source::is_test_file).collect();
        assert_eq!(tested, [false, true, true, false]);
    }

    #[test]
    fn an_excuse_needs_the_rule_and_a_reason() {
        let text =
            "// tidy: allow(spawn): awaited below\n// by stop\nspawn();\nspawn();\nspawn(); // tidy: allow(spawn):\n";
        let source = Source::new("crates/a/src/lib.rs", text);
        let places: Vec<usize> = occurrences(&source.code, "spawn").collect();
        assert_eq!(source.excuse("spawn", places[0]), Some("awaited below"));
        assert_eq!(source.excuse("clock", places[0]), None);
        assert_eq!(source.excuse("spawn", places[1]), None);
        assert_eq!(source.excuse("spawn", places[2]), None);
    }
}
