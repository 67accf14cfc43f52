//! A gateway that is a process, and the wires around it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::rig::{TOKEN, soon};
use crate::wire::Wire;

pub struct Node {
    pub name: String,
    home: TempDir,
    pub store: Wire,
    /// Absent when the nodes speak through the database.
    pub bus: Option<Wire>,
    pub clients: Wire,
    child: Option<Child>,
}

impl Node {
    /// Prepares its home; `store_url` gets the port of the wire to the database.
    pub async fn new(
        name: &str,
        upstream: u16,
        store: u16,
        store_url: impl FnOnce(u16) -> String,
        bus: Option<u16>,
        lease_secs: u64,
    ) -> Node {
        let home = tempfile::tempdir().expect("a temporary folder");
        let store = Wire::to(Some(store)).await;
        let bus = match bus {
            Some(port) => Some(Wire::to(Some(port)).await),
            None => None,
        };
        let bus_url =
            bus.as_ref().map_or_else(|| String::from("local"), |bus| format!("nats://127.0.0.1:{}", bus.port()));
        let config = format!(
            "[store]\nurl = \"{}\"\n[bus]\nurl = \"{bus_url}\"\n[cluster]\nnode = \"{name}\"\nlease_secs = {lease_secs}\n\
             [[auth.token]]\nid = \"tests\"\nsecret = \"{TOKEN}\"\nscopes = [\"read\", \"write\", \"admin\"]\n\
             [providers.up]\nkind = \"openai\"\nbase_url = \"http://127.0.0.1:{upstream}/v1\"\nmodels = [\"m\"]\ndiscover = false\n\
             [agents.main]\nmodel = \"up/m\"\n[limits]\nsession_queue = 1000\ndrain_secs = 2\n",
            store_url(store.port()),
        );
        std::fs::write(home.path().join("config.toml"), config).expect("the configuration is written");
        Node { name: name.to_owned(), home, store, bus, clients: Wire::to(None).await, child: None }
    }

    /// Starts the process, and returns once it serves.
    pub async fn start(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let mut child = Command::new(env!("CARGO_BIN_EXE_patchbay"))
            .args(["serve", "--listen", "aleph=127.0.0.1:0", "--home"])
            .arg(self.home.path())
            .env("PATCHBAY_LOG", std::env::var("PATCHBAY_LOG").unwrap_or_else(|_| String::from("off")))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let stdout = child.stdout.take().expect("stdout is piped");
        self.child = Some(child);
        let reading = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).map(|_| line)
        });
        let line = soon("the ready line", reading).await.expect("no panic").expect("stdout can be read");
        let ready: Value = line
            .strip_prefix("ready ")
            .and_then(|json| serde_json::from_str(json).ok())
            .unwrap_or_else(|| panic!("{}: not a ready line: {line:?}", self.name));
        let port = ready["aleph"].as_str().and_then(|url| url.rsplit(':').next()?.parse().ok());
        self.clients.lead_to(port.expect("it listens"));
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Open files and sockets.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("it runs").count()
    }

    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// SIGKILL: nothing of the process gets a chance to tidy up.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it can be killed");
        child.wait().expect("it is gone");
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status();
        assert!(sent.expect("`kill` is there").success());
    }

    /// SIGTERM, and its end in order.
    pub async fn stop(&mut self) {
        self.signal("TERM");
        let mut child = self.child.take().expect("it runs");
        let status = soon("the end of a node", tokio::task::spawn_blocking(move || child.wait())).await;
        let status = status.expect("no panic").expect("it can be waited for");
        assert!(status.success(), "{} ended with {status}", self.name);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
