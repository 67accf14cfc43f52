//! A configuration that a test writes.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use async_trait::async_trait;
use model::{Clock, ErrorKind, Event, OpError, Timestamp};
use serde_json::{Map, Value, json};
use services::Services;
use services::settings::{ConfigCheck, ConfigReload, ConfigRemark, GatewayConfig};

/// Stands in for the binary's configuration: an object in memory, and another that a reload finds.
/// Only keys of the first object are known. A reload tells the same events as the binary's.
pub struct ScriptedConfig {
    clock: Arc<dyn Clock>,
    services: OnceLock<Weak<Services>>,
    state: Mutex<State>,
}

struct State {
    now: Value,
    file: Value,
    loaded_at: Timestamp,
}

/// Where the configuration says that it comes from.
pub const CONFIG_SOURCE: &str = "/home/ann/.patchbay/config.toml";

impl ScriptedConfig {
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        let now = json!({
            "agents": { "main": { "model": "scripted/model" } },
            "auth": { "required": true, "secret": model::REDACTED },
            "limits": { "max_iterations": 25, "session_queue": 20 },
            "listen": [],
        });
        let loaded_at = clock.now();
        Arc::new(Self {
            clock,
            services: OnceLock::new(),
            state: Mutex::new(State { file: now.clone(), now, loaded_at }),
        })
    }

    /// What the next reload finds.
    pub fn write_file(&self, file: Value) {
        self.lock().file = file;
    }

    pub(crate) fn tell_through(&self, services: &Arc<Services>) {
        // A second start has its own configuration; the first one's services are gone by then.
        let _ = self.services.set(Arc::downgrade(services));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn swap(&self) -> Result<Vec<String>, OpError> {
        let mut state = self.lock();
        let errors = remarks(&state.now, &state.file);
        if !errors.is_empty() {
            let listed: Vec<Value> =
                errors.iter().map(|error| json!({ "path": error.path, "message": error.message })).collect();
            let message = "the configuration has mistakes; the running one stays";
            return Err(OpError::new(ErrorKind::Internal, message).with_details(json!({ "errors": listed })));
        }
        let (before, after) = (leaves(&state.now), leaves(&state.file));
        let mut changed: Vec<String> =
            before.keys().chain(after.keys()).filter(|key| before.get(*key) != after.get(*key)).cloned().collect();
        changed.sort();
        changed.dedup();
        state.now = state.file.clone();
        state.loaded_at = self.clock.now();
        Ok(changed)
    }
}

#[async_trait]
impl GatewayConfig for ScriptedConfig {
    fn effective(&self) -> Value {
        self.lock().now.clone()
    }

    fn source(&self) -> String {
        CONFIG_SOURCE.to_owned()
    }

    fn loaded_at(&self) -> Timestamp {
        self.lock().loaded_at
    }

    fn schema(&self) -> Value {
        let known = self.effective();
        let sections: Map<String, Value> = known.as_object().map_or_else(Map::new, |sections| {
            sections
                .iter()
                .map(|(name, value)| {
                    (name.clone(), json!({ "type": if value.is_array() { "array" } else { "object" } }))
                })
                .collect()
        });
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Settings", "type": "object",
            "properties": sections, "additionalProperties": false,
        })
    }

    fn check(&self, config: &Value) -> ConfigCheck {
        let parsed: Result<Value, String> = match config {
            Value::String(text) => serde_json::from_str(text).map_err(|error| error.to_string()),
            other => Ok(other.clone()),
        };
        let errors = match parsed {
            Ok(config) => remarks(&self.effective(), &config),
            Err(message) => vec![ConfigRemark { path: String::new(), message }],
        };
        ConfigCheck { errors, warnings: Vec::new() }
    }

    async fn reload(&self) -> Result<ConfigReload, OpError> {
        let changed_keys = self.swap()?;
        if let Some(services) = self.services.get().and_then(Weak::upgrade) {
            let source = CONFIG_SOURCE.to_owned();
            let mut events = vec![Event::ConfigReloaded { changed_keys: changed_keys.clone(), source }];
            if !changed_keys.is_empty() {
                events
                    .push(Event::ConfigChanged { changed_keys: changed_keys.clone(), source: String::from("reload") });
            }
            services.record(self.clock.now(), events).await?;
        }
        let needs_restart = changed_keys.iter().any(|key| key.starts_with("listen"));
        let restart_components = if needs_restart { vec![String::from("listen")] } else { Vec::new() };
        Ok(ConfigReload { changed_keys, source: CONFIG_SOURCE.to_owned(), restart_components })
    }
}

/// Keys of `config` that `known` does not have, on the first two levels.
fn remarks(known: &Value, config: &Value) -> Vec<ConfigRemark> {
    let Some(sections) = config.as_object() else {
        return vec![ConfigRemark { path: String::new(), message: String::from("must be an object") }];
    };
    let mut remarks = Vec::new();
    for (name, section) in sections {
        match known.get(name) {
            None => remarks.push(ConfigRemark { path: name.clone(), message: format!("`{name}` is no section") }),
            Some(known) => remarks.extend(
                section.as_object().into_iter().flatten().filter(|(key, _)| known.get(key.as_str()).is_none()).map(
                    |(key, _)| ConfigRemark {
                        path: format!("{name}.{key}"),
                        message: format!("`{key}` is no key of `{name}`"),
                    },
                ),
            ),
        }
    }
    remarks
}

/// Dotted paths of the values that are no objects.
fn leaves(value: &Value) -> std::collections::BTreeMap<String, Value> {
    fn walk(path: &str, value: &Value, out: &mut std::collections::BTreeMap<String, Value>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    walk(&path, value, out);
                }
            }
            other => {
                out.insert(path.to_owned(), other.clone());
            }
        }
    }
    let mut out = std::collections::BTreeMap::new();
    walk("", value, &mut out);
    out
}
