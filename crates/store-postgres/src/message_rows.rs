//! Messages as rows.

use model::{Message, MessageId, Role, RunId};
use store::StoreError;
use store::backend::rows::Extra;
use tokio_postgres::Row;

use crate::columns::{get, json, json_if_any, text, text_if_any, time, word};

pub const COLUMNS: &str = "m.message_id, m.seq, m.run_id, m.created_at, m.role, m.content, m.extra";
pub const COLUMN_COUNT: usize = 7;

pub fn message(row: &Row) -> Result<Message, StoreError> {
    let extra: Extra = json_if_any(row, 6)?.unwrap_or_default();
    Ok(Message {
        id: MessageId::trusted(text(row, 0)?),
        seq: get(row, 1)?,
        run_id: text_if_any(row, 2)?.map(RunId::trusted),
        created_at: time(row, 3)?,
        body: extra.into_body(word(row, 4, Role::parse)?, json(row, 5)?),
    })
}
