//! Rows on their way into a table, in the server's own format for many of them.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::SinkExt;
use store::StoreError;
use store::backend::portable::{Cell, Table};
use tokio_postgres::CopyInSink;

use crate::link::Link;
use crate::search;
use crate::values::escaped;

/// Sent at a time, in bytes.
const CHUNK: usize = 64 * 1024;

/// What is sent is kept only by [`Copying::finish`].
pub struct Copying {
    table: &'static Table,
    sink: Pin<Box<CopyInSink<Bytes>>>,
    unsent: String,
}

impl Copying {
    pub fn begin(link: &Link, table: &'static Table) -> Result<Copying, StoreError> {
        let words = if table.name == "messages" { ", words" } else { "" };
        let sql = format!("COPY {} ({}{words}) FROM STDIN", table.name, table.column_list());
        let sink = link.wait(link.client().copy_in(&sql))?.map_err(|error| link.explain(error))?;
        Ok(Copying { table, sink: Box::pin(sink), unsent: String::new() })
    }

    pub fn table(&self) -> &'static Table {
        self.table
    }

    pub fn put(&mut self, link: &Link, row: &[Cell]) -> Result<(), StoreError> {
        for (position, cell) in row.iter().enumerate() {
            if position > 0 {
                self.unsent.push('\t');
            }
            write(&mut self.unsent, cell);
        }
        if self.table.name == "messages" {
            self.unsent.push('\t');
            let words = self.table.searched(row)?.map(|text| search::vector(&text));
            write(&mut self.unsent, &words.map_or(Cell::Null, Cell::Text));
        }
        self.unsent.push('\n');
        if self.unsent.len() >= CHUNK { self.send(link) } else { Ok(()) }
    }

    fn send(&mut self, link: &Link) -> Result<(), StoreError> {
        let chunk = Bytes::from(std::mem::take(&mut self.unsent));
        link.wait(self.sink.send(chunk))?.map_err(|error| link.explain(error))
    }

    /// Hears from the server what became of it all.
    pub fn finish(mut self, link: &Link) -> Result<(), StoreError> {
        self.send(link)?;
        link.wait(self.sink.as_mut().finish())?.map(drop).map_err(|error| link.explain(error))
    }
}

/// A value as the format has it: tabs part values and ends of line rows, so that neither occurs in one.
fn write(out: &mut String, cell: &Cell) {
    match cell {
        Cell::Null => out.push_str("\\N"),
        Cell::Number(number) => out.push_str(&number.to_string()),
        Cell::YesNo(is_so) => out.push(if *is_so { 't' } else { 'f' }),
        Cell::Text(text) => {
            for c in escaped(text).chars() {
                match c {
                    '\\' => out.push_str("\\\\"),
                    '\t' => out.push_str("\\t"),
                    '\n' => out.push_str("\\n"),
                    '\r' => out.push_str("\\r"),
                    c => out.push(c),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_hold_nothing_that_ends_them() {
        let shown = |cell: Cell| {
            let mut text = String::new();
            write(&mut text, &cell);
            text
        };
        assert_eq!(shown(Cell::Null), "\\N");
        assert_eq!(shown(Cell::Text(String::from("\\N a\tb\r\nc\\. \0"))), "\\\\N a\\tb\\r\\nc\\\\. \u{10}\u{11}");
        assert_eq!((shown(Cell::Number(-7)), shown(Cell::YesNo(true))), (String::from("-7"), String::from("t")));
    }
}
