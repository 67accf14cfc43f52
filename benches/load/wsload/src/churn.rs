//! Clients that come and go: each connects, listens, begins a run, cancels it, and leaves.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use benchkit::clock::now_ns;
use benchkit::proc::loadavg;
use serde_json::{Value, json};

use crate::call::ask;
use crate::dialect::Options;

pub struct Plan {
    /// Clients at a time.
    pub clients: usize,
    pub duration: Duration,
    /// A model that answers later than its run is cancelled.
    pub model: String,
    /// How long a client listens to everything before it cancels its run.
    pub stay: Duration,
}

#[derive(Default)]
struct Tally {
    visits: AtomicU64,
    heard: AtomicU64,
    failures: Mutex<BTreeMap<String, u64>>,
}

pub async fn run(options: Arc<Options>, plan: Plan) -> Result<Value, String> {
    let (plan, tally) = (Arc::new(plan), Arc::new(Tally::default()));
    let base = now_ns();
    let end = base + plan.duration.as_nanos() as u64;
    let mut clients = tokio::task::JoinSet::new();
    for slot in 0..plan.clients {
        let (options, plan, tally) = (options.clone(), plan.clone(), tally.clone());
        clients.spawn(async move {
            let mut turn = 0;
            while now_ns() < end {
                let key = format!("agent:main:dm:churn-{base}-{slot}-{turn}");
                turn += 1;
                match visit(&options, &plan, &key, &tally).await {
                    Ok(()) => _ = tally.visits.fetch_add(1, Relaxed),
                    Err(error) => {
                        *tally.failures.lock().expect("no panics inside").entry(error.to_string()).or_default() += 1;
                        tokio::time::sleep(Duration::from_millis(200)).await;
                    }
                }
            }
        });
    }
    while clients.join_next().await.is_some() {}
    let failures = tally.failures.lock().expect("no panics inside").clone();
    Ok(json!({
        "mode": "churn",
        "clients": plan.clients,
        "visits": tally.visits.load(Relaxed),
        "heard": tally.heard.load(Relaxed),
        "failed": failures.values().sum::<u64>(),
        "errors": failures,
        "loadavg": loadavg(),
    }))
}

/// No visit takes longer than this behind its stay.
const PATIENCE: Duration = Duration::from_secs(30);

async fn visit(options: &Options, plan: &Plan, key: &str, tally: &Tally) -> io::Result<()> {
    let mut conn = options.open(now_ns()).await?;
    ask(&mut conn, "events.subscribe", json!({ "patterns": ["*"] })).await?;
    let params = json!({ "message": "I shall not wait for this.", "session_key": key, "model": plan.model });
    let run = ask(&mut conn, "agent.run", params).await?;
    let run = run["run_id"].as_str().ok_or_else(|| io::Error::other("no run_id"))?.to_owned();
    let listening = async {
        loop {
            conn.recv().await?;
            tally.heard.fetch_add(1, Relaxed);
        }
    };
    // Time is up first, or the connection has ended.
    if let Ok(ended) = tokio::time::timeout(plan.stay, listening).await {
        let ended: io::Result<()> = ended;
        ended?;
    }
    // Its end may be told before the call is answered.
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "agent.cancel", "params": { "run_id": run } });
    conn.send_text(call.to_string().as_bytes()).await?;
    let told = async {
        loop {
            let message: Value = serde_json::from_slice(conn.recv().await?)?;
            tally.heard.fetch_add(1, Relaxed);
            let params = &message["params"];
            if params["topic"] == "agent.cancelled" && params["data"]["run_id"] == run.as_str() {
                return Ok::<_, io::Error>(());
            }
        }
    };
    match tokio::time::timeout(PATIENCE, told).await {
        Ok(told) => told,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "a cancelled run did not end")),
    }
}
