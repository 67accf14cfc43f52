//! A gateway in this process: started, served, drained, stopped.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use model::{Clock, Event, Ids, Secret};
use providers::ProviderSettings;
use serde_json::json;
use server::settings::DialectName;
use server::{Bound, Connections};
use services::info::GatewayInfo;
use services::{Models, Parts, Services};
use store::Store;
use tokio::time::MissedTickBehavior;

use crate::compose;
use crate::configuration::Configuration;
use crate::home::{Home, Running};
use crate::prepared::{Options, Prepared};
use crate::settings::Settings;

/// How often old sessions and events are looked for.
const TIDY_EVERY: Duration = Duration::from_secs(600);
/// How often listeners who ask for it are told that the gateway lives.
const TICK_EVERY: Duration = Duration::from_secs(10);
/// How long tasks get to end once they were told to.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// The same where others wait for the end: what is written goes on elsewhere.
const HALT_LIMIT: Duration = Duration::from_secs(3);
/// How long clients get to answer that the connection is closed.
const FAREWELL_LIMIT: Duration = Duration::from_secs(1);
/// What clients are told of how long a restart takes.
const RESTART_EXPECTED: Duration = Duration::from_secs(1);

pub struct Gateway {
    pub services: Arc<Services>,
    pub configuration: Arc<Configuration>,
    home: Home,
    store: Arc<dyn Store>,
    metrics: PrometheusHandle,
}

impl Gateway {
    /// Opens configuration and store; listens nowhere.
    pub async fn start(options: Options) -> anyhow::Result<Gateway> {
        let prepared = Prepared::load(options)?;
        let store = compose::store(&prepared.live.current(), prepared.home.path())?;
        let models = prepared.models()?;
        Gateway::open(&prepared, models, store).await
    }

    /// Puts a gateway on an open store.
    pub async fn open(prepared: &Prepared, models: Models, store: Arc<dyn Store>) -> anyhow::Result<Gateway> {
        let Prepared { home, live, clock, ids, admin } = prepared;
        let settings = live.current();
        let configuration = Configuration::new(Arc::clone(live), Arc::clone(clock));
        let services = Services::start(Parts {
            info: info(home, ids, &**clock),
            clock: Arc::clone(clock),
            ids: Arc::clone(ids),
            store: Arc::clone(&store),
            agents: settings.agents(home.path()),
            models,
            tools: Arc::new(tools::Registry::built_in()),
            rules: settings.sessions.clone(),
            limits: settings.limits.clone(),
            config: Arc::clone(&configuration) as Arc<dyn services::GatewayConfig>,
            node: compose::node(&settings, home, ids, &*store)?,
        })
        .await
        .context("the gateway could not be started")?;
        configuration.tell_through(&services);
        let gateway = Gateway { services, configuration, home: home.clone(), store, metrics: recorder() };
        if gateway.store.is_shared() {
            // Whoever operates one node operates the cluster.
            let (services, name) = (&gateway.services, gateway.services.cluster.name());
            if let Err(error) = services.tokens.share(&format!("operator of {name}"), admin).await {
                gateway.withdraw().await;
                return Err(error.into());
            }
        }
        gateway.services.tokens.set_configured(compose::tokens(&settings, admin));
        gateway.follow_configuration(admin.clone());
        gateway.look_for_ollama();
        Ok(gateway)
    }

    /// Takes up what a former gateway left unfinished.
    pub async fn recover(&self) -> anyhow::Result<()> {
        let recovered = self.services.runs.recover().await?;
        if recovered != Default::default() {
            tracing::info!(
                resumed = recovered.resumed,
                requeued = recovered.requeued,
                ended = recovered.ended,
                "unfinished runs were taken up"
            );
        }
        Ok(())
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

    /// Accepts on all listeners, and tells other programs of this machine where.
    pub fn serve(&self, bound: &[Bound]) -> anyhow::Result<(Running, Connections)> {
        let metrics = self.metrics.clone();
        let surface = compose::surface(&self.services, &self.configuration, Arc::new(move || metrics.render()));
        let url = |dialect: DialectName| bound.iter().find(|bound| bound.dialect == dialect).map(Bound::url);
        let running = Running {
            pid: std::process::id(),
            aleph: url(DialectName::Aleph),
            comis: url(DialectName::Comis),
            argent: url(DialectName::Argent),
        };
        self.services.cluster.listens_at(json!({
            "aleph": running.aleph, "comis": running.comis, "argent": running.argent,
        }));
        let connections =
            surface.serve(bound, &self.services.lifecycle).context("the listeners cannot be accepted on")?;
        self.home.write_running(&running).context("cannot write gateway.json")?;
        self.watch_configuration();
        self.keep_house();
        Ok((running, connections))
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
        let grace = self.drain();
        self.services.lifecycle.drain();
        let grace_ms = millis(grace);
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
        self.say_goodbye().await;
        self.store.close().await;
        self.home.clear_running(std::process::id());
        self.services.lifecycle.farewells_said(FAREWELL_LIMIT).await;
    }

    /// How long turns and answers may go on when the gateway ends, as it is configured.
    pub fn drain(&self) -> Duration {
        Duration::from_secs(self.services.runs.limits().drain_secs)
    }

    /// Makes way for another gateway on the same store and listeners, and loses no call on the way:
    /// clients are told to connect anew, answers that are being given get `drain` to end, turns stop
    /// at their last written step. The store is closed when this returns.
    pub async fn leave(self, connections: &Connections, drain: Duration) -> Left {
        self.let_go(connections, drain).await;
        self.services.cluster.close().await;
        self.store.close().await;
        Left { lifecycle: self.services.lifecycle.clone() }
    }

    /// Makes way for the other nodes of its cluster in the same manner: they go on with its turns.
    pub async fn hand_on(self, connections: &Connections, drain: Duration) -> Left {
        self.let_go(connections, drain).await;
        self.say_goodbye().await;
        self.store.close().await;
        Left { lifecycle: self.services.lifecycle.clone() }
    }

    /// Without it the others would find out by themselves, when the lease is over.
    async fn say_goodbye(&self) {
        if let Err(error) = self.services.cluster.leave().await {
            tracing::warn!(%error, "the cluster was not told that this node leaves");
        }
    }

    async fn let_go(&self, connections: &Connections, drain: Duration) {
        let Services { lifecycle, bus, clock, .. } = &*self.services;
        let unanswered = connections.let_go(lifecycle, drain).await;
        if unanswered > 0 {
            tracing::info!(unanswered, "some answers did not end in time and are cut");
        }
        bus.publish_ephemeral(clock.now(), false, || Event::ShuttingDown {
            reason: String::from("gateway restarting"),
            restart_expected_ms: Some(millis(RESTART_EXPECTED)),
            grace_ms: 0,
        });
        if !lifecycle.halt(HALT_LIMIT).await {
            tracing::warn!("some tasks did not end in time");
        }
    }

    /// Ends at once, as after a crash, but in order: for a gateway that nobody was served by.
    pub async fn withdraw(self) {
        if !self.services.lifecycle.halt(HALT_LIMIT).await {
            tracing::warn!("some tasks did not end in time");
        }
        self.store.close().await;
    }
}

/// What is left of a gateway that made way.
pub struct Left {
    lifecycle: services::Lifecycle,
}

impl Left {
    /// Lets the last clients hear that their connection is closed.
    pub async fn farewell(self) {
        self.lifecycle.farewells_said(FAREWELL_LIMIT).await;
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
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
