//! The configuration in force, as the services and operations see it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, Weak};

use async_trait::async_trait;
use config::{Environment, Layers, Live, Problems, Reloaded};
use model::{Clock, ErrorKind, Event, OpError, Timestamp};
use serde_json::{Value, json};
use services::Services;
use services::settings::{ConfigCheck, ConfigReload, ConfigRemark, GatewayConfig};

use crate::published_keys;
use crate::settings::Settings;

/// Sections whose changes take effect only after a restart.
const RESTART_SECTIONS: [&str; 4] = ["listen", "store", "bus", "local"];

/// Where settings come from on this machine.
pub fn layers(home: &std::path::Path, file: PathBuf) -> Layers {
    let environment: Environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    Layers::new(home, file, environment)
}

pub struct Configuration {
    live: Arc<Live<Settings>>,
    clock: Arc<dyn Clock>,
    services: OnceLock<Weak<Services>>,
}

impl Configuration {
    pub fn new(live: Arc<Live<Settings>>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { live, clock, services: OnceLock::new() })
    }

    pub fn live(&self) -> &Arc<Live<Settings>> {
        &self.live
    }

    /// Names who tells of changes; called once, when the services stand.
    pub fn tell_through(&self, services: &Arc<Services>) {
        let _ = self.services.set(Arc::downgrade(services));
    }

    /// Writes the events of a load down.
    pub async fn tell(&self, reloaded: &Reloaded<Settings>, cause: &str) {
        let Some(services) = self.services.get().and_then(Weak::upgrade) else { return };
        let changed_keys = reloaded.changed_keys.clone();
        let mut events =
            vec![Event::ConfigReloaded { changed_keys: changed_keys.clone(), source: self.live.source_text() }];
        if !changed_keys.is_empty() {
            events.push(Event::ConfigChanged { changed_keys, source: cause.to_owned() });
        }
        if let Err(error) = services.record(self.clock.now(), events).await {
            tracing::warn!(%error, "the change of the configuration could not be told");
        }
    }

    /// What came of a reload by the file watcher.
    pub async fn watched(&self, outcome: Result<Reloaded<Settings>, Problems>) {
        match outcome {
            Ok(reloaded) => {
                tracing::info!(changed = ?reloaded.changed_keys, "the configuration was reloaded");
                self.tell(&reloaded, "file_watcher").await;
            }
            Err(problems) => {
                tracing::error!(%problems, "the changed configuration has mistakes; the running one stays")
            }
        }
    }
}

/// The rule that a value breaks, without the value: whoever hands it in has it before them.
fn rule(message: String) -> String {
    match message.split_once(", not ") {
        Some((rule, _)) if rule.starts_with("must be ") => rule.to_owned(),
        _ => message,
    }
}

#[async_trait]
impl GatewayConfig for Configuration {
    fn effective(&self) -> Value {
        self.live.redacted()
    }

    fn source(&self) -> String {
        self.live.source_text()
    }

    fn loaded_at(&self) -> Timestamp {
        self.live.loaded_at()
    }

    fn schema(&self) -> Value {
        config::schema::<Settings>()
    }

    fn check(&self, config: &Value) -> ConfigCheck {
        let mut translated = config.clone();
        let moved = published_keys::translate(&mut translated);
        let checked = self.live.layers().validate_value::<Settings>(&translated);
        let remark = |finding: config::Finding| {
            let path = moved.iter().find_map(|moved| moved.path(&finding.path)).unwrap_or(finding.path);
            ConfigRemark { path, message: rule(finding.message) }
        };
        let mut errors: Vec<ConfigRemark> = checked.errors.into_iter().map(remark).collect();
        for moved in &moved {
            if !errors.iter().any(|error| error.path.starts_with(moved.theirs)) {
                let message = format!("unknown key; here it is `{}`", moved.ours);
                errors.push(ConfigRemark { path: moved.theirs.to_owned(), message });
            }
        }
        ConfigCheck { errors, warnings: checked.warnings.into_iter().map(remark).collect() }
    }

    async fn reload(&self) -> Result<ConfigReload, OpError> {
        let live = Arc::clone(&self.live);
        let outcome = tokio::task::spawn_blocking(move || live.reload()).await.map_err(OpError::internal)?;
        let reloaded = outcome.map_err(|problems| {
            let errors: Vec<Value> =
                problems.iter().map(|problem| json!({ "path": problem.key, "message": problem.text() })).collect();
            OpError::new(
                ErrorKind::Internal,
                format!("the configuration has mistakes; the running one stays: {problems}"),
            )
            .with_details(json!({ "errors": errors }))
        })?;
        self.tell(&reloaded, "reload").await;
        let restart: BTreeSet<String> = reloaded
            .changed_keys
            .iter()
            .filter_map(|key| key.split(['.', '[']).next())
            .filter(|section| RESTART_SECTIONS.contains(section))
            .map(str::to_owned)
            .collect();
        Ok(ConfigReload {
            changed_keys: reloaded.changed_keys,
            source: self.live.source_text(),
            restart_components: restart.into_iter().collect(),
        })
    }
}
