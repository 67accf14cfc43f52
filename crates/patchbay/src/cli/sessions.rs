//! `patchbay sessions`

use clap::Subcommand;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::Client;
use super::common::{Common, TargetArgs};
use super::failure::Failure;
use super::output;

/// Characters of a tool's result that `show` prints.
const TOOL_CHARS_MAX: usize = 200;

/// List, read, shorten and delete conversations.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    patchbay sessions list\n  \
    patchbay sessions list --agent main --limit 10\n  \
    patchbay sessions show agent:main:main\n  \
    patchbay sessions compact agent:main:main\n  \
    patchbay sessions delete agent:main:dm:alice")]
pub struct Sessions {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show the sessions, the most recently used first
    List {
        /// Only this agent's
        #[arg(long, value_name = "AGENT")]
        agent: Option<String>,
        /// Only keys that contain this
        #[arg(long, value_name = "TEXT", conflicts_with = "agent")]
        key: Option<String>,
        /// At most so many
        #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: u32,
    },
    /// Print a conversation
    Show {
        /// `agent:<agent>:<rest>`, or only the rest for the agent `main`
        key: String,
        /// The newest so many messages
        #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Delete a session with its messages; what runs in it is cancelled
    Delete {
        /// `agent:<agent>:<rest>`, or only the rest for the agent `main`
        key: String,
    },
    /// Replace the older messages of a session by a summary
    Compact {
        /// `agent:<agent>:<rest>`, or only the rest for the agent `main`
        key: String,
        /// Newest messages to keep [default: as configured]
        #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(0..=1000))]
        keep: Option<u32>,
    },
}

/// A key as people write it.
pub fn full_key(agent: &str, text: &str) -> String {
    if text.starts_with("agent:") || text.starts_with("subagent:") {
        text.to_owned()
    } else {
        format!("agent:{agent}:{text}")
    }
}

#[derive(Deserialize)]
struct Listed {
    key: String,
    session_type: String,
    message_count: u64,
    token_count: u64,
    updated_at: i64,
}

impl Sessions {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let mut client = common.target(&self.target)?.connect().await?;
        let key = |text: &str| full_key("main", text);
        match self.action {
            Action::List { agent, key, limit } => {
                let filter = match (agent, key) {
                    (Some(agent), _) => json!({ "agent_id": agent }),
                    (None, Some(key)) => json!(key),
                    (None, None) => Value::Null,
                };
                list(common, client.ask("session.list", &json!({ "filter": filter, "limit": limit })).await?)?;
            }
            Action::Show { key: text, limit } => show(common, &mut client, &key(&text), limit).await?,
            Action::Delete { key: text } => {
                let answer: Value = client.ask("session.delete", &json!({ "session_key": key(&text) })).await?;
                done(common, &answer, |answer| format!("deleted with {} messages", answer["messages_removed"]))?;
            }
            Action::Compact { key: text, keep } => {
                let mut params = json!({ "session_key": key(&text) });
                if let Some(keep) = keep {
                    params["keep_recent"] = json!(keep);
                }
                let answer: Value = client.ask("session.compact", &params).await?;
                done(common, &answer, compacted)?;
            }
        }
        client.close().await;
        Ok(())
    }
}

fn done(common: &Common, answer: &Value, words: impl FnOnce(&Value) -> String) -> Result<(), Failure> {
    if common.json {
        return output::json(answer);
    }
    output::note(format_args!("{}: {}", answer["session_key"].as_str().unwrap_or_default(), words(answer)));
    Ok(())
}

fn compacted(answer: &Value) -> String {
    if answer["compacted"] == json!(true) {
        format!("from {} to {} tokens", answer["tokens_before"], answer["tokens_after"])
    } else {
        String::from("there is nothing to compact")
    }
}

fn list(common: &Common, answer: Value) -> Result<(), Failure> {
    if common.json {
        return output::json(&answer["sessions"]);
    }
    let sessions: Vec<Listed> = serde_json::from_value(answer["sessions"].clone())?;
    if sessions.is_empty() {
        output::note("there are no sessions; `patchbay chat` begins one");
        return Ok(());
    }
    let shown = sessions.len() as u64;
    let rows = sessions.into_iter().map(|session| {
        let counts = [session.message_count.to_string(), session.token_count.to_string()];
        let [messages, tokens] = counts;
        vec![session.key, session.session_type, messages, tokens, output::time(Some(session.updated_at))]
    });
    output::table(&["KEY", "TYPE", "MESSAGES", "TOKENS", "USED"], rows)?;
    let total = answer["total"].as_u64().unwrap_or(shown);
    if total > shown {
        output::note(format_args!("{shown} of {total}; --limit shows more"));
    }
    Ok(())
}

async fn show(common: &Common, client: &mut Client, key: &str, limit: u32) -> Result<(), Failure> {
    let answer: Value = client.ask("session.history", &json!({ "session_key": key, "limit": limit })).await?;
    if common.json {
        return output::json(&answer);
    }
    let messages = answer["messages"].as_array().cloned().unwrap_or_default();
    let total = answer["total"].as_u64().unwrap_or_default();
    output::note(format_args!("{key}: {total} messages, {} tokens", answer["token_count"]));
    for message in &messages {
        let role = message["role"].as_str().unwrap_or_default();
        let text = text_of(&message["content"]);
        let text = if role == "tool" { output::excerpt(&text, TOOL_CHARS_MAX) } else { output::printable(&text) };
        output::line(format_args!("[{}] {role}: {text}", output::time(message["timestamp"].as_i64())))?;
        for call in message["tool_calls"].as_array().into_iter().flatten() {
            let arguments = output::excerpt(call["arguments"].as_str().unwrap_or_default(), TOOL_CHARS_MAX);
            output::line(format_args!("    → {} {arguments}", call["name"].as_str().unwrap_or_default()))?;
        }
    }
    Ok(())
}

/// The text of a message; what is no text is named.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let words = parts.iter().map(|part| match part["text"].as_str() {
                Some(text) => text.to_owned(),
                None => format!("[{}]", part["type"].as_str().unwrap_or("attachment")),
            });
            words.collect::<Vec<_>>().join(" ")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_keys_belong_to_the_agent() {
        assert_eq!(full_key("main", "work"), "agent:main:work");
        assert_eq!(full_key("main", "agent:other:x"), "agent:other:x");
    }

    #[test]
    fn parts_without_text_are_named() {
        assert_eq!(text_of(&json!([{ "type": "text", "text": "see" }, { "type": "image" }])), "see [image]");
    }
}
