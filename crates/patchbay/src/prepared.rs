//! What a gateway is made from, and what outlives it when another one takes its place in this process.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::anyhow;
use config::Live;
use model::{Clock, Ids, Secret, SystemClock};
use services::Models;

use crate::compose;
use crate::configuration::layers;
use crate::home::Home;
use crate::settings::Settings;

/// What to start a gateway from.
pub struct Options {
    pub home: Home,
    pub config: Option<PathBuf>,
    /// What is logged; absent = as configured.
    pub log: Option<String>,
}

/// Everything that needs no store: a mistake in it is found before anything is touched.
pub struct Prepared {
    pub home: Home,
    pub live: Arc<Live<Settings>>,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<Ids>,
    pub admin: Secret,
}

impl Prepared {
    /// Reads the configuration and makes what is missing in the home folder.
    pub fn load(options: Options) -> anyhow::Result<Prepared> {
        // The first call wins; a second gateway in one process shares the provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let Options { home, config, log } = options;
        let file = config.unwrap_or_else(|| home.config_file());
        home.prepare(&file)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let live = Live::<Settings>::start(layers(home.path(), file), Arc::clone(&clock));
        let live = Arc::new(live.map_err(|problems| anyhow!("{problems}"))?);
        crate::logging::start(log.as_deref().unwrap_or(&live.current().log.level));
        for warning in live.warnings() {
            tracing::warn!("{warning}");
        }
        let ids = Arc::new(Ids::system(Arc::clone(&clock)));
        let admin = home.admin_token(|| Secret::new(hex::encode(ids.secret_bytes::<24>())))?;
        Ok(Prepared { home, live, clock, ids, admin })
    }

    /// The providers of the configuration in force.
    pub fn models(&self) -> anyhow::Result<Models> {
        let models = compose::models(&self.clock, u64::from_le_bytes(self.ids.secret_bytes::<8>()));
        compose::apply_providers(&self.live.current(), self.home.path(), &models, &[])
            .map_err(|reason| anyhow!(reason))?;
        Ok(models)
    }
}
