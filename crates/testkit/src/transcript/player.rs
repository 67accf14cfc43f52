//! Playing steps against a gateway.

use std::collections::HashMap;
use std::fmt;

use model::{NewMessage, Role, RunId, Scope};
use providers::testkit::Gate;
use serde_json::{Value, json};
use server::settings::DialectName;

use super::matching::{Captures, compare, fill};
use super::parse::{FIRST_CLIENT, Step, Transcript, scripted};
use crate::{Incoming, TestGateway, WsClient, soon};

/// How the clients of a transcript talk.
pub struct Speaker {
    pub dialect: DialectName,
    /// What `@connect` plays first, a transcript in which `"<token>"` stands for the secret,
    /// `"<client>"` for the client's name and `"<scopes>"` for the list of scopes.
    pub greeting: Transcript,
}

/// Where a transcript went wrong.
#[derive(Debug)]
pub struct Failure {
    place: String,
    reason: String,
    exchange: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.place, self.reason)?;
        writeln!(f, "the exchange up to here:")?;
        self.exchange.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

impl std::error::Error for Failure {}

/// Plays a transcript; the gateway is restarted where it says so.
pub async fn play(transcript: &Transcript, speaker: &Speaker, gateway: &mut TestGateway) -> Result<(), Failure> {
    let mut player = Player {
        gateway,
        speaker,
        clients: HashMap::new(),
        speaks: FIRST_CLIENT.to_owned(),
        captures: Captures::new(),
        gates: HashMap::new(),
        exchange: Vec::new(),
    };
    let played = player.all(transcript).await;
    played.map_err(|(place, reason)| Failure { place, reason, exchange: player.exchange })
}

struct Player<'a> {
    gateway: &'a mut TestGateway,
    speaker: &'a Speaker,
    clients: HashMap<String, WsClient>,
    /// The client that sends and receives.
    speaks: String,
    captures: Captures,
    gates: HashMap<String, Gate>,
    exchange: Vec<String>,
}

impl Player<'_> {
    async fn all(&mut self, transcript: &Transcript) -> Result<(), (String, String)> {
        for (line, step) in &transcript.steps {
            self.step(step).await.map_err(|reason| (format!("{}:{line}", transcript.name), reason))?;
        }
        self.is_all_said().await.map_err(|reason| (format!("{}: at its end", transcript.name), reason))
    }

    async fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Send(text) => {
                let text = fill(text, &self.captures);
                self.note('>', &text);
                self.client()?.send(text).await;
            }
            Step::Binary(data) => {
                self.note('>', &format!("{} bytes of binary", data.len()));
                self.client()?.send_binary(data.clone()).await;
            }
            Step::Expect(expected) => self.expect(expected).await?,
            Step::ExpectInAnyOrder(group) => self.expect_in_any_order(group).await?,
            Step::ExpectText(expected) => {
                let got = self.receive().await?;
                if got != *expected {
                    return Err(format!("the text is not as written\n  expected: {expected}\n  got:      {got}"));
                }
            }
            Step::ExpectClose(code) => match self.client()?.recv().await {
                Incoming::Closed(Some(got)) if got == *code => {
                    self.clients.remove(&self.speaks);
                }
                other => return Err(format!("a close with {code} was expected, got {other:?}")),
            },
            Step::Open(name) => self.open(name).await,
            Step::Connect { scopes, client } => self.connect(scopes, client).await?,
            Step::Client(name) => {
                self.speaks.clone_from(name);
                self.client()?;
            }
            Step::Cut => {
                self.client()?;
                if let Some(client) = self.clients.remove(&self.speaks) {
                    client.cut();
                }
            }
            Step::Refused { status, headers } => self.refused(*status, headers).await?,
            Step::Silence => self.silence().await?,
            Step::Token { name, role, scopes } => {
                let secret = self.gateway.token_for(role, &parse_scopes(scopes)?);
                self.captures.insert(name.clone(), json!(secret));
            }
            Step::Model(answer) => {
                let script = scripted(answer, |name| self.gate(name))?;
                self.gateway.provider.push(script);
            }
            Step::Reached(name) => soon("an answer at its gate", self.gate(name).reached()).await,
            Step::Release(name) => self.gate(name).open(),
            Step::Given { key, role, text } => self.given(key, role, text).await?,
            Step::Advance(ms) => self.gateway.clock().advance_ms(*ms),
            Step::File(value) => self.gateway.config.write_file(value.clone()),
            Step::Idle => self.gateway.idle().await,
            Step::Ended(name) => {
                let id = self
                    .captures
                    .get(name)
                    .and_then(Value::as_str)
                    .ok_or_else(|| format!("<{name}> stands for nothing"))?;
                self.gateway.ended(&RunId::trusted(id)).await;
            }
            Step::Restart => {
                self.clients.clear();
                self.gateway.restart().await;
            }
        }
        Ok(())
    }

    fn client(&mut self) -> Result<&mut WsClient, String> {
        let name = &self.speaks;
        self.clients.get_mut(name).ok_or_else(|| format!("client `{name}` is not connected"))
    }

    fn gate(&mut self, name: &str) -> Gate {
        self.gates.entry(name.to_owned()).or_default().clone()
    }

    fn note(&mut self, sign: char, text: &str) {
        const SHOWN: usize = 2000;
        let shown: String = text.chars().take(SHOWN).collect();
        let more = if shown.len() < text.len() { format!("… ({} bytes)", text.len()) } else { String::new() };
        self.exchange.push(format!("{} {sign} {shown}{more}", self.speaks));
    }

    async fn receive(&mut self) -> Result<String, String> {
        let incoming = self.client()?.recv().await;
        match incoming {
            Incoming::Text(text) => {
                self.note('<', &text);
                Ok(text)
            }
            other => Err(format!("a text frame was expected, got {other:?}")),
        }
    }

    async fn receive_json(&mut self) -> Result<Value, String> {
        let text = self.receive().await?;
        serde_json::from_str(&text).map_err(|error| format!("the frame is not JSON ({error}): {text}"))
    }

    async fn expect(&mut self, expected: &Value) -> Result<(), String> {
        let got = self.receive_json().await?;
        compare(expected, &got, &mut self.captures)
            .map_err(|difference| format!("{difference}\n  expected: {expected}\n  got:      {got}"))
    }

    async fn expect_in_any_order(&mut self, group: &[Value]) -> Result<(), String> {
        let mut left: Vec<&Value> = group.iter().collect();
        while !left.is_empty() {
            let got = self.receive_json().await?;
            let fits = left.iter().position(|expected| compare(expected, &got, &mut self.captures).is_ok());
            let Some(index) = fits else {
                let left: Vec<String> = left.iter().map(|expected| format!("  expected: {expected}")).collect();
                return Err(format!(
                    "the frame is none of those that are left\n{}\n  got:      {got}",
                    left.join("\n")
                ));
            };
            left.remove(index);
        }
        Ok(())
    }

    async fn open(&mut self, name: &str) {
        let client = self.gateway.socket(self.speaker.dialect).await;
        self.clients.insert(name.to_owned(), client);
        self.speaks = name.to_owned();
    }

    async fn connect(&mut self, scopes: &[String], name: &str) -> Result<(), String> {
        let scopes = parse_scopes(scopes)?;
        let secret = if scopes.is_empty() { self.gateway.admin().to_owned() } else { self.gateway.token(&scopes) };
        let words: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
        self.open(name).await;
        let known = self.exchange.len();
        // What the greeting captures is its own affair.
        let mut kept = std::mem::take(&mut self.captures);
        self.captures.extend([
            ("token".into(), json!(secret)),
            ("client".into(), json!(name)),
            ("scopes".into(), json!(words)),
        ]);
        let steps: Vec<Step> = self.speaker.greeting.steps.iter().map(|(_, step)| step.clone()).collect();
        for step in &steps {
            Box::pin(self.step(step)).await.map_err(|reason| format!("in the greeting: {reason}"))?;
        }
        std::mem::swap(&mut self.captures, &mut kept);
        self.exchange.truncate(known);
        self.exchange.push(format!("{name} is connected"));
        Ok(())
    }

    async fn refused(&mut self, status: u16, headers: &[(String, String)]) -> Result<(), String> {
        let url = format!("ws://{}/", self.gateway.address(self.speaker.dialect));
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        match WsClient::try_open(&url, &headers).await {
            Err(got) if got.as_u16() == status => Ok(()),
            Err(got) => Err(format!("the upgrade was refused with {got} where {status} was expected")),
            Ok(_) => Err(format!("the upgrade was accepted where {status} was expected")),
        }
    }

    async fn silence(&mut self) -> Result<(), String> {
        let unread = self.client()?.unread().await;
        if unread.is_empty() { Ok(()) } else { Err(format!("nothing was to come, got {unread:?}")) }
    }

    async fn given(&mut self, key: &str, role: &str, text: &str) -> Result<(), String> {
        let role = Role::parse(role).ok_or_else(|| format!("`{role}` is no role"))?;
        self.gateway.given_session(key, [NewMessage::new(role, text)]).await;
        Ok(())
    }

    async fn is_all_said(&mut self) -> Result<(), String> {
        let left = self.gateway.provider.answers_left();
        if left > 0 {
            return Err(format!("{left} answers of the model were not asked for"));
        }
        let mut names: Vec<String> = self.clients.keys().cloned().collect();
        names.sort();
        for name in names {
            self.speaks.clone_from(&name);
            self.silence().await.map_err(|reason| format!("client `{name}`: {reason}"))?;
        }
        Ok(())
    }
}

fn parse_scopes(words: &[String]) -> Result<Vec<Scope>, String> {
    words.iter().map(|word| Scope::parse(word).ok_or_else(|| format!("`{word}` is no scope"))).collect()
}
