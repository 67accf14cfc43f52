//! Opening a database: what works, and what is said when it does not.

mod support;

use std::process::Command;
use std::sync::Arc;

use model::Cursor;
use store::{Store, StoreError};
use store_postgres::{PostgresOptions, PostgresStore};
use support::{open, put, whole_units};
use testservers::{Postgres, free_port};

fn refused(url: &str) -> StoreError {
    let error = PostgresStore::open(url, PostgresOptions::default()).expect_err("refused");
    let text = format!("{error} {error:?}");
    assert!(!text.contains("password of tests") && !text.contains("secret"), "the password is told: {text}");
    error
}

/// The error is one that does not pass, and says all of `words`.
fn assert_never(error: &StoreError, words: &[&str]) {
    let text = error.to_string();
    assert!(matches!(error, StoreError::Refused(_)) && !error.is_passing(), "{error:?}");
    assert!(words.iter().all(|word| text.contains(word)), "{text}");
}

fn database_of(url: &str) -> &str {
    url.rsplit('/').next().expect("an address ends in a database")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_start_at_once_make_the_schema_once() {
    let url = Postgres::shared().fresh_database();
    assert_eq!(PostgresStore::check(&url, PostgresOptions::default()).expect("can be used"), 0);
    let starting: Vec<_> = (0..6)
        .map(|_| {
            let url = url.clone();
            std::thread::spawn(move || PostgresStore::open(&url, PostgresOptions::default()))
        })
        .collect();
    let stores: Vec<Arc<dyn Store>> = starting
        .into_iter()
        .map(|store| Arc::new(store.join().expect("no panic").expect("opens")) as Arc<dyn Store>)
        .collect();
    for (number, store) in stores.iter().enumerate() {
        assert_eq!(put(store, &number.to_string()).await.expect("writes"), Cursor(number as u64 + 1));
    }
    assert_eq!(whole_units(&stores[0]).await.len(), 6);
    let version = PostgresStore::check(&url, PostgresOptions::default()).expect("can be used");
    assert_eq!(version, store_postgres::newest_version());
}

#[tokio::test]
async fn a_store_says_where_it_is_without_its_password() {
    let server = Postgres::shared();
    let url = server.fresh_database();
    let shown = format!("postgres://postgres@127.0.0.1:{}/{}", server.port(), database_of(&url));
    assert_eq!(PostgresStore::shown(&url).as_deref(), Some(shown.as_str()));
    let store = open(&url);
    assert_eq!((store.describe(), store.is_shared()), (shown, true));
}

#[tokio::test]
async fn a_socket_of_this_machine_is_as_good() {
    let server = Postgres::shared();
    let database = database_of(&server.fresh_database()).to_owned();
    let (password, folder, port) = (Postgres::password(), server.socket_folder(), server.port());
    let store = open(&format!("postgres://postgres:{password}@/{database}?host={folder}&port={port}"));
    put(&store, "a").await.expect("writes");
    assert_eq!(store.describe(), format!("postgres://postgres@{folder}:{port}/{database}"));
}

#[test]
fn a_wrong_password_a_missing_one_and_a_missing_database_do_not_pass() {
    let server = Postgres::shared();
    let place = format!("127.0.0.1:{}", server.port());
    let error = refused(&format!("postgres://postgres:secret@{place}/postgres"));
    assert_never(&error, &["`postgres`", "password", "ALTER ROLE", &place]);
    let error = refused(&format!("postgres://postgres@{place}/postgres"));
    assert_never(&error, &["asks for a password of the user `postgres`", &place]);
    let error = refused(&server.url_of("nowhere"));
    assert_never(&error, &["no database `nowhere`", "createdb nowhere"]);
    assert_never(&refused("postgres://ann:secret@/x?colour=blue"), &["unknown option `colour`"]);
}

#[test]
fn a_server_that_is_out_of_reach_may_come_back() {
    let port = free_port();
    let error = refused(&format!("postgres://ann:secret@127.0.0.1:{port}/gateway"));
    assert!(matches!(error, StoreError::Unavailable(_)) && error.is_passing(), "{error:?}");
    assert!(
        error.to_string().contains(&format!("postgres://ann@127.0.0.1:{port}/gateway cannot be reached")),
        "{error}"
    );
    let error = refused("postgres://ann:secret@no-such-host.invalid/gateway");
    assert!(error.is_passing(), "{error:?}");
}

#[test]
fn a_full_server_may_have_a_place_later() {
    let settings = vec![("max_connections", String::from("4")), ("superuser_reserved_connections", String::from("0"))];
    let server = Postgres::start(testservers::PostgresOptions { settings, ..Default::default() });
    let url = server.url();
    let held: Vec<_> =
        std::iter::from_fn(|| PostgresStore::open(&url, PostgresOptions::default()).ok()).take(5).collect();
    assert_eq!(held.len(), 4);
    let error = refused(&url);
    assert!(error.is_passing() && error.to_string().contains("too many clients"), "{error}");
}

#[test]
fn a_schema_of_the_future_is_left_alone() {
    let server = Postgres::shared();
    let url = server.fresh_database();
    drop(PostgresStore::open(&url, PostgresOptions::default()).expect("opens"));
    let name = database_of(&url);
    server.sql(name, "INSERT INTO schema_migrations VALUES (99, 'later', 'x')");
    let known = store_postgres::newest_version();
    for error in [refused(&url), PostgresStore::check(&url, PostgresOptions::default()).expect_err("checked too")] {
        assert!(
            matches!(error, StoreError::FromTheFuture { found: 99, known: ours } if ours == known)
                && !error.is_passing(),
            "{error:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_few_rights_are_told_and_those_needed_are_few() {
    let server = Postgres::shared();
    let url = server.fresh_database();
    let (name, role) = (database_of(&url).to_owned(), format!("limited_{}", server.fresh_name()));
    server.sql("postgres", &format!("CREATE ROLE {role} LOGIN PASSWORD 'secret'"));
    let limited = format!("postgres://{role}:secret@127.0.0.1:{}/{name}", server.port());
    assert_never(&refused(&limited), &["permission denied for schema public"]);

    // Once somebody else has made the tables, reading and writing is all that is needed.
    drop(PostgresStore::open(&url, PostgresOptions::default()).expect("opens"));
    let grant = format!("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}");
    server.sql(&name, &grant);
    let store = open(&limited);
    put(&store, "a").await.expect("writes");
    assert_eq!(whole_units(&store).await, ["a"]);
}

/// A key and a certificate for `host`, signed by nobody else, as PEM.
fn certificate(host: &str) -> (Vec<u8>, Vec<u8>) {
    let folder = tempfile::tempdir().expect("a folder");
    let (key, certificate) = (folder.path().join("key.pem"), folder.path().join("certificate.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"])
        .args(["-subj", "/CN=test", "-addext", &format!("subjectAltName=DNS:{host}"), "-addext"])
        .args(["basicConstraints=critical,CA:FALSE", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .expect("`openssl` is there; Debian's package postgresql brings it");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (std::fs::read(key).expect("made"), std::fs::read(certificate).expect("made"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_as_strict_as_the_address_asks() {
    let (key, own) = certificate("localhost");
    let (_, other) = certificate("localhost");
    let folder = tempfile::tempdir().expect("a folder");
    let pem = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).expect("writes");
        path.display().to_string()
    };
    let (trusted, unknown, empty) = (pem("own.pem", &own), pem("other.pem", &other), pem("empty.pem", b""));
    let server = Postgres::start(testservers::PostgresOptions {
        settings: vec![("ssl", String::from("on"))],
        files: vec![("server.key", key), ("server.crt", own)],
        ..Default::default()
    });
    let (password, port, plain) = (Postgres::password(), server.port(), Postgres::shared().url());
    let url = |host: &str, rest: &str| format!("postgres://postgres:{password}@{host}:{port}/postgres?{rest}");
    let is_encrypted = "SELECT count(*) > 0 FROM pg_stat_ssl s JOIN pg_stat_activity USING (pid) \
        WHERE application_name = 'patchbay' AND s.ssl";
    for (host, rest, encrypted) in [
        ("127.0.0.1", String::from("sslmode=disable"), "f"),
        ("127.0.0.1", String::from("sslmode=prefer"), "t"),
        ("127.0.0.1", String::from("sslmode=require"), "t"),
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={trusted}"), "t"),
        ("localhost", format!("sslmode=verify-full&sslrootcert={trusted}"), "t"),
    ] {
        let store = open(&url(host, &rest));
        put(&store, &rest.replace(['/', '.'], "-")).await.expect("writes");
        assert_eq!(server.sql("postgres", is_encrypted), encrypted, "{rest}");
        store.close().await;
    }
    for (host, rest, words) in [
        ("127.0.0.1", format!("sslmode=verify-full&sslrootcert={trusted}"), "TLS"),
        ("localhost", format!("sslmode=verify-full&sslrootcert={unknown}"), "TLS"),
        ("localhost", format!("sslmode=verify-ca&sslrootcert={unknown}"), "TLS"),
        ("localhost", String::from("sslmode=verify-full"), "TLS"),
        ("localhost", format!("sslmode=verify-full&sslrootcert={empty}"), "holds no certificate"),
        ("localhost", String::from("sslmode=verify-full&sslrootcert=/nowhere.pem"), "/nowhere.pem"),
    ] {
        assert_never(&refused(&url(host, &rest)), &[words]);
    }
    assert_never(&refused(&format!("{plain}?sslmode=require")), &["TLS"]);
}
