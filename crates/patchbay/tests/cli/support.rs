//! Temporary homes, runs of the program, and gateways on free ports.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// Where nobody listens, so that a gateway of someone else's is never found.
pub const NOWHERE: &str = "[[listen]]\ndialect = \"aleph\"\naddress = \"127.0.0.1:1\"\n";

/// A key that must never be seen again.
pub const API_KEY: &str = "sk-never-to-be-seen-0123456789";

pub struct Home(Place);

enum Place {
    Own(TempDir),
    Named(PathBuf),
}

/// What a finished run left.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Run {
    /// The exit code 0 is required.
    #[track_caller]
    pub fn ok(self) -> Run {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    #[track_caller]
    pub fn fails(self, code: i32) -> Run {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Every line of stdout as JSON.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        self.out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect()
    }
}

impl Home {
    /// A home whose configured listener is nowhere.
    pub fn new() -> Home {
        Home::with("")
    }

    /// The same with more configuration; it begins on line 4.
    pub fn with(config: &str) -> Home {
        let folder = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700))
            .tempdir()
            .unwrap();
        let home = Home(Place::Own(folder));
        home.write("config.toml", &format!("{NOWHERE}{config}"));
        home
    }

    /// A home at `path`, where nothing is made yet.
    pub fn new_at(path: PathBuf) -> Home {
        Home(Place::Named(path))
    }

    /// A home with one model, `up/m`, at `port`.
    pub fn with_model(port: u16) -> Home {
        Home::with(&format!(
            "[providers.up]\nkind = \"openai\"\nbase_url = \"http://127.0.0.1:{port}/v1\"\napi_key = \"{API_KEY}\"\nmodels = [\"m\"]\ndiscover = false\n[models]\ndefault = \"up/m\"\n"
        ))
    }

    pub fn path(&self) -> &Path {
        match &self.0 {
            Place::Own(folder) => folder.path(),
            Place::Named(path) => path,
        }
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).unwrap()
    }

    /// The program on this home, with nothing of the surrounding environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_patchbay"));
        command.args(arguments).env_clear().env("PATCHBAY_HOME", self.path()).env("HOME", self.path());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Run {
        finish(self.command(arguments))
    }

    pub fn run_with_input(&self, arguments: &[&str], input: &str) -> Run {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        output(child)
    }

    /// A gateway on a free port, once it says that it is ready.
    pub fn serve(&self) -> Gateway {
        let mut command = self.command(&["serve", "--listen", "aleph=127.0.0.1:0"]);
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready = line.strip_prefix("ready ").unwrap_or_else(|| panic!("not a ready line: {line:?}"));
        let ready: Value = serde_json::from_str(ready).unwrap();
        Gateway { url: ready["aleph"].as_str().unwrap().to_owned(), child }
    }
}

pub fn finish(mut command: Command) -> Run {
    output(command.spawn().unwrap())
}

fn output(child: Child) -> Run {
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

/// A running gateway; it ends with the test at the latest.
pub struct Gateway {
    pub url: String,
    child: Child,
}

impl Gateway {
    /// Drained and gone when this returns.
    pub fn stop(mut self) {
        signal(&self.child, "TERM");
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program whose output is read while it runs.
pub struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Running {
    pub fn start(mut command: Command) -> Running {
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Running { child, out }
    }

    /// Reads stdout up to and with `text`.
    #[track_caller]
    pub fn read_until(&mut self, text: &str) -> String {
        let mut read = Vec::new();
        let mut byte = [0];
        while !String::from_utf8_lossy(&read).ends_with(text) {
            let count = self.out.read(&mut byte).unwrap();
            assert_eq!(count, 1, "stdout ended after {:?}", String::from_utf8_lossy(&read));
            read.push(byte[0]);
        }
        String::from_utf8(read).unwrap()
    }

    /// The next line of stdout that `wanted` takes, as JSON.
    #[track_caller]
    pub fn line(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let mut line = String::new();
            assert!(self.out.read_line(&mut line).unwrap() > 0, "stdout ended");
            let value: Value = serde_json::from_str(&line).unwrap();
            if wanted(&value) {
                return value;
            }
        }
    }

    pub fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// Waits for the end; `out` is what was not read yet.
    pub fn end(mut self) -> Run {
        let mut out = String::new();
        self.out.read_to_string(&mut out).unwrap();
        let mut err = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        Run { code: self.child.wait().unwrap().code().unwrap_or(-1), out, err }
    }
}

pub fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}
