//! Load on WebSocket gateways: requests, idle connections, fan-out, agent turns, coming back, coming and going.

mod call;
mod churn;
mod dialect;
mod fanout;
mod idle;
mod resume;
mod rpc;
mod takeover;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use benchkit::url::Url;
use clap::{Args, Parser, Subcommand};
use dialect::{Dialect, Options};
use serde_json::Value;

/// Load generator for WebSocket gateways. Prints one JSON object.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Args, Clone)]
struct Target {
    /// ws:// URL (fanout also takes http:// for SSE and nats://).
    #[arg(long)]
    url: String,
    #[arg(long, value_enum, default_value_t = Dialect::Raw)]
    dialect: Dialect,
    #[arg(long)]
    token: Option<String>,
    /// Method to call; each dialect has its own default.
    #[arg(long)]
    method: Option<String>,
    /// Parameters as JSON text.
    #[arg(long)]
    params: Option<String>,
    /// Pad the parameters with a text of this many bytes.
    #[arg(long, default_value_t = 0)]
    payload: usize,
    /// Sign the connect with a throw-away device key.
    #[arg(long)]
    device: bool,
    #[arg(long, default_value = "cli")]
    client_id: String,
    #[arg(long, default_value = "cli")]
    client_mode: String,
    /// Process number of the server, for its memory and processor time.
    #[arg(long)]
    pid: Option<u32>,
    /// Threads of the load generator.
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

#[derive(Args, Clone)]
struct Period {
    #[arg(long, default_value_t = 5.0)]
    secs: f64,
    #[arg(long, default_value_t = 1.0)]
    warmup: f64,
}

#[derive(Subcommand)]
enum Mode {
    /// Every connection asks again as soon as it has its answer.
    Closed {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        period: Period,
        #[arg(long, default_value_t = 1)]
        conns: usize,
        /// Requests in flight on each connection.
        #[arg(long, default_value_t = 1)]
        pipeline: usize,
    },
    /// Requests leave at a fixed rate whatever the server does.
    Rate {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        period: Period,
        #[arg(long, default_value_t = 32)]
        conns: usize,
        #[arg(long)]
        rate: f64,
    },
    /// Opens connections and leaves them alone; needs --pid.
    Idle {
        #[command(flatten)]
        target: Target,
        /// Numbers of connections to stop and look at.
        #[arg(long, value_delimiter = ',', default_value = "1000,5000")]
        steps: Vec<usize>,
        #[arg(long, default_value_t = 3.0)]
        settle: f64,
        /// Ask one request on every connection first.
        #[arg(long)]
        ask: bool,
    },
    /// One publisher, many subscribers.
    Fanout {
        #[command(flatten)]
        target: Target,
        #[arg(long, default_value_t = 100)]
        subs: usize,
        /// Message that every subscriber sends first; {id} is filled in.
        #[arg(long)]
        subscribe: Option<String>,
        /// Message to publish; {stamp} and {id} are filled in.
        #[arg(long)]
        publish: String,
        /// Publish with POST to this URL.
        #[arg(long)]
        publish_post: Option<String>,
        #[arg(long, default_value_t = 100.0)]
        rate: f64,
        #[arg(long, default_value_t = 500)]
        count: u64,
        /// Events that one published message leads to.
        #[arg(long, default_value_t = 1)]
        each: u64,
        /// Seconds to wait for the last events.
        #[arg(long, default_value_t = 5.0)]
        drain: f64,
    },
    /// Agent turns (aleph): every session sends its next message when its run has ended.
    Turns {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        period: Period,
        #[arg(long, default_value_t = 8)]
        conns: usize,
        #[arg(long, default_value_t = 64)]
        sessions: usize,
        /// Turns before a loop takes a fresh session; 0 stays in one.
        #[arg(long, default_value_t = 16)]
        per_session: u64,
        /// Seconds of thought before a connection's next message; have as many connections as sessions then.
        #[arg(long, default_value_t = 0.0)]
        think: f64,
        /// End after this many turns (and at --secs at the latest).
        #[arg(long)]
        count: Option<u64>,
        /// Ask for no deltas.
        #[arg(long)]
        quiet: bool,
        #[arg(long, default_value = "main")]
        agent: String,
        #[arg(long, default_value = "Say something about the weather in as few words as you can.")]
        message: String,
    },
    /// Comes back (aleph) after this many durable events and reads them all.
    Resume {
        #[command(flatten)]
        target: Target,
        #[arg(long, default_value_t = 100_000)]
        events: u64,
        #[arg(long, default_value_t = 3)]
        rounds: usize,
    },
    /// Kills a node (aleph) in the middle of many runs; listens at another until it has taken them over.
    Takeover {
        #[command(flatten)]
        target: Target,
        /// Where to listen, and with which token.
        #[arg(long)]
        heir_url: String,
        #[arg(long)]
        heir_token: Option<String>,
        #[arg(long, default_value_t = 1000)]
        runs: usize,
        #[arg(long)]
        model: String,
        /// Seconds that anything may take.
        #[arg(long, default_value_t = 90.0)]
        limit: f64,
    },
    /// Clients (aleph) that connect, listen, begin a run, cancel it and leave, again and again.
    Churn {
        #[command(flatten)]
        target: Target,
        #[arg(long, default_value_t = 8)]
        clients: usize,
        #[arg(long, default_value_t = 10.0)]
        secs: f64,
        #[arg(long)]
        model: String,
        /// Seconds that each listens.
        #[arg(long, default_value_t = 0.5)]
        stay: f64,
    },
}

impl Target {
    fn options(&self) -> Result<Arc<Options>, String> {
        let params = match (&self.params, self.payload) {
            (Some(text), _) => Some(text.clone()),
            (None, 0) => None,
            (None, bytes) => Some(format!("{{\"pad\":\"{}\"}}", "x".repeat(bytes))),
        };
        Ok(Arc::new(Options {
            dialect: self.dialect,
            url: Url::parse(&self.url)?,
            token: self.token.clone(),
            method: self.method.clone().unwrap_or_else(|| self.dialect.default_method().to_string()),
            params,
            device: self.device,
            client_id: self.client_id.clone(),
            client_mode: self.client_mode.clone(),
        }))
    }
}

fn main() {
    let cli = Cli::parse();
    let threads = match &cli.mode {
        Mode::Closed { target, .. }
        | Mode::Rate { target, .. }
        | Mode::Idle { target, .. }
        | Mode::Fanout { target, .. }
        | Mode::Turns { target, .. }
        | Mode::Resume { target, .. }
        | Mode::Takeover { target, .. }
        | Mode::Churn { target, .. } => target.threads,
    };
    let runtime = if threads > 1 {
        tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()
    } else {
        tokio::runtime::Builder::new_current_thread().enable_all().build()
    };
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(cli)),
        Err(error) => Err(error.to_string()),
    };
    match result {
        Ok(value) => println!("{value}"),
        Err(error) => {
            eprintln!("wsload: {error}");
            std::process::exit(1);
        }
    }
}

async fn run(cli: Cli) -> Result<Value, String> {
    let seconds = Duration::from_secs_f64;
    match cli.mode {
        Mode::Closed { target, period, conns, pipeline } => {
            let plan = rpc::Plan {
                conns,
                pipeline: pipeline.max(1),
                rate: None,
                warmup: seconds(period.warmup),
                duration: seconds(period.secs),
                server: target.pid,
            };
            rpc::run(target.options()?, plan).await
        }
        Mode::Rate { target, period, conns, rate } => {
            let plan = rpc::Plan {
                conns,
                pipeline: 1,
                rate: Some(rate),
                warmup: seconds(period.warmup),
                duration: seconds(period.secs),
                server: target.pid,
            };
            rpc::run(target.options()?, plan).await
        }
        Mode::Idle { target, steps, settle, ask } => {
            let plan =
                idle::Plan { steps, settle: seconds(settle), server: target.pid.ok_or("idle needs --pid")?, ask };
            idle::run(target.options()?, plan).await
        }
        Mode::Fanout { target, subs, subscribe, publish, publish_post, rate, count, each, drain } => {
            let plan = fanout::Plan {
                subscribers: subs,
                subscribe,
                publish,
                publish_post: publish_post.as_deref().map(Url::parse).transpose()?,
                rate,
                count,
                each,
                server: target.pid,
                drain: seconds(drain),
            };
            fanout::run(target.options()?, plan).await
        }
        Mode::Turns { target, period, conns, sessions, per_session, think, count, quiet, agent, message } => {
            if target.dialect != Dialect::Aleph {
                return Err("turns speaks aleph only".into());
            }
            let plan = turns::Plan {
                conns: conns.max(1),
                sessions: sessions.max(1),
                per_session,
                think: seconds(think),
                warmup: seconds(period.warmup),
                duration: seconds(period.secs),
                count,
                stream: !quiet,
                agent,
                message,
                server: target.pid,
            };
            turns::run(target.options()?, plan).await
        }
        Mode::Resume { target, events, rounds } => {
            let plan = resume::Plan { events, rounds, server: target.pid };
            resume::run(target.options()?, plan).await
        }
        Mode::Takeover { target, heir_url, heir_token, runs, model, limit } => {
            let heir = Target { url: heir_url, token: heir_token, ..target.clone() };
            let kill = target.pid.ok_or("takeover needs --pid, the process to kill")?;
            let plan = takeover::Plan { runs, model, kill, limit: seconds(limit) };
            takeover::run(target.options()?, heir.options()?, plan).await
        }
        Mode::Churn { target, clients, secs, model, stay } => {
            let plan = churn::Plan { clients, duration: seconds(secs), model, stay: seconds(stay) };
            churn::run(target.options()?, plan).await
        }
    }
}
