//! A gateway on PostgreSQL, as its operator meets it.

use testservers::{Postgres, free_port};

use super::support::{Home, Run, finish};

/// A home whose database is at `url`. The password, as operators keep it, comes from the environment.
fn home(url: &str) -> (Home, String) {
    let password = Postgres::password();
    let address = url.replace(&password, "${DATABASE_PASSWORD}");
    (Home::with(&format!("[store]\nurl = \"{address}\"\n")), password)
}

/// Runs the program with the password in its environment; it must never come out again.
#[track_caller]
fn run(home: &Home, password: &str, arguments: &[&str]) -> Run {
    let mut command = home.command(arguments);
    command.env("DATABASE_PASSWORD", password);
    let run = finish(command);
    assert!(!format!("{run:?}").contains(password), "the password is shown: {run:?}");
    run
}

#[test]
fn a_gateway_keeps_what_it_knows_in_the_database_it_is_given() {
    let server = Postgres::shared();
    let url = server.fresh_database();
    let (home, password) = home(&url);
    let name = url.rsplit('/').next().unwrap();
    let found = run(&home, &password, &["doctor", "--json"]);
    assert!(found.out.contains("answers and is empty"), "{found:?}");
    let shown = run(&home, &password, &["config", "show", "--json"]).ok();
    assert!(shown.out.contains("[REDACTED]"), "{shown:?}");

    // The gateway reads the address with its password in place: nothing of the surroundings is needed.
    let whole = Home::with(&format!("[store]\nurl = \"{url}\"\n"));
    for round in 0..2 {
        let gateway = whole.serve();
        let made = whole.run(&["token", "create", &format!("token {round}"), "--scope", "read"]).ok();
        let listed = whole.run(&["token", "list", "--json"]).ok();
        // The first is the operator's, which every node of the database shall know.
        assert_eq!(listed.json().as_array().unwrap().len(), round + 2, "{made:?} {listed:?}");
        gateway.stop();
    }
    assert_eq!(server.sql(name, "SELECT count(*) FROM tokens"), "3");
    assert!(!whole.path().join("patchbay.db").exists());
    let found = run(&home, &password, &["doctor", "--json"]);
    assert!(found.out.contains(&format!("127.0.0.1:{}/{name} answers", server.port())), "{found:?}");
}

#[test]
fn a_database_that_cannot_be_used_is_told_with_what_helps() {
    let server = Postgres::shared();
    let (home, _) = home(&server.url());
    let refused = run(&home, "not-the-password", &["serve", "--listen", "aleph=127.0.0.1:0"]);
    assert!(refused.code != 0 && refused.err.contains("the password of the user `postgres` is wrong"), "{refused:?}");
    let found = run(&home, "not-the-password", &["doctor", "--json"]);
    assert!(found.out.contains("ALTER ROLE") && found.out.contains("correct `url`"), "{found:?}");

    let away = format!("postgres://ann:not-the-password@127.0.0.1:{}/gateway", free_port());
    let home = Home::with(&format!("[store]\nurl = \"{away}\"\n"));
    let found = run(&home, "not-the-password", &["doctor", "--json"]);
    assert!(found.out.contains("cannot be reached") && found.out.contains("see whether the server runs"), "{found:?}");
}

#[test]
fn an_address_that_is_none_is_refused_without_repeating_it() {
    for (url, reason) in [
        ("mysql://ann:not-the-password@db/gateway", "must be `sqlite:PATH` or `postgres://"),
        ("postgres://ann:not-the-password@db/gateway?sslmode=maybe", "sslmode is `maybe`"),
        ("postgres://ann@db/gateway?password=not-the-password", "a password stands before the host"),
    ] {
        let home = Home::with(&format!("[store]\nurl = \"{url}\"\n"));
        let refused = run(&home, "not-the-password", &["config", "check"]);
        let told = format!("{}{}", refused.out, refused.err);
        assert!(refused.code != 0 && told.contains("store.url") && told.contains(reason), "{url}: {refused:?}");
    }
}
