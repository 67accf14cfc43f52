//! A fresh database cluster that is made once and copied for each server.
//!
//! Making one takes a second, copying it a tenth of that, and test runners start a process for each test.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::account::{Account, command};

/// The password of the user `postgres` in every cluster.
pub const PASSWORD: &str = "the password of tests";

/// Puts a fresh cluster at `to`, for `account` to own.
pub fn copy_to(to: &Path, programs: &Path, account: Option<Account>) {
    let template = template(programs, account);
    copy(&template, to).unwrap_or_else(|error| panic!("{} cannot be copied: {error}", template.display()));
    if let Some(account) = account {
        account.own(to);
    }
}

/// Beside the programs that the tests are built into, one for each version and account.
fn template(programs: &Path, account: Option<Account>) -> PathBuf {
    let program = std::env::current_exe().expect("a test knows its program");
    let build = program.ancestors().nth(2).expect("a test's program stands in target/<profile>/deps");
    let folder = build.join("testservers");
    std::fs::create_dir_all(&folder).expect("the build's folder can be written");
    let version = programs.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
    let owner = if account.is_some() { "server" } else { "own" };
    let template = folder.join(format!("postgres-{version}-{owner}"));
    // Other test processes wait here for the one that makes it.
    let lock = File::create(folder.join("lock")).expect("the build's folder can be written");
    lock.lock().expect("files can be locked");
    if !template.exists() {
        make(&template, programs, account);
    }
    template
}

fn make(template: &Path, programs: &Path, account: Option<Account>) {
    // The account of the server need not see the build's folder.
    let work = tempfile::tempdir().expect("a temporary folder");
    let (data, password) = (work.path().join("data"), work.path().join("password"));
    std::fs::write(&password, PASSWORD).expect("the temporary folder can be written");
    if let Some(account) = account {
        account.own(work.path());
    }
    let made = command(&programs.join("initdb"), account, "KILL")
        .args(["--no-locale", "--encoding=UTF8", "--auth=scram-sha-256", "--username=postgres", "--no-sync"])
        .arg(format!("--pwfile={}", password.display()))
        .arg(&data)
        .output()
        .expect("setpriv is there (Debian's package util-linux)");
    assert!(made.status.success(), "initdb failed: {}", String::from_utf8_lossy(&made.stderr));
    let partial = template.with_extension("partial");
    let _ = std::fs::remove_dir_all(&partial);
    copy(&data, &partial).expect("the build's folder can be written");
    std::fs::rename(&partial, template).expect("the build's folder can be written");
}

/// Copies a tree of folders and files with their permissions.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir(to)?;
    std::fs::set_permissions(to, std::fs::metadata(from)?.permissions())?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
