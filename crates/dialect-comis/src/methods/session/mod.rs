//! `session.*`: reading conversations and work for other agents for those who talk, managing for administrators.

mod find;
mod manage;
mod policy;
mod read;
mod run_status;
mod search;
mod send;
mod spawn;
mod transcript;

use dialect::MethodTable;

use crate::context::Context;

pub(crate) fn bind(table: &mut MethodTable, context: &Context) {
    read::bind(table);
    search::bind(table);
    manage::bind(table);
    send::bind(table, context);
    spawn::bind(table, context);
    run_status::bind(table);
}
