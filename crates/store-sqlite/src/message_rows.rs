//! Messages as rows.

use std::sync::Arc;

use model::{Content, Message, MessageId, Role, RunId};
use rusqlite::Row;
use store::backend::rows::Extra;

use crate::columns::{Json, text, time, word};

pub const COLUMNS: &str = "m.message_id, m.seq, m.run_id, m.created_at, m.role, m.content, m.extra";

pub fn message(row: &Row<'_>) -> rusqlite::Result<Message> {
    let extra = row.get::<_, Option<Json<Extra>>>(6)?.map_or_else(Extra::default, |Json(extra)| extra);
    Ok(Message {
        id: MessageId::trusted(text(row, 0)?),
        seq: row.get(1)?,
        run_id: row.get::<_, Option<Arc<str>>>(2)?.map(RunId::trusted),
        created_at: time(row, 3)?,
        body: extra.into_body(word(row, 4, Role::parse)?, row.get::<_, Json<Content>>(5)?.0),
    })
}
