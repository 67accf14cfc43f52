//! What an idle connection costs the server.

use std::sync::Arc;
use std::time::Duration;

use benchkit::clock::now_ns;
use benchkit::proc::{CpuMeter, Usage, tree};
use benchkit::stats::{Latency, round1};
use serde_json::{Value, json};

use crate::dialect::Options;
use crate::rpc::{open_all, probe};

pub struct Plan {
    /// Numbers of open connections to stop at, rising.
    pub steps: Vec<usize>,
    pub settle: Duration,
    pub server: u32,
    /// Ask one request on every connection before it falls idle.
    pub ask: bool,
}

pub async fn run(options: Arc<Options>, plan: Plan) -> Result<Value, String> {
    let mut first = options.open(0).await.map_err(|e| e.to_string())?;
    let sample = probe(&options, &mut first).await.map_err(|e| e.to_string())?;
    tokio::time::sleep(plan.settle).await;
    let before = tree(plan.server);
    let mut conns = vec![];
    let mut steps = vec![];
    for target in &plan.steps {
        let started = now_ns();
        let wanted = target.saturating_sub(conns.len());
        let (mut opened, errors) = open_all(&options, conns.len() + 1, wanted).await;
        let open_seconds = (now_ns() - started) as f64 / 1e9;
        if plan.ask {
            for conn in &mut opened {
                let _ = probe(&options, conn).await;
            }
        }
        let rate = opened.len() as f64 / open_seconds.max(1e-9);
        conns.append(&mut opened);
        tokio::time::sleep(plan.settle).await;
        let cpu = CpuMeter::start(Some(plan.server));
        tokio::time::sleep(plan.settle).await;
        let idle_cpu = cpu.finish(0);
        let after = tree(plan.server);
        let mut latency = Latency::new();
        for _ in 0..200 {
            let at = now_ns();
            if probe(&options, &mut first).await.is_ok() {
                latency.record(now_ns() - at);
            }
        }
        steps.push(json!({
            "open": conns.len(),
            "refused": errors.len(),
            "first_error": errors.first(),
            "handshakes_per_s": round1(rate),
            "rss_kib_per_conn": per_conn(before.rss_kib, after.rss_kib, conns.len()),
            "pss_kib_per_conn": per_conn(before.pss_kib, after.pss_kib, conns.len()),
            "idle_cpu": idle_cpu,
            "active_latency_us": latency.to_json(),
            "server": Usage::to_json(after),
        }));
        if !errors.is_empty() {
            break;
        }
    }
    drop(conns);
    tokio::time::sleep(plan.settle * 2).await;
    Ok(json!({
        "mode": "idle",
        "before": before.to_json(),
        "steps": steps,
        "after_close": tree(plan.server).to_json(),
        "sample": sample.chars().take(160).collect::<String>(),
    }))
}

fn per_conn(before: u64, after: u64, conns: usize) -> f64 {
    round1((after as f64 - before as f64) / conns.max(1) as f64)
}
