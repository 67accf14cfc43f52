"""What `make bench` measures. Each function takes a sitting and its plan and returns rows.

Figures that depend on the machine are taken in pairs with the bare reference, in turn and in the
same sitting, and only their ratio is held against a bar.
"""

import contextlib
import http.client
import json
import resource
import statistics
import subprocess
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from report import Bar, Row, failed, number
from tools import Failed, run_tool

DIALECTS = ("aleph", "comis", "argent")


@dataclass
class Plan:
    """How long and how often; `quick` trades precision for some minutes."""

    secs: float = 3.0
    warmup: float = 1.0
    rounds: int = 3
    starts: int = 10
    settle: float = 2.0
    memory_turns: int = 10_000
    idle_steps: tuple = (1000, 5000)
    takeover_runs: int = 1000
    # Subscribers, and events to each of them: fewer than a slow reader may be behind.
    fanout: tuple = ((1000, 1000), (5000, 300))
    missed_events: int = 100_000
    soak_secs: float = 60.0

    @staticmethod
    def quick():
        return Plan(secs=1.5, warmup=0.5, rounds=1, starts=4, settle=1.0, memory_turns=20_000, idle_steps=(1000,),
                    takeover_runs=200, fanout=((1000, 300),), missed_events=20_000, soak_secs=15.0)


def start(bench, plan):
    """From exec to the `ready` line and the first good answer, with a home that is already there."""
    home = bench.home()
    lines, answers = [], []
    for _ in range(plan.starts + 1):
        began = time.monotonic()
        with bench.gateway(home) as gateway:
            lines.append((time.monotonic() - began) * 1000)
            get_health(gateway.http)
            answers.append((time.monotonic() - began) * 1000)
    first, again = answers[0], answers[1:]
    size = bench.binary.stat().st_size / 2**20
    return [
        Row("ready: exec to first good answer", statistics.median(again), Bar("<=", 50, "ms"),
            note=f"ready line {number(statistics.median(lines[1:]))} ms; first start ever {number(first)} ms; slowest {number(max(again))} ms",
            raw={"ready_line_ms": lines, "answer_ms": answers}),
        Row("size of the binary", size, Bar("<=", 30, "MiB")),
    ]


def get_health(url):
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise Failed(f"/health answered {answer.status}")
    finally:
        connection.close()


def rest(bench, plan):
    """Resident memory of a gateway that nobody talks to."""
    with bench.gateway() as gateway:
        get_health(gateway.http)
        time.sleep(plan.settle + 1)
        return [Row("memory at rest", gateway.rss_kib() / 1024, Bar("<=", 25, "MiB"))]


def idle(bench, plan):
    """Memory of open WebSocket connections, and whether it comes back when they close."""
    limit = raise_file_limit()
    steps = [step for step in plan.idle_steps if step + 200 <= limit]
    if not steps:
        return [failed("idle connections", f"the limit of open files is {limit}")]
    rows = []
    for dialect in DIALECTS:
        wanted = steps if dialect == "aleph" else steps[:1]
        with bench.gateway() as gateway:
            seen = run_tool(bench.tools, "wsload", "idle", *gateway.ws_flags(dialect),
                            "--steps", ",".join(map(str, wanted)), "--settle", plan.settle)
        rows += idle_rows(dialect, seen)
    return rows


def raise_file_limit():
    """Lets this process and those it starts open as many files as they may; gives how many."""
    limit, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def idle_rows(dialect, seen):
    if "error" in seen:
        return [failed(f"idle {dialect} connections", seen["error"])]
    rows = []
    for step in seen["steps"]:
        if step["refused"]:
            rows.append(failed(f"{step['open']} idle {dialect} connections", f"{step['refused']} refused: {step['first_error']}"))
            continue
        rows.append(Row(f"each of {step['open']:,} idle {dialect} connections", step["rss_kib_per_conn"], Bar("<=", 10, "KiB"),
                        note=f"{number(step['handshakes_per_s'])} handshakes/s", raw=step))
    before, after = seen["before"]["rss_mib"], seen["after_close"]["rss_mib"]
    rows.append(Row(f"memory after the {dialect} connections closed", after / before, Bar("<=", 1.10, "of the start"),
                    gateway=f"{before} → {after} MiB", raw={"before": seen["before"], "after": seen["after_close"]}))
    return rows


def ws(bench, plan):
    """Calls over WebSocket in each dialect: the rate beside the bare server, and no failure under many."""
    rows = []
    with bench.gateway() as gateway:
        bare = ["--url", bench.reference_ws, "--dialect", "raw", "--pid", bench.reference.pid]
        period = ["--secs", plan.secs, "--warmup", plan.warmup]
        seen = {name: [] for name in ("bare", *DIALECTS)}
        for _ in range(plan.rounds):
            seen["bare"].append(run_tool(bench.tools, "wsload", "closed", *bare, "--conns", 32, *period))
            for dialect in DIALECTS:
                flags = gateway.ws_flags(dialect)
                seen[dialect].append(run_tool(bench.tools, "wsload", "closed", *flags, "--conns", 32, *period))
        for dialect in DIALECTS:
            rows.append(ws_row(dialect, seen["bare"], seen[dialect]))
        for dialect in DIALECTS:
            many = run_tool(bench.tools, "wsload", "closed", *gateway.ws_flags(dialect), "--conns", 256, *period)
            rows.append(ws_failures(dialect, many))
    return rows


def ws_row(dialect, bare, ours):
    name = f"WebSocket {dialect}, 32 connections"
    if trouble := first_error(bare + ours):
        return failed(name, trouble)
    ratios = [mine["req_per_s"] / theirs["req_per_s"] for mine, theirs in zip(ours, bare)]
    lost = sum(failures(run) for run in ours)
    return Row(name, statistics.median(ratios), Bar(">=", 0.75, "of bare"),
               gateway=f"{number(median(ours, 'req_per_s'))}/s", reference=f"{number(median(bare, 'req_per_s'))}/s",
               note=f"{number(median(ours, 'cpu', 'server_cpu_us_per_op'))} µs CPU (bare {number(median(bare, 'cpu', 'server_cpu_us_per_op'))}), "
                    f"p99 {number(median(ours, 'latency_us', 'p99'))} µs" + (f", {lost} FAILED" if lost else ""),
               other_cores=noise(bare + ours), raw={"gateway": ours, "bare": bare, "ratios": ratios})


def ws_failures(dialect, run):
    name = f"WebSocket {dialect}, 256 connections: failures"
    if "error" in run:
        return failed(name, run["error"])
    return Row(name, failures(run), Bar("<=", 0), gateway=f"{number(run['req_per_s'])}/s",
               note=f"p99 {number(run['latency_us'].get('p99', 0) / 1000)} ms" + (f", {run['errors']}" if run["errors"] else ""),
               other_cores=run["other_cores"], raw=run)


def failures(run):
    return run["failed"] + run["conns_refused"] + sum(run["errors"].values())


def passthrough(bench, plan):
    """Completions passed through: the rate beside a bare reverse proxy, the time added over the provider."""
    path = "/v1/chat/completions"
    with bench.gateway() as gateway:
        ours = ["--url", gateway.http + path, "--token", gateway.token, "--model", "mock/mock", "--baseline-model", "mock",
                "--pid", gateway.pid, "--secs", plan.secs, "--warmup", plan.warmup, "--rounds", plan.rounds]
        rate = run_tool(bench.tools, "httpload", *ours, "--baseline", bench.reference_url + path, "--conns", 32)
        one = run_tool(bench.tools, "httpload", *ours, "--baseline", bench.mock_url + path, "--conns", 1)
        first = run_tool(bench.tools, "httpload", *ours, "--baseline", bench.mock_url + path, "--conns", 1, "--stream")
    proxy = run_tool(bench.tools, "httpload", "--url", bench.reference_url + path, "--baseline", bench.mock_url + path,
                     "--conns", 1, "--secs", plan.secs, "--warmup", plan.warmup, "--rounds", plan.rounds)
    rows = []
    if trouble := http_trouble(rate):
        rows.append(failed("pass-through, 32 connections", trouble))
    else:
        mine, theirs = rate["median"]["req_per_s"]["median"], rate["median"]["direct_req_per_s"]["median"]
        cpu = statistics.median(r["gateway"]["cpu"]["server_cpu_us_per_op"] for r in rate["rounds"])
        rows.append(Row("pass-through, 32 connections", mine / theirs, Bar(">=", 0.4, "of bare"), gateway=f"{number(mine)}/s",
                        reference=f"{number(theirs)}/s", note=f"{number(cpu)} µs CPU a request", other_cores=rate["other_cores"], raw=rate))
    bare_added = None if http_trouble(proxy) else proxy["median"]
    rows.append(added_row("pass-through, added at the median, 1 connection", one, "added_p50_us", 100, bare_added))
    rows.append(added_row("pass-through, added to the first token, 1 stream", first, "added_first_token_p50_us", 250, None))
    return rows


def added_row(name, seen, key, limit, bare):
    if trouble := http_trouble(seen):
        return failed(name, trouble)
    reference = f"+{number(bare[key]['median'])} µs" if bare else ""
    return Row(name, seen["median"][key]["median"], Bar("<=", limit, "µs"), gateway=f"{number(seen['median']['p50_us']['median'])} µs"
               if key == "added_p50_us" else "", reference=reference, other_cores=seen["other_cores"], raw=seen)


def stream(bench, plan):
    """64 streams of 500 tokens at once beside the bare proxy; a lost token is a failure."""
    name = "64 streams of 500 tokens"
    path = "/v1/chat/completions"
    with bench.gateway() as gateway:
        seen = run_tool(bench.tools, "httpload", "--url", gateway.http + path, "--token", gateway.token,
                        "--baseline", bench.reference_url + path, "--model", "mock/mock_tokens-500",
                        "--baseline-model", "mock_tokens-500", "--expect-tokens", 500, "--stream", "--conns", 64,
                        "--pid", gateway.pid, "--secs", max(plan.secs, 2), "--warmup", plan.warmup, "--rounds", plan.rounds)
    if trouble := http_trouble(seen):
        return [failed(name, trouble)]
    ratios = [r["gateway"]["tokens_per_s"] / r["direct"]["tokens_per_s"] for r in seen["rounds"]]
    mine = statistics.median(r["gateway"]["tokens_per_s"] for r in seen["rounds"])
    theirs = statistics.median(r["direct"]["tokens_per_s"] for r in seen["rounds"])
    short = sum(r["gateway"]["short_replies"] for r in seen["rounds"])
    return [
        Row(name, statistics.median(ratios), Bar(">=", 0.5, "of bare"), gateway=f"{number(mine)} tok/s",
            reference=f"{number(theirs)} tok/s", other_cores=seen["other_cores"], raw=seen),
        Row("streams that lost or gained a token", short, Bar("<=", 0)),
    ]


def turns(bench, plan):
    """Agent turns with a provider that answers at once, the transcript stored."""
    rows = []
    with bench.gateway() as gateway:
        flags = [*gateway.ws_flags("aleph"), "--secs", plan.secs, "--warmup", plan.warmup]
        alone = [run_tool(bench.tools, "wsload", "turns", *flags, "--conns", 1, "--sessions", 1) for _ in range(plan.rounds)]
        many = [run_tool(bench.tools, "wsload", "turns", *flags, "--conns", 8, "--sessions", 64) for _ in range(plan.rounds)]
    rows.append(turn_row("agent turn, 1 session", alone, Bar("<=", 3, "ms"),
                         lambda runs: median(runs, "turn_us", "p50") / 1000))
    rows.append(turn_row("agent turns over 64 sessions", many, Bar(">=", 1500, "/s"), lambda runs: median(runs, "turns_per_s")))
    if not first_error(alone):
        rows.append(Row("agent turn, processor time", median(alone, "cpu", "server_cpu_us_per_op") / 1000, Bar("<=", 2, "ms")))
    return rows


def turn_row(name, runs, bar, figure):
    if trouble := first_error(runs):
        return failed(name, trouble)
    lost = sum(run["failed"] for run in runs)
    if lost or not all(run["turns"] for run in runs):
        return failed(name, f"{lost} turns failed: {next((r['errors'] for r in runs if r['errors']), 'no turn ended')}")
    note = (f"p50 {number(median(runs, 'turn_us', 'p50') / 1000)} ms, p99 {number(median(runs, 'turn_us', 'p99') / 1000)} ms, "
            f"{number(median(runs, 'cpu', 'server_cpu_us_per_op'))} µs CPU a turn")
    return Row(name, figure(runs), bar, gateway=f"{number(median(runs, 'turns_per_s'))}/s", note=note, other_cores=noise(runs),
               raw={"runs": runs})


def memory(bench, plan):
    """Memory over many turns: after the first fifth it may not grow by more than a tenth."""
    name = f"memory over {plan.memory_turns:,} turns"
    readings = []
    with bench.gateway() as gateway:
        for _ in range(5):
            run = run_tool(bench.tools, "wsload", "turns", *gateway.ws_flags("aleph"), "--conns", 8, "--sessions", 64,
                           "--warmup", 0, "--count", plan.memory_turns // 5, "--secs", 540)
            if "error" in run or run["failed"]:
                return [failed(name, run.get("error") or run["errors"])]
            time.sleep(plan.settle)
            readings.append(gateway.rss_kib() / 1024)
    return [Row(name, readings[-1] / readings[0], Bar("<=", 1.10, "of a fifth"),
                gateway=" → ".join(number(r) for r in readings) + " MiB", raw={"rss_mib": readings})]


def replace(bench, plan):
    """The process is replaced three times under load: nothing may fail, and nobody may wait for long."""
    name, times = "replaced three times under load: calls that failed", 3
    with bench.gateway() as gateway:
        home, urls = gateway.home, gateway.urls
        load = subprocess.Popen(
            [bench.tools / "moveload", "--http", gateway.http, "--ws", urls["aleph"], "--token", gateway.token,
             "--secs", str(plan.secs * (times + 1))], stdout=subprocess.PIPE, text=True)
        try:
            with contextlib.ExitStack() as successors:
                for _ in range(times):
                    time.sleep(plan.secs)
                    gateway = successors.enter_context(bench.gateway(home, ["--replace"]))
                    if gateway.urls["aleph"] != urls["aleph"]:
                        return [failed(name, f"the new process listens at {gateway.urls['aleph']}")]
                said, _ = load.communicate(timeout=120)
        finally:
            load.kill()
            load.wait()
    seen = json.loads(said)
    kinds = {"kept": "http_kept", "new": "http_fresh", "calls": "ws_calls", "turns": "turns"}
    longest = {kind: seen[key]["latency_us"].get("max", 0) / 1000 for kind, key in kinds.items()}
    answered = sum(seen[key]["latency_us"]["count"] for key in kinds.values())
    reasons = [reason for key in kinds.values() for reason in seen[key]["failures"]]
    if min(seen[key]["latency_us"]["count"] for key in kinds.values()) == 0:
        return [failed(name, f"a kind of client got no answer: {seen}")]
    return [
        Row(name, seen["failed"], Bar("<=", 0), gateway=f"{answered:,} answered",
            note="; ".join(reasons[:3]) or f"{seen['ws_calls']['moved'] + seen['turns']['moved']} sockets moved, "
            f"{seen['ws_calls']['resent'] + seen['turns']['resent']} calls sent again", raw=seen),
        Row("the same: longest wait of a call", max(longest["kept"], longest["new"], longest["calls"]), Bar("<=", 300, "ms"),
            note=", ".join(f"{kind} {number(value)} ms" for kind, value in longest.items())),
    ]


def median(runs, *path):
    values = []
    for run in runs:
        for key in path:
            run = run.get(key, 0) if isinstance(run, dict) else 0
        values.append(run)
    return statistics.median(values)


def noise(runs):
    return max((run.get("other_cores", 0) for run in runs), default=0)


def first_error(runs):
    return next((run["error"] for run in runs if "error" in run), None)


def http_trouble(seen):
    """Why a result of httpload is no figure: the tool failed, or answers were other than 200."""
    if "error" in seen:
        return seen["error"]
    for one in seen["rounds"]:
        for side in ("gateway", "direct"):
            if side in one and one[side]["other_outcomes"]:
                return f"{side}: {one[side]['other_outcomes']}"
            if side in one and not one[side]["total_us"].get("count"):
                return f"{side}: no request ended in time"
    return None
