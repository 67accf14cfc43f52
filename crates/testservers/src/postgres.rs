//! PostgreSQL.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::account::{Account, command};
use crate::process::Process;
use crate::sweeper::Sweeper;
use crate::{free_port, programs, template};

/// What the log says once clients are let in.
const READY: &str = "database system is ready to accept connections";

/// Attempts to find a port that nobody takes between our look and the server's start.
const PORTS_TRIED: u32 = 5;

/// What a test can choose.
#[derive(Debug, Clone, Default)]
pub struct PostgresOptions {
    /// Commits reach the disk before they are told; without it a server is faster, and a power cut loses data.
    pub durable: bool,
    /// Further settings, such as `("ssl", "on")`.
    pub settings: Vec<(&'static str, String)>,
    /// Files in the data folder that only the server reads, such as `("server.key", …)`.
    pub files: Vec<(&'static str, Vec<u8>)>,
}

/// A server with the user `postgres`, who may do anything. Dropping it kills it.
#[derive(Debug)]
pub struct Postgres {
    // First, so that it has ended when its folder goes.
    running: Mutex<Option<Process>>,
    folder: TempDir,
    _sweeper: Sweeper,
    programs: PathBuf,
    account: Option<Account>,
    options: PostgresOptions,
    port: u16,
    databases: AtomicU32,
}

impl Postgres {
    /// The server that all tests of the process share; nobody stops it.
    ///
    /// # Panics
    /// When it cannot be started, as all of this type's functions.
    pub fn shared() -> &'static Postgres {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| Postgres::start(PostgresOptions::default()))
    }

    /// A server of the test's own.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(options: PostgresOptions) -> Postgres {
        let (programs, account) = (programs::postgres(), Account::for_servers());
        let folder = tempfile::Builder::new().prefix("postgres-").tempdir().expect("a temporary folder");
        let sweeper = Sweeper::of(folder.path());
        template::copy_to(&folder.path().join("data"), &programs, account);
        for (name, content) in &options.files {
            let path = folder.path().join("data").join(name);
            std::fs::write(&path, content).expect("the temporary folder can be written");
            let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&path, owner_only).expect("our own file");
        }
        if let Some(account) = account {
            account.own(folder.path());
        }
        let running = Mutex::new(None);
        let mut server = Postgres {
            running,
            folder,
            _sweeper: sweeper,
            programs,
            account,
            options,
            port: 0,
            databases: AtomicU32::new(0),
        };
        for attempt in 1.. {
            server.port = free_port();
            match server.launch() {
                Ok(process) => {
                    server.running = Mutex::new(Some(process));
                    break;
                }
                Err(reason) => assert!(attempt < PORTS_TRIED, "PostgreSQL: {reason}"),
            }
        }
        server
    }

    /// Ends it in order: clients are sent away, and what is in memory goes to the disk.
    pub fn stop(&self) {
        if let Some(process) = self.running().take() {
            process.end(Signal::INT);
        }
    }

    /// Ends it as a crash would: no client is told, nothing is written any more.
    ///
    /// Not with `SIGKILL`, which takes only the first of its processes; the others may stay for long.
    pub fn kill(&self) {
        if let Some(process) = self.running().take() {
            process.end(Signal::QUIT);
        }
    }

    /// Starts it again on the same port and data.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start_again(&self) {
        let mut running = self.running();
        assert!(running.is_none(), "it is stopped first");
        *running = Some(self.launch().unwrap_or_else(|reason| panic!("PostgreSQL: {reason}")));
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of its socket; `host=/folder` reaches it there.
    pub fn socket_folder(&self) -> String {
        self.folder.path().display().to_string()
    }

    /// The password of `postgres`, as it stands in an address.
    pub fn password() -> String {
        template::PASSWORD.replace(' ', "%20")
    }

    /// The address of the database that is always there.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://postgres:{}@127.0.0.1:{}/{database}", Postgres::password(), self.port)
    }

    /// Makes an empty database and gives its address.
    pub fn fresh_database(&self) -> String {
        let name = self.fresh_name();
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        self.url_of(&name)
    }

    /// A name that no database has.
    pub fn fresh_name(&self) -> String {
        format!("fresh_{}", self.databases.fetch_add(1, Ordering::Relaxed))
    }

    /// Runs statements in a database and gives the rows, one a line, columns parted by `|`.
    ///
    /// # Panics
    /// When one fails.
    pub fn sql(&self, database: &str, statements: &str) -> String {
        let ran = Command::new(self.programs.join("psql"))
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"])
            .args(["--host=127.0.0.1", "--username=postgres", &format!("--port={}", self.port)])
            .args([&format!("--dbname={database}"), "--command", statements])
            .env("PGPASSWORD", template::PASSWORD)
            .output()
            .expect("psql can be started");
        assert!(ran.status.success(), "{statements}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8_lossy(&ran.stdout).trim_end().to_owned()
    }

    /// The last lines of its log; empty when it does not run.
    pub fn log(&self) -> String {
        self.running().as_ref().map(Process::log).unwrap_or_default()
    }

    fn launch(&self) -> Result<Process, String> {
        let mut server = command(&self.programs.join("postgres"), self.account, "QUIT");
        server.arg("-D").arg(self.folder.path().join("data"));
        let durable = if self.options.durable { "on" } else { "off" };
        let folder = self.socket_folder();
        let port = self.port.to_string();
        let own = [
            ("listen_addresses", "127.0.0.1"),
            ("port", &port),
            ("unix_socket_directories", &folder),
            ("fsync", durable),
            ("full_page_writes", durable),
            ("shared_buffers", "32MB"),
            ("max_connections", "100"),
            ("logging_collector", "off"),
            ("log_destination", "stderr"),
        ];
        let further = self.options.settings.iter().map(|(name, value)| (*name, value.as_str()));
        for (name, value) in own.into_iter().chain(further) {
            server.arg("-c").arg(format!("{name}={value}"));
        }
        Process::start(server, READY, Signal::QUIT)
    }

    fn running(&self) -> MutexGuard<'_, Option<Process>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
