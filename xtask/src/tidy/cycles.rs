//! Loops among the files of one crate: each is reported once, as the shortest way around it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::finding::Finding;
use super::modules::{Edge, Modules};
use super::source::Source;

pub fn findings(sources: &[Source]) -> Vec<Finding> {
    let edges = Modules::new(sources).edges();
    let mut next: BTreeMap<usize, Vec<Edge>> = BTreeMap::new();
    for edge in edges {
        next.entry(edge.from).or_default().push(edge);
    }
    components(sources.len(), &next)
        .into_iter()
        .filter_map(|members| shortest_loop(&members, &next))
        .map(|around| {
            let steps: Vec<String> = around.iter().map(|edge| sources[edge.from].place(edge.offset)).collect();
            let place = steps[0].clone();
            let what = format!("files import each other: {} → {}", steps.join(" → "), sources[around[0].from].path);
            Finding::error("loop", place, what, "move what both need into a file below them")
        })
        .collect()
}

/// Groups of two and more files in which each reaches every other one (Kosaraju's two passes).
fn components(files: usize, next: &BTreeMap<usize, Vec<Edge>>) -> Vec<BTreeSet<usize>> {
    let mut order = vec![];
    let mut seen = vec![false; files];
    for start in 0..files {
        finish(start, &mut seen, &mut order, |at| next.get(&at).into_iter().flatten().map(|edge| edge.to).collect());
    }
    let mut back: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for edge in next.values().flatten() {
        back.entry(edge.to).or_default().push(edge.from);
    }
    let mut seen = vec![false; files];
    let mut groups = vec![];
    for start in order.into_iter().rev() {
        let mut group = vec![];
        finish(start, &mut seen, &mut group, |at| back.get(&at).cloned().unwrap_or_default());
        if group.len() > 1 {
            groups.push(group.into_iter().collect());
        }
    }
    groups
}

/// Depth-first from `start` over what was not seen; appends in the order in which files are finished.
fn finish(start: usize, seen: &mut [bool], order: &mut Vec<usize>, next: impl Fn(usize) -> Vec<usize>) {
    if std::mem::replace(&mut seen[start], true) {
        return;
    }
    let mut stack = vec![(start, next(start))];
    while let Some((at, ahead)) = stack.last_mut() {
        match ahead.pop() {
            Some(to) if !seen[to] => {
                seen[to] = true;
                stack.push((to, next(to)));
            }
            Some(_) => {}
            None => {
                order.push(*at);
                stack.pop();
            }
        }
    }
}

/// The shortest loop within one group; the first by file name when several are as short.
fn shortest_loop(members: &BTreeSet<usize>, next: &BTreeMap<usize, Vec<Edge>>) -> Option<Vec<Edge>> {
    members.iter().filter_map(|start| way_back(*start, members, next)).min_by_key(Vec::len)
}

/// The shortest way from a file back to itself.
fn way_back(start: usize, members: &BTreeSet<usize>, next: &BTreeMap<usize, Vec<Edge>>) -> Option<Vec<Edge>> {
    let mut came_by: BTreeMap<usize, Edge> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(at) = queue.pop_front() {
        for edge in next.get(&at).into_iter().flatten().filter(|edge| members.contains(&edge.to)) {
            if edge.to == start {
                let mut way = vec![*edge];
                while way[0].from != start {
                    way.insert(0, came_by[&way[0].from]);
                }
                return Some(way);
            }
            came_by.entry(edge.to).or_insert_with(|| {
                queue.push_back(edge.to);
                *edge
            });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loops(files: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<Source> =
            files.iter().map(|(name, text)| Source::new(&format!("crates/x/src/{name}"), text)).collect();
        findings(&sources).into_iter().map(|finding| finding.what.replace("crates/x/src/", "")).collect()
    }

    #[test]
    fn a_path_that_begins_with_an_imported_module_is_followed() {
        let found = loops(&[
            ("lib.rs", "mod table; mod methods;"),
            ("table.rs", "use crate::methods; pub struct Context; fn all(c: &Context) { methods::session::bind(c) }"),
            ("methods/mod.rs", "pub mod session;"),
            ("methods/session.rs", "use crate::table::Context; pub fn bind(_: &Context) {}"),
        ]);
        assert_eq!(found.len(), 1, "{found:?}");
    }

    #[test]
    fn downward_imports_make_no_loop() {
        assert_eq!(
            loops(&[
                ("lib.rs", "mod a; mod b; pub use a::A; pub use b::B;"),
                ("a.rs", "use crate::b::B; pub struct A(B);"),
                ("b.rs", "pub struct B;"),
            ]),
            [""; 0]
        );
    }

    #[test]
    fn two_files_that_import_each_other_are_found() {
        assert_eq!(
            loops(&[("lib.rs", ""), ("a.rs", "use crate::b::B;"), ("b.rs", "fn f(a: super::a::A) {}\nstruct B;")]),
            ["files import each other: a.rs:1 → b.rs:1 → a.rs"]
        );
    }

    #[test]
    fn a_re_export_of_the_root_leads_to_its_file() {
        assert_eq!(
            loops(&[
                ("lib.rs", "mod a; mod b; pub use a::*; pub use b::B;"),
                ("a.rs", "use crate::B; pub struct A;"),
                ("b.rs", "\nuse crate::A; pub struct B;"),
            ]),
            ["files import each other: a.rs:1 → b.rs:2 → a.rs"]
        );
    }

    #[test]
    fn a_parent_may_re_export_its_children_but_not_use_them_while_they_use_it() {
        let child = ("a/c.rs", "use super::d::D; pub struct C;");
        let sibling = ("a/d.rs", "pub struct D;");
        assert_eq!(loops(&[("lib.rs", ""), ("a.rs", "mod c; mod d; pub use c::C;"), child, sibling]), [""; 0]);
        assert_eq!(
            loops(&[
                ("lib.rs", ""),
                ("a.rs", "mod c;\nfn f() { c::g() }\npub struct A;"),
                ("a/c.rs", "use super::A; pub fn g() {}")
            ]),
            ["files import each other: a.rs:2 → a/c.rs:1 → a.rs"]
        );
    }

    #[test]
    fn the_shortest_of_a_tangle_is_reported_once() {
        assert_eq!(
            loops(&[
                ("lib.rs", ""),
                ("a.rs", "use crate::b::B; pub struct A;"),
                ("b.rs", "use crate::c::C; pub struct B;"),
                ("c.rs", "use crate::a::A; use crate::b::B; pub struct C;"),
            ]),
            ["files import each other: b.rs:1 → c.rs:1 → b.rs"]
        );
    }

    #[test]
    fn tests_and_modules_inside_a_file_make_no_loop() {
        assert_eq!(
            loops(&[
                ("lib.rs", ""),
                ("a.rs", "pub struct A; mod inner { use super::A; }\n#[cfg(test)] mod tests { use crate::b::B; }"),
                ("b.rs", "use crate::a::A; pub struct B;"),
                ("b/tests.rs", "use super::*; use crate::a::A;"),
            ]),
            [""; 0]
        );
    }
}
