use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, bail};
use server::settings::{DialectName, ListenSettings};
use store_sqlite::{SqliteOptions, SqliteStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::home::Home;
use crate::prepared::Options;

/// A home, and listeners that nobody accepts on yet.
struct Rig {
    folder: tempfile::TempDir,
    prepared: Prepared,
    bound: Vec<Bound>,
    notify: Notify,
}

impl Rig {
    fn new() -> Rig {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { home: Home::at(folder.path()), config: None, log: Some("off".into()) };
        let listeners = DialectName::ALL.map(|dialect| ListenSettings {
            dialect,
            address: "127.0.0.1:0".parse().unwrap(),
            tls: None,
        });
        let prepared = Prepared::load(options).unwrap();
        let bound = server::bind(&listeners, true).unwrap();
        Rig { folder, prepared, bound, notify: Notify::none() }
    }

    fn waiting(&self, patience: Patience) -> Waiting<'_> {
        let Self { prepared, bound, notify, .. } = self;
        Waiting { prepared, bound, notify, patience }
    }

    fn store(&self) -> anyhow::Result<Arc<dyn Store>> {
        Ok(Arc::new(SqliteStore::open(self.folder.path().join("x.db"), SqliteOptions::default())?))
    }

    /// Status line, head and body of an answer; every connection here ends with it.
    async fn get(&self, dialect: DialectName, path: &str, headers: &str) -> String {
        let bound = self.bound.iter().find(|bound| bound.dialect == dialect).unwrap();
        let mut stream = TcpStream::connect(bound.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n{headers}\r\n", bound.address);
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }
}

fn away() -> anyhow::Error {
    anyhow::Error::from(StoreError::Unavailable("connection to postgres://me:secret@db refused".into()))
        .context("cannot open the database")
}

const UPGRADE: &str = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[tokio::test]
async fn listeners_say_what_is_waited_for_until_it_is_there() {
    let rig = Rig::new();
    let (is_there, attempts) = (AtomicBool::new(false), AtomicUsize::new(0));
    let waiting = rig.waiting(Patience::ForTheNetwork);
    let opening = waiting.open_with("postgres://db/patchbay", false, || {
        attempts.fetch_add(1, Ordering::SeqCst);
        if is_there.load(Ordering::SeqCst) { rig.store() } else { Err(away()) }
    });
    let asking = async {
        use DialectName::{Aleph, Argent, Comis};

        for (dialect, path, headers, status, body) in [
            (Aleph, "/health", "", 200, r#"{"status":"ok"}"#),
            (Argent, "/healthz", "", 200, r#"{"ok":true,"status":"live"}"#),
            (
                Aleph,
                "/readyz",
                "",
                503,
                r#"{"ready":false,"reason":"the database postgres://db/patchbay is out of reach"}"#,
            ),
            (
                Comis,
                "/ready",
                "",
                503,
                r#"{"status":"unavailable","reason":"the database postgres://db/patchbay is out of reach"}"#,
            ),
            (
                Comis,
                "/api/agents",
                "",
                503,
                r#"{"error":"Service Unavailable","reason":"the database postgres://db/patchbay is out of reach"}"#,
            ),
            (
                Aleph,
                "/",
                UPGRADE,
                503,
                r#"{"error":"Service Unavailable","reason":"the database postgres://db/patchbay is out of reach"}"#,
            ),
        ] {
            let answer = rig.get(dialect, path, headers).await;
            let (head, told) = answer.split_once("\r\n\r\n").unwrap();
            let head = head.to_ascii_lowercase();
            let told: serde_json::Value = serde_json::from_str(told).unwrap();
            let expected: serde_json::Value = serde_json::from_str(body).unwrap();
            assert!(head.starts_with(&format!("http/1.1 {status}")), "{path}: {head}");
            assert_eq!((told, head.contains("\r\nretry-after: 5")), (expected, status == 503), "{path}");
            assert!(head.contains("\r\nconnection: close"), "{path}: {head}");
        }
        is_there.store(true, Ordering::SeqCst);
    };
    let (opened, ()) = tokio::join!(opening, asking);
    opened.unwrap().close().await;
    assert!(attempts.load(Ordering::SeqCst) > 1);
}

#[tokio::test]
async fn what_will_not_pass_is_said_at_once() {
    let rig = Rig::new();
    let locked = rig.waiting(Patience::ForTheNetwork).open_with("sqlite:x.db", true, || Err(away())).await;
    assert!(format!("{:#}", locked.map(drop).unwrap_err()).contains("cannot open the database"));
    let broken = || bail!("no such kind of database");
    let refused = rig.waiting(Patience::ForAnyone).open_with("x", false, broken).await;
    assert_eq!(refused.map(drop).unwrap_err().to_string(), "no such kind of database");
    let newer = || Err(StoreError::FromTheFuture { found: 2, known: 1 }).context("cannot open");
    assert!(rig.waiting(Patience::ForAnyone).open_with("x", false, newer).await.is_err());
}

#[tokio::test]
async fn a_file_that_is_about_to_be_let_go_of_is_waited_for() {
    let rig = Rig::new();
    let other = rig.store().unwrap();
    let waiting = rig.waiting(Patience::ForAnyone);
    let tried = AtomicUsize::new(0);
    let opening = waiting.open_with("sqlite:x.db", true, || {
        tried.fetch_add(1, Ordering::SeqCst);
        rig.store()
    });
    let letting_go = async {
        while tried.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        other.close().await;
    };
    let (opened, ()) = tokio::join!(opening, letting_go);
    opened.unwrap().close().await;
}
