//! What the operating system says of a process and its descendants.

use std::collections::HashMap;
use std::fs;

use serde_json::{Value, json};

/// Memory, processor time and handles of a process tree at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub processes: u32,
    pub threads: u32,
    pub fds: u32,
    pub rss_kib: u64,
    pub pss_kib: u64,
    pub cpu_us: u64,
}

impl Usage {
    pub fn to_json(self) -> Value {
        json!({
            "processes": self.processes,
            "threads": self.threads,
            "fds": self.fds,
            "rss_mib": mib(self.rss_kib),
            "pss_mib": mib(self.pss_kib),
            "cpu_ms": self.cpu_us / 1000,
        })
    }
}

pub fn mib(kib: u64) -> f64 {
    (kib as f64 / 102.4).round() / 10.0
}

/// Usage of `pid` and every descendant that is alive now.
pub fn tree(pid: u32) -> Usage {
    let mut total = Usage::default();
    for member in members(pid) {
        add(member, &mut total);
    }
    total
}

/// `pid` and its living descendants.
pub fn members(pid: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    if let Ok(entries) = fs::read_dir("/proc") {
        for entry in entries.flatten() {
            let Some(child) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else {
                continue;
            };
            if let Some(fields) = stat_fields(child)
                && let Some(parent) = fields.get(1).and_then(|f| f.parse().ok())
            {
                children.entry(parent).or_default().push(child);
            }
        }
    }
    let mut found = vec![pid];
    let mut next = 0;
    while next < found.len() {
        if let Some(more) = children.get(&found[next]) {
            found.extend(more);
        }
        next += 1;
    }
    found
}

/// The fields of /proc/PID/stat after the command name (so 0 is the state).
fn stat_fields(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    Some(rest.split_whitespace().map(str::to_string).collect())
}

fn add(pid: u32, total: &mut Usage) {
    let Some(fields) = stat_fields(pid) else {
        return;
    };
    let number = |at: usize| -> u64 { fields.get(at).and_then(|f| f.parse().ok()).unwrap_or(0) };
    total.processes += 1;
    total.cpu_us += (number(11) + number(12)) * 1_000_000 / ticks_per_second();
    total.threads += number(17) as u32;
    if let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) {
        total.rss_kib += kib_line(&status, "VmRSS:");
    }
    if let Ok(rollup) = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) {
        total.pss_kib += kib_line(&rollup, "Pss:");
    }
    if let Ok(fds) = fs::read_dir(format!("/proc/{pid}/fd")) {
        total.fds += fds.count() as u32;
    }
}

/// Processor time of the tree at scheduler resolution where the kernel gives it.
pub fn tree_cpu_ns(pid: u32) -> u64 {
    let mut total = 0;
    for member in members(pid) {
        let Ok(tasks) = fs::read_dir(format!("/proc/{member}/task")) else {
            continue;
        };
        for task in tasks.flatten() {
            if let Ok(text) = fs::read_to_string(task.path().join("schedstat"))
                && let Some(ns) = text.split_whitespace().next()
            {
                total += ns.parse::<u64>().unwrap_or(0);
            }
        }
    }
    if total > 0 { total } else { tree(pid).cpu_us * 1000 }
}

fn kib_line(text: &str, key: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(key))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

fn ticks_per_second() -> u64 {
    // SAFETY: sysconf has no preconditions.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    if ticks > 0 { ticks as u64 } else { 100 }
}

/// Processor time this process has used, in nanoseconds.
pub fn own_cpu_ns() -> u64 {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `ts` is a valid, writable timespec for the whole call.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut ts) };
    ts.tv_sec as u64 * 1_000_000_000 + ts.tv_nsec as u64
}

/// The one-minute load average.
pub fn loadavg() -> f64 {
    fs::read_to_string("/proc/loadavg")
        .ok()
        .and_then(|text| text.split_whitespace().next().and_then(|n| n.parse().ok()))
        .unwrap_or(-1.0)
}

/// Processor time spent by the tool and by the server between two moments.
pub struct CpuMeter {
    server: Option<u32>,
    own_start: u64,
    server_start: u64,
    wall_start: u64,
}

impl CpuMeter {
    pub fn start(server: Option<u32>) -> Self {
        CpuMeter {
            server,
            own_start: own_cpu_ns(),
            server_start: server.map_or(0, tree_cpu_ns),
            wall_start: crate::clock::now_ns(),
        }
    }

    /// Cores used by the tool and the server, and the server's time per operation.
    pub fn finish(&self, operations: u64) -> Value {
        let wall = (crate::clock::now_ns() - self.wall_start).max(1) as f64;
        let own = (own_cpu_ns() - self.own_start) as f64;
        let mut out = json!({ "tool_cores": (own / wall * 100.0).round() / 100.0 });
        if let Some(pid) = self.server {
            let used = tree_cpu_ns(pid).saturating_sub(self.server_start) as f64;
            out["server_cores"] = json!((used / wall * 100.0).round() / 100.0);
            if operations > 0 {
                out["server_cpu_us_per_op"] = json!(crate::stats::round1(used / 1000.0 / operations as f64));
            }
        }
        out
    }
}
