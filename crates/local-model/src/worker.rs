//! A dedicated thread for a model: loaded at the first job, given back after an idle time.
//!
//! Jobs run one after the other: a second model run beside the first would only slow both. The thread, and
//! those of its pool, run at low priority.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::priority::{lower_priority, pool, threads_for};

/// Jobs that wait behind the running one. When the queue is full a job is refused at once, and the caller
/// says so to its client: an answer takes seconds, so a longer queue would only hide that.
pub const QUEUE_JOBS_MAX: usize = 16;

/// By then the allocator considers freed pages as not coming back.
const SETTLE_AFTER: Duration = Duration::from_millis(1500);
/// Large enough to go past the allocator's small-block paths.
const NUDGE_BYTES: usize = 64 << 20;

/// What a worker does; lives on its thread.
pub trait Service: Send + 'static {
    type Job: Send;

    /// Does one job, loading what it needs. Looks at `stop` now and then, and gives up when it is set.
    fn handle(&mut self, job: Self::Job, stop: &AtomicBool);

    fn is_loaded(&self) -> bool;

    /// Gives all memory back.
    fn unload(&mut self);
}

#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    Full,
    /// The thread could not be started.
    Dead,
}

pub struct Worker<S: Service> {
    name: &'static str,
    /// 0 = all cores but one.
    threads: usize,
    idle: Duration,
    stop: Arc<AtomicBool>,
    state: Mutex<State<S>>,
}

enum State<S: Service> {
    /// No job came yet: there is no thread.
    Fresh(S),
    Running {
        jobs: SyncSender<S::Job>,
        thread: JoinHandle<()>,
    },
    Dead,
}

impl<S: Service> Worker<S> {
    /// Starts nothing yet.
    pub fn new(name: &'static str, threads: usize, idle: Duration, service: S) -> Self {
        Self { name, threads, idle, stop: Arc::default(), state: Mutex::new(State::Fresh(service)) }
    }

    /// Never waits.
    pub fn submit(&self, job: S::Job) -> Result<(), Refused> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Fresh(_) = *state {
            let State::Fresh(service) = std::mem::replace(&mut *state, State::Dead) else { return Err(Refused::Dead) };
            *state = self.start(service);
        }
        let State::Running { jobs, .. } = &*state else { return Err(Refused::Dead) };
        jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => Refused::Full,
            TrySendError::Disconnected(_) => Refused::Dead,
        })
    }

    fn start(&self, service: S) -> State<S> {
        let (jobs, queue) = sync_channel(QUEUE_JOBS_MAX);
        let (name, threads, idle, stop) = (self.name, threads_for(self.threads), self.idle, Arc::clone(&self.stop));
        let main = move || {
            // First of all, for threads inherit it: those of the pool, and those that candle starts by itself.
            lower_priority();
            match pool(name, threads) {
                // On a thread of the pool, so that parallel parts need no hand-over.
                Ok(pool) => pool.install(move || run(service, &queue, idle, &stop)),
                Err(error) => tracing::error!(%error, "the threads of the embedded model could not be started"),
            }
        };
        match std::thread::Builder::new().name(name.to_owned()).spawn(main) {
            Ok(thread) => State::Running { jobs, thread },
            Err(error) => {
                tracing::error!(%error, "the thread of the embedded model could not be started");
                State::Dead
            }
        }
    }
}

/// Stops the running job at its next token and waits for the thread.
impl<S: Service> Drop for Worker<S> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let State::Running { jobs, thread } = std::mem::replace(state, State::Dead) {
            drop(jobs);
            let _ = thread.join();
        }
    }
}

fn run<S: Service>(mut service: S, queue: &Receiver<S::Job>, idle: Duration, stop: &AtomicBool) {
    // Weights came or went, and the allocator still holds pages that nobody uses.
    let mut unsettled = false;
    loop {
        let wait = if unsettled { Some(idle.min(SETTLE_AFTER)) } else { service.is_loaded().then_some(idle) };
        let next = match wait {
            Some(wait) => queue.recv_timeout(wait),
            None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match next {
            Ok(_) | Err(RecvTimeoutError::Disconnected) if stop.load(Ordering::Relaxed) => return,
            Ok(job) => {
                let was_loaded = service.is_loaded();
                if catch_unwind(AssertUnwindSafe(|| service.handle(job, stop))).is_err() {
                    tracing::error!("the embedded model panicked and is loaded anew for the next request");
                    service.unload();
                }
                unsettled |= was_loaded != service.is_loaded();
            }
            Err(RecvTimeoutError::Timeout) if unsettled => {
                nudge_allocator();
                unsettled = false;
            }
            Err(RecvTimeoutError::Timeout) => {
                service.unload();
                unsettled = true;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// mimalloc gives freed pages back to the system a while later, but only when something else is allocated or
/// freed at that level; in an idle process nothing is, and hundreds of megabytes would stay. So something is:
/// a block that is never touched, and therefore costs nothing. Other allocators do not mind.
fn nudge_allocator() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(NUDGE_BYTES)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::{oneshot, watch};

    /// Answers 1, 2, 3 …; loaded from the first job until unloaded.
    struct Counter {
        count: u32,
        loaded: watch::Sender<bool>,
    }

    enum Ask {
        Count(oneshot::Sender<u32>),
        /// Tells that it began, then waits to be let go.
        Hold(oneshot::Sender<()>, oneshot::Receiver<()>),
        Panic,
    }

    impl Service for Counter {
        type Job = Ask;

        fn handle(&mut self, job: Ask, _stop: &AtomicBool) {
            self.loaded.send_replace(true);
            match job {
                Ask::Count(answer) => {
                    self.count += 1;
                    let _ = answer.send(self.count);
                }
                Ask::Hold(began, release) => {
                    let _ = began.send(());
                    let _ = release.blocking_recv();
                }
                Ask::Panic => panic!("as asked"),
            }
        }

        fn is_loaded(&self) -> bool {
            *self.loaded.borrow()
        }

        fn unload(&mut self) {
            self.count = 0;
            self.loaded.send_replace(false);
        }
    }

    fn worker(idle_ms: u64) -> (Worker<Counter>, watch::Receiver<bool>) {
        let (loaded, watch) = watch::channel(false);
        (Worker::new("test", 1, Duration::from_millis(idle_ms), Counter { count: 0, loaded }), watch)
    }

    async fn count(worker: &Worker<Counter>) -> u32 {
        let (answer, wait) = oneshot::channel();
        worker.submit(Ask::Count(answer)).unwrap();
        wait.await.unwrap()
    }

    #[tokio::test]
    async fn it_is_loaded_by_the_first_job_and_unloaded_after_the_idle_time() {
        let (worker, mut loaded) = worker(20);
        assert!(!*loaded.borrow());
        assert_eq!(count(&worker).await, 1);
        loaded.wait_for(|loaded| !loaded).await.unwrap();
        assert_eq!(count(&worker).await, 1);
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once_and_a_panic_costs_one_job() {
        let (worker, _loaded) = worker(60_000);
        let (began, wait) = oneshot::channel();
        let (release, hold) = oneshot::channel();
        worker.submit(Ask::Hold(began, hold)).unwrap();
        wait.await.unwrap();
        for _ in 0..QUEUE_JOBS_MAX {
            worker.submit(Ask::Panic).unwrap();
        }
        let (answer, _) = oneshot::channel();
        assert_eq!(worker.submit(Ask::Count(answer)), Err(Refused::Full));
        release.send(()).unwrap();
        loop {
            let (answer, wait) = oneshot::channel();
            if worker.submit(Ask::Count(answer)).is_ok() {
                assert_eq!(wait.await.unwrap(), 1);
                break;
            }
            tokio::task::yield_now().await;
        }
    }
}
