//! The servers start, end, come back with their data, and do not outlive the test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use testservers::{Nats, NatsOptions, Postgres, PostgresOptions};

#[test]
fn a_database_server_keeps_its_data_over_a_stop_and_a_crash() {
    let server = Postgres::start(PostgresOptions { durable: true, ..PostgresOptions::default() });
    assert_eq!(server.sql("postgres", "SHOW fsync"), "on");
    let url = server.fresh_database();
    let name = url.rsplit('/').next().expect("an address ends in a database").to_owned();
    server.sql(&name, "CREATE TABLE kept (x int); INSERT INTO kept VALUES (1)");
    let port = server.port();
    server.stop();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "it is gone");
    server.start_again();
    server.sql(&name, "INSERT INTO kept VALUES (2)");
    server.kill();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "it is gone");
    server.start_again();
    assert_eq!((server.port(), server.sql(&name, "SELECT x FROM kept ORDER BY x")), (port, String::from("1\n2")));
    assert!(server.log().contains("ready to accept connections"), "{}", server.log());
}

#[test]
fn tests_of_one_process_share_a_server_and_have_databases_of_their_own() {
    let (first, second) = (Postgres::shared().fresh_database(), Postgres::shared().fresh_database());
    assert_ne!(first, second);
    assert_eq!(Postgres::shared().sql("postgres", "SHOW fsync"), "off");
}

#[test]
fn a_message_server_answers_and_comes_back() {
    let server = Nats::start(NatsOptions { jetstream: true });
    for end in [Nats::stop, Nats::kill] {
        let mut greeting = String::new();
        let socket = TcpStream::connect(("127.0.0.1", server.port())).expect("it listens");
        BufReader::new(socket).read_line(&mut greeting).expect("it greets");
        assert!(greeting.starts_with("INFO ") && greeting.contains("\"jetstream\":true"), "{greeting}");
        end(&server);
        assert!(TcpStream::connect(("127.0.0.1", server.port())).is_err(), "it is gone");
        server.start_again();
    }
    assert_eq!(server.url(), format!("nats://127.0.0.1:{}", server.port()));
}

/// Not a test of its own: the process that the one below kills.
#[test]
#[ignore = "started by the test that kills it"]
fn child() {
    let postgres = Postgres::start(PostgresOptions::default());
    let nats = Nats::start(NatsOptions::default());
    println!("ports {} {} {}", postgres.port(), nats.port(), postgres.socket_folder());
    std::io::stdout().flush().expect("the pipe is open");
    // Until the kill: the pipe ends with the parent, should that die first.
    let _ = std::io::stdin().read(&mut [0]);
}

#[test]
fn no_server_outlives_a_test_that_is_killed() {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["child", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let ports = lines.map_while(Result::ok).find_map(|line| {
        let (_, ports) = line.split_once("ports ")?;
        let mut words = ports.split_whitespace();
        let ports: [u16; 2] = [words.next()?.parse().ok()?, words.next()?.parse().ok()?];
        Some((ports, std::path::PathBuf::from(words.next()?)))
    });
    let (ports, folder) = ports.expect("both servers came up");
    assert!(folder.exists());
    child.kill().expect("kills");
    child.wait().expect("ends");
    let begun = Instant::now();
    for port in ports {
        while TcpStream::connect(("127.0.0.1", port)).is_ok() {
            assert!(begun.elapsed() < Duration::from_secs(60), "the server on {port} is still there");
            std::thread::yield_now();
        }
    }
    while folder.exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{} is still there", folder.display());
        std::thread::yield_now();
    }
}
