"""What `make bench` measures of gateways that share a database: PostgreSQL beside SQLite, three nodes
beside one, and what happens when a node dies.
"""

import contextlib
import json
import statistics
import subprocess

from gateway import LEASE_SECS
from report import Bar, Row, failed, number
from tools import Quiet, run_tool


def turns_of(bench, plan, gateway):
    return run_tool(bench.tools, "wsload", "turns", *gateway.ws_flags("aleph"), "--secs", plan.secs,
                    "--warmup", plan.warmup, "--conns", 8, "--sessions", 64)


def trouble_of(runs):
    """Why these runs are no figure; `None` when they are."""
    for run in runs:
        if "error" in run:
            return run["error"]
        if run["failed"] or not run["turns"]:
            return f"{run['failed']} turns failed: {run['errors'] or 'no turn ended'}"
    return None


def postgres(bench, plan):
    """Agent turns on PostgreSQL beside the same on SQLite, in turn."""
    name = "agent turns on PostgreSQL, 64 sessions"
    with bench.postgres() as server, bench.gateway() as sqlite, bench.node(server.database("one")) as shared:
        pairs = [(turns_of(bench, plan, shared), turns_of(bench, plan, sqlite)) for _ in range(plan.rounds)]
    if trouble := trouble_of([run for pair in pairs for run in pair]):
        return [failed(name, trouble)]
    rate = lambda at: statistics.median(pair[at]["turns_per_s"] for pair in pairs)  # noqa: E731
    ratios = [ours["turns_per_s"] / theirs["turns_per_s"] for ours, theirs in pairs]
    cpu = statistics.median(ours["cpu"]["server_cpu_us_per_op"] for ours, _ in pairs)
    return [Row(name, statistics.median(ratios), Bar(">=", 0.5, "of SQLite"), gateway=f"{number(rate(0))}/s",
                reference=f"{number(rate(1))}/s", note=f"{number(cpu)} µs CPU of the gateway a turn",
                other_cores=max(run["other_cores"] for pair in pairs for run in pair), raw={"pairs": pairs})]


def cluster(bench, plan):
    """Turns of three nodes with one database and NATS, all on this machine, beside those of one of them."""
    name = "agent turns of three nodes, 64 sessions"
    pairs = []
    with bench.postgres() as server, contextlib.ExitStack() as stack:
        # A bus belongs to one cluster.
        busses = [stack.enter_context(bench.nats()) for _ in range(2)]
        alone = stack.enter_context(bench.node(server.database("alone"), "alone", busses[0].url))
        database = server.database("three")
        three = [stack.enter_context(bench.node(database, f"node-{at}", busses[1].url)) for at in range(3)]
        for _ in range(plan.rounds):
            pairs.append((at_once(bench, plan, three), turns_of(bench, plan, alone)))
    if trouble := trouble_of([run for pair in pairs for run in pair]):
        return [failed(name, trouble)]
    ratios = [ours["turns_per_s"] / theirs["turns_per_s"] for ours, theirs in pairs]
    rate = lambda at: statistics.median(pair[at]["turns_per_s"] for pair in pairs)  # noqa: E731
    return [Row(name, statistics.median(ratios), Bar(">=", 0.67, "of one node"), gateway=f"{number(rate(0))}/s",
                reference=f"{number(rate(1))}/s", other_cores=max(ours["other_cores"] for ours, _ in pairs),
                raw={"pairs": pairs})]


def at_once(bench, plan, nodes):
    """The same load as on one node, a third of it on each; the sum of what they did."""
    quiet = Quiet()
    loads = []
    try:
        for node, sessions in zip(nodes, (22, 21, 21)):
            loads.append(subprocess.Popen(
                [str(part) for part in (bench.tools / "wsload", "turns", *node.ws_flags("aleph"), "--secs", plan.secs,
                                        "--warmup", plan.warmup, "--conns", 3, "--sessions", sessions)],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        said = [load.communicate(timeout=120) for load in loads]
    finally:
        for load in loads:
            load.kill()
            load.wait()
    for load, (_, error) in zip(loads, said):
        if load.returncode != 0:
            return {"error": error.strip()[-300:]}
    runs = [json.loads(out) for out, _ in said]
    return {"turns": sum(run["turns"] for run in runs), "failed": sum(run["failed"] for run in runs),
            "errors": [run["errors"] for run in runs if run["errors"]], "of_nodes": runs,
            "turns_per_s": sum(run["turns_per_s"] for run in runs), "other_cores": quiet.other_cores()}


def takeover(bench, plan):
    """A node is killed in the middle of many runs; another takes all of them over."""
    runs = plan.takeover_runs
    name = f"takeover of {runs:,} runs of a killed node"
    with bench.postgres() as server, bench.nats() as nats, contextlib.ExitStack() as nodes:
        database = server.database("takeover")
        doomed, heir, _ = [nodes.enter_context(bench.node(database, f"node-{at}", nats.url)) for at in range(3)]
        # Its model answers when the node is long dead, and then soon enough for the heir's runs to end.
        seen = run_tool(bench.tools, "wsload", "takeover", *doomed.ws_flags("aleph"), "--heir-url", heir.urls["aleph"],
                        "--heir-token", heir.token, "--runs", runs, "--model", "mock/mock_tokens-8_first-12000")
    if "error" in seen:
        return [failed(name, seen["error"])]
    return [Row(name, seen["last_ms"] / 1000, Bar("<=", LEASE_SECS + 2, "s"), note=f"the first after "
                f"{number(seen['first_ms'] / 1000)} s; all answered after {number(seen['all_over_ms'] / 1000)} s",
                other_cores=seen["other_cores"], raw=seen)]
