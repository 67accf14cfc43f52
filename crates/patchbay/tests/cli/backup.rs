//! Backups of a gateway that works, and what is there after they were restored.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::socket::{PATIENCE, Socket};
use super::support::{Gateway, Home};
use super::upstream::{Answer, Upstream};

const SESSIONS: usize = 4;
/// Messages that wait for their turn, at most, while backups are made.
const WAITING_MAX: usize = 8;
/// More than the model is ever asked for.
const ANSWERS: usize = 20_000;
const LOOK: Duration = Duration::from_millis(5);

/// The session of a run that hangs.
const SLOW: &str = "agent:main:dm:slow";

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
pub fn fresh(folder: &tempfile::TempDir) -> Home {
    Home::new_at(folder.path().join("fresh"))
}

pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}: it does not come");
        std::thread::park_timeout(LOOK);
    }
}

/// A gateway that worked while it was backed up, and what it knew at its end.
pub struct Busy {
    pub home: Home,
    /// A backup that was made while messages came.
    pub middle: PathBuf,
    /// One that was made when all runs but one had ended.
    pub file: PathBuf,
    /// What the program said of it.
    pub made: Value,
    pub everything: Value,
    pub log: Vec<Value>,
    pub cluster: Value,
    /// A token of a reader.
    secret: String,
    /// It goes on answering.
    _upstream: Upstream,
}

/// Sends messages to a gateway with this configuration of its database, and makes two backups.
pub fn busy(store: &str) -> Busy {
    let answers = std::iter::once(Answer::Hang(&["Half "]));
    let upstream = Upstream::start(answers.chain((0..ANSWERS).map(|_| Answer::Text(&["and ", "whole."]))));
    let home = Home::with(&format!(
        "# kept by hand\n[providers.up]\nkind = \"openai\"\nbase_url = \"http://127.0.0.1:{}/v1\" # here\nmodels = \
         [\"m\"]\ndiscover = false\n[models]\ndefault = \"up/m\"\n[limits]\nsession_queue = 1000\n{store}",
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
    socket.call("agent.run", json!({ "message": "unfinished", "session_key": SLOW }));
    wait_until("the call of the first run", || upstream.conversations().len() == 1);
    let (sent, is_enough) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let load = std::thread::spawn({
        let (sent, is_enough, calls) = (Arc::clone(&sent), Arc::clone(&is_enough), upstream.counter());
        move || {
            let mut number = 0;
            // Each session gets as many as the others.
            while !is_enough.load(Ordering::SeqCst) || number % SESSIONS != 0 {
                wait_until("room for another message", || number < calls() + WAITING_MAX);
                let params = json!({ "message": format!("message {number}"), "session_key": key(number) });
                socket.call("agent.run", params);
                number += 1;
                sent.store(number, Ordering::SeqCst);
            }
            socket
        }
    });
    let is_sent = |count: usize| sent.load(Ordering::SeqCst) >= count;
    wait_until("the load", || is_sent(20));
    let middle = home.path().join("backups/middle.tar.gz");
    let before = sent.load(Ordering::SeqCst);
    let made = home.run(&["backup", middle.to_str().unwrap(), "--json"]).ok().json();
    assert!(made["rows"]["messages"].as_u64().unwrap() >= 20, "{made}");
    // It did not wait for the backup, nor the backup for it.
    wait_until("further messages", || is_sent(before + WAITING_MAX));
    is_enough.store(true, Ordering::SeqCst);
    let mut socket = load.join().unwrap();
    let messages = sent.load(Ordering::SeqCst);

    // Everything but the one that hangs ends; then nothing changes any more.
    wait_until("the end of all runs", || {
        (0..SESSIONS).all(|number| history(&mut socket, &key(number)).len() == 2 * messages / SESSIONS)
    });
    let made = home.run(&["backup", "--json"]).ok().json();
    let file = PathBuf::from(made["file"].as_str().unwrap());
    assert!(file.starts_with(home.path().join("backups")), "{made}");
    assert_eq!((mode(&file), mode(file.parent().unwrap()) & 0o077), (0o600, mode(home.path().join("backups")) & 0o077));
    let last = made["rows"]["events"].as_u64().unwrap();
    let everything = everything(&mut socket);
    let log = connect(home.path(), &gateway).log(last);
    let cluster = connect(home.path(), &gateway).call("cluster.status", json!({}))["cluster_id"].clone();
    Busy { home, middle, file, made, everything, log, cluster, secret, _upstream: upstream }
}

impl Busy {
    /// A gateway on the restored home knows the same, and ends the run that was cut off.
    pub fn goes_on_in(&self, restored: &Home) {
        let gateway = restored.serve();
        let mut socket = connect(restored.path(), &gateway);
        assert_eq!(everything(&mut socket), self.everything);
        let last = self.made["rows"]["events"].as_u64().unwrap();
        assert_eq!(connect(restored.path(), &gateway).log(last), self.log);
        assert_eq!(socket.call("cluster.status", json!({}))["cluster_id"], self.cluster);
        Socket::connect(&gateway.url, &self.secret).call("sessions.list", json!({}));
        wait_until("the end of the unfinished run", || {
            let said = history(&mut socket, SLOW);
            said.last().is_some_and(|message| message["content"] == "and whole.")
        });
        let said = history(&mut socket, SLOW);
        assert_eq!((said.len(), &said[0]["content"]), (2, &json!("unfinished")), "{said:?}");
        gateway.stop();
    }

    /// The one that was made in the middle holds the beginning of each session, without a gap.
    pub fn holds_beginnings_in(&self, restored: &Home) {
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
        assert_ne!(other["cluster_id"], self.cluster, "it was restored with --new-cluster");
        gateway.stop();
    }
}

fn mode(path: impl AsRef<Path>) -> u32 {
    std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(path).unwrap()) & 0o777
}

#[test]
fn a_gateway_that_works_is_backed_up_and_goes_on_elsewhere() {
    let busy = busy("");
    let folder = tempfile::tempdir().unwrap();
    let restored = fresh(&folder);
    let told = restored.run(&["restore", busy.file.to_str().unwrap(), "--json"]).ok().json();
    assert_eq!((&told["rows"], &told["files"]), (&busy.made["rows"], &busy.made["files"]));
    assert_eq!((&told["aside"], &told["database"]), (&Value::Null, &json!(database_of(&restored))));
    assert_eq!(restored.read("config.toml"), busy.home.read("config.toml"));
    assert_eq!(restored.read("admin.token"), busy.home.read("admin.token"));
    assert_eq!(restored.read("agents/main/notes/a.txt"), "a note");
    assert!(!restored.path().join("node.id").exists(), "a restored home is another node");
    assert!(!restored.path().join("restore.partial").exists());
    let modes = ["", "patchbay.db", "config.toml", "admin.token", "agents", "agents/main/run.sh"]
        .map(|name| format!("{name} {:o}", mode(restored.path().join(name))));
    assert_eq!(
        modes,
        [" 700", "patchbay.db 600", "config.toml 600", "admin.token 600", "agents 700", "agents/main/run.sh 755"]
    );
    busy.goes_on_in(&restored);

    let other = tempfile::tempdir().unwrap();
    let restored = fresh(&other);
    restored.run(&["restore", busy.middle.to_str().unwrap(), "--new-cluster"]).ok();
    busy.holds_beginnings_in(&restored);
}

fn database_of(home: &Home) -> String {
    format!("sqlite:{}", home.path().join("patchbay.db").display())
}

#[test]
fn a_database_in_a_folder_of_the_home_is_in_the_backup_once() {
    let home = Home::with("[store]\nurl = \"sqlite:./data/x.db\"\n");
    std::fs::create_dir(home.path().join("data")).unwrap();
    home.write("data/beside.txt", "beside");
    home.serve().stop();
    let file = home.path().join("backups/one.tar.gz");
    let made = home.run(&["backup", file.to_str().unwrap(), "--json"]).ok().json();
    let folder = tempfile::tempdir().unwrap();
    let restored = fresh(&folder);
    let told = restored.run(&["restore", file.to_str().unwrap(), "--json"]).ok().json();
    assert_eq!((&told["rows"], &told["files"]), (&made["rows"], &made["files"]));
    // The configuration, the token, the other file and the database.
    assert_eq!(made["files"], 4, "{made}");
    assert_eq!(restored.read("data/beside.txt"), "beside");
    restored.serve().stop();
}

#[test]
fn a_configuration_that_is_a_link_is_followed_and_other_links_are_told() {
    let home = Home::new();
    home.serve().stop();
    let elsewhere = tempfile::tempdir().unwrap();
    let config = elsewhere.path().join("kept.toml");
    std::fs::rename(home.path().join("config.toml"), &config).unwrap();
    std::os::unix::fs::symlink(&config, home.path().join("config.toml")).unwrap();
    std::fs::create_dir_all(home.path().join("agents/main")).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", home.path().join("agents/main/link")).unwrap();
    let file = elsewhere.path().join("one.tar.gz");
    let made = home.run(&["backup", file.to_str().unwrap(), "--json"]).ok();
    assert_eq!(made.json()["passed_over"], json!(["agents/main/link"]), "{made:?}");
    assert!(made.err.contains("not in it, because it is no plain file: agents/main/link"), "{made:?}");
    let restored = fresh(&elsewhere);
    restored.run(&["restore", file.to_str().unwrap()]).ok();
    assert_eq!(restored.read("config.toml"), std::fs::read_to_string(&config).unwrap());
    assert!(!restored.path().join("config.toml").is_symlink());
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
    // A file of somebody's is not taken for the lock of a database, which is left behind by whoever looks.
    std::fs::create_dir_all(restored.path().join("agents/main")).unwrap();
    std::fs::write(restored.path().join("agents/main/Cargo.lock"), "kept").unwrap();
    std::fs::write(restored.path().join("patchbay.db.lock"), "1").unwrap();
    let refused = restored.run(&["restore", file.to_str().unwrap()]).fails(1);
    assert!(refused.err.contains("`agents/main/Cargo.lock` for one"), "{refused:?}");
    std::fs::remove_file(restored.path().join("agents/main/Cargo.lock")).unwrap();
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
