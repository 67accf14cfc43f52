//! Slash commands of `POST /api/chat`: what is answered without a model, and what a directive makes
//! of the rest of its message.

use dialect::http::{Caller, Grant};
use model::{ErrorKind, OpError, SessionKey, Thinking};
use services::Services;

/// What a chat message asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    /// A command; this is its answer.
    Reply(String),
    /// A turn with this text, and with this much reasoning when the message says so.
    Turn { text: String, thinking: Option<Thinking> },
}

/// Reads a message. What is no command that this gateway has goes to the model as it is.
pub(crate) async fn interpret(
    services: &Services,
    caller: &Caller,
    session: &SessionKey,
    message: &str,
) -> Result<Spoken, OpError> {
    let turn = |text: &str, thinking| Spoken::Turn { text: text.to_owned(), thinking };
    let Some(line) = message.trim().strip_prefix('/') else { return Ok(turn(message, None)) };
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    match name.to_ascii_lowercase().as_str() {
        "config" => return Ok(Spoken::Reply(config(services, caller, rest))),
        "think" => {
            let (level, text) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            if let (Ok(level), text) = (level.parse::<Thinking>(), text.trim())
                && !text.is_empty()
            {
                return Ok(turn(text, Some(level)));
            }
        }
        _ => {}
    }
    match services.commands.run(services, session, message).await {
        Ok(Some(reply)) => Ok(Spoken::Reply(reply.text)),
        Ok(None) => Ok(turn(message, None)),
        Err(error) if is_for_the_user(&error) => Ok(Spoken::Reply(error.message)),
        Err(error) => Err(error),
    }
}

/// A command that cannot be done as it was typed is answered, not failed.
fn is_for_the_user(error: &OpError) -> bool {
    match error.kind {
        ErrorKind::InvalidParams
        | ErrorKind::NotFound(_)
        | ErrorKind::Denied
        | ErrorKind::Conflict
        | ErrorKind::Busy
        | ErrorKind::RateLimited
        | ErrorKind::Timeout => true,
        ErrorKind::Unauthenticated
        | ErrorKind::ToolFailed
        | ErrorKind::ProviderFailed
        | ErrorKind::Unavailable
        | ErrorKind::Internal => false,
    }
}

fn config(services: &Services, caller: &Caller, argument: &str) -> String {
    if !caller.may(Grant::Admin) {
        return String::from("The configuration is for administrators: your token lacks the scope `admin`.");
    }
    let mut words = argument.split_whitespace();
    match (words.next(), words.next()) {
        (None, _) | (Some("show"), None) => pretty(&services.config.effective()),
        (Some("show"), Some(section)) => {
            let effective = services.config.effective();
            effective.get(section).map_or_else(|| format!("There is no section `{section}`."), pretty)
        }
        (Some("history"), _) => String::from("Earlier configurations are listed by `patchbay config history`."),
        (Some("set"), _) => String::from("The configuration is changed by `patchbay config set KEY VALUE`."),
        (Some(other), _) => format!("`/config {other}` is unknown; `/config show [section]` shows the configuration."),
    }
}

fn pretty(value: &serde_json::Value) -> String {
    format!("{value:#}")
}
