//! The home folder, the disk below it, and the clock.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

use model::{Clock, SystemClock, Timestamp};

use super::finding::Finding;
use crate::cli::output::{bytes, time};
use crate::home::Home;

/// Below this a database soon cannot grow.
const DISK_BROKEN: u64 = 100_000_000;
const DISK_WARNING: u64 = 1_000_000_000;
/// 2026-01-01: nothing of this program is older.
const EARLIEST: Timestamp = Timestamp::from_ms(1_767_225_600_000);
/// A file may be this much newer than the clock before the clock is doubted.
const SKEW_MAX_MS: i64 = 300_000;
/// What must be readable for its owner alone.
const PRIVATE: [&str; 4] = ["admin.token", "config.toml", "patchbay.db", "gateway.json"];

pub fn home(home: &Home) -> Vec<Finding> {
    let path = home.path();
    let mode = match fs::metadata(path) {
        Ok(metadata) if !metadata.is_dir() => {
            return vec![
                Finding::broken("home", format_args!("{} is no folder", path.display()))
                    .mend("choose another one with --home"),
            ];
        }
        Ok(metadata) => metadata.permissions().mode() & 0o777,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return vec![Finding::ok(
                "home",
                format_args!("{} is not there yet; the first `patchbay serve` makes it", path.display()),
            )];
        }
        Err(error) => {
            let mend = format!("let this user own it: `sudo chown -R $USER {}`", path.display());
            return vec![Finding::broken("home", format_args!("{}: {error}", path.display())).mend(mend)];
        }
    };
    let mut findings = Vec::new();
    if mode & 0o077 != 0 {
        findings.push(
            Finding::warning("home", format_args!("{} is open to other users (mode {mode:04o})", path.display()))
                .mend(format_args!("`chmod 700 {}`", path.display())),
        );
    }
    if let Err(error) = probe(path) {
        findings.push(
            Finding::broken("home", format_args!("{} cannot be written: {error}", path.display()))
                .mend(format_args!("let this user own it: `sudo chown -R $USER {}`", path.display())),
        );
    }
    findings.extend(PRIVATE.iter().filter_map(|name| private(&path.join(name))));
    findings.extend(token(home));
    if findings.is_empty() {
        findings.push(Finding::ok("home", path.display()));
    }
    findings
}

/// Whether files can be made.
fn probe(folder: &Path) -> io::Result<()> {
    let path = folder.join(format!(".doctor-{}", std::process::id()));
    OpenOptions::new().write(true).create_new(true).open(&path)?;
    fs::remove_file(path)
}

fn private(path: &Path) -> Option<Finding> {
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then(|| {
        Finding::warning("home", format_args!("{} is open to other users (mode {mode:04o})", path.display()))
            .mend(format_args!("`chmod 600 {}`", path.display()))
    })
}

fn token(home: &Home) -> Option<Finding> {
    let path = home.path().join("admin.token");
    if !path.exists() {
        return None;
    }
    let is_usable = home.existing_token().is_some_and(|token| token.expose_secret().len() >= 16);
    (!is_usable).then(|| {
        Finding::broken("home", format_args!("{} holds no token", path.display()))
            .mend("delete it; the next start of the gateway makes a new one")
    })
}

pub fn disk(home: &Path) -> Finding {
    let folder = home.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
    let free = match rustix::fs::statvfs(folder) {
        Ok(space) => space.f_bavail.saturating_mul(space.f_frsize),
        Err(error) => return Finding::warning("disk", format_args!("{}: {error}", folder.display())).mend("see `df`"),
    };
    let what = format!("{} free at {}", bytes(free), folder.display());
    let advice = "free space, or move the home folder with --home";
    if free < DISK_BROKEN {
        Finding::broken("disk", what).mend(advice)
    } else if free < DISK_WARNING {
        Finding::warning("disk", what).mend(advice)
    } else {
        Finding::ok("disk", what)
    }
}

/// A clock that stands in the past lets tokens live too long and expires nothing.
pub fn clock(home: &Home) -> Finding {
    let now = SystemClock.now();
    let advice = "set the clock, best by a time service such as systemd-timesyncd or chrony";
    if now < EARLIEST {
        return Finding::broken("clock", format_args!("it says {}", time(Some(now.as_ms())))).mend(advice);
    }
    match newest_file(home.path()) {
        Some((name, at)) if at.as_ms() > now.as_ms() + SKEW_MAX_MS => {
            let what =
                format!("it says {}, but {name} was written at {}", time(Some(now.as_ms())), time(Some(at.as_ms())));
            Finding::warning("clock", what).mend(advice)
        }
        _ => Finding::ok("clock", time(Some(now.as_ms()))),
    }
}

fn newest_file(home: &Path) -> Option<(&'static str, Timestamp)> {
    let written = |name: &&'static str| {
        let modified = fs::metadata(home.join(name)).ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some((*name, Timestamp::from_ms(i64::try_from(modified.as_millis()).ok()?)))
    };
    PRIVATE.iter().filter_map(written).max_by_key(|(_, at)| *at)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::super::finding::State;
    use super::*;

    #[test]
    fn an_open_home_and_an_empty_token_are_found_with_their_remedy() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        fs::write(folder.path().join("admin.token"), "\n").unwrap();
        fs::set_permissions(folder.path().join("admin.token"), Permissions::from_mode(0o600)).unwrap();
        let findings = home(&Home::at(folder.path()));
        let states: Vec<State> = findings.iter().map(|finding| finding.state).collect();
        assert_eq!(states, [State::Warning, State::Broken]);
        assert!(findings.iter().all(|finding| finding.mend.is_some()));
        fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
        fs::remove_file(folder.path().join("admin.token")).unwrap();
        assert_eq!(home(&Home::at(folder.path())).len(), 1);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
    }

    #[test]
    fn a_home_that_is_not_there_is_no_fault() {
        let findings = home(&Home::at("/nonexistent/patchbay"));
        assert_eq!(findings[0].state, State::Ok);
    }
}
