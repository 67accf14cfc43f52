//! Putting one configuration together, and everything that can be wrong with it.

use std::path::Path as FilePath;
use std::sync::Arc;

use model::REDACTED;
use serde_json::{Map, Value};

use crate::check::{FAULTS_MAX, check};
use crate::environment::{Environment, PREFIX};
use crate::fault::{Fault, FaultKind, Origins};
use crate::flag::{Flag, FlagValue};
use crate::hidden::Hidden;
use crate::loaded::{Loaded, hash};
use crate::overlay::{base_of_defaults, lay_over, path_of_name, put, value_of_text};
use crate::path::Path;
use crate::problem::{Origin, Problem, Problems};
use crate::redact::tree_of;
use crate::references::{Files, Resolver};
use crate::root::{Root, Violation};
use crate::shape::Shape;
use crate::suggest::{nearest, same_word};
use crate::text::Parsed;

/// One attempt at putting a configuration together.
pub(crate) struct Assembly {
    shape: Shape,
    defaults: Value,
    tree: Value,
    origins: Origins,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Assembly {
    pub fn new<T: Root>(parsed: Parsed, text: Origin) -> Assembly {
        let defaults = base_of_defaults(tree_of(&T::default())).unwrap_or_else(|| Value::Object(Map::new()));
        Assembly {
            shape: Shape::of::<T>(),
            defaults,
            tree: Value::Object(parsed.tree),
            origins: Origins { text, spots: parsed.spots, single: Vec::new() },
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }

    pub fn add_environment(&mut self, environment: &Environment) {
        for (name, names, text) in environment.settings() {
            let origin = Origin::Environment(name.to_owned());
            if let Some(warning) = self.not_a_setting(name, &names) {
                self.warnings.push(Problem::new(origin, "", warning));
                continue;
            }
            let path = path_of_name(&names, &self.tree, &self.defaults, &self.shape);
            let value = value_of_text(text, &path, &self.shape);
            self.put(path, value, origin);
        }
    }

    /// A name without `__` that is no section is more likely another program's variable, or ours
    /// with one underscore too few, than a setting; refusing to start over it would be too much.
    fn not_a_setting(&self, name: &str, names: &[String]) -> Option<String> {
        let [only] = names else { return None };
        let sections = self.shape.known_keys(&Path::root());
        if sections.iter().any(|section| section.eq_ignore_ascii_case(only)) {
            return None;
        }
        let meant = sections.iter().find_map(|section| {
            let rest = only.strip_prefix(&section.to_ascii_lowercase())?.strip_prefix('_')?;
            let keys = self.shape.known_keys(&Path::root().key(*section));
            keys.iter()
                .find(|key| same_word(key, rest))
                .map(|key| format!("{PREFIX}{section}__{key}").to_ascii_uppercase())
        });
        let meant =
            meant.or_else(|| nearest(only, sections).map(|near| format!("{PREFIX}{near}").to_ascii_uppercase()));
        let hint = meant.map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
        Some(format!("`{name}` is not a setting{hint}"))
    }

    pub fn add_flags(&mut self, flags: &[Flag]) {
        for flag in flags {
            let value = match &flag.value {
                FlagValue::Text(text) => value_of_text(text, &flag.path, &self.shape),
                FlagValue::Tree(value) => value.clone(),
            };
            self.put(flag.path.clone(), value, Origin::Flag(flag.name.clone()));
        }
    }

    fn put(&mut self, path: Path, value: Value, origin: Origin) {
        match put(&mut self.tree, &self.defaults, &path, value) {
            Ok(()) => self.origins.single.push((path, origin)),
            Err(reason) => self.problems.push(Problem::new(origin, path.to_string(), reason)),
        }
    }

    pub fn finish<T: Root>(
        mut self,
        environment: &Environment,
        home: &FilePath,
        files: Files,
    ) -> Result<Loaded<T>, Problems> {
        let written = self.tree.clone();
        let mut resolver =
            Resolver { shape: &self.shape, environment, home, files, faults: Vec::new(), taken: Vec::new() };
        resolver.resolve(&mut self.tree, &Path::root());
        let Resolver { faults: mut found, taken, .. } = resolver;
        let tree = lay_over(self.defaults.clone(), self.tree.clone(), &self.shape, &Path::root());
        let unresolved: Vec<Path> = found.iter().map(|fault| fault.path.clone()).collect();
        let checked = check(&self.shape, &tree, &written);
        found.extend(checked.into_iter().filter(|fault| !unresolved.iter().any(|path| fault.path.starts_with(path))));

        let hidden = Hidden::of(&tree, &self.shape, taken);
        let config = self.read_config::<T>(&tree, &mut found, &hidden);
        self.problems.extend(found.into_iter().map(|fault| self.origins.problem(fault)));
        match config {
            Some(config) if self.problems.is_empty() => {
                let warnings = self.warnings_of(&config, &hidden);
                let tree = with_secrets(tree_of(&config), &tree);
                Ok(Loaded { config: Arc::new(config), warnings, source: None, hash: hash(b""), tree })
            }
            _ => Err(Problems::sorted(self.problems)),
        }
    }

    /// Deserializes and asks the owners' rules; adds what they find to `faults`.
    ///
    /// Unknown keys alone do not hinder the rules from being asked, so that all is told at once.
    fn read_config<T: Root>(&self, tree: &Value, faults: &mut Vec<Fault>, hidden: &Hidden<'_>) -> Option<T> {
        if faults.len() >= FAULTS_MAX || faults.iter().any(|fault| fault.kind != FaultKind::UnknownKey) {
            return None;
        }
        let mut tree = tree.clone();
        for fault in faults.iter() {
            let (Some(parent), Some(key)) = (fault.path.parent(), fault.path.last_key()) else { continue };
            if let Some(Value::Object(map)) = parent.find_mut(&mut tree) {
                map.remove(key);
            }
        }
        let config: T = match serde_path_to_error::deserialize(&tree) {
            Ok(config) => config,
            Err(error) => {
                let path = path_of_serde(error.path());
                let message = hidden.out_of(&error.into_inner().to_string());
                faults.push(Fault::new(FaultKind::Value, &path, message));
                return None;
            }
        };
        faults.extend(config.validate().into_iter().map(|violation| fault_of(violation, hidden)));
        Some(config)
    }

    fn warnings_of<T: Root>(&self, config: &T, hidden: &Hidden<'_>) -> Vec<Problem> {
        let by_owners =
            config.warnings().into_iter().map(|violation| self.origins.problem(fault_of(violation, hidden)));
        Problems::sorted(self.warnings.iter().cloned().chain(by_owners).collect()).0
    }
}

fn fault_of(violation: Violation, hidden: &Hidden<'_>) -> Fault {
    let message = hidden.out_of(&violation.message);
    match violation.key.as_str() {
        "" => Fault::new(FaultKind::Rule, &Path::root(), message),
        key => match key.parse() {
            Ok(path) => Fault::new(FaultKind::Rule, &path, message),
            // The owner's key is not a path; say it rather than lose it.
            Err(_) => Fault::new(FaultKind::Rule, &Path::root(), format!("{key}: {message}")),
        },
    }
}

fn path_of_serde(path: &serde_path_to_error::Path) -> Path {
    use serde_path_to_error::Segment as Step;
    path.iter().fold(Path::root(), |path, step| match step {
        Step::Seq { index } => path.index(*index),
        Step::Map { key } => path.key(key.as_str()),
        Step::Enum { variant } => path.key(variant.as_str()),
        Step::Unknown => path,
    })
}

/// The serialized configuration with its secrets put back from the tree it was read from.
fn with_secrets(shown: Value, tree: &Value) -> Value {
    match (shown, tree) {
        (Value::String(text), Value::String(secret)) if text == REDACTED => Value::String(secret.clone()),
        (Value::Object(map), Value::Object(tree)) => {
            let restored = map.into_iter().map(|(key, value)| {
                let value = with_secrets(value, tree.get(&key).unwrap_or(&Value::Null));
                (key, value)
            });
            Value::Object(restored.collect())
        }
        (Value::Array(items), Value::Array(tree)) => {
            let none = std::iter::repeat(&Value::Null);
            Value::Array(
                items.into_iter().zip(tree.iter().chain(none)).map(|(item, below)| with_secrets(item, below)).collect(),
            )
        }
        (shown, _) => shown,
    }
}
