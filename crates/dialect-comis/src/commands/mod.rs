//! Slash commands of `POST /api/chat`: what is answered without a model, and what a directive makes
//! of the rest of its message.

mod answers;
mod directives;

use dialect::http::{Caller, Grant};
use model::{ErrorKind, OpError, SessionKey, SessionSettings};
use services::Services;

pub(crate) use directives::{Directives, Reasoning, Verbose};

use directives::{Directive, Read};

/// What a chat message asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    /// A command; this is its answer.
    Reply(String),
    /// A turn with this text, run and shown as its directives say.
    Turn { text: String, directives: Directives },
}

/// Reads a message. What is no command that this gateway has goes to the model as it is.
pub(crate) async fn interpret(
    services: &Services,
    caller: &Caller,
    session: &SessionKey,
    message: &str,
) -> Result<Spoken, OpError> {
    let reply = match directives::read(message) {
        Read::Turn(directives, text) => return Ok(Spoken::Turn { text: text.to_owned(), directives }),
        Read::Settings(settings) => choose(services, session, settings).await,
        Read::Wrong(words) => Ok(Some(words)),
        Read::Nothing => command(services, caller, session, message).await,
    };
    match reply {
        Ok(Some(reply)) => Ok(Spoken::Reply(reply)),
        Ok(None) => Ok(Spoken::Turn { text: message.to_owned(), directives: Directives::default() }),
        Err(error) if is_for_the_user(&error) => Ok(Spoken::Reply(error.message)),
        Err(error) => Err(error),
    }
}

async fn command(
    services: &Services,
    caller: &Caller,
    session: &SessionKey,
    message: &str,
) -> Result<Option<String>, OpError> {
    let Some(line) = message.trim().strip_prefix('/') else { return Ok(None) };
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let answer = match name.to_ascii_lowercase().as_str() {
        "config" => config(services, caller, rest),
        "usage" => answers::usage(services, session).await?,
        "context" => answers::context(services, session).await?,
        "export" => answers::export(services, session, rest).await?,
        "fork" => answers::fork(services, session).await?,
        "branch" => answers::branch(services, session, rest).await?,
        "verbose" => format!("Verbose is {}.", settings(services, session).await?.verbose.as_deref().unwrap_or("off")),
        "reasoning" => {
            format!("Reasoning is {}.", settings(services, session).await?.reasoning.as_deref().unwrap_or("off"))
        }
        "budget" => String::from("A budget is for one message: `/budget 50k MESSAGE`."),
        "help" => {
            let known = services.commands.run(services, session, message).await?;
            known.map(|known| format!("{}\n{}", known.text, answers::HELP)).unwrap_or_default()
        }
        _ => return Ok(services.commands.run(services, session, message).await?.map(|reply| reply.text)),
    };
    Ok(Some(answer))
}

/// Directives without a message are choices for the session.
async fn choose(services: &Services, session: &SessionKey, chosen: Vec<Directive>) -> Result<Option<String>, OpError> {
    let mut told = Vec::new();
    for directive in chosen {
        told.push(match directive {
            Directive::Think(level) => {
                services.sessions.configure(session, move |settings| settings.thinking = Some(level)).await?;
                format!("Thinking is now {}.", level.as_str())
            }
            Directive::Verbose(verbose) => {
                let word = verbose.word();
                services.sessions.configure(session, move |settings| settings.verbose = Some(word.to_owned())).await?;
                format!("Verbose is now {word}.")
            }
            Directive::Reasoning(reasoning) => {
                let word = reasoning.word();
                services
                    .sessions
                    .configure(session, move |settings| settings.reasoning = Some(word.to_owned()))
                    .await?;
                format!("Reasoning is now {word}.")
            }
            Directive::Budget(_) => String::from("A budget is for one message: `/budget 50k MESSAGE`."),
        });
    }
    Ok(Some(told.join("\n")))
}

/// What was chosen for a session; nothing for one that does not exist.
pub(crate) async fn settings(services: &Services, session: &SessionKey) -> Result<SessionSettings, OpError> {
    Ok(services.sessions.get(session).await?.map(|session| session.settings).unwrap_or_default())
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
        | ErrorKind::ProviderRefused
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
