//! Commands that tell of a session, or copy it.

use std::fmt::Write;

use model::{Message, NewMessage, OpError, Role, SessionKey};
use services::Services;
use services::sessions::Fork;

use crate::session_key::spell;

/// The commands of this dialect beside those that every dialect has.
pub(super) const HELP: &str = "\
/usage: Show the tokens that this session has used
/context: Show what the model is given of this session
/export [markdown | json]: Write out this conversation
/fork: Copy this conversation into a new session
/branch [N]: List the copies of this conversation, or copy its first N messages
/budget N MESSAGE: Let this turn use at most so many tokens
/verbose off | on | full: Show or hide which tools were used
/reasoning off | on | stream: Show or hide the model's reasoning
/config show | history | set: Show the configuration, or how to change it";

/// Longest export, in bytes; of a longer conversation the newest messages are written.
const EXPORT_BYTES_MAX: usize = 1 << 20;

/// Copies that `/branch` lists.
const BRANCHES_MAX: usize = 20;

const NO_SESSION: &str = "Nothing was said in this session yet.";

pub(super) async fn usage(services: &Services, session: &SessionKey) -> Result<String, OpError> {
    let Some(stored) = services.sessions.get(session).await? else { return Ok(NO_SESSION.to_owned()) };
    let (input, output) = (stored.input_tokens, stored.output_tokens);
    let mut text = format!(
        "This session: {input} tokens in, {output} out, {} together. The conversation holds {} tokens in {} messages.",
        input + output,
        stored.token_count,
        stored.message_count
    );
    if let Some(run) = services.sessions.recent_runs(session, 1).await?.into_iter().find(|run| run.state.is_over()) {
        let model = run.model.map_or_else(|| String::from("no model"), |model| model.to_string());
        let usage = run.usage;
        let _ = write!(text, " Last turn: {} in, {} out, by {model}.", usage.input, usage.output);
    }
    Ok(text)
}

pub(super) async fn context(services: &Services, session: &SessionKey) -> Result<String, OpError> {
    let Some(stored) = services.sessions.get(session).await? else { return Ok(NO_SESSION.to_owned()) };
    let messages = services.sessions.transcript(session).await?;
    let mut text = format!("{} messages, {} tokens.", stored.message_count, stored.token_count);
    for role in [Role::System, Role::User, Role::Assistant, Role::Tool] {
        let of_role: Vec<&NewMessage> =
            messages.iter().map(|message| &message.body).filter(|body| body.role == role).collect();
        if !of_role.is_empty() {
            let tokens: u64 = of_role.iter().map(|body| body.token_estimate()).sum();
            let _ = write!(text, "\n{}: {} messages, {tokens} tokens", role.as_str(), of_role.len());
        }
    }
    let agent = services.agents.require(&session.agent())?;
    if let Some(model) = stored.settings.model.or_else(|| services.models.model_of(&agent)) {
        let window = services.models.describe(&model).and_then(|info| info.context_window);
        let window = window.map_or_else(|| String::from("a window of unknown size"), |size| format!("{size} tokens"));
        let _ = write!(text, "\nmodel: {model}, {window}");
    }
    let rules = services.sessions.rules();
    if rules.compaction.enabled {
        let _ = write!(text, "\ncompacted by itself beyond {} tokens", rules.compaction.threshold);
    }
    Ok(text)
}

pub(super) async fn export(services: &Services, session: &SessionKey, form: &str) -> Result<String, OpError> {
    let write: fn(&Message) -> String = match form.to_ascii_lowercase().as_str() {
        "" | "markdown" | "md" => markdown,
        "json" | "jsonl" => json_line,
        _ => return Ok(format!("`/export {form}` is unknown; `/export` takes markdown or json.")),
    };
    let messages = services.sessions.transcript(session).await?;
    if messages.is_empty() {
        return Ok(NO_SESSION.to_owned());
    }
    let mut room = EXPORT_BYTES_MAX;
    let mut written: Vec<String> = Vec::new();
    for message in messages.iter().rev() {
        let text = write(message);
        let Some(left) = room.checked_sub(text.len()) else { break };
        room = left;
        written.push(text);
    }
    written.reverse();
    Ok(written.join("\n"))
}

fn markdown(message: &Message) -> String {
    let body = &message.body;
    let mut text = format!("## {} ({})\n\n{}\n", body.role.as_str(), message.created_at.to_iso(), body.content.text());
    for call in &body.tool_calls {
        let _ = writeln!(text, "\n`{}` {}", call.name, call.arguments);
    }
    text
}

fn json_line(message: &Message) -> String {
    serde_json::json!({
        "id": message.id,
        "role": message.body.role,
        "content": message.body.content,
        "toolCalls": message.body.tool_calls,
        "timestamp": message.created_at,
    })
    .to_string()
}

pub(super) async fn fork(services: &Services, session: &SessionKey) -> Result<String, OpError> {
    Ok(told(services.sessions.fork(session, None).await?))
}

pub(super) async fn branch(services: &Services, session: &SessionKey, argument: &str) -> Result<String, OpError> {
    if !argument.is_empty() {
        return Ok(match argument.parse::<u64>() {
            Ok(keep @ 1..) => told(services.sessions.fork(session, Some(keep)).await?),
            _ => format!("`/branch {argument}` is unknown; `/branch` takes a number of messages from 1."),
        });
    }
    let default = services.agents.default_agent().id.clone();
    let forks = services.sessions.forks_of(session).await?;
    let mut lines: Vec<String> = Vec::new();
    let stored = services.sessions.get(session).await?;
    if let Some(origin) = stored.and_then(|stored| stored.settings.forked_from) {
        lines.push(format!("This conversation is a copy of `{}`.", spell(&origin, &default)));
    }
    if forks.is_empty() {
        lines.push(String::from("There are no copies of this conversation; `/fork` makes one."));
    }
    for fork in forks.iter().take(BRANCHES_MAX) {
        let (key, count) = (spell(&fork.key, &default), fork.message_count);
        lines.push(format!("`{key}`: {count} messages, last used {}", fork.updated_at.to_iso()));
    }
    if forks.len() > BRANCHES_MAX {
        lines.push(format!("and {} more", forks.len() - BRANCHES_MAX));
    }
    Ok(lines.join("\n"))
}

fn told(fork: Option<Fork>) -> String {
    match fork {
        Some(Fork { key, messages }) => {
            format!("Copied {messages} messages into `{key}`; use it as sessionKey to go on there.")
        }
        None => NO_SESSION.to_owned(),
    }
}
