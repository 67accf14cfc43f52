//! The modules of one crate and which of them each file names, re-exports followed to their source.
//!
//! A module is a file. The crate root is left out on both sides: it lists the modules and re-exports
//! from them, and a file that imports a re-export depends on the file where the thing is declared.

use std::collections::{BTreeMap, BTreeSet};

use super::imports::{Import, Inline, declared, imports, inline_modules};
use super::source::Source;

type Path = Vec<String>;

/// How deep re-exports of re-exports are followed.
const REEXPORTS_MAX: usize = 8;

pub struct Modules<'a> {
    sources: &'a [Source],
    by_path: BTreeMap<Path, usize>,
    facts: Vec<Facts>,
}

/// What one file declares and names.
struct Facts {
    path: Path,
    imports: Vec<Import>,
    inline: Vec<Inline>,
    declared: BTreeSet<String>,
}

/// `from` names `to`, first at the line of `offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    pub from: usize,
    pub to: usize,
    pub offset: usize,
}

impl<'a> Modules<'a> {
    pub fn new(sources: &'a [Source]) -> Self {
        let facts: Vec<Facts> = sources
            .iter()
            .map(|source| Facts {
                path: module_path(&source.path),
                imports: imports(source),
                inline: inline_modules(source),
                declared: declared(source).into_iter().collect(),
            })
            .collect();
        let mut by_path = BTreeMap::new();
        for (at, facts) in facts.iter().enumerate() {
            // A crate with both roots keeps its library: `lib.rs` comes before `main.rs`.
            by_path.entry(facts.path.clone()).or_insert(at);
        }
        Self { sources, by_path, facts }
    }

    /// Which file names which other one, without test code, the root, and re-exports of children.
    pub fn edges(&self) -> Vec<Edge> {
        let mut edges: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        for (from, facts) in self.facts.iter().enumerate() {
            if facts.path.is_empty() || self.sources[from].is_test_file() {
                continue;
            }
            for import in &facts.imports {
                let Some(to) = self.target(facts, import) else { continue };
                let is_facade = import.is_public && self.facts[to].path.starts_with(&facts.path);
                if to == from || is_facade || self.facts[to].path.is_empty() || self.sources[to].is_test_file() {
                    continue;
                }
                edges.entry((from, to)).or_insert(import.offset);
            }
        }
        edges.into_iter().map(|((from, to), offset)| Edge { from, to, offset }).collect()
    }

    /// The file that an import or a path in the code leads to. A path may begin with a module that the
    /// file imports: `use crate::methods;` and then `methods::agent::bind`.
    fn target(&self, facts: &Facts, import: &Import) -> Option<usize> {
        let scope = facts.scope(import.offset);
        if let Some(file) = self.resolve(&scope, &import.path, 0) {
            return Some(file);
        }
        let (head, rest) = import.path.split_first().filter(|_| import.name.is_none())?;
        let known = facts.imports.iter().find(|import| import.name.as_ref() == Some(head))?;
        self.resolve(&facts.scope(known.offset), &[known.path.as_slice(), rest].concat(), 0)
    }

    /// The file that declares what `path`, written in module `scope`, leads to; `None` for other crates.
    fn resolve(&self, scope: &[String], path: &[String], depth: usize) -> Option<usize> {
        let (mut module, mut rest) = self.start(scope, path)?;
        while let Some((head, tail)) = rest.split_first() {
            let mut child = module.clone();
            child.push(head.clone());
            if !self.is_module(&child) {
                return self.declaring_file(&module, rest, depth);
            }
            module = child;
            rest = tail;
        }
        self.file_of(&module)
    }

    /// Where a path begins: the module that its first parts name, and the parts that are left.
    fn start<'p>(&self, scope: &[String], path: &'p [String]) -> Option<(Path, &'p [String])> {
        match path.first().map(String::as_str)? {
            "crate" => Some((vec![], &path[1..])),
            "self" => Some((scope.to_vec(), &path[1..])),
            "super" => {
                let ups = path.iter().take_while(|part| *part == "super").count();
                Some((scope[..scope.len().checked_sub(ups)?].to_vec(), &path[ups..]))
            }
            head => {
                let mut child = scope.to_vec();
                child.push(head.to_owned());
                self.is_module(&child).then(|| (scope.to_vec(), path))
            }
        }
    }

    /// Follows a name through the re-exports of a module to the file that declares it.
    fn declaring_file(&self, module: &[String], rest: &[String], depth: usize) -> Option<usize> {
        let file = self.file_of(module)?;
        let facts = &self.facts[file];
        let name = rest.first()?;
        if depth >= REEXPORTS_MAX || facts.declared.contains(name) {
            return Some(file);
        }
        let reexports =
            || facts.imports.iter().filter(|import| import.name.is_some() && facts.scope(import.offset) == module);
        for import in reexports().filter(|import| import.name.as_ref() == Some(name)) {
            let whole = [import.path.as_slice(), &rest[1..]].concat();
            if let Some(found) = self.resolve(module, &whole, depth + 1) {
                return Some(found);
            }
        }
        for import in reexports().filter(|import| import.name.as_deref() == Some("*")) {
            let whole = [import.path.as_slice(), rest].concat();
            if let Some(found) = self.resolve(module, &whole, depth + 1)
                && self.facts[found].declared.contains(name)
            {
                return Some(found);
            }
        }
        Some(file)
    }

    /// Whether the path is a file of this crate or a module written inside one.
    fn is_module(&self, path: &[String]) -> bool {
        if self.by_path.contains_key(path) {
            return true;
        }
        let Some(file) = self.file_of(path) else { return false };
        let facts = &self.facts[file];
        facts.inline.iter().any(|inline| facts.scope(inline.range.start + 1) == path)
    }

    /// The file that holds a module: its own, or that of the nearest module around it.
    fn file_of(&self, path: &[String]) -> Option<usize> {
        (0..=path.len()).rev().find_map(|end| self.by_path.get(&path[..end]).copied())
    }
}

impl Facts {
    /// The module in which an offset of this file lies, inline modules counted.
    fn scope(&self, offset: usize) -> Path {
        let inside =
            self.inline.iter().filter(|inline| inline.range.contains(&offset)).map(|inline| inline.name.clone());
        self.path.iter().cloned().chain(inside).collect()
    }
}

/// `crates/x/src/a/b.rs` is the module `a::b`; the root is the empty path.
fn module_path(file: &str) -> Path {
    let inside = file.split_once("/src/").map_or(file, |(_, inside)| inside);
    let mut path: Path = inside.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if matches!(path.last().map(String::as_str), Some("lib" | "main" | "mod")) {
        path.pop();
    }
    path
}
