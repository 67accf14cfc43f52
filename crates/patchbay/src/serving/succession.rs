//! Taking the place of another process.

use anyhow::anyhow;
use server::settings::ListenSettings;

use super::process::{Active, Process, Started};
use super::signals::Signals;
use crate::compose;
use crate::handover::Successor;

impl Process {
    /// Serves in place of the process that gave its sockets, or fails and leaves everything to it.
    pub async fn take_over(
        &mut self,
        mut successor: Successor,
        listen: Vec<ListenSettings>,
    ) -> anyhow::Result<Started> {
        // Besides those of the process, which may be asked for only when it serves.
        let mut signals = Signals::new()?;
        let taken = tokio::select! {
            taken = self.succeed(&mut successor, listen) => taken,
            () = signals.stop() => Err(anyhow!("stopped before it served")),
        };
        match taken {
            Ok(active) => {
                self.open_desk();
                successor.serving().await;
                Ok(Started::Serving(active))
            }
            Err(error) => {
                successor.failed(&format!("{error:#}")).await;
                Err(error.context("the running gateway goes on"))
            }
        }
    }

    async fn succeed(&mut self, successor: &mut Successor, listen: Vec<ListenSettings>) -> anyhow::Result<Active> {
        let known = compose::schema_version();
        if successor.schema > known {
            return Err(anyhow!(
                "the database has schema version {}, this program knows up to {known}",
                successor.schema
            ));
        }
        let settings = self.prepared.live.current();
        let kept = successor.kept_listeners().filter(|_| listen.is_empty());
        self.from_flags = kept.is_some() || !listen.is_empty();
        let listeners = match kept {
            Some(kept) => kept,
            None if listen.is_empty() => settings.listen.clone(),
            None => listen,
        };
        let (bound, unused) = server::adopt(&listeners, successor.take_sockets(), settings.auth.required)?;
        for socket in &unused {
            tracing::info!(address = ?socket.listener.local_addr().ok(), "no listener is configured there any more");
        }
        self.bound = bound;
        let models = self.prepared.models()?;
        successor.prepared().await?;
        let store = compose::store(&settings, self.prepared.home.path())?;
        let gateway = self.begin(models, store).await?;
        match successor.ready().await {
            Ok(()) => self.accept(gateway),
            Err(error) => {
                gateway.withdraw().await;
                Err(error)
            }
        }
    }
}
