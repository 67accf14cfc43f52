//! The tools in ordinary use.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use model::{AgentId, SessionKey, Timestamp};
use serde_json::{Value, json};
use tools::testkit::Bench;
use tools::{CheckedTool, Registry, SearchHit, ToolError};

async fn call(bench: &Bench, name: &str, arguments: Value) -> Result<String, ToolError> {
    let tool = Registry::built_in().get(name).cloned().expect(name);
    let checked = CheckedTool::new(tool).unwrap();
    checked.call(&bench.context(), &arguments.to_string()).await.map(|output| output.text)
}

fn put(bench: &Bench, path: &str, content: impl AsRef<[u8]>) {
    let path = bench.workspace().join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

#[tokio::test]
async fn a_written_file_can_be_read_and_listed_and_replaced() {
    let bench = Bench::new();
    let written = call(&bench, "write_file", json!({"path": "notes/a.md", "content": "one\ntwo\n"})).await;
    assert_eq!(written.as_deref(), Ok("created `notes/a.md` with 8 bytes"));
    assert_eq!(call(&bench, "read_file", json!({"path": "notes//./a.md"})).await.as_deref(), Ok("one\ntwo\n"));
    let again = call(&bench, "write_file", json!({"path": "notes/a.md", "content": "three"})).await;
    assert_eq!(again.as_deref(), Ok("replaced `notes/a.md`, now 5 bytes"));
    assert_eq!(std::fs::read_to_string(bench.workspace().join("notes/a.md")).unwrap(), "three");
    let listed = call(&bench, "list_files", json!({"depth": 2})).await;
    assert_eq!(listed.as_deref(), Ok("folder  notes/\nfile    notes/a.md  5 bytes\n"));
}

#[tokio::test]
async fn a_rewrite_keeps_permissions_and_respects_write_protection() {
    let bench = Bench::new();
    put(&bench, "run.sh", "old");
    let file = bench.workspace().join("run.sh");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o750)).unwrap();
    call(&bench, "write_file", json!({"path": "run.sh", "content": "new"})).await.unwrap();
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o750);

    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o440)).unwrap();
    let refused = call(&bench, "write_file", json!({"path": "run.sh", "content": "newer"})).await;
    assert_eq!(refused, Err(ToolError::Refused(String::from("`run.sh` is write-protected"))));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "new");
}

#[tokio::test]
async fn a_long_file_is_read_in_windows_that_join_without_gap() {
    let bench = Bench::new();
    let lines: Vec<String> = (1..=4500).map(|n| format!("line {n}\n")).collect();
    put(&bench, "long.txt", lines.concat());
    let (mut offset, mut read) = (1, String::new());
    let mut calls = 0;
    loop {
        calls += 1;
        let text = call(&bench, "read_file", json!({"path": "long.txt", "offset": offset})).await.unwrap();
        let Some((lines, note)) = text.rsplit_once('[') else {
            read.push_str(&text);
            break;
        };
        read.push_str(lines);
        offset = note.trim_end_matches(']').rsplit(' ').next().unwrap().parse().unwrap();
    }
    assert_eq!((read, calls), (lines.concat(), 3));
}

#[tokio::test]
async fn windows_are_bounded_in_bytes_and_end_at_lines_and_characters() {
    let bench = Bench::new();
    let line = format!("{}\n", "y".repeat(1000));
    put(&bench, "wide.txt", line.repeat(1000));
    let text = call(&bench, "read_file", json!({"path": "wide.txt"})).await.unwrap();
    assert!(text.ends_with("y\n[lines 1 to 261; the file of 1001000 bytes goes on: use offset 262]"), "{}", text.len());

    put(&bench, "one-line.txt", format!("x{}\nlast\n", "é".repeat(200_000)));
    let text = call(&bench, "read_file", json!({"path": "one-line.txt"})).await.unwrap();
    assert!(text.ends_with("é\n[line 1 is longer than 256 KiB and cut; go on with offset 2]"), "{}", text.len());
    let rest = call(&bench, "read_file", json!({"path": "one-line.txt", "offset": 2})).await;
    assert_eq!(rest.as_deref(), Ok("last\n"));
}

#[tokio::test]
async fn odd_files_are_told_as_what_they_are() {
    let bench = Bench::new();
    put(&bench, "empty", "");
    put(&bench, "binary", b"\x7fELF\0\0\0");
    put(&bench, "late-binary", [b"text\n".repeat(4000).as_slice(), b"\0"].concat());
    put(&bench, "latin1", b"caf\xe9");
    put(&bench, "no-newline", "a\nb");
    let read = async |path: &str, offset: u64| match call(&bench, "read_file", json!({"path": path, "offset": offset}))
        .await
    {
        Ok(text) => text,
        Err(error) => error.to_string(),
    };
    assert_eq!(read("empty", 1).await, "[`empty` is empty]");
    assert_eq!(read("binary", 1).await, "`binary` is a binary file; only text can be read");
    assert_eq!(read("late-binary", 3000).await, "`late-binary` is a binary file; only text can be read");
    assert_eq!(read("latin1", 1).await, "caf\u{fffd}\n[not UTF-8: what could not be read is shown as \u{fffd}]");
    assert_eq!(read("no-newline", 2).await, "b");
    assert_eq!(read("no-newline", 3).await, "`no-newline` has 2 lines: there is no line 3");
    assert_eq!(read("missing", 1).await, "`missing` does not exist");
    assert_eq!(read("no-newline/x", 1).await, "`no-newline/x` cannot be reached: `no-newline` is not a folder");
}

#[tokio::test]
async fn listings_are_sorted_and_bounded() {
    let bench = Bench::new();
    assert_eq!(call(&bench, "list_files", json!({})).await.as_deref(), Ok("`.` is empty"));
    for n in 0..1100 {
        put(&bench, &format!("f{n:04}"), "");
    }
    put(&bench, "a\nfile    b", "");
    let text = call(&bench, "list_files", json!({})).await.unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 1001);
    assert_eq!(lines[0], "file    a\u{fffd}file    b  0 bytes");
    assert_eq!((lines[1], lines[999]), ("file    f0000  0 bytes", "file    f0998  0 bytes"));
    assert_eq!(lines[1000], "[there are more entries; list a folder inside this one]");
}

#[tokio::test]
async fn listings_go_as_deep_as_asked() {
    let bench = Bench::new();
    put(&bench, "a/b/c/d/e/f/g", "");
    let mut counts = Vec::new();
    for depth in 1..=5 {
        let text = call(&bench, "list_files", json!({"depth": depth, "path": "a"})).await.unwrap();
        counts.push(text.lines().count());
    }
    assert_eq!(counts, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn the_time_is_told_with_weekday_in_any_zone() {
    let bench = Bench::new();
    assert_eq!(call(&bench, "current_time", json!({})).await.as_deref(), Ok("2026-05-04T10:00:00+00:00, Monday, UTC"));
    let berlin = call(&bench, "current_time", json!({"time_zone": "Europe/Berlin"})).await;
    assert_eq!(berlin.as_deref(), Ok("2026-05-04T12:00:00+02:00, Monday, Europe/Berlin"));
    bench.clock.advance_ms(15 * 3_600_000);
    let tokyo = call(&bench, "current_time", json!({"time_zone": "Asia/Tokyo"})).await;
    assert_eq!(tokyo.as_deref(), Ok("2026-05-05T10:00:00+09:00, Tuesday, Asia/Tokyo"));
}

#[tokio::test]
async fn hits_of_a_search_are_told_best_first() {
    let bench = Bench::new();
    let session = SessionKey::parse("agent:main:dm:ann").unwrap();
    let hit = SearchHit { session, role: "user", snippet: String::from("the roof is red"), at: Timestamp::from_ms(0) };
    bench.search.answer(vec![hit]);
    let text = call(&bench, "search_sessions", json!({"query": " roof "})).await;
    assert_eq!(text.as_deref(), Ok("[1970-01-01T00:00:00.000Z] user in agent:main:dm:ann: the roof is red\n"));
    let none = call(&bench, "search_sessions", json!({"query": "blue", "limit": 3})).await;
    assert_eq!(none.as_deref(), Ok("no message has all the words of `blue`"));
    let asked = vec![(AgentId::main(), String::from("roof"), 10), (AgentId::main(), String::from("blue"), 3)];
    assert_eq!(bench.search.searched(), asked);
}

#[tokio::test]
async fn the_users_answer_is_told_and_waiting_for_it_ends_on_cancel() {
    let bench = Arc::new(Bench::new());
    bench.user.answer("the red one");
    let arguments = json!({"prompt": "Which?", "options": ["red", "blue"]});
    assert_eq!(call(&bench, "ask_user", arguments.clone()).await.as_deref(), Ok("the red one"));
    assert_eq!(bench.user.asked(), [(String::from("Which?"), vec![String::from("red"), String::from("blue")])]);
    bench.user.next_question().await;

    let waiting = tokio::spawn({
        let bench = Arc::clone(&bench);
        async move { call(&bench, "ask_user", arguments).await }
    });
    bench.user.next_question().await;
    bench.cancel.cancel();
    assert_eq!(waiting.await.unwrap(), Err(ToolError::Cancelled));
}

#[tokio::test]
async fn a_cancelled_write_changes_nothing() {
    let bench = Bench::new();
    put(&bench, "a", "old");
    bench.cancel.cancel();
    let result = call(&bench, "write_file", json!({"path": "a", "content": "new"})).await;
    assert_eq!(result, Err(ToolError::Cancelled));
    assert_eq!(std::fs::read_to_string(bench.workspace().join("a")).unwrap(), "old");
}
