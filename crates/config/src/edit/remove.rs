//! Taking a key out of a text by cutting its lines, so that nothing else can change.

use std::ops::Range;

use toml_edit::{Document, DocumentMut, Item, Key, Table, Value};

use crate::path::{Path, Segment};

/// The text without what stands at `path`, which exists.
pub(super) fn removed(text: &str, path: &Path) -> Result<String, String> {
    let document = Document::parse(text).map_err(|error| error.message().to_owned())?;
    match lines_of(document.as_table(), path.segments(), text) {
        Some(lines) => Ok(cut(text, lines)),
        None => removed_inside_value(text, path),
    }
}

/// The lines that hold the item; `None` when it is a part of a value that stands on shared lines.
fn lines_of(root: &Table, segments: &[Segment], text: &str) -> Option<Vec<Range<usize>>> {
    let mut table = root;
    let mut segments = segments.iter();
    loop {
        let Some(Segment::Key(name)) = segments.next() else { return None };
        let (key, mut item) = table.get_key_value(name)?;
        let mut lines = Vec::new();
        if segments.as_slice().is_empty() {
            collect(Some(key), item, text, &mut lines);
            return Some(lines);
        }
        if let Item::ArrayOfTables(tables) = item {
            let Some(Segment::Index(index)) = segments.next() else { return None };
            table = tables.get(*index)?;
            if segments.as_slice().is_empty() {
                collect_table(table, text, &mut lines);
                return Some(lines);
            }
            continue;
        }
        match &mut item {
            Item::Table(inner) => table = inner,
            _ => return None,
        }
    }
}

fn collect(key: Option<&Key>, item: &Item, text: &str, into: &mut Vec<Range<usize>>) {
    match item {
        Item::Value(value) => {
            if let (Some(key), Some(value)) = (key.and_then(Key::span), Value::span(value)) {
                into.push(whole_lines(text, key.start..value.end));
            }
        }
        Item::Table(table) => collect_table(table, text, into),
        Item::ArrayOfTables(tables) => tables.iter().for_each(|table| collect_table(table, text, into)),
        Item::None => {}
    }
}

/// A table with a header goes from its header to its last value in one piece; a dotted one line by line.
fn collect_table(table: &Table, text: &str, into: &mut Vec<Range<usize>>) {
    let has_header = !table.is_dotted() && !table.is_implicit();
    let mut own = Vec::new();
    if let Some(header) = table.span().filter(|_| has_header) {
        own.push(whole_lines(text, header));
    }
    for (name, item) in table.iter() {
        let key = table.key(name);
        let of_this_body = match item {
            Item::Value(_) => true,
            Item::Table(inner) => inner.is_dotted(),
            _ => false,
        };
        collect(key, item, text, if of_this_body && has_header { &mut own } else { into });
    }
    let start = own.iter().map(|lines| lines.start).min();
    let end = own.iter().map(|lines| lines.end).max();
    into.extend(start.zip(end).map(|(start, end)| start..end));
}

fn whole_lines(text: &str, span: Range<usize>) -> Range<usize> {
    let start = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
    let end = text[span.end..].find('\n').map_or(text.len(), |at| span.end + at + 1);
    start..end
}

fn cut(text: &str, mut lines: Vec<Range<usize>>) -> String {
    lines.sort_by_key(|range| range.start);
    let mut kept = String::with_capacity(text.len());
    let mut at = 0;
    for range in lines {
        kept.push_str(&text[at..range.start.max(at)]);
        at = at.max(range.end);
        // Of two empty lines that now meet, one is enough.
        if (kept.is_empty() || kept.ends_with("\n\n")) && text[at..].starts_with('\n') {
            at += 1;
        }
    }
    kept.push_str(&text[at..]);
    kept
}

fn removed_inside_value(text: &str, path: &Path) -> Result<String, String> {
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| error.message().to_owned())?;
    let Some((last, above)) = path.segments().split_last() else { return Err("is everything".to_owned()) };
    let mut place = Place::Item(document.as_item_mut());
    for segment in above {
        place = place.step(segment).ok_or("does not exist")?;
    }
    place.remove(last).ok_or("cannot be taken out of what holds it")?;
    Ok(document.to_string())
}

/// Where a walk into a document stands: items hold values, but values hold only values.
enum Place<'d> {
    Item(&'d mut Item),
    Table(&'d mut Table),
    Value(&'d mut Value),
}

impl<'d> Place<'d> {
    fn step(self, segment: &Segment) -> Option<Place<'d>> {
        match (self, segment) {
            (Place::Item(Item::Value(value)), segment) => Place::Value(value).step(segment),
            (Place::Item(Item::ArrayOfTables(tables)), Segment::Index(index)) => {
                tables.get_mut(*index).map(Place::Table)
            }
            (Place::Item(item), Segment::Key(key)) => item.as_table_mut()?.get_mut(key).map(Place::Item),
            (Place::Table(table), Segment::Key(key)) => table.get_mut(key).map(Place::Item),
            (Place::Value(value), Segment::Key(key)) => value.as_inline_table_mut()?.get_mut(key).map(Place::Value),
            (Place::Value(value), Segment::Index(index)) => value.as_array_mut()?.get_mut(*index).map(Place::Value),
            _ => None,
        }
    }

    fn remove(self, segment: &Segment) -> Option<()> {
        match (self, segment) {
            (Place::Item(Item::Value(value)), segment) => Place::Value(value).remove(segment),
            (Place::Item(item), Segment::Key(key)) => item.as_table_mut()?.remove(key).map(|_| ()),
            (Place::Table(table), Segment::Key(key)) => table.remove(key).map(|_| ()),
            (Place::Value(value), Segment::Key(key)) => value.as_inline_table_mut()?.remove(key).map(|_| ()),
            (Place::Value(value), Segment::Index(index)) => {
                let array = value.as_array_mut()?;
                (*index < array.len()).then(|| array.remove(*index)).map(|_| ())
            }
            _ => None,
        }
    }
}
