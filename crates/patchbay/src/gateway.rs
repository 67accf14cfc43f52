//! A gateway in this process: started, served, drained, stopped.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use config::Live;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use model::{Clock, Event, Ids, Secret, SystemClock};
use providers::ProviderSettings;
use server::settings::{DialectName, ListenSettings};
use services::info::GatewayInfo;
use services::{Parts, Services};
use tokio::time::MissedTickBehavior;

use crate::compose;
use crate::configuration::{Configuration, layers};
use crate::home::{Home, Running};
use crate::settings::Settings;

/// How often old sessions and events are looked for.
const TIDY_EVERY: Duration = Duration::from_secs(600);
/// How often listeners who ask for it are told that the gateway lives.
const TICK_EVERY: Duration = Duration::from_secs(10);
/// How long tasks get to end once they were told to.
const STOP_LIMIT: Duration = Duration::from_secs(10);

pub struct Gateway {
    pub services: Arc<Services>,
    pub configuration: Arc<Configuration>,
    home: Home,
    store: Arc<dyn store::Store>,
    metrics: PrometheusHandle,
}

/// What to start a gateway from.
pub struct Options {
    pub home: Home,
    pub config: Option<PathBuf>,
    /// What is logged; absent = as configured.
    pub log: Option<String>,
}

impl Gateway {
    /// Opens configuration and store, takes up what was left over, listens nowhere yet.
    pub async fn start(options: Options) -> anyhow::Result<Gateway> {
        // The first call wins; a second gateway in one process shares the provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let Options { home, config, log } = options;
        let file = config.unwrap_or_else(|| home.config_file());
        home.prepare(&file)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let live = Live::<Settings>::start(layers(home.path(), file), Arc::clone(&clock));
        let live = Arc::new(live.map_err(|problems| anyhow!("{problems}"))?);
        let settings = live.current();
        crate::logging::start(log.as_deref().unwrap_or(&settings.log.level));
        for warning in live.warnings() {
            tracing::warn!("{warning}");
        }
        let ids = Arc::new(Ids::system(Arc::clone(&clock)));
        let admin = home.admin_token(|| Secret::new(hex::encode(ids.secret_bytes::<24>())))?;
        let store = compose::store(&settings, home.path())?;
        let models = compose::models(&clock, u64::from_le_bytes(ids.secret_bytes::<8>()));
        compose::apply_providers(&settings, home.path(), &models, &[]).map_err(|reason| anyhow!(reason))?;
        let configuration = Configuration::new(Arc::clone(&live), Arc::clone(&clock));
        let services = Services::start(Parts {
            info: info(&home, &ids, &*clock),
            clock,
            ids,
            store: Arc::clone(&store),
            agents: settings.agents(home.path()),
            models,
            tools: Arc::new(tools::Registry::built_in()),
            rules: settings.sessions.clone(),
            limits: settings.limits.clone(),
            config: Arc::clone(&configuration) as Arc<dyn services::GatewayConfig>,
            node: services::NodeOptions::new("local"),
        })
        .await
        .context("the gateway could not be started")?;
        services.tokens.set_configured(compose::tokens(&settings, &admin));
        configuration.tell_through(&services);
        let metrics = recorder();
        let gateway = Gateway { services, configuration, home, store, metrics };
        gateway.follow_configuration(admin);
        gateway.look_for_ollama();
        Ok(gateway)
    }

    /// Carries changes of the configuration into the running parts.
    fn follow_configuration(&self, admin: Secret) {
        let (services, home) = (Arc::clone(&self.services), self.home.path().to_owned());
        self.configuration.live().on_change(
            "gateway",
            Box::new(move |_, settings: &Arc<Settings>| {
                compose::apply_providers(settings, &home, &services.models, &[])?;
                services.agents.replace(settings.agents(&home));
                services.sessions.set_rules(settings.sessions.clone());
                services.runs.set_limits(settings.limits.clone());
                services.tokens.set_configured(compose::tokens(settings, &admin));
                crate::logging::set_level(&settings.log.level);
                Ok(())
            }),
        );
    }

    /// An Ollama on its default port needs no configuration. The look never delays the start.
    fn look_for_ollama(&self) {
        let settings = self.configuration.live().current();
        if settings.providers.contains_key("ollama") {
            return;
        }
        let (services, configuration, home) =
            (Arc::clone(&self.services), Arc::clone(&self.configuration), self.home.path().to_owned());
        self.services.lifecycle.spawn(async move {
            let found = ProviderSettings::new(providers::ProviderKind::Ollama);
            if providers::ollama_is_up(found.effective_base_url()).await {
                let settings = configuration.live().current();
                match compose::apply_providers(&settings, &home, &services.models, &[(String::from("ollama"), found)]) {
                    Ok(()) => tracing::info!("an Ollama was found on its default port"),
                    Err(reason) => tracing::warn!(reason, "the Ollama that was found cannot be used"),
                }
            }
        });
    }

    /// Binds, takes up left-over work, and accepts. Gives what to tell the outside.
    pub async fn serve(&self, listeners: Option<Vec<ListenSettings>>) -> anyhow::Result<Running> {
        let settings = self.configuration.live().current();
        let listeners = listeners.unwrap_or_else(|| settings.listen.clone());
        let bound = server::bind(&listeners, settings.auth.required)?;
        let recovered = self.services.runs.recover().await?;
        if recovered != Default::default() {
            tracing::info!(
                resumed = recovered.resumed,
                requeued = recovered.requeued,
                ended = recovered.ended,
                "unfinished runs were taken up"
            );
        }
        let metrics = self.metrics.clone();
        let surface = compose::surface(&self.services, &self.configuration, Arc::new(move || metrics.render()));
        let url = |dialect: DialectName| bound.iter().find(|bound| bound.dialect == dialect).map(server::Bound::url);
        let running = Running {
            pid: std::process::id(),
            aleph: url(DialectName::Aleph),
            comis: url(DialectName::Comis),
            argent: url(DialectName::Argent),
        };
        for listener in bound {
            listener.serve(&surface, &self.services.lifecycle);
        }
        self.home.write_running(&running).context("cannot write gateway.json")?;
        self.watch_configuration();
        self.keep_house();
        Ok(running)
    }

    fn watch_configuration(&self) {
        let configuration = Arc::clone(&self.configuration);
        let lifecycle = &self.services.lifecycle;
        config::watch(
            Arc::clone(self.configuration.live()),
            config::DEBOUNCE,
            lifecycle.tracker(),
            lifecycle.stopping().clone(),
            move |outcome| {
                let configuration = Arc::clone(&configuration);
                async move { configuration.watched(outcome).await }
            },
        );
    }

    /// Ticks, and removes what is too old.
    fn keep_house(&self) {
        let services = Arc::clone(&self.services);
        self.services.lifecycle.spawn(async move {
            let mut ticks = tokio::time::interval(TICK_EVERY);
            let mut tidy = tokio::time::interval(TIDY_EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            tidy.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = services.lifecycle.stopping().cancelled() => break,
                    _ = ticks.tick() => {
                        let (at, connections) = (services.clock.now(), services.presence.connections());
                        let uptime_ms = services.info.uptime_ms(&*services.clock);
                        services.bus.publish_ephemeral(at, false, || Event::Tick { at, connections, uptime_ms });
                    }
                    _ = tidy.tick() => {
                        if let Err(error) = services.runs.tidy(TIDY_EVERY).await {
                            tracing::warn!(%error, "old sessions and events could not be removed");
                        }
                    }
                }
            }
        });
    }

    /// Refuses new work, lets running turns finish for a while, and stops. What is not finished by
    /// then goes on after the next start.
    pub async fn stop(self, reason: &str) {
        let limits = self.services.runs.limits();
        let grace = Duration::from_secs(limits.drain_secs);
        self.services.lifecycle.drain();
        let grace_ms = limits.drain_secs * 1000;
        self.services.bus.publish_ephemeral(self.services.clock.now(), false, || Event::ShuttingDown {
            reason: reason.to_owned(),
            restart_expected_ms: None,
            grace_ms,
        });
        if tokio::time::timeout(grace, self.services.runs.idle()).await.is_err() {
            tracing::info!(
                unfinished = self.services.runs.unfinished_count(),
                "stopping with unfinished runs; the next start goes on with them"
            );
        }
        if !self.services.lifecycle.stop(STOP_LIMIT).await {
            tracing::warn!("some tasks did not end in time");
        }
        self.store.close().await;
        self.home.clear_running(std::process::id());
    }
}

fn info(home: &Home, ids: &Ids, clock: &dyn Clock) -> GatewayInfo {
    GatewayInfo {
        version: env!("CARGO_PKG_VERSION"),
        build: option_env!("PATCHBAY_BUILD").unwrap_or("dev"),
        started_at: clock.now(),
        instance_id: ids.uuid().to_string(),
        host: host_name(),
        home: home.path().to_owned(),
        pid: std::process::id(),
    }
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| String::from("localhost"), |name| name.trim().to_owned())
}

/// The process's recorder of metrics; a second gateway in the process shares it.
fn recorder() -> PrometheusHandle {
    use std::sync::OnceLock;
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER
        .get_or_init(|| {
            let recorder = PrometheusBuilder::new().build_recorder();
            let handle = recorder.handle();
            if metrics::set_global_recorder(recorder).is_err() {
                tracing::warn!("another recorder of metrics is in place");
            }
            handle
        })
        .clone()
}
