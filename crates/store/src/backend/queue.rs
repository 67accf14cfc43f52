//! A bounded queue between async callers and plain threads.
//!
//! Callers wait for a place without holding their thread; workers wait on a condition variable and
//! may take many items at once, which is what makes one commit serve many callers.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

#[derive(Debug)]
pub struct Queue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
    /// Free places. When there is none, `push` waits for a worker to take something.
    places: Semaphore,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    /// Workers asleep in `take`.
    idle: usize,
    closed: bool,
}

/// How an item was queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queued {
    /// A worker that slept was woken for it.
    Handed,
    /// All workers are busy: it waits until one of them is done.
    Waiting,
}

impl<T> Queue<T> {
    /// A queue of `places` items.
    pub fn new(places: usize) -> Self {
        let state = State { items: VecDeque::new(), idle: 0, closed: false };
        Self { state: Mutex::new(state), filled: Condvar::new(), places: Semaphore::new(places.max(1)) }
    }

    /// Waits for a place; gives the item back when the queue is closed.
    pub async fn push(&self, item: T) -> Result<Queued, T> {
        let Ok(place) = self.places.acquire().await else {
            return Err(item);
        };
        let queued = {
            let mut state = self.lock();
            if state.closed {
                return Err(item);
            }
            state.items.push_back(item);
            if state.idle >= state.items.len() { Queued::Handed } else { Queued::Waiting }
        };
        // `take` gives the place back.
        place.forget();
        self.filled.notify_one();
        Ok(queued)
    }

    /// Sleeps until there is something, then moves up to `max` items to `into`.
    /// Gives `false` once the queue is closed and empty.
    pub fn take(&self, max: usize, into: &mut VecDeque<T>) -> bool {
        let mut state = self.lock();
        while state.items.is_empty() {
            if state.closed {
                return false;
            }
            state.idle += 1;
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
        self.move_items(state, max, into);
        true
    }

    /// As [`Queue::take`], but gives `true` with nothing taken once it has slept for `wait`.
    pub fn take_within(&self, wait: Duration, max: usize, into: &mut VecDeque<T>) -> bool {
        let mut state = self.lock();
        if state.items.is_empty() && !state.closed {
            state.idle += 1;
            state = self.filled.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
            state.idle -= 1;
        }
        let is_over = state.items.is_empty() && state.closed;
        self.move_items(state, max, into);
        !is_over
    }

    /// Moves what there is, up to `max` items, without waiting.
    pub fn take_now(&self, max: usize, into: &mut VecDeque<T>) {
        self.move_items(self.lock(), max, into);
    }

    fn move_items(&self, mut state: MutexGuard<'_, State<T>>, max: usize, into: &mut VecDeque<T>) {
        let count = state.items.len().min(max);
        into.extend(state.items.drain(..count));
        drop(state);
        self.places.add_permits(count);
    }

    /// Refuses further items; what is queued can still be taken.
    pub fn close(&self) {
        self.lock().closed = true;
        self.places.close();
        self.filled.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn a_full_queue_makes_callers_wait_and_a_closed_one_refuses_them() {
        let queue = Arc::new(Queue::new(2));
        assert_eq!(queue.push(1).await, Ok(Queued::Waiting));
        assert_eq!(queue.push(2).await, Ok(Queued::Waiting));
        let late = tokio::spawn({
            let queue = Arc::clone(&queue);
            async move { queue.push(3).await }
        });
        tokio::task::yield_now().await;
        assert!(!late.is_finished(), "there is no third place");

        let mut taken = VecDeque::new();
        assert!(queue.take(1, &mut taken));
        assert_eq!(late.await.expect("not cancelled"), Ok(Queued::Waiting));
        queue.close();
        assert_eq!(queue.push(4).await, Err(4));
        assert!(queue.take(8, &mut taken));
        assert_eq!(taken, [1, 2, 3]);
        assert!(!queue.take(8, &mut taken), "closed and empty");
    }

    #[tokio::test]
    async fn who_waits_for_a_while_is_told_of_nothing_of_items_and_of_the_end() {
        let queue = Queue::new(2);
        let mut taken = VecDeque::new();
        assert!(queue.take_within(Duration::from_millis(1), 8, &mut taken), "it goes on");
        assert!(taken.is_empty());
        assert_eq!(queue.push(1).await, Ok(Queued::Waiting), "nobody is taken for asleep");
        queue.close();
        assert!(queue.take_within(Duration::MAX, 8, &mut taken));
        assert_eq!(taken, [1]);
        assert!(!queue.take_within(Duration::MAX, 8, &mut taken), "closed and empty");
    }
}
