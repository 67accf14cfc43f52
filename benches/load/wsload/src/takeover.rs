//! A node dies in the middle of many runs: how long until the others have taken all of them over.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use benchkit::clock::now_ns;
use benchkit::proc::loadavg;
use benchkit::stats::round1;
use benchkit::ws::WsConn;
use serde_json::{Value, json};

use crate::call::ask;
use crate::dialect::Options;
use crate::rpc::open_all;

pub struct Plan {
    pub runs: usize,
    /// A model that answers later than the node dies.
    pub model: String,
    /// The process of the node that the runs are given to.
    pub kill: u32,
    /// How long anything may take: the start of the runs, their takeover, their end.
    pub limit: Duration,
}

/// Gives the runs to the node of `doomed`, kills it, and listens at the node of `heir`.
pub async fn run(doomed: Arc<Options>, heir: Arc<Options>, plan: Plan) -> Result<Value, String> {
    let mut ear = Ear::open(&heir).await.map_err(|e| format!("listener: {e}"))?;
    let (conns, errors) = open_all(&doomed, 0, 8).await;
    if let Some(error) = errors.first() {
        return Err(error.clone());
    }
    let base = now_ns();
    let mut mouths = tokio::task::JoinSet::new();
    let share = plan.runs.div_ceil(conns.len());
    for (at, conn) in conns.into_iter().enumerate() {
        let keys: Vec<String> = (at * share..plan.runs.min((at + 1) * share))
            .map(|number| format!("agent:main:dm:takeover-{base}-{number}"))
            .collect();
        mouths.spawn(give(conn, keys, plan.model.clone()));
    }
    ear.wait_for("agent.started", plan.runs, plan.limit).await?;
    // Answers are read to their end, so that no run is one that nobody was told of.
    while let Some(given) = mouths.join_next().await {
        given.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
    }
    let killed_ns = now_ns();
    kill(plan.kill).map_err(|e| format!("the node could not be killed: {e}"))?;
    let (first, last) = ear.wait_for("agent.resumed", plan.runs, plan.limit).await?;
    let (_, over) = ear.wait_for("agent.completed", plan.runs, plan.limit).await?;
    let ms = |at: u64| round1(at.saturating_sub(killed_ns) as f64 / 1e6);
    Ok(json!({
        "mode": "takeover",
        "runs": plan.runs,
        "first_ms": ms(first),
        "last_ms": ms(last),
        "all_over_ms": ms(over),
        "loadavg": loadavg(),
    }))
}

async fn give(mut conn: WsConn, keys: Vec<String>, model: String) -> io::Result<()> {
    for key in keys {
        let params = json!({ "message": "Take your time.", "session_key": key, "model": model, "stream": false });
        ask(&mut conn, "agent.run", params).await?;
    }
    // Held open: a run whose client is gone is none that anybody waits for.
    tokio::spawn(async move { while conn.recv().await.is_ok() {} });
    Ok(())
}

fn kill(pid: u32) -> io::Result<()> {
    let status = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(status.to_string())) }
}

/// Hears what happens to runs.
struct Ear {
    conn: WsConn,
}

impl Ear {
    async fn open(options: &Options) -> io::Result<Ear> {
        let mut conn = options.open(0).await?;
        ask(&mut conn, "events.subscribe", json!({ "patterns": ["agent.*"] })).await?;
        Ok(Ear { conn })
    }

    /// Waits until as many runs were told of under `topic`; gives when the first and the last were.
    async fn wait_for(&mut self, topic: &str, runs: usize, limit: Duration) -> Result<(u64, u64), String> {
        let mut seen = HashSet::new();
        let mut first = 0;
        let counted = async {
            while seen.len() < runs {
                let message: Value = serde_json::from_slice(self.conn.recv().await?)?;
                if message["params"]["topic"] == topic {
                    let id = message["params"]["data"]["run_id"].as_str().unwrap_or_default().to_owned();
                    if seen.is_empty() {
                        first = now_ns();
                    }
                    seen.insert(id);
                }
            }
            Ok::<_, io::Error>(())
        };
        match tokio::time::timeout(limit, counted).await {
            Ok(Ok(())) => Ok((first, now_ns())),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("{topic} was told of {} of {runs} runs", seen.len())),
        }
    }
}
