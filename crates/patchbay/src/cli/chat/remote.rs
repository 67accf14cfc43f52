//! A chat with a gateway that runs elsewhere.

use std::convert::Infallible;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::backend::{Backend, Outcome, Sent, TurnEvent};
use crate::cli::client::{CALL_LIMIT, Notification};
use crate::cli::failure::Failure;
use crate::cli::target::Target;
use crate::cli::watch::{Patience, Watch};

/// How long a gateway that restarts in the middle of an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// A notice is not worth a longer wait.
const NOTICE_LIMIT: Duration = Duration::from_secs(2);

pub struct Remote {
    watch: Watch,
    run_id: String,
}

impl Remote {
    pub async fn open(target: Target) -> Result<Self, Failure> {
        let patterns = ["agent.*", "stream.chunk", "stream.tool_start", "stream.tool_end"].map(String::from).to_vec();
        let watch = Watch::open(target, patterns, None, Patience::Up(PATIENCE)).await?;
        Ok(Self { watch, run_id: String::new() })
    }

    /// How the run ended, for when its last event may have been missed.
    async fn ended_meanwhile(&mut self) -> Result<Option<TurnEvent>, Failure> {
        let status = self.call("agent.status", json!({ "run_id": self.run_id })).await?;
        let outcome = match status["status"].as_str() {
            Some("completed") => Outcome::Completed,
            Some("cancelled") => Outcome::Cancelled,
            Some("failed") => Outcome::Failed(text(&status["error"]["message"])),
            _ => return Ok(None),
        };
        Ok(Some(TurnEvent::Ended { outcome, response: status["response"].as_str().map(str::to_owned) }))
    }
}

#[async_trait]
impl Backend for Remote {
    async fn call(&mut self, method: &str, params: Value) -> Result<Value, Failure> {
        let raw = self.watch.call(method, &params, CALL_LIMIT).await?;
        Ok(serde_json::from_str(raw.get())?)
    }

    async fn send(&mut self, params: Value) -> Result<Sent, Failure> {
        let answer = self.call("chat.send", params).await?;
        self.run_id = text(&answer["run_id"]);
        Ok(Sent { run_id: self.run_id.clone(), is_pending: answer["status"] == "pending" })
    }

    async fn next(&mut self) -> Result<TurnEvent, Failure> {
        loop {
            let event = self.watch.next().await?;
            if event.topic == "system.resync" {
                if let Some(ended) = self.ended_meanwhile().await? {
                    return Ok(ended);
                }
                continue;
            }
            if let Some(event) = turn_event(&event, &self.run_id) {
                return Ok(event);
            }
        }
    }

    async fn notice(&mut self, model: &str) -> Option<String> {
        let raw = self.watch.call("models.get", &json!({ "model_id": model }), NOTICE_LIMIT).await.ok()?;
        let model: Value = serde_json::from_str(raw.get()).ok()?;
        model["notice"].as_str().map(str::to_owned)
    }

    async fn idle(&mut self) -> Infallible {
        self.watch.idle().await
    }

    async fn close(self: Box<Self>) {
        self.watch.close().await;
    }
}

/// What an event means for the run; `None` for other runs' and for what a chat does not show.
fn turn_event(event: &Notification, run_id: &str) -> Option<TurnEvent> {
    let data = event.data();
    if data["run_id"].as_str() != Some(run_id) {
        return None;
    }
    Some(match event.topic.as_str() {
        "agent.started" => TurnEvent::Started { model: text(&data["model"]) },
        "stream.chunk" => TurnEvent::Text(text(&data["text"])),
        "stream.tool_start" => {
            TurnEvent::ToolStarted { name: text(&data["tool_name"]), arguments: data["args"].clone() }
        }
        "stream.tool_end" => TurnEvent::ToolEnded {
            name: text(&data["tool_name"]),
            error: (data["success"] == json!(false)).then(|| text(&data["error"])),
            duration_ms: data["duration_ms"].as_u64().unwrap_or_default(),
        },
        "agent.input_required" => TurnEvent::Question {
            prompt: text(&data["prompt"]),
            options: data["options"].as_array().into_iter().flatten().map(text).collect(),
        },
        "agent.completed" => {
            TurnEvent::Ended { outcome: Outcome::Completed, response: data["response"].as_str().map(str::to_owned) }
        }
        "agent.cancelled" => TurnEvent::Ended { outcome: Outcome::Cancelled, response: None },
        "agent.error" => TurnEvent::Ended { outcome: Outcome::Failed(text(&data["error"])), response: None },
        _ => return None,
    })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(topic: &str, data: Value) -> Notification {
        let whole = json!({ "topic": topic, "data": data, "timestamp": 1 });
        Notification {
            topic: topic.to_owned(),
            cursor: None,
            part_of: None,
            raw: serde_json::value::to_raw_value(&whole).unwrap(),
        }
    }

    #[test]
    fn only_the_events_of_the_run_are_taken() {
        let chunk = |run: &str| event("stream.chunk", json!({ "run_id": run, "text": "hi" }));
        assert_eq!(turn_event(&chunk("run_1"), "run_1"), Some(TurnEvent::Text("hi".into())));
        assert_eq!(turn_event(&chunk("run_2"), "run_1"), None);
    }

    #[test]
    fn a_failed_tool_says_why() {
        let ended = event(
            "stream.tool_end",
            json!({ "run_id": "r", "tool_name": "exec", "success": false, "error": "no", "duration_ms": 3 }),
        );
        let expected = TurnEvent::ToolEnded { name: "exec".into(), error: Some("no".into()), duration_ms: 3 };
        assert_eq!(turn_event(&ended, "r"), Some(expected));
    }
}
