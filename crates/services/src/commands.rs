//! Slash commands: what a message that starts with `/` does without asking a model.

use model::{ModelRef, OpError, SessionKey, SessionSettings, StopCause, Thinking};

use crate::Services;

/// A command that a client can offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandInfo {
    pub key: &'static str,
    pub description: &'static str,
    /// What may follow it.
    pub hint: Option<&'static str>,
}

const BUILT_IN: [CommandInfo; 8] = [
    CommandInfo { key: "clear", description: "Remove the messages of this session and keep its settings", hint: None },
    CommandInfo { key: "compact", description: "Replace older messages of this session by a summary", hint: None },
    CommandInfo { key: "help", description: "Show what can be typed here", hint: None },
    CommandInfo {
        key: "model",
        description: "Show or choose the model of this session",
        hint: Some("[provider/model | default]"),
    },
    CommandInfo { key: "new", description: "Begin a new conversation in this session", hint: None },
    CommandInfo { key: "status", description: "Show the model, the tokens and the runs of this session", hint: None },
    CommandInfo { key: "stop", description: "Stop what runs in this session", hint: None },
    CommandInfo {
        key: "think",
        description: "Show or choose how much the model reasons",
        hint: Some("[off | minimal | low | medium | high | xhigh | default]"),
    },
];

/// Words that stop a session when they are the whole message.
const STOP_WORDS: [&str; 6] = ["stop", "esc", "abort", "wait", "exit", "interrupt"];

/// What a typed command came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandReply {
    pub text: String,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Commands;

impl Commands {
    /// In order of key.
    pub fn list(self) -> &'static [CommandInfo] {
        &BUILT_IN
    }

    /// Whether the whole message asks to stop: `/stop`, or one of the stop words.
    pub fn is_stop(self, message: &str) -> bool {
        let word = message.trim();
        word.eq_ignore_ascii_case("/stop") || STOP_WORDS.iter().any(|stop| word.eq_ignore_ascii_case(stop))
    }

    /// Does what the message asks when it is a built-in command; `None` when it is not one.
    pub async fn run(
        self,
        services: &Services,
        session: &SessionKey,
        message: &str,
    ) -> Result<Option<CommandReply>, OpError> {
        let Some(line) = message.trim().strip_prefix('/') else { return Ok(None) };
        let (name, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let argument = argument.trim();
        let text = match name.to_ascii_lowercase().as_str() {
            "help" => help(),
            "new" | "reset" => {
                services.runs.reset_session(session, name).await?;
                String::from("A new conversation begins.")
            }
            "clear" => {
                let removed = services.runs.clear_session(session, true).await?.unwrap_or(0);
                format!("{removed} messages removed.")
            }
            "compact" => compact(services, session).await?,
            "stop" => {
                let stopped = services.runs.cancel_session(session, StopCause::StopCommand).await?;
                if stopped.is_empty() {
                    String::from("Nothing was running.")
                } else {
                    format!("Stopped {}.", count(stopped.len(), "run"))
                }
            }
            "status" => status(services, session).await?,
            "model" => model(services, session, argument).await?,
            "think" => think(services, session, argument).await?,
            _ => return Ok(None),
        };
        Ok(Some(CommandReply { text }))
    }
}

fn help() -> String {
    let lines = BUILT_IN.iter().map(|command| match command.hint {
        Some(hint) => format!("/{} {hint}: {}", command.key, command.description),
        None => format!("/{}: {}", command.key, command.description),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

async fn compact(services: &Services, session: &SessionKey) -> Result<String, OpError> {
    let result = services.runs.compact(session, crate::sessions::CompactOptions::default()).await?;
    Ok(if result.compacted {
        format!("Compacted from {} to {} tokens.", result.tokens_before, result.tokens_after)
    } else {
        String::from("There is nothing to compact.")
    })
}

async fn status(services: &Services, session: &SessionKey) -> Result<String, OpError> {
    let stored = services.sessions.get(session).await?;
    let agent = services.agents.require(&session.agent())?;
    let chosen = stored.as_ref().and_then(|session| session.settings.model.clone());
    let model = chosen.or_else(|| services.models.model_of(&agent));
    let model = model.map_or_else(|| String::from("none configured"), |model| model.to_string());
    let (messages, tokens) = stored.map_or((0, 0), |session| (session.message_count, session.token_count));
    let active = services.runs.active_of(session).len();
    Ok(format!("agent {}, model {model}, {messages} messages, {tokens} tokens, {active} active", agent.id))
}

async fn model(services: &Services, session: &SessionKey, argument: &str) -> Result<String, OpError> {
    if argument.is_empty() {
        return status(services, session).await;
    }
    let chosen: Option<ModelRef> = match argument {
        "default" => None,
        text => Some(text.parse().map_err(|reason| OpError::invalid("model", reason))?),
    };
    if let Some(model) = &chosen {
        services.models.require(model)?;
    }
    let words = chosen.as_ref().map_or_else(|| String::from("the agent's own model"), ToString::to_string);
    services.sessions.configure(session, move |settings: &mut SessionSettings| settings.model = chosen).await?;
    Ok(format!("This session now uses {words}."))
}

async fn think(services: &Services, session: &SessionKey, argument: &str) -> Result<String, OpError> {
    let level: Option<Thinking> = match argument {
        "" => {
            let stored = services.sessions.get(session).await?.and_then(|session| session.settings.thinking);
            return Ok(format!("Thinking is {}.", stored.map_or("the agent's default", Thinking::as_str)));
        }
        "default" => None,
        text => Some(text.parse().map_err(|reason| OpError::invalid("thinking", reason))?),
    };
    services.sessions.configure(session, move |settings: &mut SessionSettings| settings.thinking = level).await?;
    Ok(format!("Thinking is now {}.", level.map_or("the agent's default", Thinking::as_str)))
}
