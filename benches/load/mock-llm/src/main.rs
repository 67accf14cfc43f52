//! A model provider that answers at once: the upstream for gateway benchmarks.

mod profile;
mod reply;
mod request;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use clap::Parser;
use profile::{FaultClock, FaultKind, Profile};
use reply::{Events, Shape};
use request::{Completion, Reader, Request};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// OpenAI-compatible and Anthropic-compatible mock upstream.
///
/// Every option below can be overridden for one request in the path
/// (/tokens-500/delay-2/v1/chat/completions) or in the model name
/// (mock_tokens-500_delay-2_fault-429@50_retry-2).
#[derive(Parser)]
struct Args {
    /// Port 0 picks one; the line `ready http://ADDRESS` on stdout tells it.
    #[arg(long, default_value = "127.0.0.1:9100")]
    listen: String,
    /// Worker threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Tokens in a reply.
    #[arg(long, default_value_t = 32)]
    tokens: u32,
    /// Milliseconds before the first byte.
    #[arg(long, default_value_t = 0)]
    first_ms: u64,
    /// Milliseconds between tokens.
    #[arg(long, default_value_t = 0)]
    delay_ms: u64,
    /// Tokens in one network write when there is no delay.
    #[arg(long, default_value_t = 1)]
    coalesce: u32,
    /// Put the send time into every token.
    #[arg(long)]
    stamp: bool,
    /// STATUS, hang, cut or garbage, with @PER_MILLE for a share of the replies.
    #[arg(long)]
    fault: Option<String>,
    /// Seconds told in Retry-After with 429 and 503.
    #[arg(long, default_value_t = 1)]
    retry_after: u32,
}

#[derive(Default)]
struct Counters {
    connections: AtomicU64,
    requests: AtomicU64,
    streams: AtomicU64,
    tokens: AtomicU64,
    faults: AtomicU64,
    aborted: AtomicU64,
    active: AtomicU64,
    peak_active: AtomicU64,
}

struct Mock {
    defaults: Profile,
    faults: FaultClock,
    counters: Counters,
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    let fault = match args.fault.as_deref() {
        Some(text) => Some(profile::parse_fault(text).ok_or_else(|| io::Error::other(format!("not a fault: {text}")))?),
        None => None,
    };
    let mock = Arc::new(Mock {
        defaults: Profile {
            tokens: args.tokens,
            first_ms: args.first_ms,
            delay_ms: args.delay_ms,
            coalesce: args.coalesce.max(1),
            stamp: args.stamp,
            retry_after: args.retry_after,
            fault,
        },
        faults: FaultClock::default(),
        counters: Counters::default(),
    });
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(args.threads)
        .enable_all()
        .build()?
        .block_on(serve(args.listen, mock))
}

async fn serve(listen: String, mock: Arc<Mock>) -> io::Result<()> {
    let listener = TcpListener::bind(&listen).await?;
    println!("ready http://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        mock.counters.connections.fetch_add(1, Relaxed);
        let mock = mock.clone();
        tokio::spawn(async move {
            // A broken connection is the client's affair and already counted.
            let _ = converse(stream, &mock).await;
        });
    }
}

async fn converse(mut stream: TcpStream, mock: &Mock) -> io::Result<()> {
    let mut reader = Reader::new();
    while let Some(request) = reader.next(&mut stream).await? {
        let keep = answer(&request, &mut stream, mock).await?;
        if !keep {
            break;
        }
    }
    Ok(())
}

/// Answers one request; false when the connection is to be closed.
async fn answer(request: &Request, stream: &mut TcpStream, mock: &Mock) -> io::Result<bool> {
    let path = request.path.split('?').next().unwrap_or_default();
    let shape = match path.rsplit('/').next().unwrap_or_default() {
        "completions" => Shape::OpenAi,
        "messages" => Shape::Anthropic,
        "embeddings" => {
            let body = json!({ "object": "list", "model": "mock", "data": [
                { "object": "embedding", "index": 0, "embedding": vec![0.125; 256] }],
                "usage": { "prompt_tokens": 8, "total_tokens": 8 } });
            return send(stream, &reply::http(200, "", body.to_string().as_bytes())).await;
        }
        "models" => {
            let body = json!({ "object": "list", "data": [
                { "id": "mock", "object": "model", "created": 0, "owned_by": "mock" }] });
            return send(stream, &reply::http(200, "", body.to_string().as_bytes())).await;
        }
        "health" => return send(stream, &reply::http(200, "", b"{\"status\":\"ok\"}")).await,
        "stats" => {
            let body = stats(&mock.counters).to_string();
            return send(stream, &reply::http(200, "", body.as_bytes())).await;
        }
        _ => {
            let status = if request.method == "HEAD" { 200 } else { 404 };
            return send(stream, &reply::http(status, "", b"{}")).await;
        }
    };
    let count = &mock.counters;
    count.requests.fetch_add(1, Relaxed);
    let active = count.active.fetch_add(1, Relaxed) + 1;
    count.peak_active.fetch_max(active, Relaxed);
    let outcome = complete(request, path, shape, stream, mock).await;
    count.active.fetch_sub(1, Relaxed);
    if outcome.is_err() {
        count.aborted.fetch_add(1, Relaxed);
    }
    outcome
}

async fn complete(
    request: &Request,
    path: &str,
    shape: Shape,
    stream: &mut TcpStream,
    mock: &Mock,
) -> io::Result<bool> {
    let Ok(asked) = serde_json::from_slice::<Completion>(&request.body) else {
        return send(stream, &reply::error(shape, 400, 0)).await;
    };
    let mut profile = mock.defaults.clone();
    profile.apply(path.split('/'));
    profile.apply(asked.model.split('_'));
    let fault = mock.faults.due(profile.fault);
    if fault.is_some() {
        mock.counters.faults.fetch_add(1, Relaxed);
    }
    if profile.first_ms > 0 {
        pause(stream, profile.first_ms).await?;
    }
    match fault {
        Some(FaultKind::Status(status)) => {
            return send(stream, &reply::error(shape, status, profile.retry_after)).await;
        }
        Some(FaultKind::Hang) => {
            pause(stream, u64::MAX / 4).await?;
            return Ok(false);
        }
        _ => {}
    }
    if !asked.stream.unwrap_or(false) {
        let bytes = reply::complete(shape, &asked.model, &profile);
        if fault.is_some() {
            stream.write_all(&bytes[..bytes.len() / 2]).await?;
            return Ok(false);
        }
        mock.counters.tokens.fetch_add(u64::from(profile.tokens), Relaxed);
        return send(stream, &bytes).await;
    }
    mock.counters.streams.fetch_add(1, Relaxed);
    let usage = asked.stream_options.and_then(|o| o.include_usage).unwrap_or(false);
    stream_reply(stream, shape, &asked.model, &profile, usage, fault, mock).await
}

async fn stream_reply(
    stream: &mut TcpStream,
    shape: Shape,
    model: &str,
    profile: &Profile,
    usage: bool,
    fault: Option<FaultKind>,
    mock: &Mock,
) -> io::Result<bool> {
    let mut events = Events::new(shape, model, profile, usage);
    let mut out = Vec::with_capacity(4 * 1024);
    out.extend_from_slice(reply::STREAM_HEAD);
    events.open(&mut out);
    for index in 0..profile.tokens {
        if fault.is_some() && index == profile.tokens / 2 {
            if fault == Some(FaultKind::Cut) {
                stream.write_all(&out).await?;
                return Ok(false);
            }
            events.garbage(&mut out);
        }
        events.token(index, &mut out);
        let flush = profile.delay_ms > 0 || (index + 1) % profile.coalesce == 0;
        if flush {
            stream.write_all(&out).await?;
            out.clear();
        }
        if profile.delay_ms > 0 && index + 1 < profile.tokens {
            pause(stream, profile.delay_ms).await?;
        }
    }
    mock.counters.tokens.fetch_add(u64::from(profile.tokens), Relaxed);
    events.close(&mut out);
    send(stream, &out).await
}

async fn send(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<bool> {
    stream.write_all(bytes).await?;
    Ok(true)
}

/// Waits, but notices at once when the client goes away.
async fn pause(stream: &mut TcpStream, ms: u64) -> io::Result<()> {
    let mut probe = [0u8; 1];
    tokio::select! {
        _ = tokio::time::sleep(Duration::from_millis(ms)) => Ok(()),
        read = stream.read(&mut probe) => match read? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Err(io::Error::other("the client pipelined; this mock does not")),
        },
    }
}

fn stats(count: &Counters) -> serde_json::Value {
    json!({
        "connections": count.connections.load(Relaxed),
        "requests": count.requests.load(Relaxed),
        "streams": count.streams.load(Relaxed),
        "tokens": count.tokens.load(Relaxed),
        "faults": count.faults.load(Relaxed),
        "aborted": count.aborted.load(Relaxed),
        "active": count.active.load(Relaxed),
        "peak_active": count.peak_active.load(Relaxed),
    })
}
