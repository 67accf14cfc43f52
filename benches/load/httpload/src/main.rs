//! Load on HTTP gateways, with the figures of the upstream beside them.

mod load;
mod scan;

use std::time::Duration;

use benchkit::proc::loadavg;
use benchkit::stats::{round1, spread};
use benchkit::url::Url;
use clap::Parser;
use load::{Outcome, Request, Window};
use serde_json::{Value, json};

/// Load generator for OpenAI-compatible gateways. Prints one JSON object.
///
/// With --baseline every round measures the upstream first and the gateway
/// next, and the difference of the two is the latency the gateway adds.
#[derive(Parser)]
struct Args {
    #[arg(long)]
    url: String,
    /// The same call made to the upstream directly.
    #[arg(long)]
    baseline: Option<String>,
    /// A plain GET instead of a completion.
    #[arg(long)]
    get: bool,
    /// Ask for a stream.
    #[arg(long)]
    stream: bool,
    #[arg(long, default_value = "mock")]
    model: String,
    /// Model name for the baseline, when the gateway needs another.
    #[arg(long)]
    baseline_model: Option<String>,
    /// The whole body, instead of the one built from the other options.
    #[arg(long)]
    body: Option<String>,
    /// Bytes of user text in the request.
    #[arg(long, default_value_t = 64)]
    prompt: usize,
    /// Tokens that a good reply has.
    #[arg(long)]
    expect_tokens: Option<u64>,
    #[arg(long)]
    token: Option<String>,
    /// More request headers, each as "name: value".
    #[arg(long)]
    header: Vec<String>,
    #[arg(long, default_value_t = 1)]
    conns: usize,
    /// Requests a second; without it the loop is closed.
    #[arg(long)]
    rate: Option<f64>,
    #[arg(long, default_value_t = 5.0)]
    secs: f64,
    #[arg(long, default_value_t = 1.0)]
    warmup: f64,
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// A new connection for every request.
    #[arg(long)]
    fresh: bool,
    /// Process number of the gateway, for its processor time.
    #[arg(long)]
    pid: Option<u32>,
    /// Threads of the load generator.
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

impl Args {
    fn request(&self, url: &str, model: &str, own: bool) -> Result<Request, String> {
        let url = Url::parse(url)?;
        let body = match (&self.body, self.get) {
            (_, true) => None,
            (Some(text), _) => Some(text.clone()),
            (None, _) => Some(completion(model, self.prompt, self.stream)),
        };
        let (token, headers) =
            if own { (self.token.as_deref(), self.header.as_slice()) } else { (Some("sk-baseline"), &[][..]) };
        let bytes = load::build(&url, body.as_deref(), token, headers);
        Ok(Request { url, bytes, expect_tokens: self.expect_tokens, fresh: self.fresh })
    }

    fn window(&self, server: Option<u32>) -> Window {
        Window {
            conns: self.conns,
            rate: self.rate,
            warmup: Duration::from_secs_f64(self.warmup),
            duration: Duration::from_secs_f64(self.secs),
            server,
        }
    }
}

fn completion(model: &str, prompt: usize, stream: bool) -> String {
    let text = "word ".repeat(prompt / 5 + 1);
    json!({ "model": model, "stream": stream,
        "messages": [
            { "role": "system", "content": "You are a test." },
            { "role": "user", "content": text[..prompt.max(1)].trim_end() }] })
    .to_string()
}

fn main() {
    let args = Args::parse();
    let runtime = if args.threads > 1 {
        tokio::runtime::Builder::new_multi_thread().worker_threads(args.threads).enable_all().build()
    } else {
        tokio::runtime::Builder::new_current_thread().enable_all().build()
    };
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(&args)),
        Err(error) => Err(error.to_string()),
    };
    match result {
        Ok(value) => println!("{value}"),
        Err(error) => {
            eprintln!("httpload: {error}");
            std::process::exit(1);
        }
    }
}

async fn run(args: &Args) -> Result<Value, String> {
    let target = args.request(&args.url, &args.model, true)?;
    let baseline = match &args.baseline {
        Some(url) => {
            let model = args.baseline_model.as_deref().unwrap_or(&args.model);
            Some(args.request(url, model, false)?)
        }
        None => None,
    };
    let mut rounds = vec![];
    for _ in 0..args.rounds.max(1) {
        let direct = match &baseline {
            Some(request) => Some(load::run(request, args.window(None)).await),
            None => None,
        };
        let through = load::run(&target, args.window(args.pid)).await;
        rounds.push((direct, through));
    }
    Ok(json!({
        "url": args.url,
        "stream": args.stream,
        "rounds": rounds.iter().map(round_json).collect::<Vec<_>>(),
        "median": medians(&rounds),
        "loadavg": loadavg(),
    }))
}

type Round = (Option<Outcome>, Outcome);

fn round_json((direct, through): &Round) -> Value {
    let mut out = json!({ "gateway": through.report });
    if let Some(direct) = direct {
        out["direct"] = direct.report.clone();
        out["added_us"] = json!({
            "p50": round1(through.total.us(0.5) - direct.total.us(0.5)),
            "p99": round1(through.total.us(0.99) - direct.total.us(0.99)),
            "first_token_p50": round1(through.first.us(0.5) - direct.first.us(0.5)),
            "first_token_p99": round1(through.first.us(0.99) - direct.first.us(0.99)),
        });
    }
    out
}

fn medians(rounds: &[Round]) -> Value {
    let over = |figure: &dyn Fn(&Round) -> f64| -> Value { spread(&rounds.iter().map(figure).collect::<Vec<_>>()) };
    let mut out = json!({
        "req_per_s": over(&|r| r.1.req_per_s),
        "tokens_per_s": over(&|r| r.1.report["tokens_per_s"].as_f64().unwrap_or(0.0)),
        "p50_us": over(&|r| r.1.total.us(0.5)),
        "p99_us": over(&|r| r.1.total.us(0.99)),
        "first_token_p50_us": over(&|r| r.1.first.us(0.5)),
        "first_token_p99_us": over(&|r| r.1.first.us(0.99)),
    });
    if rounds.iter().all(|r| r.0.is_some()) {
        let direct = |r: &Round, q: f64, first: bool| -> f64 {
            r.0.as_ref().map_or(0.0, |d| if first { d.first.us(q) } else { d.total.us(q) })
        };
        out["direct_req_per_s"] = over(&|r| r.0.as_ref().map_or(0.0, |d| d.req_per_s));
        out["direct_p50_us"] = over(&|r| direct(r, 0.5, false));
        out["added_p50_us"] = over(&|r| r.1.total.us(0.5) - direct(r, 0.5, false));
        out["added_p99_us"] = over(&|r| r.1.total.us(0.99) - direct(r, 0.99, false));
        out["added_first_token_p50_us"] = over(&|r| r.1.first.us(0.5) - direct(r, 0.5, true));
        out["added_first_token_p99_us"] = over(&|r| r.1.first.us(0.99) - direct(r, 0.99, true));
    }
    out
}
