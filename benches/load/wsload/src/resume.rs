//! Coming back after many missed events: how fast a gateway hands over what its log holds.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use benchkit::clock::now_ns;
use benchkit::proc::{CpuMeter, loadavg};
use benchkit::stats::round1;
use benchkit::ws::WsConn;
use serde_json::{Value, json};

use crate::call::ask;
use crate::dialect::Options;

pub struct Plan {
    /// Durable events to have missed.
    pub events: u64,
    pub rounds: usize,
    pub server: Option<u32>,
}

/// No round takes longer.
const LIMIT: Duration = Duration::from_secs(120);

pub async fn run(options: Arc<Options>, plan: Plan) -> Result<Value, String> {
    let mut rounds = Vec::new();
    for _ in 0..plan.rounds {
        let mut conn = options.open(1).await.map_err(|e| e.to_string())?;
        let newest = newest(&mut conn).await.map_err(|e| e.to_string())?;
        let after = newest.checked_sub(plan.events).ok_or(format!("the log holds {newest} events only"))?;
        drop(conn);
        let mut conn = options.open(2).await.map_err(|e| e.to_string())?;
        let cpu = CpuMeter::start(plan.server);
        let begun = now_ns();
        let read = tokio::time::timeout(LIMIT, read(&mut conn, after, newest)).await;
        let seen = read.map_err(|_| String::from("it takes longer than two minutes"))?.map_err(|e| e.to_string())?;
        let seconds = (now_ns() - begun) as f64 / 1e9;
        if seen.events != plan.events {
            return Err(format!("{} of {} events came", seen.events, plan.events));
        }
        rounds.push(json!({
            "events": seen.events,
            "frames": seen.frames,
            "bytes": seen.bytes,
            "seconds": seconds,
            "events_per_s": round1(seen.events as f64 / seconds),
            "cpu": cpu.finish(seen.events),
        }));
    }
    Ok(json!({ "mode": "resume", "rounds": rounds, "loadavg": loadavg() }))
}

/// Where the log ends.
async fn newest(conn: &mut WsConn) -> io::Result<u64> {
    let answer = ask(conn, "events.subscribe", json!({ "patterns": ["*"] })).await?;
    answer["cursor"].as_u64().ok_or_else(|| io::Error::other(format!("no cursor in {answer}")))
}

#[derive(Default)]
struct Seen {
    /// Durable events, each told by the one frame of it that has its cursor.
    events: u64,
    frames: u64,
    bytes: u64,
}

async fn read(conn: &mut WsConn, after: u64, newest: u64) -> io::Result<Seen> {
    let call = json!({ "jsonrpc": "2.0", "id": now_ns(), "method": "events.subscribe",
        "params": { "patterns": ["*"], "after": after } });
    conn.send_text(call.to_string().as_bytes()).await?;
    let mut seen = Seen::default();
    let mut last = after;
    while last < newest {
        let text = conn.recv().await?;
        seen.frames += 1;
        seen.bytes += text.len() as u64;
        // The answer to the call ends with a cursor too, but is no event.
        if let Some(cursor) = cursor_of(text).filter(|_| text.starts_with(EVENT)) {
            if cursor != last + 1 {
                return Err(io::Error::other(format!("event {cursor} came after {last}")));
            }
            last = cursor;
            seen.events += 1;
        }
    }
    Ok(seen)
}

const EVENT: &[u8] = br#"{"jsonrpc":"2.0","method":"event""#;

/// The cursor at the end of an event.
fn cursor_of(text: &[u8]) -> Option<u64> {
    let digits = text.strip_suffix(b"}}")?;
    let start = digits.iter().rposition(|byte| !byte.is_ascii_digit())? + 1;
    let number = std::str::from_utf8(&digits[start..]).ok()?.parse().ok()?;
    digits[..start].ends_with(b"\"cursor\":").then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_is_the_last_field_of_a_durable_event() {
        let text = br#"{"jsonrpc":"2.0","method":"event","params":{"topic":"a","data":{},"timestamp":1,"cursor":417}}"#;
        assert_eq!(cursor_of(text), Some(417));
        assert_eq!(cursor_of(br#"{"params":{"timestamp":1,"part_of":417}}"#), None);
        assert_eq!(cursor_of(br#"{"params":{"timestamp":12}}"#), None);
        assert_eq!(cursor_of(b"}}"), None);
    }
}
