//! Starts beside a gateway that runs, and after one that died.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::thread::JoinHandle;

use serde_json::json;

use crate::support::{Home, Server};
use crate::wire::Talk;

/// A start that would replace somebody.
const REPLACE: [&str; 3] = ["--replace", "--listen", "aleph=127.0.0.1:0"];

fn anew(home: &Home) -> Server {
    Server::start(home.command(&REPLACE))
}

/// A running gateway that is asked for its sockets and has none; what it says after that is up to the test.
fn running<T: Send + 'static>(
    home: &Home,
    schema: u32,
    rest: impl FnOnce(Talk) -> T + Send + 'static,
) -> JoinHandle<T> {
    let listener = UnixListener::bind(home.socket()).unwrap();
    std::thread::spawn(move || {
        let mut talk = Talk::new(listener.accept().unwrap().0);
        assert_eq!(talk.hear().unwrap()["type"], json!("hello"));
        let offer = json!({ "type": "offer", "version": "9.9.9", "pid": 1, "schema": schema, "listeners": [], "from_flags": false });
        talk.say(&offer);
        rest(talk)
    })
}

#[test]
fn a_second_gateway_on_the_same_home_is_told_who_is_there_and_what_to_do() {
    let home = Home::new();
    let server = home.serve();
    let said = home.refused(&["--listen", "aleph=127.0.0.1:0"]);
    let process = format!("(process {})", server.child.id());
    for word in [process.as_str(), "stop it", "patchbay serve --replace"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    server.stop();
}

#[test]
fn replacing_nobody_is_starting() {
    let home = Home::new();
    let mut server = anew(&home);
    assert_eq!(std::fs::metadata(home.socket()).unwrap().permissions().mode() & 0o777, 0o600);
    // Killed, it leaves its socket and its file behind.
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    assert!(home.socket().exists());
    anew(&home).stop();
    assert!(!home.socket().exists());
}

#[test]
fn a_program_that_does_not_know_the_schema_is_refused_before_anything_stops() {
    let home = Home::new();
    let running = running(&home, 9999, |mut talk| talk.hear().unwrap());
    let said = home.refused(&REPLACE);
    for word in ["the database has schema version 9999", "the running gateway goes on"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let answer = running.join().unwrap();
    assert_eq!(answer["type"], json!("failed"), "{answer}");
}

#[test]
fn a_replacement_that_is_given_up_never_serves() {
    for steps in 0..2 {
        let home = Home::new();
        let running = running(&home, 1, move |mut talk| {
            assert_eq!(talk.hear(), Some(json!({ "type": "prepared" })));
            if steps == 1 {
                talk.say(&json!({ "type": "released" }));
                assert_eq!(talk.hear(), Some(json!({ "type": "ready" })));
            }
            talk.say(&json!({ "type": "withdrawn", "reason": "it took too long" }));
            talk.hear().unwrap()
        });
        let said = home.refused(&REPLACE);
        assert!(said.contains("took its offer back: it took too long"), "after {steps} steps: {said}");
        assert_eq!(running.join().unwrap()["type"], json!("failed"));
    }
}

#[test]
fn a_running_gateway_that_dies_in_the_middle_is_replaced_all_the_same() {
    for steps in 0..2 {
        let home = Home::new();
        let running = running(&home, 1, move |mut talk| {
            assert_eq!(talk.hear(), Some(json!({ "type": "prepared" })));
            if steps == 1 {
                talk.say(&json!({ "type": "released" }));
                assert_eq!(talk.hear(), Some(json!({ "type": "ready" })));
            }
        });
        let server = anew(&home);
        running.join().unwrap();
        assert_eq!(home.pid(), server.child.id(), "after {steps} steps");
        server.stop();
    }
}

#[test]
fn a_mistake_in_the_configuration_is_found_before_anything_stops() {
    let home = Home::new();
    let server = home.serve();
    std::fs::write(home.path().join("other.toml"), "[limits]\nno_such_key = 1\n").unwrap();
    let config = home.path().join("other.toml");
    let said = home.refused(&["--replace", "--config", config.to_str().unwrap()]);
    assert!(said.contains("no_such_key"), "{said}");
    assert_eq!(home.pid(), server.child.id());
    server.stop();
}
