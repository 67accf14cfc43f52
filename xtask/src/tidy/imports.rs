//! The paths that a file names: its `use` items and the paths inside its code.

use std::ops::Range;

use super::source::{Source, closing_brace, is_word, occurrences};

/// One path that a file names, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    pub path: Vec<String>,
    /// Name under which a `use` makes it known here; `*` for a glob, `None` for a path in the code.
    pub name: Option<String>,
    /// A `pub use`: others may reach the path through this module.
    pub is_public: bool,
    pub offset: usize,
}

/// A module written inside a file.
#[derive(Debug)]
pub struct Inline {
    pub name: String,
    pub range: Range<usize>,
}

/// Everything outside test code that may lead to another module of this crate.
pub fn imports(source: &Source) -> Vec<Import> {
    let mut found = vec![];
    let mut items = vec![];
    for at in occurrences(&source.code, "use") {
        let Some((range, tree)) = use_item(&source.code, at) else { continue };
        if !source.is_test(at) {
            let is_public = ends_with_visibility(&source.code[..at]);
            for (path, name) in leaves(tree) {
                found.push(Import { path, name: Some(name), is_public, offset: at });
            }
        }
        items.push(range);
    }
    for (path, offset) in code_paths(&source.code) {
        let is_in_item = items.iter().any(|range| range.contains(&offset));
        if !is_in_item && !source.is_test(offset) {
            found.push(Import { path, name: None, is_public: false, offset });
        }
    }
    found
}

/// The range of the `use` item whose keyword stands at `at`, and the text of its tree.
fn use_item(code: &str, at: usize) -> Option<(Range<usize>, &str)> {
    let rest = &code[at + 3..];
    // `use<'a>` is a capture in a return type, not an item.
    if !rest.starts_with(|c: char| c.is_whitespace()) {
        return None;
    }
    let end = rest.find(';')?;
    Some((at..at + 3 + end, rest[..end].trim()))
}

/// Whether the code before a keyword ends with `pub` or `pub(…)`; `pub(self)` is none.
fn ends_with_visibility(before: &str) -> bool {
    let before = before.trim_end();
    if before.ends_with("pub") {
        return true;
    }
    let Some(open) = before.strip_suffix(')').and_then(|inside| inside.rfind('(')) else { return false };
    before[..open].trim_end().ends_with("pub") && !before[open..].contains("self")
}

/// The single paths of a `use` tree, with the names they get here.
fn leaves(tree: &str) -> Vec<(Vec<String>, String)> {
    let mut found = vec![];
    walk(tree.trim(), &[], &mut found);
    found
}

fn walk(tree: &str, prefix: &[String], found: &mut Vec<(Vec<String>, String)>) {
    let (head, group) = match tree.find('{') {
        Some(open) => (tree[..open].trim(), Some(&tree[open + 1..tree.rfind('}').unwrap_or(tree.len())])),
        None => (tree, None),
    };
    let (head, alias) = match head.split_once(" as ") {
        Some((path, alias)) => (path, Some(alias.trim().to_owned())),
        None => (head, None),
    };
    let mut path = prefix.to_vec();
    path.extend(head.split("::").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned));
    if let Some(group) = group {
        split_group(group).into_iter().for_each(|part| walk(part, &path, found));
        return;
    }
    // `a::{self}` names `a`; a leading `self` is a path of its own.
    if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    let Some(last) = path.last().cloned() else { return };
    if last == "*" {
        path.pop();
    }
    found.push((path, alias.unwrap_or(last)));
}

/// The parts of `a, b::{c, d}, e` at its outermost commas.
fn split_group(group: &str) -> Vec<&str> {
    let mut parts = vec![];
    let (mut depth, mut start) = (0, 0);
    for (at, byte) in group.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            b',' if depth == 0 => {
                parts.push(group[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(group[start..].trim());
    parts.retain(|part| !part.is_empty());
    parts
}

/// Paths of at least two parts that stand in the code: `a::b`, `crate::a::b`, `super::c`.
fn code_paths(code: &str) -> Vec<(Vec<String>, usize)> {
    let bytes = code.as_bytes();
    let mut found = vec![];
    let mut at = 0;
    while at < bytes.len() {
        if !is_word(bytes[at]) {
            at += 1;
            continue;
        }
        let start = at;
        let is_continued = start > 0 && matches!(bytes[start - 1], b':' | b'.' | b'\'' | b'#');
        let mut path = vec![];
        loop {
            let from = at;
            while at < bytes.len() && is_word(bytes[at]) {
                at += 1;
            }
            path.push(code[from..at].to_owned());
            let goes_on = bytes[at..].starts_with(b"::") && bytes.get(at + 2).is_some_and(|byte| is_word(*byte));
            if !goes_on {
                break;
            }
            at += 2;
        }
        if path.len() > 1 && !is_continued {
            found.push((path, start));
        }
    }
    found
}

/// The modules written inside this file, outer ones first.
pub fn inline_modules(source: &Source) -> Vec<Inline> {
    let code = &source.code;
    occurrences(code, "mod")
        .filter_map(|at| {
            let rest = code[at + 3..].trim_start();
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let open = rest[name.len()..].trim_start();
            let brace = code.len() - open.len();
            (!name.is_empty() && open.starts_with('{'))
                .then(|| Inline { name, range: brace..closing_brace(code, brace) })
        })
        .collect()
}

/// Names of the items that a file declares, whatever their kind.
pub fn declared(source: &Source) -> Vec<String> {
    const KINDS: &[&str] = &["struct", "enum", "trait", "fn", "type", "const", "static", "union", "macro_rules!"];
    let mut names = vec![];
    for kind in KINDS {
        for at in occurrences(&source.code, kind) {
            let rest = source.code[at + kind.len()..].trim_start();
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if !name.is_empty() {
                names.push(name);
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<(String, Option<String>, bool)> {
        imports(&Source::new("crates/a/src/b.rs", text))
            .into_iter()
            .map(|import| (import.path.join("::"), import.name, import.is_public))
            .collect()
    }

    fn used(path: &str, name: &str, is_public: bool) -> (String, Option<String>, bool) {
        (path.into(), Some(name.into()), is_public)
    }

    #[test]
    fn use_trees_are_taken_apart() {
        assert_eq!(
            paths("use crate::{a::{self, B as C}, d::*};\npub(crate) use super::e;"),
            [
                used("crate::a", "a", false),
                used("crate::a::B", "C", false),
                used("crate::d", "*", false),
                used("super::e", "e", true),
            ]
        );
    }

    #[test]
    fn paths_in_the_code_are_found_once() {
        let text =
            "use a::B;\nfn f(x: crate::c::D) -> impl use<'a> { super::g::<T>(self::h::i); x.j::k(); Vec::<u8>::new() }";
        let found: Vec<String> = paths(text).into_iter().filter(|p| p.1.is_none()).map(|p| p.0).collect();
        assert_eq!(found, ["crate::c::D", "super::g", "self::h::i"]);
    }

    #[test]
    fn test_code_names_what_it_likes() {
        assert_eq!(paths("#[cfg(test)]\nmod tests { use super::*; fn f() { crate::a::b() } }"), []);
    }

    #[test]
    fn declarations_and_inline_modules_are_listed() {
        let source = Source::new(
            "crates/a/src/b.rs",
            "pub struct A; mod x; mod c { pub fn d() {} }\nmacro_rules! e { () => {} }",
        );
        assert_eq!(declared(&source), ["A", "d", "e"]);
        let modules = inline_modules(&source);
        assert_eq!(modules.iter().map(|module| module.name.as_str()).collect::<Vec<_>>(), ["c"]);
    }
}
