//! `session.*`: reading conversations for those who talk, managing them for administrators.

mod find;
mod manage;
mod read;
mod search;
mod transcript;

use dialect::MethodTable;

pub(crate) fn bind(table: &mut MethodTable) {
    read::bind(table);
    search::bind(table);
    manage::bind(table);
}
