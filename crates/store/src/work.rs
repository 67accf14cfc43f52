//! How units of work reach a backend and their results come back.

use std::future::Future;

use model::Fence;
use tokio::sync::oneshot;

use crate::events::StoredEvent;
use crate::{Foresight, Snapshot, StoreError, Tx};

/// Called with the outcome once it is certain: after the commit, or after the rollback.
pub type Finish = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// What the backend does with a unit of work that has run.
pub enum Outcome {
    /// Keep the writes; `Finish` is told whether the commit held.
    Commit(Finish),
    /// Undo the writes of this unit alone.
    Rollback(Finish),
}

/// A unit of work. When the backend cannot run it at all, it calls the job with the error.
pub type WriteJob = Box<dyn FnOnce(Result<&dyn Tx, StoreError>) -> Outcome + Send>;

/// A read. When the backend cannot run it at all, it calls the job with the error.
pub type ReadJob = Box<dyn FnOnce(Result<&dyn Snapshot, StoreError>) + Send>;

/// Told of every committed event, in cursor order and before the writer learns of its commit.
pub trait Announce: Send + Sync {
    fn committed(&self, events: Vec<StoredEvent>);
}

/// A database of the gateway.
///
/// A backend runs units of work one after another, each inside a savepoint, and commits many
/// together; the queue before it is bounded and callers wait for a place in it.
#[async_trait::async_trait]
pub trait Store: Send + Sync + 'static {
    /// Queues a unit of work; returns once it has a place in the queue.
    async fn submit(&self, job: WriteJob);

    /// As [`Store::submit`], for a unit that says what it is about to ask for. A backend that has its
    /// database at hand has no use for that.
    async fn submit_foreseen(&self, job: WriteJob, foresight: Foresight) {
        drop(foresight);
        self.submit(job).await;
    }

    /// Queues a read; returns once it has a place in the queue.
    async fn submit_read(&self, job: ReadJob);

    /// Names who is told of committed events. Called once, before the first write.
    fn announce_to(&self, listener: std::sync::Arc<dyn Announce>);

    /// Names the node that writes from here on: once it was removed, each unit of work is answered
    /// with [`StoreError::FencedOff`]. Called once; before it, nothing is checked.
    fn write_as(&self, fence: Fence);

    /// Whether other nodes may write to the same database.
    fn is_shared(&self) -> bool;

    /// Finishes what is queued, refuses what comes after, and closes the database.
    async fn close(&self);

    /// For people: `sqlite:/home/ann/.patchbay/patchbay.db`; never holds a password.
    fn describe(&self) -> String;
}

impl dyn Store {
    /// Runs `work` as one unit: all of its writes are kept when it returns `Ok`, none when it
    /// returns `Err`. Resolves once the commit is on disk.
    ///
    /// Dropping the future does not undo work that was queued already.
    pub fn write<T, E, F>(&self, work: F) -> impl Future<Output = Result<T, E>> + Send + use<'_, T, E, F>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&dyn Tx) -> Result<T, E> + Send + 'static,
    {
        let (job, receiver) = unit(work);
        async move {
            self.submit(job).await;
            receiver.await.unwrap_or_else(|_| Err(abandoned().into()))
        }
    }

    /// As [`write`](Self::write), for a unit that says what it is about to ask for.
    pub fn write_foreseen<T, E, F>(
        &self,
        foresight: Foresight,
        work: F,
    ) -> impl Future<Output = Result<T, E>> + Send + use<'_, T, E, F>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&dyn Tx) -> Result<T, E> + Send + 'static,
    {
        let (job, receiver) = unit(work);
        async move {
            self.submit_foreseen(job, foresight).await;
            receiver.await.unwrap_or_else(|_| Err(abandoned().into()))
        }
    }

    /// Runs `query` over a consistent view.
    pub fn read<T, E, F>(&self, query: F) -> impl Future<Output = Result<T, E>> + Send + use<'_, T, E, F>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&dyn Snapshot) -> Result<T, E> + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let job: ReadJob = Box::new(move |snapshot| {
            let _ = sender.send(snapshot.map_err(E::from).and_then(query));
        });
        async move {
            self.submit_read(job).await;
            receiver.await.unwrap_or_else(|_| Err(abandoned().into()))
        }
    }
}

/// A function as a unit of work, and where its outcome will be told.
fn unit<T, E, F>(work: F) -> (WriteJob, oneshot::Receiver<Result<T, E>>)
where
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
    F: FnOnce(&dyn Tx) -> Result<T, E> + Send + 'static,
{
    let (sender, receiver) = oneshot::channel();
    let job: WriteJob = Box::new(move |tx| match tx.map_err(E::from).and_then(work) {
        Ok(value) => Outcome::Commit(Box::new(move |committed| {
            // A caller that went away does not undo its work.
            let _ = sender.send(committed.map(|()| value).map_err(E::from));
        })),
        Err(error) => Outcome::Rollback(Box::new(move |_| {
            let _ = sender.send(Err(error));
        })),
    });
    (job, receiver)
}

/// A backend answers every job, also when it is closed; only a panic inside the job drops its sender.
fn abandoned() -> StoreError {
    StoreError::Backend("the unit of work panicked and was undone".into())
}
