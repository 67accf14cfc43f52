//! Backups of gateways whose database is on a server, and restores into one.

use serde_json::{Value, json};
use testservers::Postgres;

use super::backup::{Busy, busy, fresh, small};
use super::support::{Home, Run};

/// Runs the program, which must not show the password.
#[track_caller]
fn run(home: &Home, arguments: &[&str]) -> Run {
    let run = home.run(arguments);
    assert!(!format!("{run:?}").contains(&Postgres::password()), "the password is shown: {run:?}");
    run
}

fn name_of(url: &str) -> &str {
    url.rsplit('/').next().unwrap()
}

/// Restores the last backup into `url`, and compares.
fn goes_on_at(busy: &Busy, file: &str, url: &str) -> (tempfile::TempDir, Home) {
    let folder = tempfile::tempdir().unwrap();
    let restored = fresh(&folder);
    let told = run(&restored, &["restore", file, "--store", url, "--json"]).ok().json();
    assert_eq!(told["aside"], Value::Null);
    assert!(restored.read("config.toml").contains(url) && restored.read("config.toml").contains("# kept by hand"));
    busy.goes_on_in(&restored);
    (folder, restored)
}

#[test]
fn a_gateway_on_a_server_is_backed_up_while_it_works_and_goes_on_on_another_or_on_a_file_and_back() {
    let server = Postgres::shared();
    let (from, to, back) = (server.fresh_database(), server.fresh_database(), server.fresh_database());
    let busy = busy(&format!("[store]\nurl = \"{from}\"\n"));
    assert_eq!(server.sql(name_of(&from), "SELECT count(*) FROM events"), busy.made["rows"]["events"].to_string());
    let file = busy.file.to_str().unwrap();
    let (_kept, _) = goes_on_at(&busy, file, &to);

    // From the server into a file, and from there to a server again.
    let (_kept, in_a_file) = goes_on_at(&busy, file, "sqlite:patchbay.db");
    let other = in_a_file.path().join("backups/other.tar.gz");
    let made = run(&in_a_file, &["backup", other.to_str().unwrap(), "--json"]).ok().json();
    let folder = tempfile::tempdir().unwrap();
    let restored = fresh(&folder);
    let told = run(&restored, &["restore", other.to_str().unwrap(), "--store", &back, "--json"]).ok().json();
    assert_eq!((&told["rows"], &told["files"]), (&made["rows"], &made["files"]));
    let shown = format!("postgres://postgres@127.0.0.1:{}/{}", server.port(), name_of(&back));
    assert_eq!(told["database"], json!(shown));
    assert_eq!(server.sql(name_of(&back), "SELECT count(*) FROM messages"), made["rows"]["messages"].to_string());
    assert_eq!(server.sql(name_of(&back), "SELECT count(*) FROM nodes"), "0", "nobody drives the restored runs");
    restored.serve().stop();

    // What was made while messages came is of one moment too.
    let beginning = server.fresh_database();
    let folder = tempfile::tempdir().unwrap();
    let restored = fresh(&folder);
    let middle = busy.middle.to_str().unwrap();
    run(&restored, &["restore", middle, "--store", &beginning, "--new-cluster"]).ok();
    busy.holds_beginnings_in(&restored);
}

#[test]
fn a_server_that_holds_data_takes_none_and_loses_none() {
    let server = Postgres::shared();
    let url = server.fresh_database();
    let home = Home::with(&format!("[store]\nurl = \"{url}\"\n"));
    home.serve().stop();
    let (_small, file) = small();
    let count = || server.sql(name_of(&url), "SELECT count(*) FROM events, documents, tokens");
    let before = count();
    let folder = tempfile::tempdir().unwrap();
    let restored = fresh(&folder);
    for more in [None, Some("--replace")] {
        let arguments = ["restore", file.to_str().unwrap(), "--store", &url];
        let arguments: Vec<&str> = arguments.into_iter().chain(more).collect();
        let refused = run(&restored, &arguments).fails(1);
        assert!(
            refused.err.contains("holds data already") && refused.err.contains("createdb NEW"),
            "{more:?}: {refused:?}"
        );
        assert!(!restored.path().exists(), "{more:?}: {refused:?}");
    }
    assert_eq!(count(), before);
    // The backup of that gateway names that database itself.
    let own = folder.path().join("own.tar.gz");
    run(&home, &["backup", own.to_str().unwrap()]).ok();
    let refused = run(&restored, &["restore", own.to_str().unwrap()]).fails(1);
    assert!(refused.err.contains("--store") && refused.err.contains("holds data already"), "{refused:?}");
    let refused = run(&restored, &["restore", own.to_str().unwrap(), "--store", "postgres://x:y@/z"]).fails(1);
    assert!(refused.err.contains("--store") && !refused.err.contains(":y@"), "{refused:?}");
}

#[test]
fn a_server_keeps_nothing_of_a_restore_whose_home_could_not_be_put_in_place() {
    let server = Postgres::shared();
    let url = server.fresh_database();
    let (_small, file) = small();
    let folder = tempfile::tempdir().unwrap();
    let home = fresh(&folder);
    std::fs::create_dir(home.path()).unwrap();
    home.write("admin.token", "0123456789abcdef");
    // Where what is there would go.
    home.write("backups", "not a folder");
    run(&home, &["restore", file.to_str().unwrap(), "--replace", "--store", &url]).fails(1);
    assert_eq!(server.sql(name_of(&url), "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), "0");
    assert_eq!(home.read("admin.token"), "0123456789abcdef");
    std::fs::remove_file(home.path().join("backups")).unwrap();
    run(&home, &["restore", file.to_str().unwrap(), "--replace", "--store", &url]).ok();
    home.serve().stop();
}

#[test]
fn a_server_without_a_gateway_s_data_or_out_of_reach_gives_no_backup() {
    let server = Postgres::shared();
    let away = format!("postgres://ann:secret@127.0.0.1:{}/gateway", testservers::free_port());
    for (url, words) in [(server.fresh_database(), "it is empty"), (away, "cannot be reached")] {
        let home = Home::with(&format!("[store]\nurl = \"{url}\"\n"));
        let refused = run(&home, &["backup"]).fails(1);
        assert!(refused.err.contains("no backup was made at") && refused.err.contains(words), "{refused:?}");
        assert!(!refused.err.contains("secret"), "{refused:?}");
        let left: Vec<_> = std::fs::read_dir(home.path().join("backups")).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}
