//! A chat with a gateway in this process, which listens nowhere.

use std::any::Any;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use dialect::MethodTable;
use model::{
    AgentId, Cursor, Envelope, ErrorKind, Event, ModelRef, OpError, Pattern, Principal, RunId, RunOutcome, RunState,
};
use ops::{Call, Connection, Subscribed};
use serde_json::{Value, json};
use services::Services;
use services::runs::{FollowItem, RunFollower};

use super::backend::{Backend, Outcome, Sent, TurnEvent};
use crate::cli::failure::Failure;
use crate::gateway::Gateway;
use crate::prepared::Options;

/// How long the end of a run may take to be written after its last event was missed.
const END_LIMIT: Duration = Duration::from_secs(30);

pub struct Local {
    gateway: Gateway,
    table: MethodTable,
    principal: Arc<Principal>,
    connection: Arc<LocalConnection>,
    run: Option<Following>,
}

struct Following {
    run_id: RunId,
    follower: RunFollower,
    /// Bytes of the run's text that were given out.
    given: usize,
}

/// Remembers the followers of the runs that it starts.
struct LocalConnection {
    services: Arc<Services>,
    /// Bounded: taken out after each call, which starts at most one run.
    started: Mutex<Vec<(RunId, Option<RunFollower>)>>,
}

impl Local {
    /// Opens the home's database and takes up what a former process left unfinished.
    pub async fn start(options: Options) -> Result<Self, Failure> {
        let gateway = Gateway::start(options).await?;
        gateway.services.runs.recover().await?;
        let connection = LocalConnection { services: Arc::clone(&gateway.services), started: Mutex::default() };
        Ok(Self {
            table: dialect_aleph::table::table(),
            principal: Arc::new(Principal::gateway()),
            connection: Arc::new(connection),
            run: None,
            gateway,
        })
    }

    /// The models that would be asked, in order: the one that was named, else the agent's and its fallbacks.
    pub fn candidates(&self, agent: &AgentId, named: Option<&ModelRef>) -> Vec<ModelRef> {
        if let Some(named) = named {
            return vec![named.clone()];
        }
        let services = &self.gateway.services;
        let Some(agent) = services.agents.get(agent) else { return Vec::new() };
        services.models.model_of(&agent).into_iter().chain(agent.fallbacks.iter().cloned()).collect()
    }

    async fn end_of(&self, run_id: &RunId) -> Result<TurnEvent, Failure> {
        let run = self.gateway.services.runs.wait(run_id, END_LIMIT).await.map_err(failure)?;
        let run = run.ok_or_else(|| Failure::because(format!("the end of run `{run_id}` was not written in time")))?;
        let outcome = match run.state {
            RunState::Cancelled => Outcome::Cancelled,
            RunState::Failed => Outcome::Failed(run.error.map_or_else(String::new, |error| error.message)),
            RunState::Completed | RunState::Pending | RunState::Running => Outcome::Completed,
        };
        Ok(TurnEvent::Ended { outcome, response: run.response })
    }
}

#[async_trait]
impl Backend for Local {
    async fn call(&mut self, method: &str, params: Value) -> Result<Value, Failure> {
        let bound = self.table.get(method).ok_or_else(|| Failure::because(format!("there is no method `{method}`")))?;
        let call = Call {
            services: Arc::clone(&self.gateway.services),
            principal: Arc::clone(&self.principal),
            connection: Some(Arc::clone(&self.connection) as Arc<dyn Connection>),
            dialect: "cli",
        };
        let answer = bound.call(call, Some(serde_json::value::to_raw_value(&params)?)).await.map_err(failure)?;
        if let Some((run_id, Some(follower))) = self.connection.take_started() {
            self.run = Some(Following { run_id, follower, given: 0 });
        }
        if let Some(then) = answer.then {
            then();
        }
        Ok(serde_json::from_slice(&answer.json)?)
    }

    async fn send(&mut self, params: Value) -> Result<Sent, Failure> {
        let answer = self.call("chat.send", params).await?;
        let run_id = answer["run_id"].as_str().unwrap_or_default().to_owned();
        Ok(Sent { run_id, is_pending: answer["status"] == "pending" })
    }

    async fn next(&mut self) -> Result<TurnEvent, Failure> {
        loop {
            let Some(run) = &mut self.run else { return std::future::pending().await };
            match run.follower.next().await {
                FollowItem::Event(envelope) => {
                    if let Some(event) = turn_event(&envelope, &mut run.given) {
                        return Ok(event);
                    }
                }
                // The next delta carries the whole text so far.
                FollowItem::Missed(_) => {}
                FollowItem::Over => {
                    let run_id = run.run_id.clone();
                    let ended = self.end_of(&run_id).await?;
                    self.run = None;
                    return Ok(ended);
                }
            }
        }
    }

    async fn notice(&mut self, model: &str) -> Option<String> {
        let model: ModelRef = model.parse().ok()?;
        self.gateway.services.models.describe(&model)?.notice
    }

    async fn idle(&mut self) -> Infallible {
        std::future::pending().await
    }

    async fn close(self: Box<Self>) {
        self.gateway.stop("the chat is over").await;
    }
}

/// What an event of the run shows; text is what is new since the last time.
fn turn_event(envelope: &Envelope, given: &mut usize) -> Option<TurnEvent> {
    Some(match &envelope.event {
        Event::RunStarted { model, .. } => TurnEvent::Started { model: model.clone() },
        Event::RunDelta { so_far, .. } => {
            let from = std::mem::replace(given, so_far.len());
            TurnEvent::Text(so_far.with(|text| text.get(from..).unwrap_or_default().to_owned()))
        }
        Event::ToolStarted { name, arguments, .. } => {
            let arguments = serde_json::from_str(arguments).unwrap_or_else(|_| json!(arguments));
            TurnEvent::ToolStarted { name: name.clone(), arguments }
        }
        Event::ToolEnded { name, result, is_error, duration_ms, .. } => TurnEvent::ToolEnded {
            name: name.clone(),
            error: is_error.then(|| result.clone()),
            duration_ms: *duration_ms,
        },
        Event::InputRequested { prompt, options, .. } => {
            TurnEvent::Question { prompt: prompt.clone(), options: options.clone() }
        }
        Event::RunEnded { outcome, response, .. } => {
            let outcome = match outcome {
                RunOutcome::Completed { .. } => Outcome::Completed,
                RunOutcome::Cancelled { .. } => Outcome::Cancelled,
                RunOutcome::Failed { message, .. } => Outcome::Failed(message.clone()),
            };
            TurnEvent::Ended { outcome, response: Some(response.clone()) }
        }
        _ => return None,
    })
}

fn failure(error: OpError) -> Failure {
    match error.kind {
        ErrorKind::Unauthenticated | ErrorKind::Denied => Failure::refused(error.message),
        _ => Failure::general(error.into()),
    }
}

impl LocalConnection {
    fn take_started(&self) -> Option<(RunId, Option<RunFollower>)> {
        self.started.lock().unwrap_or_else(PoisonError::into_inner).drain(..).next_back()
    }
}

impl Connection for LocalConnection {
    fn id(&self) -> &str {
        "cli"
    }

    fn subscribe(&self, _: Vec<Pattern>, _: Option<Cursor>) -> Result<Subscribed, String> {
        Err(String::from("a chat follows its own runs only"))
    }

    fn unsubscribe(&self, _: &[String]) -> Subscribed {
        Subscribed { changed: Vec::new(), active: Vec::new(), cursor: self.services.bus.newest() }
    }

    fn patterns(&self) -> Vec<String> {
        Vec::new()
    }

    fn started(&self, run: &RunId) {
        let follower = self.services.runs.follow(run);
        self.started.lock().unwrap_or_else(PoisonError::into_inner).push((run.clone(), follower));
    }

    fn runs_started(&self) -> Vec<RunId> {
        Vec::new()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
