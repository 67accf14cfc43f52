//! Keys of the published Aleph configuration that have another place in ours.
//!
//! Who checks a configuration in Aleph's words is told what is wrong with a value under the key that
//! it stands at; a value that is right is told where it belongs, because unknown keys are errors.

use serde_json::{Map, Value};

use self::Place::{Here, Taken};

/// Theirs, and ours. A key that ends with a table stands for all that is below it.
const KEYS: [(&str, &str); 13] = [
    ("agent.default_model", "models.default"),
    ("agent.max_iterations", "limits.max_iterations"),
    ("agent.thinking", "agents.main.thinking"),
    ("session.dm_scope", "sessions.dm_scope"),
    ("session.expiry_days", "sessions.expiry_days"),
    ("session.compaction", "sessions.compaction"),
    ("gateway.allowed_origins", "aleph.allowed_origins"),
    ("gateway.chunk_topics", "aleph.chunk_topics"),
    ("gateway.implicit_run_events", "aleph.implicit_run_events"),
    ("gateway.max_connections", "aleph.max_connections"),
    ("gateway.max_message_bytes", "aleph.max_message_bytes"),
    ("gateway.rate_limit", "aleph.rate_limit"),
    ("gateway.token_expiry_ms", "aleph.token_expiry_ms"),
];

/// A value that was put where ours has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    pub theirs: &'static str,
    pub ours: &'static str,
}

impl Moved {
    /// The path of a remark as it is in what was handed in; `None` when it is about something else.
    pub fn path(&self, path: &str) -> Option<String> {
        let rest = path.strip_prefix(self.ours)?;
        (rest.is_empty() || rest.starts_with(['.', '['])).then(|| format!("{}{rest}", self.theirs))
    }
}

/// Puts what stands under their keys under ours, unless something stands there already.
pub fn translate(config: &mut Value) -> Vec<Moved> {
    let mut moved = Vec::new();
    let Some(root) = config.as_object_mut() else { return moved };
    for (theirs, ours) in KEYS {
        let Some(value) = take(root, theirs) else { continue };
        match put(root, ours, value) {
            Here => moved.push(Moved { theirs, ours }),
            Taken(value) => {
                // Left where it was; an unknown key is told of in the usual way.
                put(root, theirs, value);
            }
        }
    }
    moved
}

enum Place {
    Here,
    /// Something stands there; the value is given back.
    Taken(Value),
}

/// Takes a value out, with the tables around it that are empty then.
fn take(table: &mut Map<String, Value>, path: &str) -> Option<Value> {
    let Some((first, rest)) = path.split_once('.') else { return table.remove(path) };
    let inner = table.get_mut(first)?.as_object_mut()?;
    let value = take(inner, rest);
    if value.is_some() && inner.is_empty() {
        table.remove(first);
    }
    value
}

fn put(table: &mut Map<String, Value>, path: &str, value: Value) -> Place {
    let Some((first, rest)) = path.split_once('.') else {
        return match table.get(path) {
            Some(_) => Taken(value),
            None => {
                table.insert(path.to_owned(), value);
                Here
            }
        };
    };
    match table.entry(first).or_insert_with(|| Value::Object(Map::new())) {
        Value::Object(inner) => put(inner, rest, value),
        _ => Taken(value),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn their_keys_are_put_where_ours_are_and_remarks_find_their_way_back() {
        let mut config =
            json!({ "agent": { "max_iterations": -5 }, "session": { "compaction": { "threshold": "x" } } });
        let moved = translate(&mut config);
        assert_eq!(
            config,
            json!({ "limits": { "max_iterations": -5 }, "sessions": { "compaction": { "threshold": "x" } } })
        );
        assert_eq!(moved.len(), 2);
        assert_eq!(moved[0].path("limits.max_iterations").as_deref(), Some("agent.max_iterations"));
        assert_eq!(moved[1].path("sessions.compaction.threshold").as_deref(), Some("session.compaction.threshold"));
        assert_eq!(moved[0].path("limits.max_iterations_more"), None);
    }

    #[test]
    fn what_is_unknown_or_taken_stays_where_it_is() {
        let config = json!({ "agent": { "colour": 1, "max_iterations": 3 }, "limits": { "max_iterations": 4 } });
        let mut translated = config.clone();
        assert_eq!(translate(&mut translated), []);
        assert_eq!(translated, config);
        assert_eq!(translate(&mut json!("agent.max_iterations = 1")), []);
    }
}
