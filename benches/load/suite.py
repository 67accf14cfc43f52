#!/usr/bin/env python3
"""Runs the load tools against several servers, one after the other, and writes every figure as a
JSON line: for a look at how other gateways do beside this one. `../run.py` is what `make bench` runs.

The servers are described in a TOML file (see peers.example.toml). Everything runs on the loopback of
this machine, server and load generator together.
"""

import argparse
import fcntl
import json
import os
import subprocess
import sys
import time
import tomllib
from pathlib import Path

from tools import Failed, Server, run_tool, spread

HERE = Path(__file__).resolve().parent
BIN = HERE / "target" / "release"
MOCK = "http://127.0.0.1:9100"
PARTS = ["startup", "idle", "ws", "get", "chat", "stream", "frontier", "fanout"]


def tool(name, *args):
    return run_tool(BIN, name, *args)


def server_of(peer):
    """The server that a table of the TOML file describes."""
    return Server(
        peer["name"], peer["command"], ready_url=peer.get("ready"), log=peer.get("log", os.devnull),
        env={**os.environ, **peer.get("env", {})}, cwd=peer.get("cwd"), limit=peer.get("limit", 120),
        settle=peer.get("settle", 3), port=peer.get("port"), port_from_log=peer.get("port_from_log"))


class Suite:
    def __init__(self, args):
        self.args = args
        self.out = open(args.out, "a")
        self.rows = []

    def note(self, peer, part, case, figures):
        """Keeps one result."""
        row = {"at": time.strftime("%H:%M:%S"), "peer": peer["name"], "part": part, "case": case,
               "figures": figures}
        self.rows.append(row)
        self.out.write(json.dumps(row) + "\n")
        self.out.flush()
        print(f"{row['at']} {peer['name']:14} {part:8} {case:22} {brief(figures)}", flush=True)

    def run(self, peer):
        wanted = [p for p in self.args.parts if p in peer.get("parts", PARTS)]
        if "startup" in wanted and "ready" in peer and "port_from_log" not in peer:
            self.startup(peer)
        rest = [p for p in wanted if p != "startup"]
        if not rest:
            return
        try:
            with server_of(peer) as server:
                for part in rest:
                    getattr(self, part)(peer, server)
        except (Failed, subprocess.TimeoutExpired) as error:
            self.note(peer, "error", "-", {"error": str(error)})

    def startup(self, peer):
        flags = ["--ready", peer["ready"].replace("{port}", str(peer.get("port"))),
                 "--runs", self.args.starts, "--settle", peer.get("measure_settle", 4)]
        for name, value in peer.get("env", {}).items():
            flags += ["--env", f"{name}={value}"]
        for path in peer.get("size", []):
            flags += ["--size", path]
        if "cwd" in peer:
            flags += ["--cwd", peer["cwd"]]
        if "log" in peer:
            flags += ["--log", peer["log"]]
        self.note(peer, "startup", "cold", tool("measure", *flags, "--", *peer["command"]))

    def ws_flags(self, peer, server):
        ws = peer["ws"]
        flags = ["--url", server.fill(ws["url"]), "--dialect", ws.get("dialect", "raw"),
                 "--pid", server.pid]
        for key in ("token", "method", "params", "client_id", "client_mode"):
            if key in ws:
                flags += [f"--{key.replace('_', '-')}", ws[key]]
        return flags

    def idle(self, peer, server):
        if "ws" in peer:
            self.note(peer, "idle", self.args.idle_steps, tool(
                "wsload", "idle", *self.ws_flags(peer, server), "--steps", self.args.idle_steps,
                "--settle", 3))

    def ws(self, peer, server):
        if "ws" not in peer:
            return
        flags = self.ws_flags(peer, server)
        for conns in self.args.conns:
            runs = [tool("wsload", "closed", *flags, "--conns", conns, "--secs", self.args.secs)
                    for _ in range(self.args.runs)]
            self.note(peer, "ws", f"closed {conns}", closed_summary(runs))
        rate = peer["ws"].get("rate")
        if rate:
            runs = [tool("wsload", "rate", *flags, "--conns", 32, "--rate", rate,
                         "--secs", self.args.secs) for _ in range(self.args.runs)]
            self.note(peer, "ws", f"rate {rate}/s", closed_summary(runs))

    def get(self, peer, server):
        if "get" in peer:
            self.note(peer, "get", "closed 32", tool(
                "httpload", "--get", "--url", server.fill(peer["get"]), "--conns", 32,
                "--secs", self.args.secs, "--rounds", self.args.runs, "--pid", server.pid))

    def chat_flags(self, peer, server):
        chat = peer["chat"]
        flags = ["--url", server.fill(chat["url"]), "--pid", server.pid,
                 "--secs", self.args.secs, "--rounds", self.args.runs]
        if chat.get("baseline", True):
            flags += ["--baseline", MOCK + "/v1/chat/completions"]
        if "token" in chat:
            flags += ["--token", chat["token"]]
        for header in chat.get("headers", []):
            flags += ["--header", header]
        return flags

    def chat(self, peer, server):
        if "chat" not in peer:
            return
        chat, flags = peer["chat"], self.chat_flags(peer, server)
        flags = flags + ["--model", chat.get("model", "mock"), "--baseline-model", "mock"]
        warm = ["--warmup", chat.get("warmup", 1)]
        self.note(peer, "chat", "closed 1", tool("httpload", *flags, *warm, "--conns", 1))
        self.note(peer, "chat", "closed 32", tool("httpload", *flags, *warm, "--conns", 32))
        rate = chat.get("rate")
        if rate:
            self.note(peer, "chat", f"rate {rate}/s", tool(
                "httpload", *flags, *warm, "--conns", 64, "--rate", rate))

    def stream(self, peer, server):
        if "chat" not in peer:
            return
        chat, flags = peer["chat"], self.chat_flags(peer, server)
        short = ["--model", chat.get("model", "mock"), "--baseline-model", "mock"]
        long = ["--model", chat.get("model_500", "mock_tokens-500"),
                "--baseline-model", "mock_tokens-500", "--expect-tokens", 500]
        warm = ["--stream", "--warmup", chat.get("warmup", 1)]
        self.note(peer, "stream", "first token, 1", tool(
            "httpload", *flags, *short, *warm, "--conns", 1))
        self.note(peer, "stream", "500 tokens x 64", tool(
            "httpload", *flags, *long, *warm, "--conns", 64))

    def frontier(self, peer, server):
        """The most requests a second at each tail latency one may accept."""
        if "chat" not in peer:
            return
        chat = peer["chat"]
        flags = self.chat_flags({**peer, "chat": {**chat, "baseline": False}}, server)
        flags += ["--model", chat.get("model", "mock"), "--warmup", chat.get("warmup", 1)]
        curve = []
        for conns in self.args.sweep:
            run = tool("httpload", *flags, "--conns", conns)
            if "error" not in run:
                curve.append({"conns": conns, "req_per_s": run["median"]["req_per_s"]["median"],
                              "p99_us": run["median"]["p99_us"]["median"]})
        best = {f"{bound} ms": max((c["req_per_s"] for c in curve
                                    if 0 < c["p99_us"] <= bound * 1000), default=0)
                for bound in (1, 5, 10, 50, 100)}
        self.note(peer, "frontier", "closed", {"best": best, "curve": curve})

    def fanout(self, peer, server):
        if "fanout" not in peer:
            return
        fan = peer["fanout"]
        flags = ["--url", server.fill(fan["url"]), "--dialect", fan.get("dialect", "raw"),
                 "--publish", fan["publish"], "--pid", server.pid]
        for key in ("token", "subscribe", "publish_post"):
            if key in fan:
                flags += [f"--{key.replace('_', '-')}", server.fill(fan[key])]
        for subs, rate, count in fan.get("cases", [[100, 100, 300], [1000, 50, 150]]):
            runs = [tool("wsload", "fanout", *flags, "--subs", subs, "--rate", rate,
                         "--count", count) for _ in range(self.args.runs)]
            good = [r for r in runs if "error" not in r]
            self.note(peer, "fanout", f"{subs} subs, {rate}/s", {
                "delivered_per_s": spread([r["delivered_per_s"] for r in good]),
                "delivered_per_published": spread([r["delivered_per_published"] for r in good]),
                "p50_us": spread([r["delay_us"].get("p50", 0) for r in good]),
                "p99_us": spread([r["delay_us"].get("p99", 0) for r in good]),
                "server_cpu_us_per_op": spread(
                    [r["cpu"].get("server_cpu_us_per_op", 0) for r in good]),
                "other_cores": max((r["other_cores"] for r in good), default=None),
                "errors": [r["error"] for r in runs if "error" in r],
            })


def closed_summary(runs):
    """Median and spread of several runs of wsload closed or rate."""
    good = [r for r in runs if "error" not in r and r["latency_us"]["count"]]
    if not good:
        return {"error": runs[0].get("error", "no answers"), "first": runs[0]}
    return {
        "req_per_s": spread([r["req_per_s"] for r in good]),
        "p50_us": spread([r["latency_us"]["p50"] for r in good]),
        "p99_us": spread([r["latency_us"]["p99"] for r in good]),
        "p999_us": spread([r["latency_us"]["p999"] for r in good]),
        "server_cpu_us_per_op": spread([r["cpu"].get("server_cpu_us_per_op", 0) for r in good]),
        "server_cores": spread([r["cpu"].get("server_cores", 0) for r in good]),
        "tool_cores": spread([r["cpu"]["tool_cores"] for r in good]),
        "other_cores": max(r["other_cores"] for r in good),
        "failed": sum(r["failed"] for r in good),
        "errors": [r["errors"] for r in good if r["errors"]],
        "sample": good[0]["sample"],
    }


def middle(value):
    return value["median"] if isinstance(value, dict) and "median" in value else value


def brief(figures):
    """One line to watch while the suite runs."""
    if "error" in figures:
        return "ERROR " + str(figures["error"])[:160]
    source = {**figures, **figures.get("median", {})}
    keys = ("ready_ms", "idle_rss_mib", "req_per_s", "p50_us", "p99_us", "added_p50_us",
            "added_p99_us", "added_first_token_p50_us", "tokens_per_s", "delivered_per_s",
            "server_cpu_us_per_op", "other_cores")
    parts = [f"{k}={middle(source[k])}" for k in keys if k in source]
    for step in figures.get("steps", []):
        parts.append(f"{step['open']}:{step['rss_kib_per_conn']}KiB")
    return " ".join(parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", required=True, help="TOML file of servers")
    parser.add_argument("--only", help="comma-separated names")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--secs", type=float, default=3)
    parser.add_argument("--conns", default="1,32,256")
    parser.add_argument("--sweep", default="1,4,16,64,256", help="connections for frontier")
    parser.add_argument("--idle-steps", default="1000,5000")
    parser.add_argument("--lock", help="file to hold locked while measuring")
    parser.add_argument("--out", default=str(HERE / "results" / time.strftime("%Y%m%d-%H%M.jsonl")))
    args = parser.parse_args()
    args.parts = args.parts.split(",")
    args.conns = [int(c) for c in args.conns.split(",")]
    args.sweep = [int(c) for c in args.sweep.split(",")]
    Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    text = os.path.expandvars(Path(args.peers).read_text())
    peers = tomllib.loads(text)["peer"]
    if args.only:
        peers = [p for p in peers if p["name"] in args.only.split(",")]
    lock = None
    if args.lock:
        lock = open(args.lock, "a")
        fcntl.flock(lock, fcntl.LOCK_EX)
    mock = {"name": "mock-llm", "command": [str(BIN / "mock-llm"), "--listen", MOCK[7:]],
            "ready": MOCK + "/health", "settle": 0.2}
    suite = Suite(args)
    print("load average", os.getloadavg(), flush=True)
    with server_of(mock):
        for peer in peers:
            suite.run(peer)


if __name__ == "__main__":
    sys.exit(main())
