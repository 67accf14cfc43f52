"""Building and starting what is measured: the release gateway in a home of its own, the mock
provider, and the bare reference.
"""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from servers import Nats, Postgres
from tools import Failed, Server

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
LISTEN = [flag for dialect in ("aleph", "comis", "argent") for flag in ("--listen", f"{dialect}=127.0.0.1:0")]

# Limits are lifted because the load generator is one client that asks as fast as it can (short
# windows, because a window remembers every message in it); nothing else differs from a fresh
# installation. `instant` is the same provider with its whole reply in one
# write, so that a turn measures the gateway and not the provider's system calls.
CONFIG = """\
[auth]
required = true

[providers.mock]
kind = "openai"
base_url = "{mock}/v1"
api_key = "unused"

[providers.instant]
kind = "openai"
base_url = "{mock}/tokens-32/coalesce-32/v1"
api_key = "unused"

[agents.main]
model = "instant/mock"

[aleph.rate_limit]
default = {unlimited}
write = {unlimited}
heavy = {unlimited}

[comis.rate_limit]
window_ms = 1
max_requests = {unlimited}

[comis.ws_message_rate_limit]
window_ms = 1
max_messages = {unlimited}
"""
UNLIMITED = 1_000_000_000
LEASE_SECS = 5


def build(gateway_binary=None):
    """Builds what is missing; returns the gateway's binary and the folder of the load tools."""
    shared = os.environ.get("CARGO_TARGET_DIR")
    load_target = Path(shared) / "load" if shared else HERE / "load" / "target"
    cargo("build", "--release", "--locked", "--manifest-path", HERE / "load" / "Cargo.toml", "--target-dir", load_target)
    if gateway_binary is None:
        target = Path(shared) if shared else ROOT / "target"
        cargo("build", "--release", "--locked", "-p", "patchbay", "--manifest-path", ROOT / "Cargo.toml",
              "--target-dir", target)
        gateway_binary = target / "release" / "patchbay"
    return Path(gateway_binary).resolve(), load_target / "release"


def cargo(*args):
    if subprocess.run(["cargo", *map(str, args)]).returncode != 0:
        raise Failed("cargo " + " ".join(map(str, args[:2])) + " did not succeed")


class Bench:
    """The programs of one sitting: `with Bench(…)` starts the provider and the reference."""

    def __init__(self, binary, tools):
        self.binary, self.tools = binary, tools
        self.folder = None
        self.mock = self.reference = None

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="patchbay-bench-"))
        try:
            self.mock = Server("mock-llm", [self.tools / "mock-llm", "--listen", "127.0.0.1:0"]).__enter__()
            self.reference = Server("ref-server", [
                self.tools / "ref-server", "--listen", "127.0.0.1:0",
                "--upstream", self.mock.ready_line.removeprefix("http://")]).__enter__()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for server in (self.reference, self.mock):
            if server:
                server.__exit__()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def mock_url(self):
        return self.mock.ready_line

    @property
    def reference_url(self):
        return self.reference.ready_line

    @property
    def reference_ws(self):
        return self.reference_url.replace("http://", "ws://") + "/ws"

    def home(self, more=""):
        """A new home with the configuration above, and more of it if need be."""
        home = Path(tempfile.mkdtemp(dir=self.folder))
        (home / "config.toml").write_text(CONFIG.format(mock=self.mock_url, unlimited=UNLIMITED) + more)
        return home

    def node(self, database, name="bench", bus=None):
        """A gateway on a database that others may share; they speak to each other over `bus`."""
        more = f'\n[store]\nurl = "{database}"\n\n[cluster]\nnode = "{name}"\nlease_secs = {LEASE_SECS}\n'
        if bus:
            more += f'\n[bus]\nurl = "{bus}"\n'
        return self.gateway(self.home(more))

    def postgres(self):
        # Its account may pass through the sitting's folder, and sees nothing there.
        self.folder.chmod(0o711)
        return Postgres(Path(tempfile.mkdtemp(prefix="postgres-", dir=self.folder)))

    def nats(self):
        return Nats(Path(tempfile.mkdtemp(dir=self.folder)))

    def gateway(self, home=None, flags=LISTEN):
        return Gateway(self.binary, home or self.home(), flags)


class Gateway(Server):
    """`patchbay serve` on ports of its own choice."""

    def __init__(self, binary, home, flags=LISTEN):
        self.home = home
        # Keys of real providers must not be found: nothing here may leave the machine or cost money.
        kept = ("PATH", "LANG", "LD_LIBRARY_PATH", "TMPDIR")
        env = {name: os.environ[name] for name in kept if name in os.environ}
        super().__init__("patchbay", [binary, "serve", "--home", home, *flags], log=home / "bench.log", limit=30,
                         env={**env, "HOME": str(home)})

    def __enter__(self):
        super().__enter__()
        try:
            self.urls = json.loads(self.ready_line)
        except ValueError as error:
            self.__exit__()
            raise Failed(f"the ready line is not JSON: {self.ready_line[:120]}") from error
        return self

    @property
    def http(self):
        return self.urls["comis"].rstrip("/")

    @property
    def token(self):
        return (self.home / "admin.token").read_text().strip()

    def ws_flags(self, dialect):
        """How wsload reaches one dialect of this gateway."""
        url = self.http.replace("http://", "ws://") + "/ws" if dialect == "comis" else self.urls[dialect]
        return ["--url", url, "--dialect", dialect, "--token", self.token, "--pid", self.pid]
