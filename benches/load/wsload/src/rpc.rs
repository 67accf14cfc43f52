//! Request and response load: closed loop and fixed rate.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::TcpStream as StdStream;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use benchkit::clock::{now_ns, sleep_until_ns};
use benchkit::proc::{CpuMeter, loadavg};
use benchkit::stats::{Latency, round1};
use benchkit::ws::{WsConn, encode_text};
use serde_json::{Value, json};

use crate::dialect::Options;

pub struct Plan {
    pub conns: usize,
    pub pipeline: usize,
    pub rate: Option<f64>,
    pub warmup: Duration,
    pub duration: Duration,
    pub server: Option<u32>,
}

/// What all connections record into.
pub struct Tally {
    pub latency: Mutex<Latency>,
    pub failed: AtomicU64,
    pub errors: Mutex<BTreeMap<String, u64>>,
    /// Answers before this moment are not counted.
    pub from_ns: AtomicU64,
}

impl Tally {
    fn new() -> Arc<Tally> {
        Arc::new(Tally {
            latency: Mutex::new(Latency::new()),
            failed: AtomicU64::new(0),
            errors: Mutex::new(BTreeMap::new()),
            from_ns: AtomicU64::new(u64::MAX),
        })
    }

    fn record(&self, sent: u64, now: u64, ok: bool) {
        if now < self.from_ns.load(Relaxed) {
            return;
        }
        if ok {
            self.latency.lock().expect("no panics inside").record(now - sent);
        } else {
            self.failed.fetch_add(1, Relaxed);
        }
    }

    fn error(&self, error: &io::Error) {
        *self.errors.lock().expect("no panics inside").entry(error.to_string()).or_default() += 1;
    }
}

/// Opens `count` connections, at most 32 handshakes at a time.
pub async fn open_all(options: &Arc<Options>, from: usize, count: usize) -> (Vec<WsConn>, Vec<String>) {
    let mut conns = Vec::with_capacity(count);
    let mut errors = vec![];
    let mut pending = tokio::task::JoinSet::new();
    let mut next = from;
    while next < from + count || !pending.is_empty() {
        while next < from + count && pending.len() < 32 {
            let options = options.clone();
            let index = next as u64;
            pending.spawn(async move { options.open(index).await });
            next += 1;
        }
        match pending.join_next().await {
            Some(Ok(Ok(conn))) => conns.push(conn),
            Some(Ok(Err(error))) => errors.push(error.to_string()),
            Some(Err(error)) => errors.push(error.to_string()),
            None => break,
        }
    }
    (conns, errors)
}

/// One request on one connection; returns the answer for a look at it.
pub async fn probe(options: &Options, conn: &mut WsConn) -> io::Result<String> {
    let id = now_ns();
    let mut text = vec![];
    options.request(&mut text, id);
    conn.send_text(&text).await?;
    let wait = async {
        loop {
            let message = conn.recv().await?;
            if let Some((_, ok)) = options.reply(message, id) {
                let sample = String::from_utf8_lossy(message).into_owned();
                return if ok { Ok(sample) } else { Err(io::Error::other(format!("request failed: {sample}"))) };
            }
        }
    };
    match tokio::time::timeout(Duration::from_secs(30), wait).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer to the first request")),
    }
}

pub async fn run(options: Arc<Options>, plan: Plan) -> Result<Value, String> {
    let (mut conns, open_errors) = open_all(&options, 0, plan.conns).await;
    if conns.is_empty() {
        return Err(format!("no connection opened: {:?}", open_errors.first()));
    }
    let sample = probe(&options, &mut conns[0]).await.map_err(|e| e.to_string())?;
    let tally = Tally::new();
    let opened = conns.len();
    let base = now_ns();
    let stop = base + (plan.warmup + plan.duration).as_nanos() as u64;
    let mut tasks = tokio::task::JoinSet::new();
    let pacer = plan.rate.map(|rate| {
        let streams = conns.iter().map(writer).collect::<io::Result<Vec<_>>>();
        (rate, streams)
    });
    for conn in conns {
        let (options, tally) = (options.clone(), tally.clone());
        let pipeline = plan.pipeline;
        let paced = pacer.is_some();
        tasks.spawn(async move {
            let result = if paced {
                listen(&options, conn, &tally, base).await
            } else {
                closed_loop(&options, conn, &tally, base, stop, pipeline).await
            };
            if let Err(error) = result
                && now_ns() < stop
            {
                tally.error(&error);
            }
        });
    }
    let pacer = match pacer {
        Some((rate, streams)) => {
            let streams = streams.map_err(|e| e.to_string())?;
            let options = options.clone();
            Some(std::thread::spawn(move || pace(&options, streams, rate, base, stop)))
        }
        None => None,
    };
    tokio::time::sleep(plan.warmup).await;
    let from = now_ns();
    tally.from_ns.store(from, Relaxed);
    let cpu = CpuMeter::start(plan.server);
    tokio::time::sleep(Duration::from_nanos(stop.saturating_sub(now_ns()))).await;
    let until = now_ns();
    let answered = tally.latency.lock().expect("no panics inside").count();
    let cpu = cpu.finish(answered);
    let mut late_sends = 0;
    if let Some(pacer) = pacer {
        late_sends = pacer.join().map_err(|_| "the pacer panicked".to_string())?;
    }
    let drain = async { while tasks.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(Duration::from_secs(3), drain).await;
    let seconds = (until - from) as f64 / 1e9;
    let latency = tally.latency.lock().expect("no panics inside");
    let errors = tally.errors.lock().expect("no panics inside");
    Ok(json!({
        "mode": if plan.rate.is_some() { "rate" } else { "closed" },
        "method": options.method,
        "conns": opened,
        "conns_refused": open_errors.len(),
        "first_open_error": open_errors.first(),
        "pipeline": plan.pipeline,
        "target_rate": plan.rate,
        "seconds": round1(seconds),
        "req_per_s": round1(answered as f64 / seconds),
        "latency_us": latency.to_json(),
        "failed": tally.failed.load(Relaxed),
        "errors": *errors,
        "late_sends": late_sends,
        "cpu": cpu,
        "loadavg": loadavg(),
        "sample": clip(&sample, 240),
    }))
}

fn clip(text: &str, limit: usize) -> String {
    text.chars().take(limit).collect()
}

async fn closed_loop(
    options: &Options,
    mut conn: WsConn,
    tally: &Tally,
    base: u64,
    stop: u64,
    pipeline: usize,
) -> io::Result<()> {
    let mut text = vec![];
    let mut last = 0;
    for _ in 0..pipeline {
        last = next_id(last);
        options.request(&mut text, last);
        conn.send_text(&text).await?;
    }
    loop {
        let answered = options.reply(conn.recv().await?, base);
        let Some((sent, ok)) = answered else {
            continue;
        };
        let now = now_ns();
        if now >= stop {
            return Ok(());
        }
        tally.record(sent, now, ok);
        last = next_id(last);
        options.request(&mut text, last);
        conn.send_text(&text).await?;
    }
}

/// Requests are numbered by the clock: the answer then tells its own latency.
fn next_id(last: u64) -> u64 {
    now_ns().max(last + 1)
}

/// Only reads; the pacer writes.
async fn listen(options: &Options, mut conn: WsConn, tally: &Tally, base: u64) -> io::Result<()> {
    loop {
        let answered = options.reply(conn.recv().await?, base);
        if let Some((sent, ok)) = answered {
            tally.record(sent, now_ns(), ok);
        }
    }
}

fn writer(conn: &WsConn) -> io::Result<StdStream> {
    Ok(StdStream::from(conn.stream().as_fd().try_clone_to_owned()?))
}

/// Sends at fixed moments whatever the server does. Latency counts from the
/// moment a request was due, so a stalled server is not flattered.
/// Returns how many requests left more than a millisecond late.
fn pace(options: &Options, mut streams: Vec<StdStream>, rate: f64, base: u64, stop: u64) -> u64 {
    let gap = 1e9 / rate;
    let mut text = vec![];
    let mut late = 0;
    for turn in 0u64.. {
        let due = base + (turn as f64 * gap) as u64;
        if due >= stop {
            break;
        }
        if now_ns() < due {
            sleep_until_ns(due);
        } else if now_ns() - due > 1_000_000 {
            late += 1;
        }
        options.request(&mut text, due);
        let at = turn as usize % streams.len();
        if write_whole(&mut streams[at], &encode_text(&text), stop).is_err() {
            break;
        }
    }
    late
}

/// Writes to a socket that is in non-blocking mode because tokio reads from it.
fn write_whole(stream: &mut StdStream, mut bytes: &[u8], stop: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if now_ns() > stop {
                    return Err(error);
                }
                std::thread::sleep(Duration::from_micros(200));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
