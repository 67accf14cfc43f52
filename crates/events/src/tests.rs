use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use model::{Cursor, Envelope, Event, Timestamp};
use proptest::prelude::*;

use crate::{Bounds, Delivery, EventBus, LIVE_BYTES_MAX, LIVE_EVENTS_MAX, Log, LogError};

/// A log in memory, written before the bus is told, as a store would.
#[derive(Default)]
struct TemporaryLog {
    events: Mutex<Vec<(Cursor, Event)>>,
    pruned_to: Mutex<u64>,
    /// Behind which events it was asked for a page.
    asked: Mutex<Vec<u64>>,
}

#[async_trait]
impl Log for TemporaryLog {
    async fn page(&self, after: Cursor, limit: u32) -> Result<Vec<Arc<Envelope>>, LogError> {
        self.asked.lock().unwrap().push(after.0);
        let oldest = *self.pruned_to.lock().unwrap();
        let events = self.events.lock().unwrap();
        let page = events
            .iter()
            .filter(|(cursor, _)| *cursor > after && cursor.0 > oldest)
            .take(limit as usize)
            .map(|(cursor, event)| Arc::new(Envelope::durable(*cursor, Timestamp::from_ms(0), event.clone())))
            .collect();
        Ok(page)
    }

    async fn bounds(&self) -> Result<Bounds, LogError> {
        let newest = self.events.lock().unwrap().last().map_or(Cursor(0), |(cursor, _)| *cursor);
        Ok(Bounds { oldest: Cursor(*self.pruned_to.lock().unwrap() + 1), newest })
    }
}

struct Fixture {
    log: Arc<TemporaryLog>,
    bus: EventBus,
}

impl Fixture {
    fn new() -> Self {
        let log = Arc::new(TemporaryLog::default());
        Self { bus: EventBus::new(Arc::clone(&log) as Arc<dyn Log>, Cursor(0)), log }
    }

    fn durable(&self, count: u64) {
        for _ in 0..count {
            let cursor = self.bus.newest().next();
            let event = Event::TokenRevoked { token_id: model::TokenId::trusted(format!("tok_{}", cursor.0)) };
            self.log.events.lock().unwrap().push((cursor, event.clone()));
            self.bus.publish_durable([(cursor, Timestamp::from_ms(0), event)]);
        }
    }

    /// Two of these are as much as the bus keeps.
    fn long(&self, count: u64) {
        for _ in 0..count {
            let cursor = self.bus.newest().next();
            let changed_keys = vec!["x".repeat(LIVE_BYTES_MAX / 2)];
            let event = Event::ConfigChanged { changed_keys, source: cursor.0.to_string() };
            self.log.events.lock().unwrap().push((cursor, event.clone()));
            self.bus.publish_durable([(cursor, Timestamp::from_ms(0), event)]);
        }
    }

    /// Puts events behind `last` into the log, and tells nobody.
    fn commit(&self, last: u64, count: u64) -> Vec<(Cursor, Timestamp, Event)> {
        let events = (last + 1..=last + count).map(|number| {
            (Cursor(number), Event::TokenRevoked { token_id: model::TokenId::trusted(format!("tok_{number}")) })
        });
        let events: Vec<_> = events.collect();
        self.log.events.lock().unwrap().extend(events.iter().cloned());
        events.into_iter().map(|(cursor, event)| (cursor, Timestamp::from_ms(0), event)).collect()
    }

    /// Reads a page of what is missing, as a node does that hears of it.
    async fn catch_up(&self, limit: u32) {
        if let Some(after) = self.bus.missing() {
            let page = self.log.page(after, limit).await.unwrap();
            self.bus.publish_durable(page.iter().map(|read| (read.position, read.at, read.event.clone())));
        }
    }

    fn ephemeral(&self, count: u64) {
        for version in 0..count {
            self.bus.publish_ephemeral(Timestamp::from_ms(0), false, || Event::HealthChanged { version });
        }
    }
}

/// Reads until the listener has caught up with the bus.
async fn drain(subscription: &mut crate::Subscription, bus: &EventBus) -> (Vec<u64>, u64, u64) {
    let (mut cursors, mut ephemeral, mut dropped) = (Vec::new(), 0, 0);
    loop {
        let delivery = match subscription.try_next() {
            Some(delivery) => delivery,
            None if subscription.cursor() < bus.newest() => subscription.next().await.unwrap(),
            None => break,
        };
        match delivery {
            Delivery::Event(envelope) => match envelope.cursor {
                Some(cursor) => cursors.push(cursor.0),
                None => {
                    assert!(
                        cursors.last().copied().unwrap_or(envelope.position.0) == envelope.position.0,
                        "an ephemeral event comes right after the durable one it followed"
                    );
                    ephemeral += 1;
                }
            },
            Delivery::Dropped(count) => dropped += count,
            Delivery::Resync { .. } | Delivery::Closed => panic!("no reason for {delivery:?}"),
        }
    }
    (cursors, ephemeral, dropped)
}

#[tokio::test]
async fn a_slow_reader_loses_ephemeral_events_only_and_is_told_how_many() {
    let fixture = Fixture::new();
    let mut subscription = fixture.bus.subscribe(None);
    let rounds = LIVE_EVENTS_MAX as u64;
    for _ in 0..rounds {
        fixture.durable(1);
        fixture.ephemeral(1);
    }
    let (cursors, ephemeral, dropped) = drain(&mut subscription, &fixture.bus).await;
    assert_eq!(cursors, (1..=rounds).collect::<Vec<_>>());
    assert!(ephemeral < rounds);
    assert_eq!(ephemeral + dropped, rounds);
}

#[tokio::test]
async fn a_cursor_outside_of_the_log_gets_a_resync_and_then_live_events() {
    let fixture = Fixture::new();
    fixture.durable(3000);
    *fixture.log.pruned_to.lock().unwrap() = 1000;
    for (after, oldest) in [(5, 1001), (9_999_999, 1001)] {
        let mut subscription = fixture.bus.subscribe(Some(Cursor(after)));
        let first = subscription.next().await.unwrap();
        let newest = fixture.bus.newest();
        assert!(
            matches!(first, Delivery::Resync { oldest: o, newest: n } if o == Cursor(oldest) && n == newest),
            "{first:?}"
        );
        fixture.durable(1);
        let second = subscription.next().await.unwrap();
        assert!(matches!(second, Delivery::Event(e) if e.cursor == Some(newest.next())));
    }
}

#[tokio::test]
async fn the_next_page_is_read_while_one_is_delivered() {
    let fixture = Fixture::new();
    fixture.durable(3000);
    let mut subscription = fixture.bus.subscribe(Some(Cursor(0)));
    let first = subscription.next().await.unwrap();
    assert!(matches!(first, Delivery::Event(event) if event.cursor == Some(Cursor(1))));
    assert_eq!(*fixture.log.asked.lock().unwrap(), [0, 256]);
    assert_eq!(drain(&mut subscription, &fixture.bus).await.0, (2..=3000).collect::<Vec<_>>());
    assert_eq!(*fixture.log.asked.lock().unwrap(), (0..12).map(|page| 256 * page).collect::<Vec<_>>(), "none twice");
}

#[tokio::test]
async fn long_events_are_read_from_the_log_by_who_comes_back() {
    let fixture = Fixture::new();
    let long = |number: u64| Event::ConfigChanged {
        changed_keys: vec!["x".repeat(LIVE_BYTES_MAX / 20)],
        source: number.to_string(),
    };
    for number in 1..=60 {
        fixture.log.events.lock().unwrap().push((Cursor(number), long(number)));
        fixture.bus.publish_durable([(Cursor(number), Timestamp::from_ms(0), long(number))]);
    }
    for after in [0, 39, 40, 59, 60] {
        let mut subscription = fixture.bus.subscribe(Some(Cursor(after)));
        assert_eq!(drain(&mut subscription, &fixture.bus).await.0, (after + 1..=60).collect::<Vec<_>>());
    }
}

proptest! {
    /// A node publishes its own events at once and those of others as it reads them: listeners get all
    /// of them once, in order, and what was ephemeral right behind the durable one it followed.
    #[test]
    fn events_of_several_nodes_are_put_in_order(
        steps in proptest::collection::vec((any::<bool>(), 1_u64..6, 0_u64..3, any::<bool>()), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let fixture = Fixture::new();
            let mut subscription = fixture.bus.subscribe(None);
            let mut last = 0;
            for (is_own, count, ephemeral, reads) in steps {
                let events = fixture.commit(last, count);
                last += count;
                if is_own {
                    assert_eq!(fixture.bus.publish_durable(events).len() as u64, count);
                } else {
                    fixture.bus.note_committed(Cursor(last));
                }
                fixture.ephemeral(ephemeral);
                if reads {
                    fixture.catch_up(1 + count as u32).await;
                }
            }
            while fixture.bus.missing().is_some() {
                fixture.catch_up(256).await;
            }
            assert_eq!(drain(&mut subscription, &fixture.bus).await.0, (1..=last).collect::<Vec<_>>());
        });
    }

    /// Whatever the interleaving of publishing, subscribing, reading and lagging: each durable event once, in order.
    #[test]
    fn each_durable_event_arrives_once_and_in_order(
        steps in proptest::collection::vec((0_u8..5, 1_u64..1500), 1..12),
        start in 0_u64..2000,
        before in 0_u64..2000,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let fixture = Fixture::new();
            fixture.durable(before);
            let start = start.min(before);
            let mut subscription = fixture.bus.subscribe(Some(Cursor(start)));
            let mut seen = Vec::new();
            for (kind, count) in steps {
                match kind {
                    0 => fixture.durable(count),
                    1 => fixture.ephemeral(count),
                    2 => { fixture.ephemeral(count); fixture.durable(1); fixture.ephemeral(count); }
                    3 => fixture.long(count % 4),
                    _ => seen.extend(drain(&mut subscription, &fixture.bus).await.0),
                }
            }
            seen.extend(drain(&mut subscription, &fixture.bus).await.0);
            assert_eq!(seen, (start + 1..=fixture.bus.newest().0).collect::<Vec<_>>());
        });
    }
}
