//! One publisher, many subscribers: delivered events and their delay.
//!
//! Subscribers may be WebSocket clients of any dialect, SSE readers
//! (`http://`) or NATS subscribers (`nats://`). Delay is read from the stamps
//! inside the events, so publisher and subscribers need only share the clock.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use benchkit::clock::now_ns;
use benchkit::http1;
use benchkit::proc::{CpuMeter, loadavg};
use benchkit::stamp;
use benchkit::stats::{Latency, round1};
use benchkit::url::Url;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::dialect::Options;

pub struct Plan {
    pub subscribers: usize,
    /// Sent by every WebSocket subscriber after its handshake.
    pub subscribe: Option<String>,
    /// Message or request body; `{stamp}` and `{id}` are filled in.
    pub publish: String,
    /// Publish with POST to this URL instead of over the WebSocket.
    pub publish_post: Option<Url>,
    pub rate: f64,
    /// Publish this many and no more.
    pub count: u64,
    /// Events that one published message leads to.
    pub each: u64,
    pub server: Option<u32>,
    pub drain: Duration,
}

#[derive(Default)]
struct Seen {
    delivered: AtomicU64,
    messages: AtomicU64,
    first_ns: AtomicU64,
    last_ns: AtomicU64,
}

struct Tally {
    seen: Seen,
    latency: Mutex<Latency>,
}

impl Tally {
    fn take(&self, bytes: &[u8]) {
        let now = now_ns();
        let mut any = false;
        stamp::scan(bytes, |sent| {
            any = true;
            self.seen.delivered.fetch_add(1, Relaxed);
            self.latency.lock().expect("no panics inside").record(now.saturating_sub(sent));
        });
        if any {
            self.seen.messages.fetch_add(1, Relaxed);
            let _ = self.seen.first_ns.compare_exchange(0, now, Relaxed, Relaxed);
            self.seen.last_ns.store(now, Relaxed);
        }
    }
}

pub async fn run(options: Arc<Options>, plan: Plan) -> Result<Value, String> {
    let tally = Arc::new(Tally { seen: Seen::default(), latency: Mutex::new(Latency::new()) });
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..plan.subscribers {
        let ready =
            subscribe(&options, &plan, index as u64 + 1).await.map_err(|e| format!("subscriber {index}: {e}"))?;
        let tally = tally.clone();
        tasks.spawn(async move {
            let _ = ready.read_all(&tally).await;
        });
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut publisher = Publisher::open(&options, &plan).await.map_err(|e| format!("publisher: {e}"))?;
    let cpu = CpuMeter::start(plan.server);
    let base = now_ns();
    let gap = if plan.rate > 0.0 { 1e9 / plan.rate } else { 0.0 };
    for turn in 0..plan.count {
        let due = base + (turn as f64 * gap) as u64;
        let wait = due.saturating_sub(now_ns());
        if wait > 1_000_000 {
            tokio::time::sleep(Duration::from_nanos(wait)).await;
        } else {
            tokio::task::yield_now().await;
        }
        publisher.publish(&plan.publish, turn).await.map_err(|e| format!("publish {turn}: {e}"))?;
    }
    let published_seconds = (now_ns() - base) as f64 / 1e9;
    let expected = plan.count * plan.each * plan.subscribers as u64;
    let deadline = now_ns() + plan.drain.as_nanos() as u64;
    while now_ns() < deadline && tally.seen.delivered.load(Relaxed) < expected {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let delivered = tally.seen.delivered.load(Relaxed);
    let cpu = cpu.finish(delivered);
    let active = tally.seen.last_ns.load(Relaxed).saturating_sub(tally.seen.first_ns.load(Relaxed)) as f64 / 1e9;
    let latency = tally.latency.lock().expect("no panics inside");
    Ok(json!({
        "mode": "fanout",
        "subscribers": plan.subscribers,
        "published": plan.count,
        "publish_seconds": round1(published_seconds),
        "delivered": delivered,
        "missing": expected.saturating_sub(delivered),
        "delivered_per_published": round1(delivered as f64 / plan.count.max(1) as f64),
        "messages": tally.seen.messages.load(Relaxed),
        "delivered_per_s": if active > 0.0 { round1(delivered as f64 / active) } else { 0.0 },
        "delay_us": latency.to_json(),
        "cpu": cpu,
        "loadavg": loadavg(),
    }))
}

enum Subscriber {
    Ws(benchkit::ws::WsConn),
    /// SSE and NATS are both line protocols.
    Lines(TcpStream, Vec<u8>),
}

impl Subscriber {
    async fn read_all(self, tally: &Tally) -> io::Result<()> {
        match self {
            Subscriber::Ws(mut conn) => loop {
                tally.take(conn.recv().await?);
            },
            Subscriber::Lines(mut stream, mut buf) => loop {
                let mut used = 0;
                while let Some(end) = buf[used..].iter().position(|b| *b == b'\n') {
                    let line = &buf[used..used + end];
                    if line.starts_with(b"PING") {
                        stream.write_all(b"PONG\r\n").await?;
                    } else {
                        tally.take(line);
                    }
                    used += end + 1;
                }
                buf.drain(..used);
                buf.reserve(16 * 1024);
                if stream.read_buf(&mut buf).await? == 0 {
                    return Ok(());
                }
            },
        }
    }
}

async fn subscribe(options: &Options, plan: &Plan, index: u64) -> io::Result<Subscriber> {
    match options.url.scheme.as_str() {
        "nats" => {
            let mut stream = nats(&options.url).await?;
            stream.write_all(b"SUB fan 1\r\n").await?;
            Ok(Subscriber::Lines(stream, vec![]))
        }
        "http" => {
            let mut headers = vec!["accept: text/event-stream".to_string()];
            if let Some(token) = &options.token {
                headers.push(format!("authorization: Bearer {token}"));
            }
            let mut conn = http1::Conn::connect(options.url.addr).await?;
            conn.send(&http1::request("GET", &options.url.host, &options.url.path, &headers, b"")).await?;
            let head = conn.read_head().await?;
            if head.status != 200 {
                return Err(io::Error::other(format!("status {}", head.status)));
            }
            let (stream, rest) = conn.into_parts();
            Ok(Subscriber::Lines(stream, rest))
        }
        _ => {
            let mut conn = options.open(index).await?;
            if let Some(text) = &plan.subscribe {
                conn.send_text(fill(text, index).as_bytes()).await?;
            }
            Ok(Subscriber::Ws(conn))
        }
    }
}

async fn nats(url: &Url) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(url.addr).await?;
    stream.set_nodelay(true)?;
    let mut info = vec![0; 4096];
    let _ = stream.read(&mut info).await?;
    stream.write_all(b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\n").await?;
    Ok(stream)
}

fn fill(template: &str, id: u64) -> String {
    template.replace("{stamp}", &stamp::text(now_ns())).replace("{id}", &id.to_string())
}

enum Publisher {
    Ws(tokio::sync::mpsc::UnboundedSender<String>),
    Nats(TcpStream),
    Post(Box<http1::Conn>, Url, Vec<String>),
}

impl Publisher {
    async fn open(options: &Options, plan: &Plan) -> io::Result<Publisher> {
        if let Some(url) = &plan.publish_post {
            let conn = http1::Conn::connect(url.addr).await?;
            let headers = options.token.iter().map(|t| format!("authorization: Bearer {t}")).collect();
            return Ok(Publisher::Post(Box::new(conn), url.clone(), headers));
        }
        if options.url.scheme == "nats" {
            return Ok(Publisher::Nats(nats(&options.url).await?));
        }
        let mut conn = options.open(0).await?;
        let (sender, mut queue) = tokio::sync::mpsc::unbounded_channel::<String>();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    text = queue.recv() => match text {
                        Some(text) => if conn.send_text(text.as_bytes()).await.is_err() { return },
                        None => return,
                    },
                    message = conn.recv() => if message.is_err() { return },
                }
            }
        });
        Ok(Publisher::Ws(sender))
    }

    async fn publish(&mut self, template: &str, turn: u64) -> io::Result<()> {
        let text = fill(template, turn);
        match self {
            Publisher::Ws(queue) => queue.send(text).map_err(|_| io::Error::other("the publishing connection is gone")),
            Publisher::Nats(stream) => {
                let frame = format!("PUB fan {}\r\n{text}\r\n", text.len());
                stream.write_all(frame.as_bytes()).await
            }
            Publisher::Post(conn, url, headers) => {
                let bytes = http1::request("POST", &url.host, &url.path, headers, text.as_bytes());
                conn.send(&bytes).await?;
                let head = conn.read_head().await?;
                conn.read_body(&head, |_| {}).await?;
                if head.status < 300 { Ok(()) } else { Err(io::Error::other(format!("status {}", head.status))) }
            }
        }
    }
}
