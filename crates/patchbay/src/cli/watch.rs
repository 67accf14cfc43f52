//! Events of a gateway, across its restarts: after a break the reader goes on behind the last event
//! that it saw.

use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::client::{CallError, Client, Notification};
use super::failure::{Exit, Failure};
use super::output::aside;
use super::target::Target;

/// Waits between attempts to connect again; the last one repeats.
const WAITS_MS: [u64; 6] = [100, 200, 400, 1000, 2000, 5000];

/// How long a gateway may be away before following it is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    Endless,
    Up(Duration),
}

pub struct Watch {
    target: Target,
    patterns: Vec<String>,
    patience: Patience,
    client: Option<Client>,
    /// Everything up to here was seen.
    cursor: Option<u64>,
    /// What came of the event behind it whose last part did not come yet: its cursor, and topics.
    parts: Vec<(u64, String)>,
}

impl Watch {
    /// Connects and subscribes; a gateway that is not there at the start is not waited for.
    pub async fn open(
        target: Target,
        patterns: Vec<String>,
        after: Option<u64>,
        patience: Patience,
    ) -> Result<Self, Failure> {
        let mut watch = Self { target, patterns, patience, client: None, cursor: after, parts: Vec::new() };
        watch.connect().await?;
        Ok(watch)
    }

    async fn connect(&mut self) -> Result<(), Failure> {
        let mut client = self.target.connect().await?;
        let mut params = json!({ "patterns": self.patterns });
        if let Some(cursor) = self.cursor {
            params["after"] = json!(cursor);
        }
        let answer: serde_json::Value = client.ask("events.subscribe", &params).await?;
        if self.cursor.is_none() {
            self.cursor = answer["cursor"].as_u64();
        }
        self.client = Some(client);
        Ok(())
    }

    /// A call over the same connection, which is made again first when it was lost.
    pub async fn call(
        &mut self,
        method: &str,
        params: &impl Serialize,
        limit: Duration,
    ) -> Result<Box<RawValue>, Failure> {
        if self.client.is_none() {
            self.connect().await?;
        }
        let Some(client) = &mut self.client else { return Err(Failure::because("there is no connection")) };
        let result = client.call_within(method, params, limit).await;
        if let Err(CallError::Lost(_)) = &result {
            self.client = None;
        }
        Ok(result?)
    }

    /// As [`Watch::call`], with the gateway's own error.
    pub async fn call_raw(
        &mut self,
        method: &str,
        params: &impl Serialize,
        limit: Duration,
    ) -> Result<Box<RawValue>, CallError> {
        match &mut self.client {
            Some(client) => client.call_within(method, params, limit).await,
            None => Err(CallError::Lost(String::from("there is no connection"))),
        }
    }

    /// The next event. Cancel safe.
    pub async fn next(&mut self) -> Result<Notification, Failure> {
        loop {
            let Some(client) = &mut self.client else {
                self.reconnect().await?;
                continue;
            };
            match client.next().await {
                Ok(event) => {
                    if self.is_new(&event) {
                        return Ok(event);
                    }
                }
                Err(error) => {
                    aside(format_args!("{:#}; connecting again", Failure::from(error).error));
                    self.client = None;
                }
            }
        }
    }

    /// Keeps the connection alive without reading what comes; when it is lost, the next call makes a new one.
    pub async fn idle(&mut self) -> std::convert::Infallible {
        while let Some(client) = &mut self.client {
            match client.next().await {
                Ok(event) => {
                    self.is_new(&event);
                }
                Err(_) => self.client = None,
            }
        }
        std::future::pending().await
    }

    /// Takes note of an event; `false` when it is a part that came before the connection was lost.
    fn is_new(&mut self, event: &Notification) -> bool {
        if let Some(of) = event.part_of {
            let part = (of, event.topic.clone());
            let is_new = !self.parts.contains(&part);
            if is_new {
                self.parts.push(part);
            }
            return is_new;
        }
        let cursor = if event.topic == "system.resync" { event.data()["cursor"].as_u64() } else { event.cursor };
        if cursor.is_some() {
            self.cursor = cursor;
            self.parts.clear();
        }
        true
    }

    async fn reconnect(&mut self) -> Result<(), Failure> {
        let begun = Instant::now();
        for attempt in 0.. {
            let wait = WAITS_MS[WAITS_MS.len().min(attempt + 1) - 1];
            tokio::time::sleep(Duration::from_millis(wait)).await;
            match self.connect().await {
                Ok(()) => break,
                Err(failure) if failure.exit == Exit::Refused => return Err(failure),
                Err(failure) => match self.patience {
                    Patience::Up(limit) if begun.elapsed() >= limit => return Err(failure),
                    Patience::Up(_) | Patience::Endless => {}
                },
            }
        }
        Ok(())
    }

    pub async fn close(self) {
        if let Some(client) = self.client {
            client.close().await;
        }
    }
}
