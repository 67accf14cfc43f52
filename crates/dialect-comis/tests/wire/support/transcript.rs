//! Transcripts: conversations with the gateway as text, one file for each route and method.
//!
//! ```text
//! # a sentence
//! say <session> <message>      a whole turn through no dialect
//! as <token>                   who asks from now on; `nobody` has no token
//! GET /path                    a request; for POST the body follows
//! = 200 {"a": "*"}             its status and body; `"*"` stands for anything
//! ~ event: token               a line of a streamed answer, in order
//! > {"jsonrpc": …}             a text to `/ws`
//! < {"jsonrpc": …}             the answer
//! ```

use std::path::Path;

use serde_json::Value;

use super::{Gateway, Http, Reply, Socket};

/// Plays a file against a new gateway.
pub async fn play(file: &Path) {
    let text = std::fs::read_to_string(file).unwrap();
    let gateway = Gateway::start().await;
    let mut player = Player { gateway: &gateway, token: "all".into(), reply: None, streamed: Vec::new(), socket: None };
    let mut checks = 0;
    for (number, line) in text.lines().enumerate() {
        let place = format!("{}:{}: {line}", file.display(), number + 1);
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "" | "#" => {}
            _ => checks += usize::from(player.step(word, rest, &place).await),
        }
    }
    assert!(checks > 0, "{} checks nothing", file.display());
}

struct Player<'a> {
    gateway: &'a Gateway,
    token: String,
    reply: Option<Reply>,
    streamed: Vec<String>,
    socket: Option<Socket>,
}

impl Player<'_> {
    /// Gives whether the step checked something.
    async fn step(&mut self, word: &str, rest: &str, place: &str) -> bool {
        match word {
            "say" => {
                let (session, message) = rest.split_once(' ').expect(place);
                self.gateway.given_turn(session, message).await;
            }
            "as" => {
                self.token = rest.to_owned();
                self.socket = None;
            }
            "GET" | "HEAD" | "POST" => {
                let reply = self.request(word, rest).await;
                self.streamed = reply.text.lines().rev().map(str::to_owned).collect();
                self.reply = Some(reply);
            }
            "=" => self.compare(rest, place),
            "~" => {
                let found = std::iter::from_fn(|| self.streamed.pop()).any(|line| line == rest);
                assert!(found, "{place}: not in the rest of {:?}", self.reply);
            }
            ">" => {
                if self.socket.is_none() {
                    self.socket = Some(Socket::open(self.gateway, &self.token).await);
                }
                self.socket.as_mut().unwrap().send(rest).await;
            }
            "<" => {
                let answer = self.socket.as_mut().expect(place).next().await;
                let expected: Value = serde_json::from_str(rest).expect(place);
                assert!(matches(&expected, &answer), "{place}\n got {answer}");
            }
            other => panic!("{place}: unknown word `{other}`"),
        }
        matches!(word, "=" | "~" | "<")
    }

    async fn request(&self, method: &str, rest: &str) -> Reply {
        let client = match self.token.as_str() {
            "nobody" => Http::anonymous(self.gateway),
            token => Http::with(self.gateway, token),
        };
        match rest.split_once(' ') {
            Some((path, body)) => client.post_text(path, "application/json", body).await,
            None => client.call(method, rest).await,
        }
    }

    fn compare(&self, rest: &str, place: &str) {
        let reply = self.reply.as_ref().expect(place);
        let (status, body) = rest.split_once(' ').unwrap_or((rest, ""));
        assert_eq!(reply.status.to_string(), status, "{place}\n got {reply:?}");
        if !body.is_empty() {
            let expected: Value = serde_json::from_str(body).expect(place);
            assert!(matches(&expected, &reply.json()), "{place}\n got {}", reply.text);
        }
    }
}

/// Whether a value is as expected: every key, every item; `"*"` is anything.
fn matches(expected: &Value, actual: &Value) -> bool {
    match (expected, actual) {
        (Value::String(any), _) if any == "*" => true,
        (Value::Object(expected), Value::Object(actual)) => {
            expected.len() == actual.len()
                && expected.iter().all(|(key, value)| actual.get(key).is_some_and(|found| matches(value, found)))
        }
        (Value::Array(expected), Value::Array(actual)) => {
            expected.len() == actual.len()
                && expected.iter().zip(actual).all(|(expected, actual)| matches(expected, actual))
        }
        _ => expected == actual,
    }
}
