//! Starts a server several times and reports what starting costs.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use benchkit::clock::now_ns;
use benchkit::http1::{self, Conn};
use benchkit::proc::{CpuMeter, loadavg, members, mib, tree};
use benchkit::stats::spread;
use benchkit::url::Url;
use benchkit::ws::WsConn;
use clap::Parser;
use serde_json::{Value, json};

/// Startup time, idle memory, idle processor time, shutdown time and size.
///
/// The server is ready when --ready answers: 2xx for http://, an upgrade for
/// ws://. Prints one JSON object.
#[derive(Parser)]
struct Args {
    /// URL that tells readiness.
    #[arg(long)]
    ready: String,
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Give up on a start after this many seconds.
    #[arg(long, default_value_t = 120.0)]
    limit: f64,
    /// Seconds to settle before memory is read.
    #[arg(long, default_value_t = 5.0)]
    settle: f64,
    /// Environment of the server, each as NAME=VALUE.
    #[arg(long)]
    env: Vec<String>,
    #[arg(long)]
    cwd: Option<String>,
    /// File that takes the server's output.
    #[arg(long)]
    log: Option<String>,
    /// Files and folders that make up the installation.
    #[arg(long)]
    size: Vec<String>,
    /// Shell command to run before every start, for example to wipe state.
    #[arg(long)]
    before: Option<String>,
    /// The server and its arguments, after `--`.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

fn main() {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(&args)),
        Err(error) => Err(error.to_string()),
    };
    match result {
        Ok(value) => println!("{value}"),
        Err(error) => {
            eprintln!("measure: {error}");
            std::process::exit(1);
        }
    }
}

#[derive(Default)]
struct Figures {
    accept_ms: Vec<f64>,
    ready_ms: Vec<f64>,
    rss_mib: Vec<f64>,
    pss_mib: Vec<f64>,
    start_cpu_ms: Vec<f64>,
    idle_cpu_percent: Vec<f64>,
    stop_ms: Vec<f64>,
}

async fn run(args: &Args) -> Result<Value, String> {
    let url = Url::parse(&args.ready)?;
    if tokio::net::TcpStream::connect(url.addr).await.is_ok() {
        return Err(format!("{} is already in use", url.addr));
    }
    let mut figures = Figures::default();
    let mut last = Value::Null;
    for _ in 0..args.runs {
        if let Some(command) = &args.before {
            let status = Command::new("sh").arg("-c").arg(command).status();
            if !status.is_ok_and(|s| s.success()) {
                return Err(format!("failed: {command}"));
            }
        }
        last = one_start(args, &url, &mut figures).await?;
    }
    Ok(json!({
        "command": args.command.join(" "),
        "runs": args.runs,
        "accept_ms": spread(&figures.accept_ms),
        "ready_ms": spread(&figures.ready_ms),
        "start_cpu_ms": spread(&figures.start_cpu_ms),
        "idle_rss_mib": spread(&figures.rss_mib),
        "idle_pss_mib": spread(&figures.pss_mib),
        "idle_cpu_percent": spread(&figures.idle_cpu_percent),
        "stop_ms": spread(&figures.stop_ms),
        "last_idle": last,
        "size_mib": args.size.iter().map(|p| (p.clone(), json!(mib(size_of(Path::new(p)) / 1024))))
            .collect::<serde_json::Map<_, _>>(),
        "loadavg": loadavg(),
    }))
}

async fn one_start(args: &Args, url: &Url, figures: &mut Figures) -> Result<Value, String> {
    let started = now_ns();
    let mut child = spawn(args).map_err(|e| format!("{}: {e}", args.command[0]))?;
    let outcome = watch(args, url, &mut child, started, figures).await;
    let stop_ms = stop(&mut child, url).await;
    if outcome.is_ok() {
        figures.stop_ms.push(stop_ms);
    }
    outcome
}

async fn watch(
    args: &Args,
    url: &Url,
    child: &mut Child,
    started: u64,
    figures: &mut Figures,
) -> Result<Value, String> {
    let pid = child.id();
    let since = || (now_ns() - started) as f64 / 1e6;
    let alive = |child: &mut Child| match child.try_wait() {
        Ok(None) => Ok(()),
        Ok(Some(status)) => Err(format!("the server ended: {status}")),
        Err(error) => Err(error.to_string()),
    };
    while tokio::net::TcpStream::connect(url.addr).await.is_err() {
        alive(child)?;
        if since() > args.limit * 1000.0 {
            return Err("the server never accepted a connection".into());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let accept_ms = since();
    while !ready(url).await {
        alive(child)?;
        if since() > args.limit * 1000.0 {
            return Err("the server never became ready".into());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let ready_ms = since();
    let start_cpu_ms = benchkit::proc::tree_cpu_ns(pid) as f64 / 1e6;
    let half = Duration::from_secs_f64(args.settle / 2.0);
    tokio::time::sleep(half).await;
    let meter = CpuMeter::start(Some(pid));
    tokio::time::sleep(half).await;
    let idle = meter.finish(0);
    let usage = tree(pid);
    figures.accept_ms.push(accept_ms);
    figures.ready_ms.push(ready_ms);
    figures.start_cpu_ms.push(start_cpu_ms);
    figures.rss_mib.push(mib(usage.rss_kib));
    figures.pss_mib.push(mib(usage.pss_kib));
    figures.idle_cpu_percent.push(idle["server_cores"].as_f64().unwrap_or(0.0) * 100.0);
    Ok(usage.to_json())
}

fn spawn(args: &Args) -> io::Result<Child> {
    let mut command = Command::new(&args.command[0]);
    command.args(&args.command[1..]).stdin(Stdio::null());
    match &args.log {
        Some(path) => {
            let file = fs::OpenOptions::new().create(true).append(true).open(path)?;
            command.stdout(file.try_clone()?).stderr(file);
        }
        None => {
            command.stdout(Stdio::null()).stderr(Stdio::null());
        }
    }
    for pair in &args.env {
        if let Some((name, value)) = pair.split_once('=') {
            command.env(name, value);
        }
    }
    if let Some(cwd) = &args.cwd {
        command.current_dir(cwd);
    }
    command.process_group(0).spawn()
}

async fn ready(url: &Url) -> bool {
    let attempt = async {
        if url.scheme == "ws" {
            return WsConn::connect(url, &[]).await.is_ok();
        }
        let Ok(mut conn) = Conn::connect(url.addr).await else {
            return false;
        };
        let request = http1::request("GET", &url.host, &url.path, &[], b"");
        if conn.send(&request).await.is_err() {
            return false;
        }
        matches!(conn.read_head().await, Ok(head) if (200..300).contains(&head.status))
    };
    tokio::time::timeout(Duration::from_secs(2), attempt).await.unwrap_or(false)
}

/// Asks the server to end; after ten seconds ends what is left of its tree.
async fn stop(child: &mut Child, url: &Url) -> f64 {
    let from = now_ns();
    let tree = members(child.id());
    signal(child.id(), libc::SIGTERM);
    let mut waited = 0;
    while child.try_wait().ok().flatten().is_none() && waited < 5_000 {
        tokio::time::sleep(Duration::from_millis(2)).await;
        waited += 1;
    }
    let took = (now_ns() - from) as f64 / 1e6;
    for pid in tree {
        if pid != child.id() && Path::new(&format!("/proc/{pid}")).exists() {
            signal(pid, libc::SIGKILL);
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    while tokio::net::TcpStream::connect(url.addr).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    took
}

fn signal(pid: u32, number: libc::c_int) {
    // SAFETY: kill has no memory effects; the pid is one that this tool started.
    unsafe { libc::kill(pid as libc::pid_t, number) };
}

/// Bytes of a file, or of every regular file below a folder.
fn size_of(path: &Path) -> u64 {
    let Ok(meta) = fs::symlink_metadata(path) else {
        return 0;
    };
    if meta.is_file() {
        return meta.len();
    }
    if !meta.is_dir() {
        return 0;
    }
    fs::read_dir(path).map(|entries| entries.flatten().map(|e| size_of(&e.path())).sum()).unwrap_or(0)
}
