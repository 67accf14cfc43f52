//! Load on a gateway whose process is replaced meanwhile: whatever is not an answer is a failure.

mod http;
mod sockets;
mod tally;

use std::sync::Arc;
use std::time::Duration;

use benchkit::clock::now_ns;
use benchkit::url::Url;
use clap::Parser;
use serde_json::json;
use tally::Tally;

/// Load generator for gateways that are replaced under load. Prints one JSON object.
///
/// Four kinds of clients call without a pause: HTTP with kept-alive connections and with a new one for each
/// request, WebSocket calls, and agent turns. A WebSocket client connects again when it is closed with 1012, sends
/// again what was not answered by then, and resumes events by cursor. Nothing else is forgiven.
#[derive(Parser)]
struct Args {
    /// http://HOST:PORT, of a listener that answers GET /health.
    #[arg(long)]
    http: String,
    /// ws://HOST:PORT of the Aleph dialect.
    #[arg(long)]
    ws: String,
    #[arg(long)]
    token: String,
    /// Clients of each kind.
    #[arg(long, default_value_t = 4)]
    clients: usize,
    #[arg(long, default_value_t = 10.0)]
    secs: f64,
}

/// What every client needs to know.
#[derive(Clone)]
pub struct Plan {
    pub http: Url,
    pub ws: Url,
    pub token: String,
    pub until_ns: u64,
}

impl Plan {
    fn is_over(&self) -> bool {
        now_ns() >= self.until_ns
    }
}

fn main() {
    let args = Args::parse();
    let urls = Url::parse(&args.http).and_then(|http| Ok((http, Url::parse(&args.ws)?)));
    let (http, ws) = urls.unwrap_or_else(|reason| {
        eprintln!("moveload: {reason}");
        std::process::exit(2);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    let duration = Duration::from_secs_f64(args.secs);
    let plan = Plan { http, ws, token: args.token, until_ns: now_ns() + duration.as_nanos() as u64 };
    let result = runtime.block_on(run(&plan, args.clients));
    println!("{result}");
}

async fn run(plan: &Plan, clients: usize) -> serde_json::Value {
    let [kept, fresh, calls, turns] = std::array::from_fn(|_| Arc::new(Tally::default()));
    let mut tasks = tokio::task::JoinSet::new();
    for slot in 0..clients {
        tasks.spawn(http::keep(plan.clone(), Arc::clone(&kept)));
        tasks.spawn(http::renew(plan.clone(), Arc::clone(&fresh)));
        tasks.spawn(sockets::call(plan.clone(), Arc::clone(&calls)));
        tasks.spawn(sockets::talk(plan.clone(), Arc::clone(&turns), slot));
    }
    while tasks.join_next().await.is_some() {}
    let all = [&kept, &fresh, &calls, &turns];
    json!({
        "failed": all.iter().map(|tally| tally.failed()).sum::<u64>(),
        "http_kept": kept.to_json(),
        "http_fresh": fresh.to_json(),
        "ws_calls": calls.to_json(),
        "turns": turns.to_json(),
    })
}
