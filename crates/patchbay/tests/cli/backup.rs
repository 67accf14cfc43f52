//! Backups of a gateway that works, and what is there after they were restored.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::{Value, json};

use super::socket::{PATIENCE, Socket};
use super::support::{Gateway, Home};
use super::upstream::{Answer, Upstream};

const SESSIONS: usize = 4;
/// Messages of a load that backups are taken under.
const MESSAGES: usize = 300;

fn connect(home: &Path, gateway: &Gateway) -> Socket {
    Socket::connect(&gateway.url, std::fs::read_to_string(home.join("admin.token")).unwrap().trim())
}

fn key(number: usize) -> String {
    format!("agent:main:dm:user{}", number % SESSIONS)
}

fn history(socket: &mut Socket, key: &str) -> Vec<Value> {
    let answer = socket.call("session.history", json!({ "session_key": key, "limit": 1000 }));
    answer["messages"].as_array().unwrap().clone()
}

/// A home beside others, which the test fills by itself.
fn fresh(folder: &tempfile::TempDir) -> Home {
    Home::new_at(folder.path().join("fresh"))
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}: it does not come");
        std::thread::yield_now();
    }
}

#[test]
fn a_gateway_that_works_is_backed_up_and_goes_on_elsewhere() {
    let answers = std::iter::once(Answer::Hang(&["Half "]));
    let upstream = Upstream::start(answers.chain((0..2 * MESSAGES).map(|_| Answer::Text(&["and ", "whole."]))));
    let home = Home::with(&format!(
        "# kept by hand\n[providers.up]\nkind = \"openai\"\nbase_url = \"http://127.0.0.1:{}/v1\" # here\nmodels = \
         [\"m\"]\ndiscover = false\n[models]\ndefault = \"up/m\"\n[limits]\nsession_queue = 1000\n",
        upstream.port
    ));
    let gateway = home.serve();
    let secret = home.run(&["token", "create", "ci", "--scope", "read"]).ok().out.trim().to_owned();
    std::fs::create_dir_all(home.path().join("agents/main/notes")).unwrap();
    home.write("agents/main/notes/a.txt", "a note");
    std::fs::write(home.path().join("agents/main/run.sh"), "#!/bin/sh\n").unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(home.path().join("agents/main/run.sh"), executable).unwrap();

    // A run that hangs in the middle of its answer, then many that do not.
    let mut socket = connect(home.path(), &gateway);
    let unfinished = json!({ "message": "unfinished", "session_key": "agent:main:dm:slow" });
    let slow = socket.call("agent.run", unfinished)["run_id"].as_str().unwrap().to_owned();
    wait_until("the call of the first run", || upstream.conversations().len() == 1);
    let sent = Arc::new(AtomicUsize::new(0));
    let is_done = Arc::new(AtomicBool::new(false));
    let load = std::thread::spawn({
        let (sent, is_done) = (Arc::clone(&sent), Arc::clone(&is_done));
        move || {
            for number in 0..MESSAGES {
                let params = json!({ "message": format!("message {number}"), "session_key": key(number) });
                socket.call("agent.run", params);
                sent.fetch_add(1, Ordering::SeqCst);
            }
            is_done.store(true, Ordering::SeqCst);
            socket
        }
    });
    wait_until("the load", || sent.load(Ordering::SeqCst) > 20);
    let middle = home.path().join("middle.tar.gz");
    let made = home.run(&["backup", middle.to_str().unwrap(), "--json"]).ok().json();
    let under_load = !is_done.load(Ordering::SeqCst);
    let mut socket = load.join().unwrap();
    assert!(made["rows"]["messages"].as_u64().unwrap() >= 20, "{made}");

    // Everything but the one that hangs ends; then nothing changes any more.
    wait_until("the end of all runs", || {
        (0..SESSIONS).all(|number| history(&mut socket, &key(number)).len() == 2 * MESSAGES / SESSIONS)
    });
    let made = home.run(&["backup", "--json"]).ok().json();
    let file = PathBuf::from(made["file"].as_str().unwrap());
    assert!(file.starts_with(home.path().join("backups")), "{made}");
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&file).unwrap()) & 0o777;
    assert_eq!(mode, 0o600);
    let last = made["rows"]["events"].as_u64().unwrap();
    let before = everything(&mut socket);
    let log = connect(home.path(), &gateway).log(last);
    let status = connect(home.path(), &gateway).call("cluster.status", json!({}));
    drop(gateway);

    let folder = tempfile::tempdir().unwrap();
    let restored = fresh(&folder);
    let told = restored.run(&["restore", file.to_str().unwrap(), "--json"]).ok().json();
    assert_eq!((&told["rows"], &told["files"], &told["aside"]), (&made["rows"], &made["files"], &Value::Null));
    assert_eq!(restored.read("config.toml"), home.read("config.toml"));
    assert_eq!(restored.read("admin.token"), home.read("admin.token"));
    assert_eq!(restored.read("agents/main/notes/a.txt"), "a note");
    let script = std::fs::metadata(restored.path().join("agents/main/run.sh")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&script) & 0o777, 0o755);
    assert!(!restored.path().join("node.id").exists(), "a restored home is another node");
    assert!(!restored.path().join("restore.partial").exists());
    let gateway = restored.serve();
    let mut socket = connect(restored.path(), &gateway);
    assert_eq!(everything(&mut socket), before);
    assert_eq!(connect(restored.path(), &gateway).log(last), log);
    let again = socket.call("cluster.status", json!({}));
    assert_eq!(again["cluster_id"], status["cluster_id"]);
    Socket::connect(&gateway.url, &secret).call("sessions.list", json!({}));
    // The run that was cut off goes on to its end.
    wait_until("the end of the unfinished run", || {
        let said = history(&mut socket, "agent:main:dm:slow");
        said.last().is_some_and(|message| message["content"] == "and whole.")
    });
    let said = history(&mut socket, "agent:main:dm:slow");
    assert_eq!((said.len(), &said[0]["content"]), (2, &json!("unfinished")), "{slow}: {said:?}");
    gateway.stop();

    // The one that was made in the middle holds the beginning of each session, without a gap.
    assert!(under_load, "the load was over before the backup was; raise MESSAGES");
    let other = tempfile::tempdir().unwrap();
    let restored = fresh(&other);
    restored.run(&["restore", middle.to_str().unwrap(), "--new-cluster"]).ok();
    let gateway = restored.serve();
    let mut socket = connect(restored.path(), &gateway);
    for session in 0..SESSIONS {
        let said = history(&mut socket, &key(session));
        let users: Vec<&Value> =
            said.iter().filter(|message| message["role"] == "user").map(|message| &message["content"]).collect();
        let expected: Vec<Value> =
            (0..users.len()).map(|turn| json!(format!("message {}", turn * SESSIONS + session))).collect();
        assert!(!users.is_empty() && users.iter().copied().eq(&expected), "{users:?}");
    }
    let other = socket.call("cluster.status", json!({}));
    assert_ne!(other["cluster_id"], status["cluster_id"]);
    gateway.stop();
}

/// What must be the same on both sides; the session whose run is under way is left out.
fn everything(socket: &mut Socket) -> Value {
    let histories: Vec<Value> = (0..SESSIONS).map(|number| json!(history(socket, &key(number)))).collect();
    let mut sessions = socket.call("sessions.list", json!({ "limit": 100 }))["sessions"].clone();
    let sessions = sessions.as_array_mut().unwrap();
    sessions.retain(|session| !session.to_string().contains("slow"));
    assert_eq!(sessions.len(), SESSIONS);
    let tokens = socket.call("token.list", json!({}));
    json!({ "histories": histories, "sessions": sessions, "tokens": tokens })
}

/// A home with a database and a few files, and a backup of it.
pub fn small() -> (Home, PathBuf) {
    let home = Home::with("# a comment\n[log]\nlevel = \"warn\"\n");
    home.serve().stop();
    let file = home.path().join("backups").join("small.tar.gz");
    let made = home.run(&["backup", file.to_str().unwrap()]).ok();
    assert!(made.out.contains("small.tar.gz: "), "{made:?}");
    (home, file)
}

#[test]
fn a_home_that_holds_data_or_has_a_gateway_is_left_alone_unless_it_is_to_be_replaced() {
    let (home, file) = small();
    let file = file.to_str().unwrap();
    let refused = home.run(&["backup", file]).fails(1);
    assert!(refused.err.contains("is there already"), "{refused:?}");
    let refused = home.run(&["restore", file]).fails(1);
    assert!(refused.err.contains("holds data already") && refused.err.contains("--replace"), "{refused:?}");

    let gateway = home.serve();
    let refused = home.run(&["restore", file, "--replace"]).fails(1);
    assert!(refused.err.contains("a gateway runs on"), "{refused:?}");
    home.run(&["token", "create", "late", "--scope", "read"]).ok();
    gateway.stop();

    std::fs::create_dir_all(home.path().join("agents/main")).unwrap();
    home.write("agents/main/late.txt", "late");
    let node = home.read("node.id");
    let told = home.run(&["restore", file, "--replace", "--json"]).ok().json();
    let aside = PathBuf::from(told["aside"].as_str().unwrap());
    assert_eq!(std::fs::read_to_string(aside.join("agents/main/late.txt")).unwrap(), "late");
    assert!(aside.join("patchbay.db").is_file() && aside.join("config.toml").is_file());
    assert!(!home.path().join("agents/main/late.txt").exists());
    assert_eq!(home.read("node.id"), node);
    let gateway = home.serve();
    let tokens = home.run(&["token", "list"]).ok();
    assert!(!tokens.out.contains("late"), "{tokens:?}");
    gateway.stop();
}

#[test]
fn a_home_after_its_first_start_by_hand_is_empty_enough() {
    let (_home, file) = small();
    let folder = tempfile::tempdir().unwrap();
    let restored = fresh(&folder);
    std::fs::create_dir_all(restored.path().join("agents")).unwrap();
    std::fs::create_dir_all(restored.path().join("models/m")).unwrap();
    std::fs::write(restored.path().join("models/m/weights"), "weights").unwrap();
    restored.run(&["restore", file.to_str().unwrap()]).ok();
    assert_eq!(std::fs::read_to_string(restored.path().join("models/m/weights")).unwrap(), "weights");
    restored.serve().stop();
}

#[test]
fn the_database_may_go_elsewhere_and_the_configuration_knows() {
    let (home, file) = small();
    let folder = tempfile::tempdir().unwrap();
    let restored = fresh(&folder);
    let elsewhere = folder.path().join("data/other.db");
    let url = format!("sqlite:{}", elsewhere.display());
    restored.run(&["restore", file.to_str().unwrap(), "--store", &url]).ok();
    assert!(elsewhere.is_file() && !restored.path().join("patchbay.db").exists());
    let config = restored.read("config.toml");
    assert!(config.contains("# a comment") && config.contains(&url), "{config}");
    restored.serve().stop();

    // What is at that place is nobody's to remove.
    let other = tempfile::tempdir().unwrap();
    let refused = fresh(&other).run(&["restore", file.to_str().unwrap(), "--store", &url]).fails(1);
    assert!(refused.err.contains("name another database with --store"), "{refused:?}");
    let entries: Vec<_> = std::fs::read_dir(other.path()).unwrap().collect();
    assert!(entries.is_empty(), "{entries:?}");
    home.run(&["restore", file.to_str().unwrap(), "--store", "mysql:x"]).fails(1);
}

#[test]
fn without_a_database_there_is_nothing_to_back_up() {
    let home = Home::new();
    let refused = home.run(&["backup"]).fails(1);
    assert!(refused.err.contains("there is no database at"), "{refused:?}");
    let left: Vec<_> = std::fs::read_dir(home.path().join("backups")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}
