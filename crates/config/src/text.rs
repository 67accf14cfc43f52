//! From bytes to a tree of values with the line of each key. Knows TOML, but no setting.

mod depth;

use std::collections::HashMap;

use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use self::depth::too_deep;
use crate::path::Path;
use crate::problem::{Origin, Problem, Problems};

/// A larger file is refused unread; a configuration of thousands of agents stays far below.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// Deeper nesting than any setting has; keeps the recursive walks over the tree short.
const DEPTH_MAX: usize = 48;

/// After a syntax error the parser guesses on; more guesses than this help nobody.
const SYNTAX_PROBLEMS_MAX: usize = 10;

/// Line and column in characters, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spot {
    pub line: u32,
    pub column: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Parsed {
    pub tree: Map<String, Value>,
    pub spots: Spots,
}

impl Parsed {
    /// A tree that was never a text.
    pub fn placeless(tree: Map<String, Value>) -> Parsed {
        Parsed { tree, spots: Spots::default() }
    }
}

/// Where each key stands; for an item of a list, where the item starts.
#[derive(Debug, Default)]
pub(crate) struct Spots(HashMap<Path, Spot>);

impl Spots {
    /// The place of `path` or of the nearest thing above it that was written.
    pub fn nearest(&self, path: &Path) -> Option<Spot> {
        let mut path = path.clone();
        loop {
            if let Some(spot) = self.0.get(&path) {
                return Some(*spot);
            }
            path = path.parent()?;
        }
    }

    pub fn has(&self, path: &Path) -> bool {
        self.0.contains_key(path)
    }
}

/// Reads a TOML document; reports all syntax errors that can be told apart.
pub(crate) fn parse(bytes: &[u8], origin: &Origin) -> Result<Parsed, Problems> {
    let text = checked_text(bytes, origin)?;
    let lines = Lines::of(text);
    let at = |offset: usize, message: String| {
        let spot = lines.spot(offset);
        Problem::new(origin.clone(), "", message).at(spot.line, spot.column)
    };
    if let Some(offset) = too_deep(text) {
        return Err(at(offset, format!("nested more than {DEPTH_MAX} levels deep")).into());
    }
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let mut problems: Vec<Problem> =
            errors.iter().map(|e| at(e.span().map_or(0, |span| span.start), e.message().replace('\n', ", "))).collect();
        problems.sort_by_key(|problem| (problem.line, problem.column));
        problems.dedup_by_key(|problem| problem.line);
        problems.truncate(SYNTAX_PROBLEMS_MAX);
        return Err(Problems(problems));
    }
    let mut reader = Reader { lines: &lines, origin, spots: Spots::default(), problems: Vec::new() };
    let tree = reader.table(document.get_ref(), &Path::root());
    if reader.problems.is_empty() {
        Ok(Parsed { tree, spots: reader.spots })
    } else {
        Err(Problems::sorted(reader.problems))
    }
}

fn checked_text<'b>(bytes: &'b [u8], origin: &Origin) -> Result<&'b str, Problem> {
    if bytes.len() > FILE_BYTES_MAX {
        let message = format!("{} bytes are more than the {FILE_BYTES_MAX} that a configuration may have", bytes.len());
        return Err(Problem::new(origin.clone(), "", message).at(1, 1));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let good = std::str::from_utf8(&bytes[..error.valid_up_to()]).expect("valid up to there");
        let spot = Lines::of(good).spot(good.len());
        Problem::new(origin.clone(), "", "the file is not UTF-8 text").at(spot.line, spot.column)
    })
}

/// Reads one TOML value, as it would stand after `key =`. `None` when it is not one.
pub(crate) fn parse_value(text: &str) -> Option<Value> {
    if text.len() > FILE_BYTES_MAX || too_deep(text).is_some() {
        return None;
    }
    let value = DeValue::parse(text.trim()).ok()?;
    let lines = Lines::of(text);
    let mut reader = Reader { lines: &lines, origin: &Origin::Given, spots: Spots::default(), problems: Vec::new() };
    let value = reader.value(&value, &Path::root());
    reader.problems.is_empty().then_some(value)
}

struct Reader<'t> {
    lines: &'t Lines<'t>,
    origin: &'t Origin,
    spots: Spots,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn table(&mut self, table: &DeTable<'_>, path: &Path) -> Map<String, Value> {
        let mut map = Map::new();
        for (key, value) in table {
            let path = path.key(key.get_ref().as_ref());
            self.spots.0.insert(path.clone(), self.lines.spot(key.span().start));
            let value = self.value(value, &path);
            map.insert(key.get_ref().to_string(), value);
        }
        map
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, path: &Path) -> Value {
        let start = value.span().start;
        if path.segments().len() > DEPTH_MAX {
            return self.problem(start, &Path::root(), format!("nested more than {DEPTH_MAX} levels deep"));
        }
        match value.get_ref() {
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Boolean(flag) => Value::Bool(*flag),
            DeValue::Datetime(time) => Value::String(time.to_string()),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Value::from(number),
                Err(_) => self.problem(start, path, format!("`{number}` does not fit in 64 bits")),
            },
            DeValue::Float(number) => match number.as_str().parse().ok().and_then(Number::from_f64) {
                Some(number) => Value::Number(number),
                None => self.problem(start, path, format!("`{number}` is not a finite number")),
            },
            DeValue::Array(items) => {
                let item = |(index, item): (usize, &Spanned<DeValue<'_>>)| {
                    let path = path.index(index);
                    self.spots.0.insert(path.clone(), self.lines.spot(item.span().start));
                    self.value(item, &path)
                };
                Value::Array(items.iter().enumerate().map(item).collect())
            }
            DeValue::Table(table) => Value::Object(self.table(table, path)),
        }
    }

    fn problem(&mut self, offset: usize, path: &Path, message: String) -> Value {
        let spot = self.lines.spot(offset);
        self.problems.push(Problem::new(self.origin.clone(), path.to_string(), message).at(spot.line, spot.column));
        Value::Null
    }
}

/// Byte offsets to lines and columns.
struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn of(text: &'t str) -> Lines<'t> {
        let after_breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Lines { text, starts: std::iter::once(0).chain(after_breaks).collect() }
    }

    fn spot(&self, offset: usize) -> Spot {
        let offset = offset.min(self.text.len());
        let line = self.starts.partition_point(|start| *start <= offset);
        let before = self.text.as_bytes()[self.starts[line - 1]..offset].iter();
        // Bytes that continue a character are no column of their own.
        let column = before.filter(|byte| (**byte & 0xC0) != 0x80).count() + 1;
        Spot { line: u32::try_from(line).unwrap_or(u32::MAX), column: u32::try_from(column).unwrap_or(u32::MAX) }
    }
}

#[cfg(test)]
mod tests;
