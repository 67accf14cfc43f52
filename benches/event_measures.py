"""What `make bench` measures of events: to many at once, to one who was away, and over a long time."""

import json
import os
import statistics
import subprocess
import sys
import time

from measures import raise_file_limit
from report import Bar, Row, failed, number
from tools import run_tool

# As long as a piece of a run's text is on our wire, so that both send the same bytes.
BARE_EVENT = ('{"jsonrpc":"2.0","method":"event","params":{"topic":"stream.chunk","data":{"run_id":'
              '"run_01900000-0000-7000-8000-000000000000","content":"{stamp}","text":"{stamp}","seq":100,"index":100},'
              '"timestamp":1790000001234}}')
RUN = ('{"jsonrpc":"2.0","id":{id},"method":"agent.run","params":{"message":"Tell everybody.","session_key":'
       '"agent:main:dm:fan-{id}","model":"mock/mock_stamp-1_tokens-EVENTS"}}')
# How often the memory of a soak is looked at: once a minute in one of an hour.
SOAK_READINGS = 60
LISTEN = '{"jsonrpc":"2.0","id":1,"method":"events.subscribe","params":{"patterns":["stream.chunk"]}}'


def fanout(bench, plan):
    """The text of a run to many subscribers beside a bare broadcast of as many events."""
    limit = raise_file_limit()
    rows = []
    for subscribers, events in plan.fanout:
        name = f"events to {subscribers:,} subscribers"
        if subscribers + 200 > limit:
            rows.append(failed(name, f"the limit of open files is {limit}"))
            continue
        pairs = []
        with bench.gateway() as gateway:
            for _ in range(plan.rounds):
                bare = run_tool(bench.tools, "wsload", "fanout", "--url", bench.reference_url.replace("http://", "ws://") + "/fan",
                                "--pid", bench.reference.pid, "--subs", subscribers, "--rate", 0, "--count", events,
                                "--publish", BARE_EVENT, "--drain", 60)
                ours = run_tool(bench.tools, "wsload", "fanout", *gateway.ws_flags("aleph"), "--subs", subscribers,
                                "--subscribe", LISTEN, "--rate", 0, "--count", 1, "--each", events,
                                "--publish", RUN.replace("EVENTS", str(events)), "--drain", 60)
                pairs.append((ours, bare))
        rows.append(fanout_row(name, pairs))
    return rows


def fanout_row(name, pairs):
    for ours, bare in pairs:
        for side, run in (("patchbay", ours), ("bare", bare)):
            if "error" in run:
                return failed(name, f"{side}: {run['error']}")
            if run["missing"]:
                return failed(name, f"{side}: {run['missing']:,} events did not arrive")
    rate = lambda at: statistics.median(pair[at]["delivered_per_s"] for pair in pairs)  # noqa: E731
    ratios = [ours["delivered_per_s"] / bare["delivered_per_s"] for ours, bare in pairs]
    cpu = statistics.median(ours["cpu"]["server_cpu_us_per_op"] for ours, _ in pairs)
    return Row(name, statistics.median(ratios), Bar(">=", 0.7, "of bare"), gateway=f"{number(rate(0))}/s",
               reference=f"{number(rate(1))}/s", note=f"{number(cpu)} µs CPU an event",
               other_cores=max(run["other_cores"] for pair in pairs for run in pair), raw={"pairs": pairs})


def resume(bench, plan):
    """A client comes back after many durable events and reads them all."""
    events = plan.missed_events
    name = f"resume behind {events:,} missed events"
    with bench.gateway() as gateway:
        flags = gateway.ws_flags("aleph")
        # A turn is five events or more.
        made = run_tool(bench.tools, "wsload", "turns", *flags, "--conns", 8, "--sessions", 64, "--warmup", 0,
                        "--count", events // 5 + 100, "--secs", 540)
        if "error" in made or made["failed"]:
            return [failed(name, made.get("error") or made["errors"])]
        seen = run_tool(bench.tools, "wsload", "resume", *flags, "--events", events, "--rounds", plan.rounds)
    if "error" in seen:
        return [failed(name, seen["error"])]
    rates = [one["events_per_s"] for one in seen["rounds"]]
    cpu = statistics.median(one["cpu"]["server_cpu_us_per_op"] for one in seen["rounds"])
    frames = seen["rounds"][0]["frames"] / events
    return [Row(name, statistics.median(rates), Bar(">=", 200_000, "/s"), note=f"{number(frames)} frames and {number(cpu)} µs CPU an event",
                other_cores=seen["other_cores"], raw=seen)]


def soak(bench, plan):
    """Everything at once for a while: turns, calls, subscribers that come and go, cancelled runs."""
    secs = float(os.environ.get("PATCHBAY_SOAK_SECS", plan.soak_secs))
    name = f"memory over {number(secs)} s of mixed load"
    curve = []
    with bench.gateway() as gateway:
        loads = start_loads(bench, gateway, secs)
        try:
            began = time.monotonic()
            for minute in range(1, SOAK_READINGS + 1):
                time.sleep(max(0.0, began + secs * minute / SOAK_READINGS - time.monotonic()))
                curve.append(gateway.rss_kib() / 1024)
                print(f"soak: {number(secs * minute / SOAK_READINGS)} s, {number(curve[-1])} MiB", file=sys.stderr, flush=True)
            said = {kind: load.communicate(timeout=120) for kind, load in loads.items()}
        finally:
            for load in loads.values():
                load.kill()
                load.wait()
    for kind, load in loads.items():
        if load.returncode != 0:
            return [failed(name, f"{kind}: {said[kind][1].strip()[-200:]}")]
    seen = {kind: json.loads(out) for kind, (out, _) in said.items()}
    lost = {kind: one["errors"] for kind, one in seen.items() if one["failed"]}
    # The first ten minutes fill caches; a soak of less than an hour has only its first sixth for that.
    settled, bound = curve[SOAK_READINGS // 6 - 1], 1.05 if secs >= 3600 else 1.10
    done = f"{seen['turns']['turns']:,} turns, {seen['calls']['latency_us']['count']:,} calls, {seen['visits']['visits']:,} visits"
    return [
        Row(name, curve[-1] / settled, Bar("<=", bound, "of its first sixth"),
            gateway=" → ".join(number(mib) for mib in curve[SOAK_READINGS // 6 - 1::SOAK_READINGS // 6]) + " MiB",
            note=done, raw={"rss_mib": curve, "loads": seen}),
        Row("the same: what failed", sum(one["failed"] for one in seen.values()), Bar("<=", 0),
            note=json.dumps(lost) if lost else ""),
    ]


def start_loads(bench, gateway, secs):
    flags = [str(flag) for flag in gateway.ws_flags("aleph")]
    length = ["--secs", str(secs)]
    commands = {
        "turns": ["turns", *flags, *length, "--warmup", "0", "--conns", "16", "--sessions", "16", "--think", "0.1"],
        "calls": ["rate", *flags, *length, "--warmup", "0", "--conns", "16", "--rate", "500"],
        "visits": ["churn", *flags, *length, "--clients", "8", "--model", "mock/mock_first-20000"],
    }
    return {kind: subprocess.Popen([bench.tools / "wsload", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for kind, command in commands.items()}
