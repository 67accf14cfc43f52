//! The home folder: everything of a gateway in one place.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use model::Secret;
use serde::{Deserialize, Serialize};

/// What a first start writes; every line is a comment, so that all defaults hold.
pub const FIRST_CONFIG: &str = include_str!("first_config.toml");

/// See the [module](self).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home(PathBuf);

/// What a running gateway tells other programs about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    pub pid: u32,
    pub aleph: Option<String>,
    pub comis: Option<String>,
    pub argent: Option<String>,
}

impl Home {
    /// `--home`, else `PATCHBAY_HOME`, else `~/.patchbay`.
    pub fn find(flag: Option<PathBuf>) -> anyhow::Result<Home> {
        let chosen =
            flag.or_else(|| std::env::var_os("PATCHBAY_HOME").filter(|text| !text.is_empty()).map(PathBuf::from));
        let path = match chosen {
            Some(path) => path,
            None => {
                let user = std::env::var_os("HOME").filter(|text| !text.is_empty());
                PathBuf::from(user.context("HOME is not set; name a folder with --home or PATCHBAY_HOME")?)
                    .join(".patchbay")
            }
        };
        Ok(Home(std::path::absolute(&path).with_context(|| format!("{} is no usable path", path.display()))?))
    }

    pub fn at(path: impl Into<PathBuf>) -> Home {
        Home(path.into())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn models(&self) -> PathBuf {
        self.0.join("models")
    }

    pub fn config_file(&self) -> PathBuf {
        self.0.join("config.toml")
    }

    /// Makes the folder, its parts and the first configuration where they are missing.
    pub fn prepare(&self, config: &Path) -> anyhow::Result<()> {
        let fail = |path: &Path| format!("cannot make {}", path.display());
        fs::create_dir_all(&self.0).with_context(|| fail(&self.0))?;
        fs::set_permissions(&self.0, Permissions::from_mode(0o700)).with_context(|| fail(&self.0))?;
        for part in ["agents", "media", "models", "skills", "plugins", "backups", "logs"] {
            let path = self.0.join(part);
            fs::create_dir_all(&path).with_context(|| fail(&path))?;
        }
        config::starter::write(config, FIRST_CONFIG).with_context(|| fail(config))?;
        Ok(())
    }

    /// The first operator token, made on first use.
    pub fn admin_token(&self, fresh: impl FnOnce() -> Secret) -> anyhow::Result<Secret> {
        let path = self.0.join("admin.token");
        match fs::read_to_string(&path) {
            Ok(text) if text.trim().len() >= 16 => Ok(Secret::new(text.trim())),
            Ok(_) => bail!("{} holds no token; delete it, and the next start makes a new one", path.display()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let secret = fresh();
                write_private(&path, &format!("{}\n", secret.expose_secret()))
                    .with_context(|| format!("cannot write {}", path.display()))?;
                Ok(secret)
            }
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// What this home's gateway is called among others that share its database, made on first use.
    pub fn node_name(&self, fresh: impl FnOnce() -> String) -> anyhow::Result<String> {
        let path = self.0.join("node.id");
        match fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot read {}", path.display()))
            }
            _ => {
                let name = fresh();
                write_private(&path, &format!("{name}\n"))
                    .with_context(|| format!("cannot write {}", path.display()))?;
                Ok(name)
            }
        }
    }

    /// The token that is there; a client does not make one.
    pub fn existing_token(&self) -> Option<Secret> {
        let text = fs::read_to_string(self.0.join("admin.token")).ok()?;
        let text = text.trim();
        (!text.is_empty()).then(|| Secret::new(text))
    }

    fn running_file(&self) -> PathBuf {
        self.0.join("gateway.json")
    }

    pub fn write_running(&self, running: &Running) -> io::Result<()> {
        write_private(&self.running_file(), &serde_json::to_string_pretty(running)?)
    }

    /// Takes the file back, if it is this process's.
    pub fn clear_running(&self, pid: u32) {
        if self.read_running().is_some_and(|running| running.pid == pid) {
            // Nobody believes the file of a dead process; failing to remove it does no harm.
            let _ = fs::remove_file(self.running_file());
        }
    }

    /// The gateway that runs on this home, while its process lives.
    pub fn running(&self) -> Option<Running> {
        self.read_running().filter(|running| is_alive(running.pid))
    }

    fn read_running(&self) -> Option<Running> {
        serde_json::from_str(&fs::read_to_string(self.running_file()).ok()?).ok()
    }
}

fn is_alive(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists() || !Path::new("/proc/self").exists()
}

/// Writes a file that only its owner reads, whole or not at all.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_home_is_private_and_its_token_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path().join("home"));
        home.prepare(&home.config_file()).unwrap();
        let first = home.admin_token(|| Secret::new("0123456789abcdef")).unwrap();
        let again = home.admin_token(|| unreachable!("the token is there")).unwrap();
        assert_eq!(first, again);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(home.path()), mode(&home.path().join("admin.token"))), (0o700, 0o600));
    }

    #[test]
    fn the_file_of_a_dead_gateway_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path());
        let running =
            Running { pid: std::process::id(), aleph: Some("ws://127.0.0.1:1".into()), comis: None, argent: None };
        home.write_running(&running).unwrap();
        assert_eq!(home.running(), Some(running.clone()));
        home.write_running(&Running { pid: u32::MAX, ..running }).unwrap();
        assert_eq!(home.running(), None);
    }
}
