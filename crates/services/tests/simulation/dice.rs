//! Choices that repeat for a seed.

use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Clones draw from the same source.
#[derive(Clone)]
pub struct Dice(Arc<Mutex<store::testkit::Dice>>);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(store::testkit::Dice::new(seed))))
    }

    /// A number below `sides`.
    pub fn roll(&self, sides: u64) -> u64 {
        self.0.lock().expect("nobody panics with the dice in hand").roll(sides)
    }

    pub fn chance(&self, of_hundred: u64) -> bool {
        self.roll(100) < of_hundred
    }

    pub fn pick<'a, T>(&self, list: &'a [T]) -> &'a T {
        &list[usize::try_from(self.roll(list.len() as u64)).expect("an index")]
    }

    pub fn ms(&self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.roll(to - from + 1))
    }

    /// A choice that those after it do not depend on how often this one is used.
    pub fn apart(&self) -> Self {
        Self::new(self.roll(u64::MAX))
    }
}
