//! Nothing that a model writes, and nothing that lies in a workspace, leads out of it.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tools::testkit::Bench;
use tools::testkit::suite::tree;
use tools::workspace::{InsidePath, Workspace};
use tools::{CheckedTool, Registry, ToolError};

const SECRET: &str = "the key under the mat";

/// A workspace with a file, and a secret beside it.
fn guarded() -> Bench {
    let bench = Bench::new();
    fs::create_dir_all(bench.workspace().join("inner")).unwrap();
    fs::write(bench.workspace().join("inner/plain.txt"), "plain").unwrap();
    fs::create_dir(bench.around().join("outside")).unwrap();
    fs::write(bench.around().join("outside/secret.txt"), SECRET).unwrap();
    fs::write(bench.around().join("outside/marker"), "").unwrap();
    bench
}

async fn call(bench: &Bench, name: &str, arguments: Value) -> Result<String, ToolError> {
    let checked = CheckedTool::new(Registry::built_in().get(name).cloned().unwrap()).unwrap();
    checked.call(&bench.context(), &arguments.to_string()).await.map(|output| output.text)
}

fn outside(bench: &Bench) -> Vec<(std::path::PathBuf, u64)> {
    tree(&bench.around().join("outside"))
}

#[tokio::test]
async fn no_spelling_of_a_path_leads_out() {
    let bench = guarded();
    let secret = bench.around().join("outside/secret.txt");
    let secret = secret.to_str().unwrap();
    let workspace = bench.workspace();
    let mut spellings: Vec<String> = [
        "../outside/secret.txt",
        "./../outside/secret.txt",
        "inner/../../outside/secret.txt",
        "inner/../inner/../../outside/secret.txt",
        "missing/../../outside/secret.txt",
        "inner/plain.txt/../../../outside/secret.txt",
        "..//outside//secret.txt",
        ".//..//outside/secret.txt",
        "inner/./../../outside/secret.txt",
        "../workspace/../outside/secret.txt",
        "..",
        "../",
        ".. ",
        "... /../outside/secret.txt",
        "..\\outside\\secret.txt",
        "inner\\..\\..\\outside\\secret.txt",
        "..%2foutside%2fsecret.txt",
        "%2e%2e/outside/secret.txt",
        "%2e%2e%2foutside%2fsecret.txt",
        "..%c0%afoutside/secret.txt",
        "\u{2024}\u{2024}/outside/secret.txt",
        "\u{ff0e}\u{ff0e}/outside/secret.txt",
        "\u{2025}/outside/secret.txt",
        "..\u{2215}outside\u{2215}secret.txt",
        "..\u{ff0f}outside\u{ff0f}secret.txt",
        ".\u{200b}./outside/secret.txt",
        "\u{202e}/../outside/secret.txt",
        "..\0/outside/secret.txt",
        "inner/plain.txt\0.png",
        "\0",
        "../outside/secret.txt\n",
        "inner/\r../secret.txt",
        "~/secret.txt",
        "~",
        "~root/.ssh/id_ed25519",
        "$HOME/secret.txt",
        "${HOME}/secret.txt",
        "file:///etc/passwd",
        "/etc/passwd",
        "//etc/passwd",
        "/proc/self/environ",
        "/proc/self/cwd/Cargo.toml",
        "/proc/self/root/etc/passwd",
        "proc/self/environ",
        "/dev/zero",
        "/dev/stdin",
        "C:\\Windows\\win.ini",
        "\\\\host\\share\\x",
        "|id",
        "`id`",
        "*",
        "inner/*",
    ]
    .map(String::from)
    .to_vec();
    spellings.push(secret.to_owned());
    spellings.push(format!("/{secret}"));
    spellings.push(format!("{}/../outside/secret.txt", workspace.display()));
    spellings.push("../".repeat(200) + "etc/passwd");
    spellings.push("a/".repeat(33) + "x");
    spellings.push("x".repeat(256));

    let before = outside(&bench);
    for path in &spellings {
        for (tool, arguments) in [
            ("read_file", json!({"path": path})),
            ("list_files", json!({"path": path, "depth": 5})),
            ("write_file", json!({"path": path, "content": "overwritten"})),
        ] {
            let told = match call(&bench, tool, arguments).await {
                Ok(text) => text,
                Err(error) => error.to_string(),
            };
            let leaked = told.contains(SECRET) || told.contains("root:") || told.contains("secret.txt  ");
            assert!(!leaked, "{tool} {path:?}: {told}");
        }
    }
    assert_eq!(outside(&bench), before);
    assert_eq!(fs::read_to_string(secret).unwrap(), SECRET);
    let around: Vec<_> = fs::read_dir(bench.around()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(around.len(), 2, "only the workspace and the folder beside it: {around:?}");
}

#[tokio::test]
async fn links_are_refused_wherever_they_lead() {
    let bench = guarded();
    let workspace = bench.workspace();
    symlink(bench.around().join("outside/secret.txt"), workspace.join("to-file")).unwrap();
    symlink(bench.around().join("outside"), workspace.join("to-folder")).unwrap();
    symlink("../outside", workspace.join("relative")).unwrap();
    symlink("inner", workspace.join("to-inner")).unwrap();
    symlink("loop", workspace.join("loop")).unwrap();
    symlink("nowhere", workspace.join("dangling")).unwrap();
    symlink("/proc/self", workspace.join("proc")).unwrap();
    symlink("/dev/zero", workspace.join("zero")).unwrap();
    let before = (outside(&bench), tree(&workspace));

    for path in [
        "to-file",
        "to-folder/secret.txt",
        "relative/secret.txt",
        "to-inner/plain.txt",
        "loop",
        "loop/x",
        "dangling",
        "dangling/x",
        "proc/environ",
        "zero",
        "inner/../to-file",
        "to-folder/new/deep.txt",
    ] {
        for (tool, arguments) in
            [("read_file", json!({"path": path})), ("write_file", json!({"path": path, "content": "x"}))]
        {
            let result = call(&bench, tool, arguments).await;
            assert!(matches!(result, Err(ToolError::Refused(_))), "{tool} {path}: {result:?}");
        }
    }
    for path in ["to-folder", "relative", "to-inner", "proc", "loop", "to-file"] {
        let result = call(&bench, "list_files", json!({"path": path})).await;
        assert!(matches!(result, Err(ToolError::Refused(_))), "list_files {path}: {result:?}");
    }
    assert_eq!((outside(&bench), tree(&workspace)), before);

    let listing = call(&bench, "list_files", json!({"depth": 5})).await.unwrap();
    assert!(listing.contains("link    to-folder  not followed\n") && !listing.contains("secret"), "{listing}");
}

#[tokio::test]
async fn the_workspace_itself_may_be_a_link_of_its_owner() {
    let bench = Bench::new();
    fs::create_dir(bench.around().join("elsewhere")).unwrap();
    symlink(bench.around().join("elsewhere"), bench.workspace()).unwrap();
    call(&bench, "write_file", json!({"path": "a", "content": "x"})).await.unwrap();
    assert_eq!(fs::read_to_string(bench.around().join("elsewhere/a")).unwrap(), "x");
}

#[tokio::test]
async fn pipes_sockets_and_folders_are_not_opened_as_files() {
    let bench = guarded();
    let workspace = bench.workspace();
    let folder = rustix::fs::open(&workspace, rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::empty()).unwrap();
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(&folder, "pipe", fifo, rustix::fs::Mode::from_raw_mode(0o600), 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(workspace.join("socket")).unwrap();
    for (path, what) in [("pipe", "a pipe"), ("socket", "a socket"), ("inner", "a folder")] {
        let refused = Err(ToolError::Refused(format!("`{path}` is {what}, not a regular file")));
        assert_eq!(call(&bench, "read_file", json!({"path": path})).await, refused);
        assert_eq!(call(&bench, "write_file", json!({"path": path, "content": "x"})).await, refused);
    }
    let listing = call(&bench, "list_files", json!({})).await.unwrap();
    assert!(listing.contains("other   pipe\nother   socket\n"), "{listing}");
}

#[tokio::test]
async fn a_huge_sparse_file_costs_no_memory_and_a_bounded_scan() {
    let bench = guarded();
    let file = fs::File::create(bench.workspace().join("huge")).unwrap();
    std::io::Write::write_all(&mut &file, "text ".repeat(4000).as_bytes()).unwrap();
    file.set_len(1 << 40).unwrap();
    let read = call(&bench, "read_file", json!({"path": "huge"})).await;
    assert_eq!(read, Err(ToolError::Refused(String::from("`huge` is a binary file; only text can be read"))));
    let far = call(&bench, "read_file", json!({"path": "huge", "offset": 9})).await;
    assert_eq!(far, Err(ToolError::Failed(String::from("line 9 of `huge` lies further than 64 MiB into the file"))));
}

/// While one thread swaps a folder (and a file) for a link to the outside and back, reads, listings
/// and writes go on through it: whatever they answer, the secret is never in it and the outside
/// never changes.
#[test]
fn a_name_swapped_for_a_link_in_a_race_never_leads_out() {
    let bench = guarded();
    let workspace = bench.workspace();
    fs::create_dir(workspace.join("real")).unwrap();
    fs::write(workspace.join("real/secret.txt"), "harmless").unwrap();
    fs::write(workspace.join("file"), "harmless").unwrap();
    symlink(bench.around().join("outside"), workspace.join("real.link")).unwrap();
    symlink(bench.around().join("outside/secret.txt"), workspace.join("file.link")).unwrap();
    let before = outside(&bench);
    let is_over = Arc::new(AtomicBool::new(false));
    let swapper = std::thread::spawn({
        let is_over = Arc::clone(&is_over);
        move || {
            while !is_over.load(Ordering::Relaxed) {
                exchange(&workspace, "real", "real.link");
                exchange(&workspace, "file", "file.link");
            }
        }
    });
    let opened = Workspace::open(&bench.workspace()).unwrap();
    let never = CancellationToken::new();
    let path = |text: &str| InsidePath::parse(text).unwrap();
    let (mut worked, mut refused) = (0_u32, 0_u32);
    for round in 0..30_000 {
        let read = |text: &str| opened.file(&path(text)).map(|(file, _)| std::io::read_to_string(file).unwrap());
        let results = [
            read("real/secret.txt"),
            read("file"),
            opened.folder(&path("real")).map(|folder| names(&folder)),
            if round % 20 == 0 {
                opened.write(&path("real/new"), b"x", &never).map(|_| String::new())
            } else {
                Ok(String::new())
            },
        ];
        for result in results {
            match result {
                Ok(text) => {
                    assert!(!text.contains(SECRET) && !text.contains("marker"), "{text}");
                    worked += u32::from(text == "harmless");
                }
                Err(ToolError::Refused(_) | ToolError::Failed(_)) => refused += 1,
                Err(other) => panic!("{other:?}"),
            }
        }
    }
    is_over.store(true, Ordering::Relaxed);
    swapper.join().unwrap();
    assert_eq!(outside(&bench), before);
    assert!(worked > 100 && refused > 100, "the race took place: {worked} {refused}");
}

/// Both names exist at every moment; only what they are changes.
fn exchange(workspace: &Path, one: &str, other: &str) {
    let flags = rustix::fs::RenameFlags::EXCHANGE;
    rustix::fs::renameat_with(rustix::fs::CWD, workspace.join(one), rustix::fs::CWD, workspace.join(other), flags)
        .unwrap();
}

fn names(folder: &std::os::fd::OwnedFd) -> String {
    let entries = rustix::fs::Dir::read_from(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

proptest! {
    #[test]
    fn an_accepted_path_is_a_list_of_plain_names(text in "[a./~\\\\\u{0}\n é-]{0,40}") {
        if let Ok(path) = InsidePath::parse(&text) {
            for name in path.names() {
                prop_assert!(!name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0', '\\']));
            }
            prop_assert_eq!(InsidePath::parse(&path.to_string()), Ok(path));
        }
    }
}
