//! The account that a server runs under: PostgreSQL refuses to run as root.

use std::path::Path;
use std::process::Command;

/// User and group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    uid: u32,
    gid: u32,
}

impl Account {
    /// `postgres`, else `nobody`, when we are root; `None` otherwise: then our own will do.
    pub fn for_servers() -> Option<Account> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let accounts = std::fs::read_to_string("/etc/passwd").expect("/etc/passwd can be read");
        let found = ["postgres", "nobody"].into_iter().find_map(|name| find(&accounts, name));
        Some(found.expect("there is a user `postgres` or `nobody`; a server cannot run as root"))
    }

    /// Gives the folder, and all that is in it, to the account.
    pub fn own(self, path: &Path) {
        let changed = std::os::unix::fs::lchown(path, Some(self.uid), Some(self.gid));
        changed.unwrap_or_else(|error| panic!("{} cannot be given to another account: {error}", path.display()));
        if path.is_dir() {
            for entry in std::fs::read_dir(path).expect("our own folder can be listed") {
                self.own(&entry.expect("our own folder can be listed").path());
            }
        }
    }
}

/// A line of `/etc/passwd` is `name:password:uid:gid:…`.
fn find(accounts: &str, name: &str) -> Option<Account> {
    let line = accounts.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some(Account { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
}

/// `program` under the account; it is sent `farewell`, such as `KILL`, when the thread that starts it ends.
pub fn command(program: &Path, account: Option<Account>, farewell: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", farewell]);
    if let Some(Account { uid, gid }) = account {
        command.args([format!("--reuid={uid}"), format!("--regid={gid}"), String::from("--clear-groups")]);
    }
    command.arg("--").arg(program);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let accounts = "postgres2:x:5:6::/:/bin/sh\npostgres:x:103:104:PostgreSQL:/var/lib:/bin/bash\n";
        assert_eq!(find(accounts, "postgres"), Some(Account { uid: 103, gid: 104 }));
        assert_eq!(find(accounts, "post"), None);
    }
}
