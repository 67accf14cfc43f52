//! One measured window of load against one URL.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use benchkit::clock::{now_ns, sleep_until_ns};
use benchkit::http1::{self, Conn};
use benchkit::proc::CpuMeter;
use benchkit::stats::{Latency, round1};
use benchkit::url::Url;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::scan::Scanner;

#[derive(Clone)]
pub struct Request {
    pub url: Url,
    pub bytes: Arc<Vec<u8>>,
    /// A reply with another number of tokens counts as short.
    pub expect_tokens: Option<u64>,
    /// A new TCP connection for every request.
    pub fresh: bool,
}

#[derive(Clone, Copy)]
pub struct Window {
    pub conns: usize,
    pub rate: Option<f64>,
    pub warmup: Duration,
    pub duration: Duration,
    pub server: Option<u32>,
}

#[derive(Default)]
struct Tally {
    total: Mutex<Latency>,
    first: Mutex<Latency>,
    delay: Mutex<Latency>,
    tokens: AtomicU64,
    bytes: AtomicU64,
    short: AtomicU64,
    statuses: Mutex<BTreeMap<String, u64>>,
    from_ns: AtomicU64,
}

impl Tally {
    /// True inside the measured window. What ends inside it counts, also when it
    /// began in the warm-up: a long stream would otherwise never count.
    fn open(&self, stop: u64) -> bool {
        let now = now_ns();
        now >= self.from_ns.load(Relaxed) && now < stop
    }
}

pub struct Outcome {
    pub total: Latency,
    pub first: Latency,
    pub req_per_s: f64,
    pub report: Value,
}

pub async fn run(request: &Request, window: Window) -> Outcome {
    let tally = Arc::new(Tally::default());
    tally.from_ns.store(u64::MAX, Relaxed);
    let base = now_ns();
    let stop = base + (window.warmup + window.duration).as_nanos() as u64;
    let mut tasks = tokio::task::JoinSet::new();
    let mut pacer = None;
    let queue = window.rate.map(|rate| {
        let (sender, receiver) = mpsc::unbounded_channel();
        pacer = Some(std::thread::spawn(move || pace(&sender, rate, base, stop)));
        Arc::new(tokio::sync::Mutex::new(receiver))
    });
    for _ in 0..window.conns {
        let (request, tally, queue) = (request.clone(), tally.clone(), queue.clone());
        tasks.spawn(async move { worker(&request, &tally, queue, stop).await });
    }
    tokio::time::sleep(window.warmup).await;
    let from = now_ns();
    tally.from_ns.store(from, Relaxed);
    let cpu = CpuMeter::start(window.server);
    tokio::time::sleep(Duration::from_nanos(stop.saturating_sub(now_ns()))).await;
    let until = now_ns();
    let done = tally.total.lock().expect("no panics inside").count();
    let tokens = tally.tokens.load(Relaxed);
    let bytes = tally.bytes.load(Relaxed);
    let cpu = cpu.finish(done);
    if let Some(pacer) = pacer {
        let _ = pacer.join();
    }
    let drain = async { while tasks.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(Duration::from_secs(5), drain).await;
    tasks.abort_all();
    let seconds = (until - from) as f64 / 1e9;
    let total = std::mem::take(&mut *tally.total.lock().expect("no panics inside"));
    let first = std::mem::take(&mut *tally.first.lock().expect("no panics inside"));
    let delay = std::mem::take(&mut *tally.delay.lock().expect("no panics inside"));
    let statuses = tally.statuses.lock().expect("no panics inside").clone();
    let report = json!({
        "conns": window.conns,
        "target_rate": window.rate,
        "seconds": round1(seconds),
        "req_per_s": round1(done as f64 / seconds),
        "tokens_per_s": round1(tokens as f64 / seconds),
        "mib_per_s": round1(bytes as f64 / seconds / 1048576.0),
        "total_us": total.to_json(),
        "first_token_us": first.to_json(),
        "token_delay_us": delay.to_json(),
        "short_replies": tally.short.load(Relaxed),
        "other_outcomes": statuses,
        "cpu": cpu,
    });
    Outcome { total, first, req_per_s: done as f64 / seconds, report }
}

type Queue = Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<u64>>>;

async fn worker(request: &Request, tally: &Tally, queue: Option<Queue>, stop: u64) {
    let mut conn = None;
    let mut scanner = Scanner::default();
    loop {
        let due = match &queue {
            Some(queue) => match queue.lock().await.recv().await {
                Some(due) => due,
                None => return,
            },
            None => now_ns(),
        };
        if now_ns() >= stop {
            return;
        }
        let outcome = exchange(request, &mut conn, &mut scanner, tally, stop).await;
        let counted = tally.open(stop);
        let label = match outcome {
            Ok(200) => {
                let short = request.expect_tokens.is_some_and(|n| n != scanner.tokens);
                if counted {
                    if short {
                        tally.short.fetch_add(1, Relaxed);
                    }
                    tally.total.lock().expect("no panics inside").record(now_ns() - due);
                    if let Some(at) = scanner.first_token_ns {
                        tally.first.lock().expect("no panics inside").record(at - due);
                    }
                }
                None
            }
            Ok(status) => Some(format!("status {status}")),
            Err(error) => {
                conn = None;
                Some(error.to_string())
            }
        };
        if let (Some(label), true) = (label, counted) {
            *tally.statuses.lock().expect("no panics inside").entry(label).or_default() += 1;
        }
        if request.fresh {
            conn = None;
        }
    }
}

async fn exchange(
    request: &Request,
    slot: &mut Option<Conn>,
    scanner: &mut Scanner,
    tally: &Tally,
    stop: u64,
) -> io::Result<u16> {
    scanner.reset();
    if slot.is_none() {
        *slot = Some(Conn::connect(request.url.addr).await?);
    }
    let conn = slot.as_mut().expect("filled above");
    conn.send(&request.bytes).await?;
    let head = conn.read_head().await?;
    let mut seen = 0;
    conn.read_body(&head, |data| {
        let counted = tally.open(stop);
        let mut delay = tally.delay.lock().expect("no panics inside");
        scanner.feed(data, &mut counted.then_some(&mut *delay));
        if counted {
            tally.tokens.fetch_add(scanner.tokens - seen, Relaxed);
            tally.bytes.fetch_add(data.len() as u64, Relaxed);
        }
        seen = scanner.tokens;
    })
    .await?;
    scanner.finish(&mut None);
    if tally.open(stop) {
        tally.tokens.fetch_add(scanner.tokens - seen, Relaxed);
    }
    if head.close {
        *slot = None;
    }
    Ok(head.status)
}

/// Releases one request at each due moment.
fn pace(queue: &mpsc::UnboundedSender<u64>, rate: f64, base: u64, stop: u64) {
    let gap = 1e9 / rate;
    for turn in 0u64.. {
        let due = base + (turn as f64 * gap) as u64;
        if due >= stop {
            return;
        }
        if now_ns() < due {
            sleep_until_ns(due);
        }
        if queue.send(due).is_err() {
            return;
        }
    }
}

pub fn build(url: &Url, body: Option<&str>, token: Option<&str>, extra: &[String]) -> Arc<Vec<u8>> {
    let mut headers: Vec<String> = extra.to_vec();
    if let Some(token) = token {
        headers.push(format!("authorization: Bearer {token}"));
    }
    headers.push("accept: */*".to_string());
    let method = if body.is_some() { "POST" } else { "GET" };
    Arc::new(http1::request(method, &url.host, &url.path, &headers, body.unwrap_or("").as_bytes()))
}
