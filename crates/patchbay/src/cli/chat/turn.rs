//! One message and its answer on the screen.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::signal::unix::Signal;

use super::backend::{Backend, Outcome, TurnEvent};
use super::lines::{Line, Lines};
use crate::cli::failure::Failure;
use crate::cli::output::{self, aside, note};

/// Characters of a tool's arguments, or of what went wrong with it, that are shown.
const TOOL_CHARS_MAX: usize = 120;
/// Ends quicker than this go without their time.
const WORTH_TELLING: Duration = Duration::from_millis(500);

/// How answers are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Text as it comes.
    Stream,
    /// One object for each message, when its run is over.
    Json,
}

/// Where the person is: what a turn needs besides the gateway.
pub struct Person<'a> {
    pub lines: &'a mut Lines,
    pub interrupts: &'a mut Signal,
}

pub struct Turn<'a> {
    backend: &'a mut dyn Backend,
    style: Style,
    run_id: String,
    /// The text of the message that is being written; a run with tools writes several.
    message: String,
    is_line_open: bool,
    is_stopping: bool,
    is_asking: bool,
    /// Whether the model's notice is still to be shown.
    wants_notice: bool,
}

/// Why the showing of a run ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    Run(Outcome),
    /// The person did not want to wait for it.
    Left,
}

/// What became of a message.
pub struct Report {
    pub end: End,
    pub model: Option<String>,
    pub notice_shown: bool,
}

enum Step {
    Event(TurnEvent),
    Interrupt,
    Line(Line),
}

impl<'a> Turn<'a> {
    /// Sends a message; `params` are those of `chat.send`.
    pub async fn begin(
        backend: &'a mut dyn Backend,
        params: Value,
        style: Style,
        wants_notice: bool,
    ) -> Result<Self, Failure> {
        let sent = backend.send(params).await?;
        if sent.is_pending {
            aside("another message of this session is being answered; this one waits");
        }
        Ok(Self {
            backend,
            style,
            run_id: sent.run_id,
            message: String::new(),
            is_line_open: false,
            is_stopping: false,
            is_asking: false,
            wants_notice,
        })
    }

    /// Shows the run until it is over, or until a second interrupt.
    pub async fn show(mut self, person: Person<'_>) -> Result<Report, Failure> {
        let Person { lines, interrupts } = person;
        let mut model = None;
        let mut notice_shown = false;
        loop {
            let step = tokio::select! {
                event = self.backend.next() => Step::Event(event?),
                _ = interrupts.recv() => Step::Interrupt,
                line = lines.answer(), if self.is_asking => Step::Line(line),
            };
            match step {
                Step::Event(TurnEvent::Started { model: started }) => {
                    notice_shown |= self.show_notice(&started).await;
                    model = Some(started);
                }
                Step::Event(TurnEvent::Ended { outcome, response }) => {
                    self.end(response).await?;
                    return Ok(Report { end: End::Run(outcome), model, notice_shown });
                }
                Step::Event(TurnEvent::Question { prompt, options }) => self.ask(&prompt, &options, lines)?,
                Step::Event(event) => self.progress(event)?,
                Step::Interrupt if self.is_stopping => {
                    self.end_line()?;
                    return Ok(Report { end: End::Left, model, notice_shown });
                }
                Step::Interrupt => self.stop().await?,
                Step::Line(line) => self.answered(line).await?,
            }
        }
    }

    /// Only the embedded models have something that users must know, and they are always the provider `local`.
    async fn show_notice(&mut self, model: &str) -> bool {
        if !self.wants_notice || !model.starts_with("local/") {
            return false;
        }
        match self.backend.notice(model).await {
            Some(notice) => {
                aside(format_args!("{model}: {notice}"));
                true
            }
            None => false,
        }
    }

    fn progress(&mut self, event: TurnEvent) -> Result<(), Failure> {
        match event {
            TurnEvent::Text(text) => return self.text(&text),
            TurnEvent::ToolStarted { name, arguments } if self.style == Style::Stream => {
                self.end_line()?;
                let arguments = if arguments.is_null() {
                    String::new()
                } else {
                    output::excerpt(&arguments.to_string(), TOOL_CHARS_MAX)
                };
                aside(format_args!("→ {} {arguments}", output::printable(&name)));
            }
            TurnEvent::ToolEnded { name, error, duration_ms } if self.style == Style::Stream => {
                let name = output::printable(&name);
                match error {
                    Some(error) => aside(format_args!("✗ {name}: {}", output::excerpt(&error, TOOL_CHARS_MAX))),
                    None if u128::from(duration_ms) >= WORTH_TELLING.as_millis() => {
                        aside(format_args!("✓ {name} ({:.1} s)", duration_ms as f64 / 1000.0));
                    }
                    None => aside(format_args!("✓ {name}")),
                }
            }
            _ => {}
        }
        // What the model says after a tool is a message of its own.
        self.message.clear();
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.message.push_str(text);
        if self.style == Style::Json || text.is_empty() {
            return Ok(());
        }
        let shown = output::printable(text);
        self.is_line_open = !shown.ends_with('\n');
        output::piece(&shown)
    }

    fn end_line(&mut self) -> Result<(), Failure> {
        if std::mem::take(&mut self.is_line_open) { output::piece("\n") } else { Ok(()) }
    }

    fn ask(&mut self, prompt: &str, options: &[String], lines: &mut Lines) -> Result<(), Failure> {
        self.end_line()?;
        note(output::printable(prompt));
        for option in options {
            note(format_args!("  - {}", output::printable(option)));
        }
        self.is_asking = true;
        lines.ask("? ");
        Ok(())
    }

    async fn answered(&mut self, line: Line) -> Result<(), Failure> {
        self.is_asking = false;
        match line {
            Line::Text(text) if !text.trim().is_empty() => {
                self.backend.call("agent.respondToInput", json!({ "run_id": self.run_id, "message": text })).await?;
                Ok(())
            }
            Line::Text(_) | Line::Interrupted | Line::End => {
                note("the question stays without an answer");
                self.stop().await
            }
        }
    }

    async fn stop(&mut self) -> Result<(), Failure> {
        self.is_stopping = true;
        self.backend.call("agent.cancel", json!({ "run_id": self.run_id })).await?;
        Ok(())
    }

    /// The last of the text: what was lost on the way is in the response.
    async fn end(&mut self, response: Option<String>) -> Result<(), Failure> {
        if self.style == Style::Json {
            let status = self.backend.call("agent.status", json!({ "run_id": self.run_id })).await?;
            return output::line(summary(&status));
        }
        if let Some(response) = response
            && response != self.message
        {
            match response.strip_prefix(self.message.as_str()) {
                Some(rest) => self.text(rest)?,
                None if self.message.ends_with(&response) || response.is_empty() => {}
                None => {
                    self.end_line()?;
                    aside("some of the text was lost on the way; this is the whole answer:");
                    self.text(&response)?;
                }
            }
        }
        self.end_line()
    }
}

/// A run as `chat --json` tells it.
fn summary(status: &Value) -> Value {
    json!({
        "run_id": status["run_id"],
        "session_key": status["session_key"],
        "agent_id": status["agent_id"],
        "model": status["model"],
        "status": status["status"],
        "response": status["response"],
        "usage": { "total_tokens": status["tokens_used"] },
        "iterations": status["iterations"],
        "tools_called": status["tools_called"],
        "duration_ms": status["elapsed_ms"],
        "error": status["error"],
    })
}
