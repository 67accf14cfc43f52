"""What the measuring scripts share: running a tool, running a server, and knowing how quiet the
machine was meanwhile. Python's standard library only.
"""

import json
import os
import re
import select
import signal
import socket
import statistics
import subprocess
import time
import urllib.request
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
RUNNING = []


class Failed(Exception):
    """A server or a tool did not do its part; the text says which and why."""


def run_tool(folder, name, *args, timeout=600):
    """Runs one of the load tools and returns what it measured; `{"error": …}` when it could not."""
    command = [str(Path(folder) / name), *[str(a) for a in args]]
    quiet = Quiet()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return {"error": f"{name} did not end within {timeout} s"}
    if done.returncode != 0:
        return {"error": done.stderr.strip()[-400:] or f"{name} ended with {done.returncode}"}
    return {**json.loads(done.stdout), "other_cores": quiet.other_cores()}


class Quiet:
    """Tells how many cores the programs of others used while something ran."""

    def __init__(self):
        self.start = self.look()

    @staticmethod
    def look():
        """Wall clock, processor time of everyone, processor time of ours."""
        with open("/proc/stat") as lines:
            fields = [int(f) for f in next(lines).split()[1:]]
        busy = sum(fields) - fields[3] - fields[4]
        times = os.times()
        own = (times.user + times.system + times.children_user + times.children_system) * TICKS
        return time.monotonic(), busy, own + sum(server.ticks() for server in RUNNING)

    def other_cores(self):
        wall, busy, own = (b - a for a, b in zip(self.start, self.look()))
        return round(max(0.0, (busy - own) / TICKS / max(wall, 1e-3)), 2)


def upgrades(url):
    """True when the server at a ws:// URL accepts a WebSocket upgrade."""
    host, _, path = url.removeprefix("ws://").partition("/")
    name, _, port = host.partition(":")
    request = (f"GET /{path} HTTP/1.1\r\nhost: {host}\r\nupgrade: websocket\r\n"
               "connection: Upgrade\r\nsec-websocket-version: 13\r\n"
               "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
    try:
        with socket.create_connection((name, int(port)), timeout=2) as connection:
            connection.sendall(request.encode())
            return b" 101 " in connection.recv(64)
    except OSError:
        return False


def answers(url):
    """True when the URL answers with a success."""
    if url.startswith("ws://"):
        return upgrades(url)
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:
            return 200 <= reply.status < 300
    except OSError:
        return False


class Server:
    """A server in its own process group; leaving the `with` block ends that group and no other.

    It is ready when its stdout says a line that starts with `ready `, or, with `ready_url`, when
    that address answers, or, with `port_from_log`, when its log names its port.
    """

    def __init__(self, name, command, ready_url=None, log=os.devnull, env=None, cwd=None,
                 limit=120, settle=0.0, port=None, port_from_log=None):
        self.name, self.command, self.ready_url, self.log = name, command, ready_url, log
        self.env, self.cwd, self.limit, self.settle = env, cwd, limit, settle
        self.port, self.port_from_log = port, port_from_log
        self.process = None
        self.ready_line = None

    def __enter__(self):
        waits_for_line = not self.ready_url and not self.port_from_log
        log = open(self.log, "ab")
        with log:
            self.process = subprocess.Popen(
                [str(a) for a in self.command], env=self.env, cwd=self.cwd,
                stdin=subprocess.DEVNULL, stderr=log, start_new_session=True,
                stdout=subprocess.PIPE if waits_for_line else log)
        RUNNING.append(self)
        try:
            if waits_for_line:
                self.wait_for_line()
            else:
                self.wait_for_answer()
        except BaseException:
            self.__exit__()
            raise
        time.sleep(self.settle)
        return self

    def wait_for_line(self):
        """Reads up to the `ready` line. The server must not be able to block us for ever."""
        limit = time.monotonic() + self.limit
        pipe = self.process.stdout.fileno()
        text = b""
        while not (found := re.search(rb"^ready (.+)\n", text, re.M)):
            left = limit - time.monotonic()
            if left <= 0:
                raise Failed(f"{self.name} did not become ready in {self.limit} s; {self.last_words()}")
            if not select.select([pipe], [], [], left)[0]:
                continue
            piece = os.read(pipe, 65536)
            if not piece:
                raise Failed(f"{self.name} ended with {self.process.wait(5)}; {self.last_words()}")
            text += piece
        self.ready_line = found[1].decode()

    def wait_for_answer(self):
        limit = time.monotonic() + self.limit
        while not self.answers():
            if self.process.poll() is not None:
                raise Failed(f"{self.name} ended with {self.process.returncode}; {self.last_words()}")
            if time.monotonic() > limit:
                raise Failed(f"{self.name} did not become ready in {self.limit} s")
            time.sleep(0.1)

    def answers(self):
        if self.port_from_log and self.port is None:
            found = re.findall(self.port_from_log, Path(self.log).read_text(errors="replace"))
            if not found:
                return False
            self.port = found[-1]
        return answers(self.fill(self.ready_url)) if self.ready_url else self.port is not None

    def fill(self, text):
        return text.replace("{port}", str(self.port))

    def last_words(self):
        if self.log == os.devnull:
            return "its output was not kept"
        return "its log ends: " + " | ".join(Path(self.log).read_text(errors="replace").splitlines()[-3:])

    @property
    def pid(self):
        return self.process.pid

    def rss_kib(self):
        """Resident memory of the server's own process."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise Failed(f"{self.name} is gone")

    def ticks(self):
        """Processor time of everything the server started, in clock ticks."""
        total = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(") ")[2].split()
            except OSError:
                continue
            if int(fields[3]) == self.process.pid:
                total += sum(int(f) for f in fields[11:15])
        return total

    def __exit__(self, *_):
        if self in RUNNING:
            RUNNING.remove(self)
        for number, wait in ((signal.SIGTERM, 12), (signal.SIGKILL, 5)):
            try:
                os.killpg(self.process.pid, number)
                self.process.wait(wait)
                break
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        if self.process.stdout:
            self.process.stdout.close()


def spread(values):
    """Median, lowest and highest; `None` of nothing."""
    if not values:
        return None
    return {"median": round(statistics.median(values), 2), "min": min(values), "max": max(values)}
