//! Whole agent turns over the Aleph protocol: `agent.run`, then wait for the event that ends the run.
//!
//! Every session is a closed loop of its own, as a person in a chat would be: it sends its next
//! message only when the last run has ended. Sessions share connections, so that the number of
//! sockets and the number of busy sessions can be chosen apart.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use benchkit::clock::now_ns;
use benchkit::proc::{CpuMeter, loadavg};
use benchkit::stats::{Latency, round1};
use benchkit::ws::WsConn;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::dialect::Options;
use crate::rpc::open_all;

pub struct Plan {
    pub conns: usize,
    pub sessions: usize,
    /// Turns before a loop moves on to a fresh session; keeps the context of a turn bounded.
    pub per_session: u64,
    /// Before each next message of a connection, as a person thinks; turns are not a closed loop then.
    pub think: Duration,
    pub warmup: Duration,
    /// The measured time; with `count` only its upper bound.
    pub duration: Duration,
    /// End after this many turns instead.
    pub count: Option<u64>,
    /// Ask for the text as it is written, as a person's client does.
    pub stream: bool,
    pub agent: String,
    pub message: String,
    pub server: Option<u32>,
}

struct Tally {
    accepted: Mutex<Latency>,
    turn: Mutex<Latency>,
    failures: Mutex<BTreeMap<String, u64>>,
    tokens: AtomicU64,
    /// Turns begun by anyone, for `count`.
    begun: AtomicU64,
    from_ns: AtomicU64,
    stop_ns: AtomicU64,
    last_ns: AtomicU64,
}

impl Tally {
    fn measured(&self, now: u64) -> bool {
        now >= self.from_ns.load(Relaxed) && now <= self.stop_ns.load(Relaxed)
    }

    fn fail(&self, reason: impl Into<String>) {
        *self.failures.lock().expect("no panics inside").entry(reason.into()).or_default() += 1;
    }

    /// Whether one more turn may begin now.
    fn may_begin(&self, count: Option<u64>) -> bool {
        now_ns() < self.stop_ns.load(Relaxed) && count.is_none_or(|count| self.begun.fetch_add(1, Relaxed) < count)
    }
}

/// The part of an incoming message that this mode looks at.
#[derive(Deserialize)]
struct Incoming {
    #[serde(default)]
    id: Option<u64>,
    #[serde(default)]
    error: Option<Value>,
    #[serde(default)]
    params: Option<Notice>,
}

#[derive(Deserialize)]
struct Notice {
    #[serde(default)]
    topic: String,
    #[serde(default)]
    data: NoticeData,
}

#[derive(Deserialize, Default)]
struct NoticeData {
    #[serde(default)]
    session_key: String,
    #[serde(default)]
    tokens_used: u64,
    #[serde(default)]
    error: Option<Value>,
}

/// One closed loop: its current session, and when its turn began.
struct Loop {
    slot: usize,
    turns: u64,
    key: String,
    sent_ns: u64,
}

impl Loop {
    /// Keys are numbered from the clock, so that a second run on the same gateway starts afresh.
    fn advance(&mut self, plan: &Plan, base: u64) {
        if self.key.is_empty() || (plan.per_session > 0 && self.turns.is_multiple_of(plan.per_session)) {
            self.key = format!("agent:{}:dm:load-{base}-{}-{}", plan.agent, self.slot, self.turns);
        }
        self.turns += 1;
    }
}

pub async fn run(options: Arc<Options>, plan: Plan) -> Result<Value, String> {
    let plan = Arc::new(plan);
    let (conns, open_errors) = open_all(&options, 0, plan.conns.min(plan.sessions)).await;
    if let Some(error) = open_errors.first() {
        return Err(format!("{} of {} connections refused: {error}", open_errors.len(), plan.conns));
    }
    let base = now_ns();
    let limit = (plan.warmup + plan.duration).as_nanos() as u64;
    let tally = Arc::new(Tally {
        accepted: Mutex::new(Latency::new()),
        turn: Mutex::new(Latency::new()),
        failures: Mutex::new(BTreeMap::new()),
        tokens: AtomicU64::new(0),
        begun: AtomicU64::new(0),
        from_ns: AtomicU64::new(base + plan.warmup.as_nanos() as u64),
        stop_ns: AtomicU64::new(base + limit),
        last_ns: AtomicU64::new(base),
    });
    let opened = conns.len();
    let mut tasks = tokio::task::JoinSet::new();
    for (at, conn) in conns.into_iter().enumerate() {
        let loops =
            (at..plan.sessions).step_by(opened).map(|slot| Loop { slot, turns: 0, key: String::new(), sent_ns: 0 });
        let (plan, tally, loops) = (plan.clone(), tally.clone(), loops.collect());
        tasks.spawn(async move {
            if let Err(error) = converse(&plan, conn, loops, &tally, base).await {
                tally.fail(error.to_string());
            }
        });
    }
    tokio::time::sleep(plan.warmup).await;
    let from = now_ns();
    let cpu = CpuMeter::start(plan.server);
    let all = async { while tasks.join_next().await.is_some() {} };
    // A run that never ends must not hang the tool: ten seconds after the period is over is the end.
    let patience = plan.duration + Duration::from_secs(10);
    if tokio::time::timeout(patience, all).await.is_err() {
        tally.fail("a run did not end within ten seconds of the end of the load");
    }
    let turns = tally.turn.lock().expect("no panics inside").count();
    let cpu = cpu.finish(turns);
    let seconds = tally.last_ns.load(Relaxed).saturating_sub(from) as f64 / 1e9;
    let failures = tally.failures.lock().expect("no panics inside").clone();
    Ok(json!({
        "mode": "turns",
        "conns": opened,
        "sessions": plan.sessions,
        "per_session": plan.per_session,
        "stream": plan.stream,
        "turns": turns,
        "seconds": round1(seconds),
        "turns_per_s": if seconds > 0.0 { round1(turns as f64 / seconds) } else { 0.0 },
        "turn_us": tally.turn.lock().expect("no panics inside").to_json(),
        "accepted_us": tally.accepted.lock().expect("no panics inside").to_json(),
        "tokens_used": tally.tokens.load(Relaxed),
        "failed": failures.values().sum::<u64>(),
        "errors": failures,
        "cpu": cpu,
        "loadavg": loadavg(),
    }))
}

/// Drives every loop of one connection until the load is over and its last run has ended.
async fn converse(plan: &Plan, mut conn: WsConn, loops: Vec<Loop>, tally: &Tally, base: u64) -> io::Result<()> {
    let mut sessions: HashMap<String, Loop> = HashMap::with_capacity(loops.len());
    let mut pending: HashMap<u64, (String, u64)> = HashMap::new();
    for one in loops {
        if tally.may_begin(plan.count) {
            begin(plan, &mut conn, one, &mut sessions, &mut pending, base).await?;
        }
    }
    while !sessions.is_empty() {
        let text = conn.recv().await?;
        // Deltas are most of the traffic; they are counted by nobody and need no parsing.
        if benchkit::http1::find(text, b"\"stream.").is_some() {
            continue;
        }
        let message: Incoming = serde_json::from_slice(text)?;
        let now = now_ns();
        if let Some((key, sent)) = message.id.and_then(|id| pending.remove(&id)) {
            match message.error {
                None if tally.measured(now) => tally.accepted.lock().expect("no panics inside").record(now - sent),
                None => {}
                Some(error) => {
                    // A refused run ends its loop: repeating a refusal would only measure refusals.
                    sessions.remove(&key);
                    tally.fail(format!("agent.run refused: {error}"));
                }
            }
            continue;
        }
        let Some(notice) = message.params else { continue };
        let ended = matches!(notice.topic.as_str(), "agent.completed" | "agent.error" | "agent.cancelled");
        let Some(one) = ended.then(|| sessions.remove(&notice.data.session_key)).flatten() else { continue };
        if notice.topic != "agent.completed" {
            tally.fail(format!("{}: {}", notice.topic, notice.data.error.unwrap_or_default()));
        } else if tally.measured(now) {
            tally.turn.lock().expect("no panics inside").record(now - one.sent_ns);
            tally.tokens.fetch_add(notice.data.tokens_used, Relaxed);
            tally.last_ns.fetch_max(now, Relaxed);
        }
        if !plan.think.is_zero() {
            tokio::time::sleep(plan.think).await;
        }
        if tally.may_begin(plan.count) {
            begin(plan, &mut conn, one, &mut sessions, &mut pending, base).await?;
        }
    }
    Ok(())
}

async fn begin(
    plan: &Plan,
    conn: &mut WsConn,
    mut one: Loop,
    sessions: &mut HashMap<String, Loop>,
    pending: &mut HashMap<u64, (String, u64)>,
    base: u64,
) -> io::Result<()> {
    one.advance(plan, base);
    one.sent_ns = now_ns();
    // Loops of one connection never begin in the same nanosecond, but the clock may be coarse.
    let mut id = one.sent_ns;
    while pending.contains_key(&id) {
        id += 1;
    }
    let request = json!({ "jsonrpc": "2.0", "id": id, "method": "agent.run", "params": {
        "message": plan.message, "session_key": one.key, "stream": plan.stream } });
    pending.insert(id, (one.key.clone(), one.sent_ns));
    sessions.insert(one.key.clone(), one);
    conn.send_text(request.to_string().as_bytes()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(per_session: u64) -> Plan {
        Plan {
            conns: 1,
            sessions: 1,
            per_session,
            think: Duration::ZERO,
            warmup: Duration::ZERO,
            duration: Duration::ZERO,
            count: None,
            stream: true,
            agent: "main".into(),
            message: "hello".into(),
            server: None,
        }
    }

    fn keys(per_session: u64, turns: usize) -> Vec<String> {
        let mut one = Loop { slot: 3, turns: 0, key: String::new(), sent_ns: 0 };
        (0..turns)
            .map(|_| {
                one.advance(&plan(per_session), 7);
                one.key.clone()
            })
            .collect()
    }

    #[test]
    fn a_loop_moves_to_a_fresh_session_after_its_turns() {
        let (a, b) = ("agent:main:dm:load-7-3-0", "agent:main:dm:load-7-3-2");
        assert_eq!(keys(2, 4), [a, a, b, b]);
        assert_eq!(keys(0, 3), [a, a, a]);
    }

    #[test]
    fn the_end_of_a_run_is_read_from_the_published_event() {
        let text = br#"{"jsonrpc":"2.0","method":"event","params":{"topic":"agent.completed","data":{"run_id":"run_01","session_key":"agent:main:main","tokens_used":412,"duration_ms":1873},"timestamp":1790000001234}}"#;
        let message: Incoming = serde_json::from_slice(text).unwrap();
        let notice = message.params.unwrap();
        assert_eq!(
            (notice.topic.as_str(), notice.data.session_key.as_str(), notice.data.tokens_used),
            ("agent.completed", "agent:main:main", 412)
        );
    }
}
