//! All rows of a database in a form that every backend gives and takes.
//!
//! It is what backends have in common; what one of them keeps beside it, such as an index of words, it
//! makes anew from the rows. A test of each backend holds its schema to [`TABLES`].

use model::{Content, Role};

use crate::StoreError;

/// What a column holds, or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Number,
    YesNo,
}

/// One value of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    Null,
    Text(String),
    Number(i64),
    YesNo(bool),
}

/// A table that every backend has.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    pub name: &'static str,
    /// In the order in which a row has its cells.
    pub columns: &'static [(&'static str, Kind)],
}

/// Whoever takes rows, one at a time. Its error ends the giving.
pub type Take<'a> = dyn FnMut(&'static Table, &[Cell]) -> Result<(), StoreError> + 'a;

impl Table {
    /// The names of the columns, as a statement lists them.
    pub fn column_list(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| *name).collect();
        names.join(", ")
    }

    /// Whether the order in which rows came is kept as a number.
    pub fn is_ordered(&self) -> bool {
        self.columns.first().is_some_and(|(name, _)| *name == "ordinal")
    }

    fn position(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|(name, _)| *name == column)
    }

    /// What of a row is found by a search: the text of a message of a user or an assistant.
    pub fn searched(&self, row: &[Cell]) -> Result<Option<String>, StoreError> {
        let cell = |column| self.position(column).and_then(|position| row.get(position));
        let ("messages", Some(Cell::Text(role)), Some(Cell::Text(content))) =
            (self.name, cell("role"), cell("content"))
        else {
            return Ok(None);
        };
        if !matches!(Role::parse(role), Some(Role::User | Role::Assistant)) {
            return Ok(None);
        }
        let content: Content = serde_json::from_str(content)
            .map_err(|error| StoreError::Corrupt(format!("the content of a message: {error}")))?;
        Ok(Some(content.text().into_owned()))
    }
}

/// Refuses a schema whose rows this program does not know, as one to copy rows from or to.
pub fn check_version(found: u32, known: u32) -> Result<(), StoreError> {
    match found {
        _ if found > known => Err(StoreError::FromTheFuture { found, known }),
        0 => Err(StoreError::Refused(String::from("it is empty; the first start of a gateway fills it"))),
        _ if found < known => Err(StoreError::Refused(format!(
            "it has schema version {found}, this program writes {known}; start a gateway of this version once, which \
             brings it up to date"
        ))),
        _ => Ok(()),
    }
}

const TEXT: Kind = Kind::Text;
const NUMBER: Kind = Kind::Number;
const YES_NO: Kind = Kind::YesNo;

/// All tables; those that rows of others belong to come first.
pub const TABLES: [Table; 14] = [
    Table { name: "counters", columns: &[("name", TEXT), ("value", NUMBER)] },
    Table {
        name: "sessions",
        columns: &[
            ("session_key", TEXT),
            ("session_id", TEXT),
            ("agent_id", TEXT),
            ("channel", TEXT),
            ("ephemeral", YES_NO),
            ("created_at", NUMBER),
            ("updated_at", NUMBER),
            ("message_count", NUMBER),
            ("token_count", NUMBER),
            ("input_tokens", NUMBER),
            ("output_tokens", NUMBER),
            ("last_compaction", NUMBER),
            ("aborted_last_run", YES_NO),
            ("label", TEXT),
            ("label_folded", TEXT),
            ("spawned_by", TEXT),
            ("settings", TEXT),
        ],
    },
    Table { name: "transcripts", columns: &[("session_id", TEXT), ("session_key", TEXT), ("agent_id", TEXT)] },
    Table {
        name: "messages",
        columns: &[
            ("ordinal", NUMBER),
            ("message_id", TEXT),
            ("session_id", TEXT),
            ("seq", NUMBER),
            ("run_id", TEXT),
            ("role", TEXT),
            ("created_at", NUMBER),
            ("tokens", NUMBER),
            ("content", TEXT),
            ("extra", TEXT),
        ],
    },
    Table {
        name: "runs",
        columns: &[
            ("ordinal", NUMBER),
            ("run_id", TEXT),
            ("session_key", TEXT),
            ("session_id", TEXT),
            ("agent_id", TEXT),
            ("state", TEXT),
            ("is_over", YES_NO),
            ("message_id", TEXT),
            ("started_by", TEXT),
            ("origin", TEXT),
            ("options", TEXT),
            ("model", TEXT),
            ("accepted_at", NUMBER),
            ("started_at", NUMBER),
            ("ended_at", NUMBER),
            ("iterations", NUMBER),
            ("usage", TEXT),
            ("next_seq", NUMBER),
            ("end_reason", TEXT),
            ("stop_cause", TEXT),
            ("error_kind", TEXT),
            ("error_message", TEXT),
            ("response", TEXT),
            ("awaiting", TEXT),
            ("owner", NUMBER),
        ],
    },
    Table {
        name: "run_inputs",
        columns: &[("ordinal", NUMBER), ("input_id", TEXT), ("run_id", TEXT), ("text", TEXT), ("created_at", NUMBER)],
    },
    Table {
        name: "tool_calls",
        columns: &[
            ("ordinal", NUMBER),
            ("run_id", TEXT),
            ("call_id", TEXT),
            ("name", TEXT),
            ("arguments", TEXT),
            ("state", TEXT),
            ("result", TEXT),
            ("started_at", NUMBER),
            ("ended_at", NUMBER),
        ],
    },
    Table { name: "events", columns: &[("cursor", NUMBER), ("created_at", NUMBER), ("body", TEXT)] },
    Table {
        name: "tokens",
        columns: &[
            ("token_id", TEXT),
            ("name", TEXT),
            ("hash", TEXT),
            ("scopes", TEXT),
            ("role", TEXT),
            ("device_id", TEXT),
            ("parent", TEXT),
            ("created_at", NUMBER),
            ("expires_at", NUMBER),
            ("revoked_at", NUMBER),
        ],
    },
    Table {
        name: "facts",
        columns: &[
            ("ordinal", NUMBER),
            ("fact_id", TEXT),
            ("agent_id", TEXT),
            ("text", TEXT),
            ("normalised", TEXT),
            ("session_key", TEXT),
            ("source", TEXT),
            ("created_at", NUMBER),
        ],
    },
    Table {
        name: "documents",
        columns: &[("kind", TEXT), ("document_id", TEXT), ("body", TEXT), ("updated_at", NUMBER)],
    },
    Table {
        name: "nodes",
        columns: &[
            ("fence", NUMBER),
            ("name", TEXT),
            ("host", TEXT),
            ("version", TEXT),
            ("pid", NUMBER),
            ("addresses", TEXT),
            ("lease_ms", NUMBER),
            ("joined_at", NUMBER),
            ("beats", NUMBER),
            ("is_draining", YES_NO),
        ],
    },
    Table { name: "session_holds", columns: &[("session_key", TEXT), ("owner", NUMBER)] },
    Table {
        name: "kept",
        columns: &[
            ("kind", TEXT),
            ("kept_id", TEXT),
            ("owner", TEXT),
            ("body", TEXT),
            ("bytes", NUMBER),
            ("kept_at", NUMBER),
        ],
    },
];
