//! Writing values into a parsed document, touching only what differs.

use serde_json::{Map, Value as Json};
use toml_edit::{Array, ArrayOfTables, InlineTable, Item, Table, TableLike, Value};

use super::error::{EditError, value_error};
use crate::path::{Path, Segment};
use crate::references::reference;

/// Puts `value` at `path`, of which at least the first key exists in `root`.
pub(super) fn put(root: &mut Table, path: &Path, value: &Json) -> Result<(), EditError> {
    put_in_table(root, false, path.segments(), value, path)
}

fn put_in_table(
    table: &mut dyn TableLike,
    inline: bool,
    segments: &[Segment],
    value: &Json,
    whole: &Path,
) -> Result<(), EditError> {
    let [Segment::Key(key), rest @ ..] = segments else {
        return Err(value_error(whole, "counts into a table as if it were a list"));
    };
    match (table.get_mut(key), rest) {
        (Some(item), []) => assign(item, inline, value, whole),
        (Some(item), [next, below @ ..]) => put_in_item(item, next, below, rest, value, whole),
        (None, _) => {
            let item = fresh_under(rest, value, whole)?;
            if inline {
                insert_inline(table, key, into_value(item));
            } else {
                table.insert(key, item);
            }
            Ok(())
        }
    }
}

/// `segments` is `next` and what is `below` it.
fn put_in_item(
    item: &mut Item,
    next: &Segment,
    below: &[Segment],
    segments: &[Segment],
    value: &Json,
    whole: &Path,
) -> Result<(), EditError> {
    let inline = item.is_value();
    match (item, next) {
        (Item::ArrayOfTables(tables), Segment::Index(index)) => put_in_tables(tables, *index, below, value, whole),
        (Item::Value(Value::Array(array)), Segment::Index(index)) => put_in_array(array, *index, below, value, whole),
        (item, Segment::Key(_)) => match item.as_table_like_mut() {
            Some(table) => put_in_table(table, inline, segments, value, whole),
            None => Err(value_error(whole, format!("lies inside a {}, which is no table", item.type_name()))),
        },
        (item, Segment::Index(_)) => {
            Err(value_error(whole, format!("counts into a {} as if it were a list", item.type_name())))
        }
    }
}

fn put_in_tables(
    tables: &mut ArrayOfTables,
    index: usize,
    below: &[Segment],
    value: &Json,
    whole: &Path,
) -> Result<(), EditError> {
    let length = tables.len();
    let table = match (tables.get_mut(index), below, value) {
        (Some(table), [], Json::Object(map)) => return assign_table(table, false, map, whole),
        (Some(table), [_, ..], _) => return put_in_table(table, false, below, value, whole),
        (_, [], other) if !other.is_object() => {
            return Err(value_error(whole, "must be a table like the others of its list"));
        }
        (None, ..) if index > length => return Err(beyond(whole, length)),
        (_, [], Json::Object(map)) => fresh_table(map, whole)?,
        _ => {
            let mut table = Table::new();
            put_in_table(&mut table, false, below, value, whole)?;
            table
        }
    };
    tables.push(table);
    Ok(())
}

fn put_in_array(
    array: &mut Array,
    index: usize,
    below: &[Segment],
    value: &Json,
    whole: &Path,
) -> Result<(), EditError> {
    let length = array.len();
    match (array.get_mut(index), below) {
        (Some(old), []) => assign_value(old, value, whole),
        (Some(Value::InlineTable(table)), [Segment::Key(_), ..]) => put_in_table(table, true, below, value, whole),
        (Some(Value::Array(inner)), [Segment::Index(index), below @ ..]) => {
            put_in_array(inner, *index, below, value, whole)
        }
        (Some(old), _) => Err(value_error(whole, format!("lies inside a {}", old.type_name()))),
        (None, _) if index > length => Err(beyond(whole, length)),
        (None, _) => {
            push_like_others(array, into_value(fresh_under(below, value, whole)?));
            Ok(())
        }
    }
}

fn beyond(whole: &Path, length: usize) -> EditError {
    value_error(whole, format!("lies beyond the end of its list; the next item is number {length}"))
}

/// A new item that holds `value` at `segments` below itself.
pub(super) fn fresh_under(segments: &[Segment], value: &Json, whole: &Path) -> Result<Item, EditError> {
    match segments {
        [] => fresh(value, whole),
        [Segment::Key(key), rest @ ..] => {
            let mut table = Table::new();
            table.set_implicit(true);
            table.insert(key, fresh_under(rest, value, whole)?);
            Ok(Item::Table(table))
        }
        [Segment::Index(0), rest @ ..] => match fresh_under(rest, value, whole)? {
            Item::Table(mut table) => {
                table.set_implicit(false);
                let mut tables = ArrayOfTables::new();
                tables.push(table);
                Ok(Item::ArrayOfTables(tables))
            }
            item => {
                let mut array = Array::new();
                array.push(into_value(item));
                Ok(Item::Value(Value::Array(array)))
            }
        },
        [Segment::Index(_), ..] => Err(beyond(whole, 0)),
    }
}

/// Changes `item` into `value`. What stays equal keeps its spelling and its comments.
fn assign(item: &mut Item, inline: bool, value: &Json, whole: &Path) -> Result<(), EditError> {
    match (item, value) {
        (Item::Value(old), value) => assign_value(old, value, whole),
        (Item::Table(table), Json::Object(map)) if reference(value).is_none() => {
            assign_table(table, inline, map, whole)?;
            if table.is_empty() {
                // Without a header of its own it would not be written at all.
                table.set_implicit(false);
                table.set_dotted(false);
            }
            Ok(())
        }
        (Item::ArrayOfTables(tables), Json::Array(items)) if are_tables(items) => assign_tables(tables, items, whole),
        (item, value) => {
            *item = fresh(value, whole)?;
            Ok(())
        }
    }
}

pub(super) fn assign_table(
    table: &mut dyn TableLike,
    inline: bool,
    map: &Map<String, Json>,
    whole: &Path,
) -> Result<(), EditError> {
    let gone: Vec<String> =
        table.iter().map(|(key, _)| key.to_owned()).filter(|key| map.get(key).is_none_or(Json::is_null)).collect();
    for key in gone {
        table.remove(&key);
    }
    for (key, value) in map.iter().filter(|(_, value)| !value.is_null()) {
        let path = whole.key(key.as_str());
        match table.get_mut(key) {
            Some(item) => assign(item, inline, value, &path)?,
            None if inline => {
                insert_inline(table, key, plain_value(value, &path)?);
            }
            None => {
                table.insert(key, fresh(value, &path)?);
            }
        }
    }
    Ok(())
}

fn assign_tables(tables: &mut ArrayOfTables, items: &[Json], whole: &Path) -> Result<(), EditError> {
    while tables.len() > items.len() {
        tables.remove(tables.len() - 1);
    }
    for (index, item) in items.iter().enumerate() {
        let path = whole.index(index);
        let Json::Object(map) = item else { continue };
        match tables.get_mut(index) {
            Some(table) => assign_table(table, false, map, &path)?,
            None => tables.push(fresh_table(map, &path)?),
        }
    }
    Ok(())
}

fn assign_value(old: &mut Value, value: &Json, whole: &Path) -> Result<(), EditError> {
    match (old, value) {
        (Value::Array(array), Json::Array(items)) => {
            while array.len() > items.len() {
                array.remove(array.len() - 1);
            }
            for (index, item) in items.iter().enumerate() {
                let path = whole.index(index);
                match array.get_mut(index) {
                    Some(old) => assign_value(old, item, &path)?,
                    None => push_like_others(array, plain_value(item, &path)?),
                }
            }
            Ok(())
        }
        (Value::InlineTable(table), Json::Object(map)) => assign_table(table, true, map, whole),
        (old, value) => {
            let mut new = plain_value(value, whole)?;
            if !says_the_same(old, &new) {
                *new.decor_mut() = old.decor().clone();
                *old = new;
            }
            Ok(())
        }
    }
}

/// Scalars only; tables and lists are compared by their parts.
fn says_the_same(old: &Value, new: &Value) -> bool {
    match (old, new) {
        (Value::String(old), Value::String(new)) => old.value() == new.value(),
        (Value::Integer(old), Value::Integer(new)) => old.value() == new.value(),
        (Value::Float(old), Value::Float(new)) => old.value() == new.value(),
        (Value::Boolean(old), Value::Boolean(new)) => old.value() == new.value(),
        (Value::Datetime(old), Value::String(new)) => old.value().to_string() == *new.value(),
        _ => false,
    }
}

/// Appends to a table in braces; the space before the closing brace moves behind the new value.
fn insert_inline(table: &mut dyn TableLike, key: &str, mut value: Value) {
    let last = table.iter_mut().last().and_then(|(_, item)| item.as_value_mut());
    if let Some(last) = last {
        let suffix = last.decor().suffix().and_then(|raw| raw.as_str()).unwrap_or_default().to_owned();
        if !suffix.is_empty() && suffix.trim().is_empty() {
            last.decor_mut().set_suffix("");
            value.decor_mut().set_prefix(" ");
            value.decor_mut().set_suffix(suffix);
        }
    }
    table.insert(key, Item::Value(value));
}

/// Appends with the indentation that the last item has, where each stands on its own line.
fn push_like_others(array: &mut Array, value: Value) {
    let indentation = array.iter().last().and_then(|last| {
        let prefix = last.decor().prefix()?.as_str()?;
        let (_, indentation) = prefix.rsplit_once('\n')?;
        Some(format!("\n{indentation}"))
    });
    match indentation {
        Some(indentation) => array.push_formatted(value.decorated(indentation, "")),
        None => array.push(value),
    }
}

fn are_tables(items: &[Json]) -> bool {
    !items.is_empty() && items.iter().all(|item| item.is_object() && reference(item).is_none())
}

fn fresh(value: &Json, whole: &Path) -> Result<Item, EditError> {
    match value {
        Json::Object(map) if reference(value).is_none() => fresh_table(map, whole).map(Item::Table),
        Json::Array(items) if are_tables(items) => {
            let mut tables = ArrayOfTables::new();
            assign_tables(&mut tables, items, whole)?;
            Ok(Item::ArrayOfTables(tables))
        }
        value => plain_value(value, whole).map(Item::Value),
    }
}

fn fresh_table(map: &Map<String, Json>, whole: &Path) -> Result<Table, EditError> {
    let mut table = Table::new();
    assign_table(&mut table, false, map, whole)?;
    // A table of nothing but tables needs no header of its own.
    let only_tables = !table.is_empty() && table.iter().all(|(_, item)| item.is_table());
    table.set_implicit(only_tables);
    Ok(table)
}

/// As one value, tables inline.
fn plain_value(value: &Json, whole: &Path) -> Result<Value, EditError> {
    match value {
        Json::Null => Err(value_error(whole, "is null, which a list cannot hold")),
        Json::Bool(flag) => Ok(Value::from(*flag)),
        Json::String(text) => Ok(Value::from(text.as_str())),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Ok(Value::from(integer)),
            (None, Some(float)) if number.is_f64() => Ok(Value::from(float)),
            _ => Err(value_error(whole, format!("is {number}, which does not fit in 64 bits"))),
        },
        Json::Array(items) => {
            let values = items.iter().enumerate().map(|(at, item)| plain_value(item, &whole.index(at)));
            values.collect::<Result<Array, _>>().map(Value::Array)
        }
        Json::Object(map) => {
            let mut table = InlineTable::new();
            assign_table(&mut table, true, map, whole)?;
            Ok(Value::InlineTable(table))
        }
    }
}

fn into_value(item: Item) -> Value {
    item.into_value().expect("a fresh item is a value, a table or a list of tables")
}
