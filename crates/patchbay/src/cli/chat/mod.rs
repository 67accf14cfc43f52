//! `patchbay chat`

mod backend;
mod commands;
mod lines;
mod local;
mod remote;
mod turn;

use std::io::{IsTerminal, Read};
use std::path::PathBuf;

use anyhow::Context;
use model::{AgentId, ModelRef, SessionKey, Thinking};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::backend::{Backend, Outcome};
use self::commands::{Command, HELP};
use self::lines::{Line, Lines};
use self::local::Local;
use self::remote::Remote;
use self::turn::{End, Person, Style, Turn};
use super::common::{Common, TargetArgs};
use super::failure::{Exit, Failure};
use super::output::{aside, note};
use super::sessions::full_key;
use super::target::{Located, Target};
use crate::prepared::Options;

/// Talk to an agent: one message, or a conversation when none is given.
///
/// Without a message, a terminal gets a line editor with history, and each line of a pipe is a message. When no
/// gateway runs, one is started in this process for as long as the chat lasts; it listens nowhere.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    patchbay chat\n  \
    patchbay chat 'What can you do?'\n  \
    patchbay chat --agent coder --model openrouter/some-model 'Explain this error: …'\n  \
    git diff | patchbay chat -\n  \
    patchbay chat --session work --json 'Summarise the day' | jq -r .response")]
pub struct Chat {
    /// The message; `-` reads it from stdin
    message: Vec<String>,
    /// The agent to talk to [default: `main`]
    #[arg(long, value_name = "AGENT", value_parser = |text: &str| AgentId::parse(text))]
    agent: Option<AgentId>,
    /// The conversation to go on with, by its key or the part behind the agent [default: `main`]
    #[arg(long, value_name = "KEY")]
    session: Option<String>,
    /// The model for these messages, as provider/model [default: the agent's]
    #[arg(long, value_name = "MODEL")]
    model: Option<ModelRef>,
    #[command(flatten)]
    target: TargetArgs,
}

impl Chat {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let message = self.message()?;
        let target = common.target(&self.target)?;
        let has_editor = std::io::stdin().is_terminal();
        let mut backend = self.backend(common, &target, message.is_none() && has_editor).await?;
        let mut interrupts = signal(SignalKind::interrupt())?;
        let talked = async {
            let session = self.session(backend.as_mut()).await?;
            let lines = if has_editor { Lines::editor(history(&target))? } else { Lines::stdin()? };
            let style = if common.json { Style::Json } else { Style::Stream };
            let mut talk = Talk {
                backend: backend.as_mut(),
                lines,
                interrupts: &mut interrupts,
                session,
                model: self.model.clone(),
                thinking: None,
                style,
                last_model: None,
                is_notice_shown: false,
            };
            match message {
                Some(message) => talk.once(&message).await,
                None => talk.converse(has_editor).await,
            }
        };
        let result = talked.await;
        tokio::select! {
            () = backend.close() => {}
            _ = interrupts.recv() => {}
        }
        result
    }

    fn message(&self) -> Result<Option<String>, Failure> {
        let text = match self.message.as_slice() {
            [] => return Ok(None),
            [one] if one == "-" => {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text).context("cannot read stdin")?;
                text
            }
            words => words.join(" "),
        };
        if text.trim().is_empty() { Err(Failure::usage("the message is empty")) } else { Ok(Some(text)) }
    }

    /// The gateway that runs, else one in this process.
    async fn backend(
        &self,
        common: &Common,
        target: &Target,
        is_conversation: bool,
    ) -> Result<Box<dyn Backend>, Failure> {
        let may_start_own = matches!(target.locate()?, Located::Configured(_));
        match Remote::open(target.clone()).await {
            Ok(remote) => return Ok(Box::new(remote)),
            Err(failure) if may_start_own && failure.exit == Exit::Unreachable => {}
            // Whoever listens there does not know this home's credentials, so it is not this home's gateway.
            Err(failure) if may_start_own && failure.exit == Exit::Refused && !target.has_own_token() => {}
            Err(failure) => return Err(failure),
        }
        let local =
            Local::start(Options { home: common.home()?, config: common.config.clone(), log: common.log_level() })
                .await?;
        if is_conversation {
            aside("no gateway runs, so this process answers; `patchbay serve` starts one");
        }
        let agent = self.agent.clone().unwrap_or_else(AgentId::main);
        let candidates = local.candidates(&agent, self.model.as_ref());
        match ready(&candidates, target).await {
            Ok(()) => Ok(Box::new(local)),
            Err(failure) => {
                Box::new(local).close().await;
                Err(failure)
            }
        }
    }

    /// The full key of the session.
    async fn session(&self, backend: &mut dyn Backend) -> Result<String, Failure> {
        let agent = match (&self.agent, &self.session) {
            (Some(agent), _) => agent.clone(),
            (None, Some(key)) if key.contains(':') => AgentId::main(),
            (None, _) => {
                // The gateway knows which session is the caller's own.
                let answer = backend.call("chat.history", json!({ "limit": 1 })).await?;
                let own = SessionKey::parse(answer["session_key"].as_str().unwrap_or_default())?;
                if self.session.is_none() {
                    return Ok(own.to_string());
                }
                own.agent()
            }
        };
        let key = full_key(agent.as_str(), self.session.as_deref().unwrap_or("main"));
        Ok(SessionKey::parse(&key).map_err(Failure::usage)?.to_string())
    }
}

/// Where the editor's history is kept; nowhere before there is a home folder.
fn history(target: &Target) -> Option<PathBuf> {
    let home = target.home().path();
    home.is_dir().then(|| home.join("chat_history"))
}

/// Whether any of the models can answer at all, as far as this machine knows.
async fn ready(candidates: &[ModelRef], target: &Target) -> Result<(), Failure> {
    let Some(first) = candidates.first() else {
        return Err(Failure::because(
            "no model is configured; set OPENAI_API_KEY, ANTHROPIC_API_KEY or GEMINI_API_KEY, or add a provider with `patchbay config set`",
        ));
    };
    #[cfg(feature = "local")]
    if candidates.iter().all(|model| is_missing(model, target)) {
        return offer(first, target).await;
    }
    #[cfg(not(feature = "local"))]
    let _ = (first, target);
    Ok(())
}

#[cfg(feature = "local")]
fn is_missing(model: &ModelRef, target: &Target) -> bool {
    let installed = || local_model::manifest::find(&target.home().models(), &model.model, local_model::ModelKind::Chat);
    &*model.provider == "local" && installed().is_none()
}

/// The weights are not there: on a terminal they can be had at once.
#[cfg(feature = "local")]
async fn offer(model: &ModelRef, target: &Target) -> Result<(), Failure> {
    let advice = format!(
        "the embedded model `{model}` is not installed; run `patchbay models pull {}`, or set a provider's key such as OPENAI_API_KEY",
        model.model
    );
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Err(Failure::because(advice));
    }
    note(format_args!("The embedded model `{model}` is not installed. Download it now? [Y/n]"));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if !matches!(answer.trim().to_lowercase().as_str(), "" | "y" | "yes") {
        return Err(Failure::because(advice));
    }
    super::models::install::fetch(&model.model, &target.home().models()).await
}

/// A conversation, or one message of it.
struct Talk<'a> {
    backend: &'a mut dyn Backend,
    lines: Lines,
    interrupts: &'a mut Signal,
    session: String,
    model: Option<ModelRef>,
    thinking: Option<Thinking>,
    style: Style,
    /// The model that answered last.
    last_model: Option<String>,
    is_notice_shown: bool,
}

impl Talk<'_> {
    async fn once(&mut self, message: &str) -> Result<(), Failure> {
        match self.say(message).await? {
            End::Run(Outcome::Completed) => Ok(()),
            End::Run(Outcome::Cancelled) => Err(Failure::because("the run was cancelled")),
            // The object has the error.
            End::Run(Outcome::Failed(_)) if self.style == Style::Json => Err(Failure::told(Exit::Failure)),
            End::Run(Outcome::Failed(reason)) => Err(Failure::because(reason)),
            End::Left => Err(Failure::because("left before the run was over")),
        }
    }

    /// Line by line until the end of input. From a pipe, a failed message makes the whole fail at its end.
    async fn converse(&mut self, has_editor: bool) -> Result<(), Failure> {
        if has_editor {
            aside(format_args!("session {}; /help shows what can be typed", self.session));
        }
        let (mut interrupted, mut failed) = (false, false);
        loop {
            let line = match self.line(has_editor).await {
                Line::Text(line) => line,
                Line::Interrupted if interrupted => break,
                Line::Interrupted => {
                    interrupted = true;
                    aside("Ctrl-C again leaves");
                    continue;
                }
                Line::End => break,
            };
            interrupted = false;
            if line.trim().is_empty() {
                continue;
            }
            let done = match Command::parse(&line) {
                Some(Command::Quit) => break,
                Some(command) => self.command(command).await.map(|()| End::Run(Outcome::Completed)),
                None => self.say(&line).await,
            };
            match done {
                Ok(End::Run(Outcome::Completed)) => {}
                Ok(End::Run(Outcome::Cancelled)) => aside("cancelled"),
                Ok(End::Run(Outcome::Failed(reason))) => {
                    failed = true;
                    note(format_args!("patchbay: {reason}"));
                }
                Ok(End::Left) => break,
                // Someone at a terminal can try again; a script cannot.
                Err(failure) if has_editor && failure.exit != Exit::Refused => super::failure::report(&failure),
                Err(failure) => return Err(failure),
            }
        }
        if failed && !has_editor { Err(Failure::told(Exit::Failure)) } else { Ok(()) }
    }

    async fn line(&mut self, has_editor: bool) -> Line {
        self.lines.ask("> ");
        tokio::select! {
            line = self.lines.answer() => line,
            never = self.backend.idle() => match never {},
            // On a terminal the editor reads Ctrl-C itself.
            _ = self.interrupts.recv(), if !has_editor => Line::End,
        }
    }

    async fn say(&mut self, message: &str) -> Result<End, Failure> {
        let mut params = json!({ "message": message, "session_key": self.session });
        if let Some(model) = &self.model {
            params["model"] = json!(model);
        }
        if let Some(thinking) = self.thinking {
            params["thinking"] = json!(thinking);
        }
        let turn = Turn::begin(self.backend, params, self.style, !self.is_notice_shown).await?;
        let report = turn.show(Person { lines: &mut self.lines, interrupts: self.interrupts }).await?;
        self.is_notice_shown |= report.notice_shown;
        self.last_model = report.model.or(self.last_model.take());
        Ok(report.end)
    }

    async fn command(&mut self, command: Command) -> Result<(), Failure> {
        match command {
            Command::Help => note(HELP),
            Command::New => {
                self.backend.call("chat.clear", json!({ "session_key": self.session, "keep_system": false })).await?;
                note("a new conversation begins");
            }
            Command::Compact => {
                let done = self.backend.call("session.compact", json!({ "session_key": self.session })).await?;
                match done["compacted"].as_bool() {
                    Some(true) => note(format_args!(
                        "compacted from {} to {} tokens",
                        done["tokens_before"], done["tokens_after"]
                    )),
                    _ => note("there is nothing to compact"),
                }
            }
            Command::Model(None) => note(format_args!("model: {}", self.model_words())),
            Command::Model(Some(text)) => {
                self.model = if text == "default" { None } else { Some(text.parse().map_err(Failure::because)?) };
                note(format_args!("model: {}", self.model_words()));
            }
            Command::Think(None) => note(format_args!("thinking: {}", self.thinking_words())),
            Command::Think(Some(text)) => {
                self.thinking = if text == "default" { None } else { Some(text.parse().map_err(Failure::because)?) };
                note(format_args!("thinking: {}", self.thinking_words()));
            }
            Command::Status => self.status().await?,
            Command::Quit => {}
        }
        Ok(())
    }

    async fn status(&mut self) -> Result<(), Failure> {
        let listed = self.backend.call("session.list", json!({ "filter": self.session, "limit": 500 })).await?;
        let own =
            listed["sessions"].as_array().into_iter().flatten().find(|listed| listed["key"] == self.session.as_str());
        let count = |key: &str| own.map_or_else(|| json!(0), |own| own[key].clone());
        note(format_args!(
            "session {}, model {}, {} messages, {} tokens",
            self.session,
            self.model_words(),
            count("message_count"),
            count("token_count")
        ));
        Ok(())
    }

    fn model_words(&self) -> String {
        match (&self.model, &self.last_model) {
            (Some(chosen), _) => chosen.to_string(),
            (None, Some(last)) => format!("the agent's own ({last})"),
            (None, None) => String::from("the agent's own"),
        }
    }

    fn thinking_words(&self) -> &'static str {
        self.thinking.map_or("the agent's own", Thinking::as_str)
    }
}
