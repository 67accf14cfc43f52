//! The events that a connection is told: of the bus, and of single runs.

use events::{Delivery, LogError, Subscription};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use services::runs::{FollowItem, RunFollower};

/// Events that go out with one write.
pub const BATCH_MAX: usize = 64;

/// Runs that one connection follows by itself at a time. The bound on calls in flight keeps clients far
/// below it; one that starts more runs than it lets end follows the first of them.
const FOLLOWED_MAX: usize = 64;

/// What became of waiting for an event, and the subscription back.
type Heard = (Box<Subscription>, Result<Delivery, LogError>);

/// The subscription, if there is one; without one nothing is ever delivered. While it has nothing, it
/// is looked at when it wakes the connection only: all subscriptions share one lock.
#[derive(Default)]
pub(super) struct Following {
    /// It told something the last time and may have more.
    here: Option<Box<Subscription>>,
    waiting: FuturesUnordered<BoxFuture<'static, Heard>>,
}

impl Following {
    pub fn new(subscription: Option<Subscription>) -> Self {
        Self { here: subscription.map(Box::new), waiting: FuturesUnordered::new() }
    }

    /// `None` when the log cannot be read.
    pub async fn next(&mut self) -> Option<Delivery> {
        if let Some(mut subscription) = self.here.take() {
            if let Some(delivery) = subscription.try_next() {
                self.here = Some(subscription);
                return Some(delivery);
            }
            self.waiting.push(Box::pin(async move {
                let heard = subscription.next().await;
                (subscription, heard)
            }));
        }
        match self.waiting.next().await {
            Some(heard) => self.take(heard),
            None => std::future::pending().await,
        }
    }

    /// What can be told without waiting.
    pub fn try_next(&mut self) -> Option<Delivery> {
        if let Some(subscription) = &mut self.here {
            return subscription.try_next();
        }
        let heard = self.waiting.next().now_or_never()??;
        self.take(heard)
    }

    fn take(&mut self, (subscription, heard): Heard) -> Option<Delivery> {
        match heard {
            Ok(delivery) => {
                self.here = Some(subscription);
                Some(delivery)
            }
            Err(error) => {
                tracing::warn!(%error, cause = ?std::error::Error::source(&error), "a connection lost its place in the event log");
                None
            }
        }
    }
}

/// Runs that are followed, each until it is over.
#[derive(Default)]
pub(super) struct Followed {
    waiting: FuturesUnordered<BoxFuture<'static, (RunFollower, FollowItem)>>,
    /// What one of them had to tell, at most [`BATCH_MAX`]; empty between two looks.
    batch: Vec<FollowItem>,
}

impl Followed {
    pub fn add(&mut self, follower: RunFollower) {
        if self.waiting.len() < FOLLOWED_MAX {
            self.wait(follower);
        }
    }

    fn wait(&mut self, mut follower: RunFollower) {
        self.waiting.push(Box::pin(async move {
            let item = follower.next().await;
            (follower, item)
        }));
    }

    /// Waits until a run has something to tell; never when none is followed.
    pub async fn ready(&mut self) {
        let Some((mut follower, first)) = self.waiting.next().await else { return std::future::pending().await };
        let mut is_over = matches!(first, FollowItem::Over);
        self.batch.push(first);
        // Whatever is there already goes out with the same write.
        while !is_over
            && self.batch.len() < BATCH_MAX
            && let Some(item) = follower.try_next()
        {
            is_over = matches!(item, FollowItem::Over);
            self.batch.push(item);
        }
        if !is_over {
            self.wait(follower);
        }
    }

    pub fn take(&mut self, tell: impl FnMut(FollowItem)) {
        self.batch.drain(..).for_each(tell);
    }
}
