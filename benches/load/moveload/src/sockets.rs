//! WebSocket clients that connect again when they are told to.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use benchkit::clock::now_ns;
use benchkit::ws::WsConn;
use serde_json::{Value, json};

use crate::Plan;
use crate::tally::Tally;

/// Turns of one session: fewer than a page of its history.
const TURNS_PER_SESSION: usize = 300;

/// What became of something that was asked or waited for.
enum Heard<T> {
    Answer(T),
    /// The server closed with 1012: ask the next one.
    Moved,
}

struct Client {
    plan: Plan,
    tally: Arc<Tally>,
    socket: Option<WsConn>,
    number: u64,
    /// The last event that was seen; events are followed from the first connection on.
    cursor: Option<u64>,
    follows: bool,
    /// Ends of runs that came before anybody waited for them.
    ended: BTreeMap<String, String>,
}

impl Client {
    fn new(plan: Plan, tally: Arc<Tally>, follows: bool) -> Self {
        Client { plan, tally, socket: None, number: 0, cursor: None, follows, ended: BTreeMap::new() }
    }

    /// Makes the call on whatever process serves, until it is answered.
    async fn call(&mut self, method: &str, params: Value) -> Result<Value, String> {
        loop {
            if self.socket.is_none()
                && let Heard::Moved = self.connect().await?
            {
                continue;
            }
            match self.once(method, &params).await? {
                Heard::Answer(answer) => return Ok(answer),
                Heard::Moved => self.tally.resent(),
            }
        }
    }

    async fn connect(&mut self) -> Result<Heard<()>, String> {
        self.socket = Some(WsConn::connect(&self.plan.ws, &[]).await.map_err(|error| format!("connecting: {error}"))?);
        let token = json!({ "token": self.plan.token });
        if let Heard::Moved = self.once("connect", &token).await? {
            return Ok(Heard::Moved);
        }
        if !self.follows {
            return Ok(Heard::Answer(()));
        }
        let mut params = json!({ "patterns": ["agent.completed", "agent.error", "agent.cancelled"] });
        if let Some(cursor) = self.cursor {
            params["after"] = json!(cursor);
        }
        let Heard::Answer(answer) = self.once("events.subscribe", &params).await? else { return Ok(Heard::Moved) };
        if self.cursor.is_none() {
            self.cursor = answer["cursor"].as_u64();
        }
        Ok(Heard::Answer(()))
    }

    async fn once(&mut self, method: &str, params: &Value) -> Result<Heard<Value>, String> {
        self.number += 1;
        let number = self.number;
        let text = json!({ "jsonrpc": "2.0", "id": number, "method": method, "params": params }).to_string();
        let Some(socket) = &mut self.socket else { return Ok(Heard::Moved) };
        // A server that is closing may not take it; its close frame is there all the same.
        let _ = socket.send_text(text.as_bytes()).await;
        loop {
            let Heard::Answer(frame) = self.receive().await? else { return Ok(Heard::Moved) };
            if frame["id"] == number {
                let error = &frame["error"];
                let answered = || Heard::Answer(frame["result"].clone());
                return if error.is_null() { Ok(answered()) } else { Err(format!("{method}: {error}")) };
            }
        }
    }

    /// The next frame; ends of runs are noted on the way.
    async fn receive(&mut self) -> Result<Heard<Value>, String> {
        let Some(socket) = &mut self.socket else { return Ok(Heard::Moved) };
        let frame: Value = match socket.recv().await {
            Ok(bytes) => serde_json::from_slice(bytes).map_err(|error| format!("not JSON: {error}"))?,
            Err(error) if is_move(&error) => {
                self.tally.moved();
                self.socket = None;
                return Ok(Heard::Moved);
            }
            Err(error) => {
                self.socket = None;
                return Err(format!("{:?}: {error}", error.kind()));
            }
        };
        let event = &frame["params"];
        if let Some(cursor) = event["cursor"].as_u64() {
            self.cursor = self.cursor.max(Some(cursor));
        }
        if let (Some(topic), Some(run)) = (event["topic"].as_str(), event["data"]["run_id"].as_str()) {
            self.ended.insert(run.to_owned(), topic.to_owned());
        }
        Ok(Heard::Answer(frame))
    }

    /// Waits for the event that ends the run, over as many connections as it takes.
    async fn end_of(&mut self, run: &str) -> Result<String, String> {
        loop {
            if let Some(topic) = self.ended.remove(run) {
                return Ok(topic);
            }
            if self.socket.is_none() {
                self.connect().await?;
            } else {
                self.receive().await?;
            }
        }
    }
}

fn is_move(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionAborted && error.to_string().contains(" 1012")
}

/// Calls that answer at once.
pub async fn call(plan: Plan, tally: Arc<Tally>) {
    let mut client = Client::new(plan.clone(), Arc::clone(&tally), false);
    while !plan.is_over() {
        let began = now_ns();
        match client.call("health", json!({})).await {
            Ok(_) => tally.answered(now_ns() - began),
            Err(reason) => tally.fail(reason),
        }
    }
}

/// Turns of an agent, one after the other; then each session is read: every message that was accepted is in it
/// once and is answered once.
pub async fn talk(plan: Plan, tally: Arc<Tally>, slot: usize) {
    let base = now_ns();
    let mut client = Client::new(plan.clone(), Arc::clone(&tally), true);
    let mut sent: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut turns = 0;
    while !plan.is_over() {
        let key = format!("agent:main:dm:move-{base}-{slot}-{}", turns / TURNS_PER_SESSION);
        let (began, text) = (now_ns(), format!("message {turns}"));
        turns += 1;
        let accepted = client.call("agent.run", json!({ "message": text, "session_key": key })).await;
        let run = match accepted {
            Ok(answer) => answer["run_id"].as_str().unwrap_or_default().to_owned(),
            Err(reason) => {
                tally.fail(reason);
                continue;
            }
        };
        sent.entry(key).or_default().push(text);
        match client.end_of(&run).await {
            Ok(topic) if topic == "agent.completed" => tally.answered(now_ns() - began),
            Ok(topic) => tally.fail(topic),
            Err(reason) => tally.fail(reason),
        }
    }
    for (key, expected) in sent {
        match client.call("session.history", json!({ "session_key": key, "limit": 1000 })).await {
            Ok(history) => check(&history, &expected, &tally),
            Err(reason) => tally.fail(reason),
        }
    }
}

fn check(history: &Value, expected: &[String], tally: &Tally) {
    let of_role = |role: &str| -> Vec<&Value> {
        let all = history["messages"].as_array().into_iter().flatten();
        all.filter(|message| message["role"] == role).collect()
    };
    let said: Vec<&str> = of_role("user").iter().filter_map(|message| message["content"].as_str()).collect();
    if said != expected {
        tally.fail(format!("{} messages were accepted, {} are in the session", expected.len(), said.len()));
    }
    let answers = of_role("assistant").len();
    if answers != expected.len() {
        tally.fail(format!("{} messages were accepted, {answers} were answered", expected.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_1012_is_an_invitation_to_connect_again() {
        let closed = |text: &str| io::Error::new(io::ErrorKind::ConnectionAborted, text.to_owned());
        assert!(is_move(&closed("closed by server: 1012 service restart")));
        assert!(!is_move(&closed("closed by server: 1001 gateway stopping")));
        assert!(!is_move(&io::ErrorKind::UnexpectedEof.into()));
    }

    #[test]
    fn messages_that_are_missing_or_doubled_are_failures() {
        let message = |role: &str, text: &str| json!({ "role": role, "content": text });
        let expected = ["a".to_owned(), "b".to_owned()];
        for (messages, failures) in [
            (vec![message("user", "a"), message("assistant", "1"), message("user", "b"), message("assistant", "2")], 0),
            (vec![message("user", "a"), message("assistant", "1"), message("user", "b")], 1),
            (vec![message("user", "a"), message("user", "a"), message("assistant", "1")], 2),
        ] {
            let tally = Tally::default();
            check(&json!({ "messages": messages }), &expected, &tally);
            assert_eq!(tally.failed(), failures);
        }
    }
}
