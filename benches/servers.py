"""PostgreSQL and NATS for the measures that need them, each with a folder of its own."""

import os
import pwd
import shutil
import subprocess
import time
from pathlib import Path

from tools import RUNNING, Failed, Server

NAME = "patchbay"


def programs():
    """The folder with PostgreSQL's programs, the newest of those that are installed."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    found = installed[-1] if installed else shutil.which("initdb")
    if not found:
        raise Failed("PostgreSQL is not installed (package postgresql)")
    return Path(found).parent


class Postgres(Server):
    """A server as it comes from the package: it waits for the disk at each commit.

    It listens on a socket in its folder alone, and as root it runs under an account of its own,
    because it refuses to be root.
    """

    def __init__(self, folder):
        self.folder = folder
        self.account = {}
        if os.geteuid() == 0:
            user = next((name for name in ("postgres", "nobody") if has_account(name)), None)
            entry = pwd.getpwnam(user)
            self.account = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        super().__init__("postgres", [
            programs() / "postgres", "-D", self.folder / "data", "-c", "listen_addresses=",
            "-c", f"unix_socket_directories={self.folder}"], log=folder.with_suffix(".log"))

    def __enter__(self):
        if self.account:
            os.chown(self.folder, self.account["user"], self.account["group"])
        made = subprocess.run(
            [programs() / "initdb", "--no-locale", "--encoding=UTF8", "--auth=trust", f"--username={NAME}",
             "--pgdata", self.folder / "data"], cwd=self.folder, capture_output=True, text=True, **self.account)
        if made.returncode != 0:
            raise Failed(f"initdb: {made.stderr.strip()[-200:]}")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([str(part) for part in self.command], stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, start_new_session=True, cwd=self.folder, **self.account)
        RUNNING.append(self)
        try:
            self.wait_until_there()
        except BaseException:
            self.__exit__()
            raise
        return self

    def wait_until_there(self):
        limit = time.monotonic() + 30
        while self.psql("postgres", "SELECT 1", check=False).returncode != 0:
            if self.process.poll() is not None or time.monotonic() > limit:
                raise Failed(f"postgres did not become ready; {self.last_words()}")
            time.sleep(0.1)

    def ticks(self):
        """Processor time of the server and its children, each of which has a session of its own."""
        own = self.process.pid
        total = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                number, fields = int(stat.parent.name), stat.read_text().rpartition(") ")[2].split()
            except OSError:
                continue
            if number == own:
                # With that of the children that have ended.
                total += sum(int(field) for field in fields[11:15])
            elif int(fields[1]) == own:
                total += sum(int(field) for field in fields[11:13])
        return total

    def psql(self, database, sql, check=True):
        done = subprocess.run([programs() / "psql", "--host", self.folder, "--username", NAME, "--dbname", database,
                               "--no-psqlrc", "--tuples-only", "--no-align", "--command", sql], capture_output=True, text=True)
        if check and done.returncode != 0:
            raise Failed(f"psql: {done.stderr.strip()[-200:]}")
        return done

    def database(self, name):
        """A new database; gives its address."""
        self.psql("postgres", f"CREATE DATABASE {name}")
        return f"postgres://{NAME}@/{name}?host={self.folder}"


def has_account(name):
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


class Nats(Server):
    """A server on a port of its own choice."""

    def __init__(self, folder):
        program = shutil.which("nats-server", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/bin")
        if not program:
            raise Failed("NATS is not installed (package nats-server)")
        super().__init__("nats-server", [program, "--addr", "127.0.0.1", "--port", "-1"], log=folder / "nats.log",
                         port_from_log=r"Listening for client connections on 127\.0\.0\.1:(\d+)")

    @property
    def url(self):
        return f"nats://127.0.0.1:{self.port}"
