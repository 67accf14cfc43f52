//! One turn at a time per session: who is active, who waits, who holds the session still.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::{Cursor, RunId, SessionKey};
use tokio::sync::Notify;

#[derive(Default)]
pub(crate) struct Mailboxes {
    /// Only sessions with something in them; bounded by the queue limit of each.
    boxes: Mutex<HashMap<SessionKey, Mailbox>>,
    freed: Notify,
}

#[derive(Default)]
struct Mailbox {
    active: Option<RunId>,
    /// The active run has said all it had to say; what remains is to put it away.
    is_ending: bool,
    waiting: VecDeque<Waiting>,
    /// Somebody changes the session; no run starts.
    held: bool,
    /// So many wait for the active run to end so that they can change the session; they go before the runs that wait.
    wishes: usize,
}

struct Waiting {
    run: RunId,
    /// Where the log says that it was accepted; `None` while it is being written down.
    accepted: Option<Cursor>,
    /// The answer to the caller is on its way, and the run is written down.
    released: bool,
}

impl Mailboxes {
    /// Takes a place at the end of the session's queue; gives whether something is ahead, or
    /// `None` when `limit` runs wait already.
    pub(crate) fn enqueue(&self, key: &SessionKey, run: &RunId, limit: usize) -> Option<bool> {
        let mut boxes = self.lock();
        let mailbox = boxes.entry(key.clone()).or_default();
        let is_busy = mailbox.active.is_some() && !mailbox.is_ending;
        let is_behind = is_busy || !mailbox.waiting.is_empty() || mailbox.held || mailbox.wishes > 0;
        if is_behind && mailbox.waiting.len() >= limit {
            return None;
        }
        mailbox.waiting.push_back(Waiting { run: run.clone(), accepted: None, released: false });
        Some(is_behind)
    }

    /// A waiting run is in the log: those of a session start in the order in which they were accepted,
    /// by this node or another one. One that is still being written down will be behind it there.
    pub(crate) fn written(&self, key: &SessionKey, run: &RunId, cursor: Cursor) {
        let mut boxes = self.lock();
        let Some(mailbox) = boxes.get_mut(key) else { return };
        if let Some(waiting) = mailbox.waiting.iter_mut().find(|waiting| waiting.run == *run) {
            waiting.accepted = Some(cursor);
            mailbox.waiting.make_contiguous().sort_by_key(|waiting| waiting.accepted.map_or(u64::MAX, |at| at.0));
        }
    }

    /// Marks a waiting run as ready to start.
    pub(crate) fn release(&self, key: &SessionKey, run: &RunId) {
        let mut boxes = self.lock();
        if let Some(waiting) =
            boxes.get_mut(key).and_then(|mailbox| mailbox.waiting.iter_mut().find(|waiting| waiting.run == *run))
        {
            waiting.released = true;
        }
    }

    /// Makes the first waiting run active when it is ready and nothing stands in its way.
    pub(crate) fn next(&self, key: &SessionKey) -> Option<RunId> {
        let mut boxes = self.lock();
        let mailbox = boxes.get_mut(key)?;
        if mailbox.active.is_some() || mailbox.held || mailbox.wishes > 0 || !mailbox.waiting.front()?.released {
            return None;
        }
        let run = mailbox.waiting.pop_front()?.run;
        mailbox.active = Some(run.clone());
        mailbox.is_ending = false;
        Some(run)
    }

    /// Takes a run that has not started out of the queue; `false` when it is not there (any more).
    pub(crate) fn withdraw(&self, key: &SessionKey, run: &RunId) -> bool {
        let mut boxes = self.lock();
        let Some(mailbox) = boxes.get_mut(key) else { return false };
        let before = mailbox.waiting.len();
        mailbox.waiting.retain(|waiting| waiting.run != *run);
        let withdrawn = mailbox.waiting.len() < before;
        remove_empty(&mut boxes, key);
        withdrawn
    }

    /// The end of the active run is about to be told: whoever hears of it finds the session free.
    pub(crate) fn ending(&self, key: &SessionKey, run: &RunId) {
        let mut boxes = self.lock();
        if let Some(mailbox) = boxes.get_mut(key)
            && mailbox.active.as_ref() == Some(run)
        {
            mailbox.is_ending = true;
        }
    }

    /// The active run is over.
    pub(crate) fn done(&self, key: &SessionKey, run: &RunId) {
        let mut boxes = self.lock();
        if let Some(mailbox) = boxes.get_mut(key)
            && mailbox.active.as_ref() == Some(run)
        {
            mailbox.active = None;
        }
        remove_empty(&mut boxes, key);
        drop(boxes);
        self.freed.notify_waiters();
    }

    /// The active run, then the waiting ones in order.
    pub(crate) fn unfinished(&self, key: &SessionKey) -> Vec<RunId> {
        let boxes = self.lock();
        boxes.get(key).map_or_else(Vec::new, |mailbox| {
            mailbox.active.iter().chain(mailbox.waiting.iter().map(|waiting| &waiting.run)).cloned().collect()
        })
    }

    /// From here on no run starts before whoever wishes it has held the session, or has given up.
    pub(crate) fn wish(&self, key: &SessionKey) {
        self.lock().entry(key.clone()).or_default().wishes += 1;
    }

    pub(crate) fn unwish(&self, key: &SessionKey) {
        let mut boxes = self.lock();
        if let Some(mailbox) = boxes.get_mut(key) {
            mailbox.wishes -= 1;
        }
        remove_empty(&mut boxes, key);
    }

    /// Waits until no run is active and nobody else holds the session, then holds it; `false` when the time is up first.
    pub(crate) async fn hold(&self, key: &SessionKey, limit: Duration) -> bool {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            {
                let mut boxes = self.lock();
                let mailbox = boxes.entry(key.clone()).or_default();
                if mailbox.active.is_none() && !mailbox.held {
                    mailbox.held = true;
                    return true;
                }
            }
            if tokio::time::timeout_at(deadline, freed).await.is_err() {
                return false;
            }
        }
    }

    /// The session is not held any more.
    pub(crate) fn let_go(&self, key: &SessionKey) {
        let mut boxes = self.lock();
        if let Some(mailbox) = boxes.get_mut(key) {
            mailbox.held = false;
        }
        remove_empty(&mut boxes, key);
        drop(boxes);
        self.freed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionKey, Mailbox>> {
        self.boxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn remove_empty(boxes: &mut HashMap<SessionKey, Mailbox>, key: &SessionKey) {
    let is_empty = |mailbox: &Mailbox| {
        mailbox.active.is_none() && mailbox.waiting.is_empty() && !mailbox.held && mailbox.wishes == 0
    };
    if boxes.get(key).is_some_and(is_empty) {
        boxes.remove(key);
    }
}
