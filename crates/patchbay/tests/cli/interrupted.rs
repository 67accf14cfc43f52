//! Backups and restores that are cut off: by the person, by the system, by a disk that is full.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::backup::{fresh, small, wait_until};
use super::support::{Home, Run, finish, signal};

/// A file that takes long to pack, and no room.
const LONG_BYTES: u64 = 2 << 30;

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A backup that is in the middle of it.
fn begun(home: &Home, target: &Path) -> Child {
    let mut command = home.command(&["backup", target.join("one.tar.gz").to_str().unwrap()]);
    let child = command.spawn().unwrap();
    let scratch = target.join(format!(".patchbay-backup-{}", child.id())).join("scratch");
    wait_until("the first bytes of the long file", || scratch.metadata().is_ok_and(|scratch| scratch.len() > 100_000));
    child
}

#[test]
fn a_backup_that_is_cut_off_leaves_nothing_or_what_the_next_one_removes() {
    let (home, _) = small();
    std::fs::create_dir_all(home.path().join("media")).unwrap();
    std::fs::File::create(home.path().join("media/long")).unwrap().set_len(LONG_BYTES).unwrap();
    let target = tempfile::tempdir().unwrap();

    let mut killed = begun(&home, target.path());
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(names(target.path()), [format!(".patchbay-backup-{}", killed.id())]);

    for name in ["INT", "TERM"] {
        let stopped = begun(&home, target.path());
        signal(&stopped, name);
        let output = stopped.wait_with_output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains("no backup was made at") && told.contains("it was interrupted"), "{told}");
        assert!(names(target.path()).is_empty(), "{:?}", names(target.path()));
    }
}

/// The program where no file can grow beyond so many bytes: to it that is an error, as on a full disk.
fn on_a_small_disk(home: &Home, bytes: u64, arguments: &[&str]) -> Run {
    let plain = home.command(arguments);
    let mut command = Command::new("prlimit");
    command.arg(format!("--fsize={bytes}")).args(["sh", "-c", "trap '' XFSZ; exec \"$0\" \"$@\""]);
    command.arg(plain.get_program()).args(plain.get_args()).env_clear();
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    finish(command)
}

/// Bytes that do not pack.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

#[test]
fn a_disk_that_is_full_is_told_and_leaves_nothing_behind() {
    let (home, _) = small();
    std::fs::create_dir_all(home.path().join("media")).unwrap();
    let database = std::fs::metadata(home.path().join("patchbay.db")).unwrap().len();
    let large = 2 * database;
    std::fs::write(home.path().join("media/large"), noise(usize::try_from(large).unwrap())).unwrap();
    let target = tempfile::tempdir().unwrap();
    let file = target.path().join("one.tar.gz");
    let file = file.to_str().unwrap();
    // The copy of the database, the copy of the large file, and what both are packed into.
    for limit in [database / 3, database / 2, large / 2 + database / 4, large + 1000] {
        let told = on_a_small_disk(&home, limit, &["backup", file]).fails(1);
        assert!(told.err.contains(&format!("no backup was made at {file}")), "{limit}: {told:?}");
        let folder = target.path().display();
        assert!(told.err.contains(&format!("{folder} takes no more: ")), "{limit}: {told:?}");
        assert!(!told.err.contains("media/large"), "the disk is full, not the file broken: {told:?}");
        assert!(names(target.path()).is_empty(), "{limit}: {:?}", names(target.path()));
    }
    home.run(&["backup", file]).ok();

    let folder = tempfile::tempdir().unwrap();
    let restored = fresh(&folder);
    for limit in [0, database / 2, large / 2 + database / 4] {
        let told = on_a_small_disk(&restored, limit, &["restore", file]).fails(1);
        assert!(told.err.contains(&format!("{} takes no more: ", restored.path().display())), "{limit}: {told:?}");
        assert!(!restored.path().exists(), "{limit}: {told:?}");
    }
    restored.run(&["restore", file]).ok();
}
