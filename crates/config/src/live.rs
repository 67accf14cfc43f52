//! The configuration in force, and how another takes its place.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use model::{Clock, Timestamp};
use serde_json::Value;

use crate::diff::changed_keys;
use crate::edit::{Edit, EditError};
use crate::file::{ConfigFile, Saved, Version};
use crate::layers::Layers;
use crate::loaded::{Loaded, hash};
use crate::problem::{Origin, Problem, Problems};
use crate::redact;
use crate::root::Root;

/// Carries a change from the old configuration to the new one into a part of the gateway. It may
/// refuse, and must then leave its part as it was. Called with the two exchanged, it undoes.
///
/// Runs while the reload is held, so it must not reload or save by itself.
pub type Applier<T> = Box<dyn Fn(&Arc<T>, &Arc<T>) -> Result<(), String> + Send + Sync>;

/// What a successful reload did.
pub struct Reloaded<T> {
    /// Dotted leaf paths whose effective value changed, sorted; a list counts as one leaf.
    pub changed_keys: Vec<String>,
    pub config: Arc<T>,
    pub warnings: Vec<Problem>,
}

impl<T> std::fmt::Debug for Reloaded<T> {
    /// Without the configuration, which holds secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reloaded").field("changed_keys", &self.changed_keys).finish_non_exhaustive()
    }
}

/// Holds the configuration in force. Reading it takes a read lock for the length of an `Arc` clone.
pub struct Live<T> {
    layers: Layers,
    clock: Arc<dyn Clock>,
    current: RwLock<Current<T>>,
    /// One change at a time; also guards the appliers, in the order they were added.
    changing: Mutex<Changing<T>>,
}

struct Current<T> {
    config: Arc<T>,
    warnings: Vec<Problem>,
    source: Option<PathBuf>,
    loaded_at: Timestamp,
    /// Of the file as it was loaded.
    hash: String,
    /// With secrets, for comparing.
    tree: Value,
}

struct Changing<T> {
    appliers: Vec<(String, Applier<T>)>,
    /// The hash of the file when it was last looked at, whether it could be loaded or not.
    seen: String,
}

impl<T: Root> Live<T> {
    /// Loads for the first time. A file that does not exist leaves the defaults in force.
    pub fn start(layers: Layers, clock: Arc<dyn Clock>) -> Result<Live<T>, Problems> {
        let loaded = layers.load::<T>()?;
        let seen = loaded.hash.clone();
        let current = RwLock::new(Current::of(loaded, clock.now()));
        Ok(Live { layers, clock, current, changing: Mutex::new(Changing { appliers: Vec::new(), seen }) })
    }

    /// Adds an applier; `name` is the part's, for the message when it refuses. A part that was made
    /// anew takes the place of its predecessor of the same name.
    pub fn on_change(&self, name: impl Into<String>, applier: Applier<T>) {
        let (name, appliers) = (name.into(), &mut self.changing().appliers);
        match appliers.iter_mut().find(|(known, _)| *known == name) {
            Some((_, there)) => *there = applier,
            None => appliers.push((name, applier)),
        }
    }

    pub fn current(&self) -> Arc<T> {
        Arc::clone(&self.read().config)
    }

    pub fn layers(&self) -> &Layers {
        &self.layers
    }

    /// The file in force, `None` while the defaults are.
    pub fn source(&self) -> Option<PathBuf> {
        self.read().source.clone()
    }

    /// The file in force as text, or `defaults`.
    pub fn source_text(&self) -> String {
        self.source().map_or_else(|| "defaults".to_owned(), |path| path.display().to_string())
    }

    /// When the configuration in force was loaded.
    pub fn loaded_at(&self) -> Timestamp {
        self.read().loaded_at
    }

    /// SHA-256 in hex of the file in force.
    pub fn hash(&self) -> String {
        self.read().hash.clone()
    }

    pub fn warnings(&self) -> Vec<Problem> {
        self.read().warnings.clone()
    }

    /// The effective configuration without its secrets.
    pub fn redacted(&self) -> Value {
        redact::redacted(self.current().as_ref())
    }

    /// Reads all layers again and puts the result in force, if it is valid and every applier takes
    /// it. Otherwise the configuration in force stays, in every part. Blocks on the disk.
    ///
    /// A file that was there and is gone is a problem, not a return to the defaults.
    pub fn reload(&self) -> Result<Reloaded<T>, Problems> {
        self.reload_holding(&mut self.changing())
    }

    /// Reloads if the file is not what it was when last looked at.
    pub fn reload_if_edited(&self) -> Option<Result<Reloaded<T>, Problems>> {
        let mut changing = self.changing();
        let bytes = self.layers.read().ok().flatten();
        let edited = bytes.is_none_or(|bytes| hash(&bytes) != changing.seen);
        edited.then(|| self.reload_holding(&mut changing))
    }

    /// Saves a change and puts it in force. When it cannot be applied, the file is restored too.
    pub fn save(&self, edit: &Edit) -> Result<(Saved<T>, Reloaded<T>), EditError> {
        self.save_by(|file, now| file.save(edit, now))
    }

    /// Puts a former version of the file in force again.
    pub fn rollback(&self, number: u64) -> Result<(Saved<T>, Reloaded<T>), EditError> {
        self.save_by(|file, now| file.rollback(number, now))
    }

    /// Begins a change on what is in the file now.
    pub fn edit(&self) -> Result<Edit, EditError> {
        self.file().edit()
    }

    /// The former versions of the file, newest first.
    pub fn history(&self) -> Result<Vec<Version>, EditError> {
        self.file().history()
    }

    pub fn file(&self) -> ConfigFile {
        ConfigFile::new(self.layers.clone())
    }

    fn save_by(
        &self,
        save: impl FnOnce(&ConfigFile, Timestamp) -> Result<Saved<T>, EditError>,
    ) -> Result<(Saved<T>, Reloaded<T>), EditError> {
        let mut changing = self.changing();
        let file = self.file();
        let before = file.read()?;
        let saved = save(&file, self.clock.now())?;
        match self.reload_holding(&mut changing) {
            Ok(reloaded) => Ok((saved, reloaded)),
            Err(problems) => {
                changing.seen = hash(before.as_deref().unwrap_or_default());
                file.take_back(&saved, before)?;
                Err(EditError::NotApplied(problems))
            }
        }
    }

    fn reload_holding(&self, changing: &mut Changing<T>) -> Result<Reloaded<T>, Problems> {
        let Some(bytes) = self.read_again()? else {
            let loaded = self.layers.load_bytes::<T>(b"").map(|loaded| Loaded { source: None, ..loaded });
            return self.put_in_force(loaded?, changing);
        };
        changing.seen = hash(&bytes);
        self.put_in_force(self.layers.load_bytes(&bytes)?, changing)
    }

    /// The file's content; `None` when there never was a file.
    fn read_again(&self) -> Result<Option<Vec<u8>>, Problem> {
        match self.layers.read()? {
            None if self.read().source.is_some() => {
                let origin = Origin::File(self.layers.file().to_owned());
                Err(Problem::new(origin, "", "the file is gone; the configuration in force stays"))
            }
            bytes => Ok(bytes),
        }
    }

    fn put_in_force(&self, loaded: Loaded<T>, changing: &Changing<T>) -> Result<Reloaded<T>, Problems> {
        let changed_keys = changed_keys(&self.read().tree, &loaded.tree);
        if !changed_keys.is_empty() {
            apply(&changing.appliers, &self.current(), &loaded.config)?;
        }
        let reloaded = Reloaded { changed_keys, config: Arc::clone(&loaded.config), warnings: loaded.warnings.clone() };
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Current::of(loaded, self.clock.now());
        Ok(reloaded)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Current<T>> {
        // Written in one assignment, so a panic elsewhere cannot have left it half done.
        self.current.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn changing(&self) -> MutexGuard<'_, Changing<T>> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Current<T> {
    fn of(loaded: Loaded<T>, loaded_at: Timestamp) -> Current<T> {
        let Loaded { config, warnings, source, hash, tree } = loaded;
        Current { config, warnings, source, loaded_at, hash, tree }
    }
}

/// Runs the appliers in order. When one refuses, those before it are undone, last first.
fn apply<T>(appliers: &[(String, Applier<T>)], old: &Arc<T>, new: &Arc<T>) -> Result<(), Problem> {
    for (place, (name, applier)) in appliers.iter().enumerate() {
        let Err(reason) = applier(old, new) else { continue };
        for (name, applier) in appliers[..place].iter().rev() {
            if let Err(reason) = applier(new, old) {
                tracing::error!(part = %name, %reason, "could not take back a configuration change");
            }
        }
        return Err(Problem::new(Origin::Given, "", format!("{name} cannot apply the change: {reason}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
