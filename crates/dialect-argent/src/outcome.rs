//! How runs ended, as `agent`, `chat.send` and `agent.wait` tell it.

use model::{ErrorKind, Event, OpError, Run, RunId, RunOutcome, RunState, StopCause, Timestamp, Usage};
use serde_json::{Value, json};

/// What `NO_REPLY` as the whole answer means: the agent chose to say nothing.
pub const SILENT_REPLY: &str = "NO_REPLY";

/// The end of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    pub run_id: RunId,
    pub end: End,
    pub text: String,
    /// `provider/model`
    pub model: Option<String>,
    pub usage: Usage,
    pub duration_ms: u64,
    pub started_at: Option<Timestamp>,
    pub ended_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq)]
pub enum End {
    Completed { reason: &'static str },
    Aborted { reason: &'static str },
    Failed { kind: ErrorKind, message: String },
}

/// Why a run was stopped, in the words of the published ArgentOS API.
pub const fn stop_reason(cause: StopCause) -> &'static str {
    match cause {
        StopCause::StopCommand => "stop",
        StopCause::Timeout => "timeout",
        StopCause::User
        | StopCause::SessionDeleted
        | StopCause::SessionReset
        | StopCause::Shutdown
        | StopCause::ClientGone => "rpc",
    }
}

impl Outcome {
    /// `None` while the run is not over.
    pub fn of_run(run: &Run) -> Option<Outcome> {
        let end = match run.state {
            RunState::Pending | RunState::Running => return None,
            RunState::Completed => End::Completed { reason: run.end_reason.map_or("stop", model::EndReason::as_str) },
            RunState::Cancelled => End::Aborted { reason: run.stop_cause.map_or("rpc", stop_reason) },
            RunState::Failed => {
                let error = run.error.clone();
                error.map_or(
                    End::Failed { kind: ErrorKind::Internal, message: String::from("internal error") },
                    |error| End::Failed { kind: error.kind, message: error.message },
                )
            }
        };
        let ended_at = run.ended_at.unwrap_or(run.accepted_at);
        Some(Outcome {
            run_id: run.id.clone(),
            end,
            text: run.response.clone().unwrap_or_default(),
            model: run.model.as_ref().map(ToString::to_string),
            usage: run.usage,
            duration_ms: run.started_at.map_or(0, |at| ended_at.ms_since(at)),
            started_at: run.started_at,
            ended_at,
        })
    }

    /// `None` for events other than the end of a run.
    pub fn of_event(at: Timestamp, event: &Event) -> Option<Outcome> {
        let Event::RunEnded { run, started, outcome, response, model, usage, duration_ms, .. } = event else {
            return None;
        };
        let end = match outcome {
            RunOutcome::Completed { reason } => End::Completed { reason: reason.as_str() },
            RunOutcome::Cancelled { cause } => End::Aborted { reason: stop_reason(*cause) },
            RunOutcome::Failed { kind, message } => {
                End::Failed { kind: ErrorKind::from_word(kind), message: message.clone() }
            }
        };
        let duration = i64::try_from(*duration_ms).unwrap_or(i64::MAX);
        Some(Outcome {
            run_id: run.run_id.clone(),
            end,
            text: response.clone(),
            model: model.clone(),
            usage: *usage,
            duration_ms: *duration_ms,
            started_at: started.then(|| at.plus_ms(-duration)),
            ended_at: at,
        })
    }

    /// What the agent said; `None` when it said nothing or chose to.
    pub fn visible_text(&self) -> Option<&str> {
        visible(&self.text)
    }

    pub fn usage_json(&self) -> Value {
        usage_json(&self.usage)
    }

    /// The payload of the second answer of `agent`, or its refusal.
    pub fn agent_answer(&self, session_id: &str) -> Result<Value, OpError> {
        self.chat_answer()?;
        Ok(json!({
            "runId": self.run_id, "status": "ok", "summary": "completed", "result": self.result(session_id),
        }))
    }

    /// What a repeated `chat.send` is answered: a stopped run is an error there too.
    pub fn chat_answer(&self) -> Result<(), OpError> {
        match &self.end {
            End::Completed { .. } => Ok(()),
            End::Aborted { reason: "timeout" } => {
                Err(self.refusal(ErrorKind::Timeout, "AGENT_TIMEOUT", "the run took too long"))
            }
            End::Aborted { .. } => Err(self.refusal(ErrorKind::Unavailable, "AGENT_ABORTED", "aborted")),
            End::Failed { kind, message } => Err(self.failure(*kind, message)),
        }
    }

    fn failure(&self, kind: ErrorKind, message: &str) -> OpError {
        let may_pass = matches!(
            kind,
            ErrorKind::ProviderFailed | ErrorKind::Unavailable | ErrorKind::RateLimited | ErrorKind::Busy
        );
        // Other kinds would read as if the call itself were at fault.
        let (kind, word) = match kind {
            ErrorKind::Timeout => (kind, "AGENT_TIMEOUT"),
            ErrorKind::ToolFailed => (kind, "TOOL_FAILED"),
            ErrorKind::Internal => (ErrorKind::Unavailable, "INTERNAL"),
            ErrorKind::InvalidParams
            | ErrorKind::NotFound(_)
            | ErrorKind::Unauthenticated
            | ErrorKind::Denied
            | ErrorKind::Conflict
            | ErrorKind::RateLimited
            | ErrorKind::Busy
            | ErrorKind::ProviderFailed
            | ErrorKind::ProviderRefused
            | ErrorKind::Unavailable => (ErrorKind::ProviderFailed, "AGENT_FAILED"),
        };
        self.refused(kind, word, message, may_pass)
    }

    fn refusal(&self, kind: ErrorKind, word: &str, summary: &str) -> OpError {
        self.refused(kind, word, summary, false)
    }

    fn refused(&self, kind: ErrorKind, word: &str, summary: &str, retryable: bool) -> OpError {
        OpError::new(kind, summary).with_details(json!({
            "code": word,
            "retryable": retryable,
            "payload": { "runId": self.run_id, "status": "error", "summary": summary },
        }))
    }

    fn result(&self, session_id: &str) -> Value {
        let payloads: Vec<Value> =
            self.visible_text().map(|text| json!({ "text": text, "mediaUrl": null })).into_iter().collect();
        let (provider, model) = split_model(self.model.as_deref());
        json!({
            "payloads": payloads,
            "meta": {
                "durationMs": self.duration_ms,
                "agentMeta": { "sessionId": session_id, "provider": provider, "model": model, "usage": self.usage_json() },
            },
        })
    }
}

pub fn visible(text: &str) -> Option<&str> {
    (!text.is_empty() && text.trim() != SILENT_REPLY).then_some(text)
}

pub fn split_model(model: Option<&str>) -> (Option<&str>, Option<&str>) {
    match model.and_then(|model| model.split_once('/')) {
        Some((provider, model)) => (Some(provider), Some(model)),
        None => (None, model),
    }
}

pub fn usage_json(usage: &Usage) -> Value {
    let mut json = json!({ "input": usage.input, "output": usage.output, "total": usage.total() });
    if usage.cache_read > 0 {
        json["cacheRead"] = json!(usage.cache_read);
    }
    if usage.cache_write > 0 {
        json["cacheWrite"] = json!(usage.cache_write);
    }
    json
}
