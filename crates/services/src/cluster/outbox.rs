//! What waits to be said to the other nodes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use events::Link;
use model::{Cursor, Fence, RunId};
use tokio::sync::Notify;

use super::wire::{Item, Message, RemoteText};

/// Pieces of text that wait; beyond it they are dropped, and the reader asks for the whole.
const TEXTS_MAX: usize = 8192;
/// A longer piece is split: so one fits into every kind of message, whatever of it must be escaped.
const PIECE_BYTES: usize = 1024;

/// Collects what is said between two sends, so that a busy node sends few and large messages.
pub(crate) struct Outbox {
    me: Fence,
    cluster: String,
    waiting: Mutex<Waiting>,
    filled: Notify,
}

#[derive(Default)]
struct Waiting {
    items: Vec<Item>,
    /// The newest cursor, told behind all that waits.
    log: Option<Cursor>,
}

impl Outbox {
    pub(super) fn new(me: Fence, cluster: &str) -> Self {
        Self { me, cluster: cluster.to_owned(), waiting: Mutex::default(), filled: Notify::new() }
    }

    pub(crate) fn log(&self, cursor: Cursor) {
        let mut waiting = self.lock();
        waiting.log = waiting.log.max(Some(cursor));
        drop(waiting);
        self.filled.notify_one();
    }

    pub(crate) fn go(&self, run: RunId) {
        self.put(Item::Go { run });
    }

    pub(crate) fn ask(&self, run: RunId) {
        self.put(Item::Ask { run });
    }

    pub(crate) fn text(&self, mut text: RemoteText) {
        while text.text.len() > PIECE_BYTES {
            let rest = text.text.split_off(text.text.floor_char_boundary(PIECE_BYTES));
            let start = text.start + text.text.len();
            let next = RemoteText { start, text: rest, run: text.run.clone(), ..text };
            self.put(Item::Text(std::mem::replace(&mut text, next)));
        }
        self.put(Item::Text(text));
    }

    fn put(&self, item: Item) {
        let mut waiting = self.lock();
        if waiting.items.len() >= TEXTS_MAX {
            metrics::counter!("patchbay_bus_dropped_total").increment(1);
            return;
        }
        waiting.items.push(item);
        drop(waiting);
        self.filled.notify_one();
    }

    /// Sends what waits, for as long as it is polled.
    pub(super) async fn send_all(&self, link: &Arc<dyn Link>) -> ! {
        loop {
            self.filled.notified().await;
            while let Some(message) = self.next(link.message_max()) {
                match link.send(message).await {
                    Ok(()) => metrics::counter!("patchbay_bus_messages_total", "direction" => "out").increment(1),
                    // The log says the same to whoever looks.
                    Err(error) => tracing::debug!(%error, "a message to the other nodes was not sent"),
                }
            }
        }
    }

    /// Sends what waits, when nobody else does any more.
    pub(super) async fn send_rest(&self, link: &Arc<dyn Link>) {
        while let Some(message) = self.next(link.message_max()) {
            if link.send(message).await.is_err() {
                return;
            }
        }
    }

    /// As much of what waits as fits into one message.
    fn next(&self, bytes_max: usize) -> Option<Bytes> {
        let mut waiting = self.lock();
        let mut message = MessageText::new(&self.cluster, self.me, bytes_max);
        let mut taken = 0;
        while waiting.items.get(taken).is_some_and(|item| message.add(item)) {
            taken += 1;
        }
        waiting.items.drain(..taken);
        if waiting.items.is_empty()
            && let Some(cursor) = waiting.log
            && message.add(&Item::Log { cursor })
        {
            waiting.log = None;
        }
        message.end()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A message that grows item by item.
struct MessageText {
    text: String,
    items: usize,
    bytes_max: usize,
}

impl MessageText {
    fn new(cluster: &str, from: Fence, bytes_max: usize) -> Self {
        let head = Message { cluster: cluster.to_owned(), from, items: Vec::new() };
        let mut text = serde_json::to_string(&head).unwrap_or_default();
        // Open again at the end of the empty list.
        text.truncate(text.len() - 2);
        Self { text, items: 0, bytes_max }
    }

    /// `false`, and nothing is added, when it would not fit.
    fn add(&mut self, item: &Item) -> bool {
        let Ok(item) = serde_json::to_string(item) else { return false };
        if self.text.len() + item.len() + 3 > self.bytes_max {
            return false;
        }
        if self.items > 0 {
            self.text.push(',');
        }
        self.text.push_str(&item);
        self.items += 1;
        true
    }

    /// `None` when nothing is in it.
    fn end(mut self) -> Option<Bytes> {
        self.text.push_str("]}");
        (self.items > 0).then(|| self.text.into())
    }
}

#[cfg(test)]
mod tests {
    use model::Timestamp;

    use super::*;

    fn text(text: &str) -> RemoteText {
        RemoteText {
            run: RunId::trusted("run_1"),
            at: Timestamp::from_ms(1),
            position: Cursor(9),
            seq: 3,
            index: 2,
            thinking: false,
            start: 10,
            message: 5,
            text: text.to_owned(),
        }
    }

    fn drain(outbox: &Outbox, bytes_max: usize) -> Vec<Message> {
        std::iter::from_fn(|| outbox.next(bytes_max))
            .map(|bytes| {
                assert!(bytes.len() <= bytes_max, "{} bytes", bytes.len());
                serde_json::from_slice(&bytes).unwrap()
            })
            .collect()
    }

    #[test]
    fn what_waits_goes_in_order_with_the_newest_cursor_behind_it() {
        let outbox = Outbox::new(Fence(7), "c-1");
        outbox.log(Cursor(5));
        outbox.text(text("a"));
        outbox.log(Cursor(4));
        outbox.go(RunId::trusted("run_2"));
        let messages = drain(&outbox, 100_000);
        assert_eq!((messages.len(), messages[0].from, messages[0].cluster.as_str()), (1, Fence(7), "c-1"));
        let expected =
            [Item::Text(text("a")), Item::Go { run: RunId::trusted("run_2") }, Item::Log { cursor: Cursor(5) }];
        assert_eq!(messages[0].items, expected);
        assert!(outbox.next(100_000).is_none());
    }

    #[test]
    fn long_and_hostile_text_is_split_so_that_each_message_fits() {
        let outbox = Outbox::new(Fence(7), "c-1");
        let long = "\u{1}é\"\n".repeat(5000);
        outbox.text(text(&long));
        outbox.log(Cursor(1));
        let items: Vec<Item> = drain(&outbox, 7900).into_iter().flat_map(|message| message.items).collect();
        let (mut whole, mut place) = (String::new(), 10);
        for item in &items[..items.len() - 1] {
            let Item::Text(piece) = item else { panic!("{item:?}") };
            assert_eq!((piece.start, piece.seq), (place, 3));
            place += piece.text.len();
            whole.push_str(&piece.text);
        }
        assert!(whole == long);
        assert_eq!(items.last(), Some(&Item::Log { cursor: Cursor(1) }));
    }
}
