//! `session.spawn`: work for a sub-agent.

use std::sync::Arc;
use std::time::Duration;

use dialect::MethodTable;
use model::{ErrorKind, ModelRef, Noun, OpError, Run, RunLimits, RunOptions, RunState, Scope, SessionKey};
use ops::{Call, Class, Reply};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use services::subagents::{FamilyLimits, NewSubagent};
use tokio::sync::oneshot;

use super::policy::{check, known_agent, time_limit};
use crate::ORIGIN;
use crate::context::Context;
use crate::notices::Notices;
use crate::session_key::GATEWAY_CHANNEL;
use crate::settings::AgentToAgent;
use crate::turn::{TokensUsed, finish_of};

/// Characters of an answer that its announcement repeats.
const ANNOUNCED_CHARS_MAX: usize = 4000;

pub(super) fn bind(table: &mut MethodTable, context: &Context) {
    let Context { settings, notices } = context.clone();
    table.handle::<SessionSpawn, Params, Spawned, _, _>(
        "session.spawn",
        Some(Scope::Write),
        Class::Write,
        &[
            ErrorKind::NotFound(Noun::Agent),
            ErrorKind::NotFound(Noun::Model),
            ErrorKind::Denied,
            ErrorKind::Conflict,
            ErrorKind::Busy,
            ErrorKind::Unavailable,
        ],
        move |call, params| {
            let (settings, notices) = (settings(), notices.clone());
            async move { spawn(&call, params, &settings.agent_to_agent, notices).await }
        },
    );
}

/// Give a task to an agent, which works on it in a session of its own.
///
/// Without `async` the answer is waited for, as long as configured; a task that takes longer goes on
/// and is asked for with `session.run_status`. The end of every task is announced to the clients of
/// `/ws` as `notification.message`. When as many tasks of the caller run as may run at the same
/// time, the next ones wait; when too many wait, this is refused.
#[derive(JsonSchema)]
struct SessionSpawn;

#[derive(Debug, Deserialize, JsonSchema)]
struct Params {
    task: String,
    /// The agent that works; the caller's own when absent.
    #[serde(default)]
    agent: Option<String>,
    /// Answer at once with the id of the run.
    #[serde(default, rename = "async")]
    is_async: bool,
    /// `provider/model`, or `provider:model`; the agent's own when absent.
    #[serde(default)]
    model: Option<String>,
    /// Model calls of the run at most, from 1; as configured when absent, and never more than that.
    #[serde(default)]
    max_steps: Option<u32>,
    /// What the work shall leave behind; the sub-agent is told.
    #[serde(default)]
    expected_outputs: Vec<String>,
    /// `gateway` is the only channel that ends are announced to.
    #[serde(default)]
    announce_channel_type: Option<String>,
    /// `gateway`.
    #[serde(default)]
    announce_channel_id: Option<String>,
    /// Must be empty: this gateway keeps no artifacts.
    #[serde(default)]
    artifact_refs: Vec<Value>,
    /// What the work is for; the sub-agent is told.
    #[serde(default)]
    objective: Option<String>,
    /// What the sub-agent should know.
    #[serde(default)]
    domain_knowledge: Vec<String>,
    /// Must be empty: this gateway has no groups of tools.
    #[serde(default)]
    tool_groups: Vec<String>,
    /// Whether the sub-agent is told a summary of the caller's conversation.
    #[serde(default)]
    include_parent_history: ParentHistory,
    /// The agent that spawns; the default agent when absent.
    #[serde(default, rename = "_agentId")]
    caller_agent: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum ParentHistory {
    #[default]
    None,
    Summary,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
enum Spawned {
    #[serde(rename_all = "camelCase")]
    Done {
        session_key: String,
        response: String,
        tokens_used: TokensUsed,
        /// `stop`, `max_steps`, `budget_exceeded` or `error`.
        finish_reason: &'static str,
        /// The end was told to the clients of `/ws`.
        announced: bool,
        task_description: String,
    },
    #[serde(rename_all = "camelCase")]
    Going {
        run_id: String,
        r#async: bool,
        /// The run waits for a place.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        queued: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
}

async fn spawn(
    call: &Call,
    params: Params,
    policy: &AgentToAgent,
    notices: Notices,
) -> Result<Reply<Spawned>, OpError> {
    params.refuse_the_impossible()?;
    let caller = known_agent(call, params.caller_agent.as_deref())?;
    let agent = match params.agent.as_deref() {
        Some(name) => known_agent(call, Some(name))?,
        None => caller.clone(),
    };
    check(policy, &caller, &agent)?;
    let limit = time_limit(None, policy)?;
    let new = NewSubagent {
        parent: SessionKey::main(&caller),
        agent,
        options: params.options(policy)?,
        with_parent_summary: params.include_parent_history == ParentHistory::Summary,
        limits: FamilyLimits {
            children: policy.max_children,
            queued: policy.max_queued,
            queue_wait: Duration::from_millis(policy.queue_timeout_ms),
        },
        origin: ORIGIN,
        task: params.task.clone(),
    };
    let clock = Arc::clone(&call.services.clock);
    let (told, announced) = oneshot::channel();
    let announce = move |run: &Run| {
        notices.message(&announcement(run), clock.now());
        // Whoever answers at once does not listen.
        let _ = told.send(());
    };
    let spawned = call.services.subagents.spawn(&call.principal, new, announce).await?;
    let run_id = spawned.run.id.to_string();
    if params.is_async {
        return Ok(Spawned::Going { run_id, r#async: true, queued: spawned.queued, note: None }.into());
    }
    Ok(match call.services.runs.wait(&spawned.run.id, limit).await? {
        Some(run) => {
            // Only a gateway that stops does not get to announce it.
            let announced = announced.await.is_ok();
            done(call, run, params.task, announced)?
        }
        None => {
            let seconds = limit.as_secs_f64();
            let note = format!("The task is not done after {seconds} s and goes on; ask with session.run_status.");
            Spawned::Going { run_id, r#async: true, queued: false, note: Some(note) }
        }
    }
    .into())
}

fn done(call: &Call, run: Run, task: String, announced: bool) -> Result<Spawned, OpError> {
    let finish_reason = finish_of(&call.services, &run)
        .map_err(|reason| OpError::new(ErrorKind::Conflict, format!("The task failed: {reason}")))?;
    Ok(Spawned::Done {
        session_key: run.session_key.to_string(),
        response: run.response.unwrap_or_default(),
        tokens_used: run.usage.into(),
        finish_reason,
        announced,
        task_description: task,
    })
}

fn announcement(run: &Run) -> String {
    let agent = &run.agent_id;
    let words = match (run.state, &run.error) {
        (RunState::Completed, _) => run.response.as_deref().unwrap_or_default(),
        (_, Some(error)) => return format!("Sub-agent {agent} failed: {}", error.message),
        _ => return format!("Sub-agent {agent} was stopped."),
    };
    let shown: String = words.chars().take(ANNOUNCED_CHARS_MAX).collect();
    format!("Sub-agent {agent} is done: {shown}")
}

impl Params {
    /// What this gateway cannot do is said by the name of the parameter that asks for it.
    fn refuse_the_impossible(&self) -> Result<(), OpError> {
        if !self.artifact_refs.is_empty() {
            return Err(OpError::invalid("artifact_refs", "this gateway keeps no artifacts; leave it out"));
        }
        if !self.tool_groups.is_empty() {
            return Err(OpError::invalid("tool_groups", "this gateway has no groups of tools; leave it out"));
        }
        let channels = [
            ("announce_channel_type", &self.announce_channel_type),
            ("announce_channel_id", &self.announce_channel_id),
        ];
        for (name, channel) in channels {
            if let Some(channel) = channel.as_deref().filter(|channel| *channel != GATEWAY_CHANNEL) {
                let words = format!("there is no channel `{channel}`; ends are announced to `{GATEWAY_CHANNEL}`");
                return Err(OpError::invalid(name, words));
            }
        }
        Ok(())
    }

    fn options(&self, policy: &AgentToAgent) -> Result<RunOptions, OpError> {
        let most = policy.sub_agent_max_steps.max(1);
        let iterations = match self.max_steps {
            Some(0) => return Err(OpError::invalid("max_steps", "must be at least 1")),
            steps => steps.unwrap_or(most).min(most),
        };
        Ok(RunOptions {
            model: self.model.as_deref().map(model_of).transpose()?,
            limits: RunLimits { iterations: Some(iterations), ..RunLimits::default() },
            extra_system: self.briefing(),
            ..RunOptions::default()
        })
    }

    /// What the sub-agent is told beside its task.
    fn briefing(&self) -> Option<String> {
        let objective = self.objective.as_deref().map(str::trim).filter(|objective| !objective.is_empty());
        let parts = [
            objective.map(|objective| format!("Objective: {objective}")),
            list("What you should know", &self.domain_knowledge),
            list("Expected outputs", &self.expected_outputs),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join("\n\n"))
    }
}

fn list(title: &str, items: &[String]) -> Option<String> {
    let lines: Vec<String> = items.iter().map(|item| format!("- {item}")).collect();
    (!lines.is_empty()).then(|| format!("{title}:\n{}", lines.join("\n")))
}

/// `provider/model`; Comis itself writes `provider:model`.
fn model_of(text: &str) -> Result<ModelRef, OpError> {
    let text = if text.contains('/') { text.to_owned() } else { text.replacen(':', "/", 1) };
    text.parse().map_err(|reason| OpError::invalid("model", reason))
}
