//! What waits to be sent, and rows that go out with others of their kind.
//!
//! A batch of many units writes the same few kinds of rows again and again, and a statement costs more
//! than a row. So rows whose outcome nobody waits for are kept apart until something is asked, and then
//! each kind is one statement.

use std::fmt::Write as _;

use tokio_postgres::Statement;

use crate::values::Value;

/// A statement whose result nobody needs.
pub enum Step {
    /// `BEGIN`, `SAVEPOINT` and the like.
    Control(&'static str),
    Statement(Statement, Vec<Value>),
    /// One row of a statement that takes an array for each column. The first column says what it is about.
    Row(Statement, Kind, Vec<Value>),
}

/// In the order in which they are written: a run stands before it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Session,
    NewRun,
    Message,
    Transcript,
    RunChange,
}

/// What a second row for the same thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Second {
    /// All that the first one said, and more.
    Replaces,
    /// As good as the first one.
    IsNoMatter,
    /// Another statement, because one changes a row once.
    Follows,
}

impl Kind {
    fn second(self) -> Second {
        match self {
            Kind::Session => Second::Replaces,
            Kind::Message | Kind::Transcript => Second::IsNoMatter,
            Kind::NewRun | Kind::RunChange => Second::Follows,
        }
    }
}

/// A column, and the type of its values.
pub type Column = (&'static str, &'static str);

pub fn names(columns: &[Column]) -> String {
    columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// The rows that the parameters hold, one array for each column, as a table `n` with these columns.
pub fn given(columns: &[Column]) -> String {
    let arrays = columns.iter().enumerate().map(|(at, (_, of))| format!("${}::{of}[]", at + 1));
    format!("unnest({}) n ({})", arrays.collect::<Vec<_>>().join(", "), names(columns))
}

/// The columns, each set to `value` of its name and its place.
pub fn assigned(columns: &[Column], value: impl Fn(&str, usize) -> String) -> String {
    let mut sql = String::new();
    for (at, (name, _)) in columns.iter().enumerate() {
        let comma = if at == 0 { "" } else { ", " };
        let _ = write!(sql, "{comma}{name} = {}", value(name, at + 1));
    }
    sql
}

/// Puts rows of a kind together, as far as nothing stands between them.
pub fn gather(steps: Vec<Step>) -> Vec<Step> {
    let (mut gathered, mut open) = (Vec::new(), Vec::<Group>::new());
    for step in steps {
        let Step::Row(statement, kind, row) = step else {
            close(&mut open, &mut gathered);
            gathered.push(step);
            continue;
        };
        let rows = open.iter_mut().find(|group| group.kind == kind).map(|group| &mut group.rows);
        let Some(rows) = rows else {
            open.push(Group { kind, statement, rows: vec![row] });
            continue;
        };
        let second = kind.second();
        let first = (second != Second::IsNoMatter).then(|| rows.iter_mut().find(|known| known[0] == row[0])).flatten();
        match first {
            Some(first) if second == Second::Replaces => *first = row,
            Some(_) => {
                close(&mut open, &mut gathered);
                open.push(Group { kind, statement, rows: vec![row] });
            }
            None => rows.push(row),
        }
    }
    close(&mut open, &mut gathered);
    gathered
}

struct Group {
    kind: Kind,
    statement: Statement,
    rows: Vec<Vec<Value>>,
}

fn close(open: &mut Vec<Group>, gathered: &mut Vec<Step>) {
    open.sort_by_key(|group| group.kind);
    gathered.extend(open.drain(..).map(|group| Step::Statement(group.statement, columns(group.rows))));
}

fn columns(rows: Vec<Vec<Value>>) -> Vec<Value> {
    let mut columns: Vec<Vec<Value>> = Vec::new();
    for row in rows {
        columns.resize_with(row.len(), Vec::new);
        columns.iter_mut().zip(row).for_each(|(column, value)| column.push(value));
    }
    columns.into_iter().map(Value::Column).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_named_given_and_assigned_in_one_order() {
        let columns: &[Column] = &[("a", "text"), ("b", "bigint")];
        assert_eq!(given(columns), "unnest($1::text[], $2::bigint[]) n (a, b)");
        assert_eq!(assigned(columns, |name, at| format!("{name}{at}")), "a = a1, b = b2");
    }
}
