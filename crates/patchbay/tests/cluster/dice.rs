//! Chance from a seed that is printed.

use std::hash::{BuildHasher, RandomState};

/// splitmix64.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Of `PATCHBAY_SEED`, else of a seed that nobody has seen yet; says which.
    pub fn thrown() -> Dice {
        let given = std::env::var("PATCHBAY_SEED").ok().and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(|| RandomState::new().hash_one(0));
        eprintln!("PATCHBAY_SEED={seed}");
        Dice(seed)
    }

    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % sides as u64).expect("less than `sides`")
    }

    /// Another one, for a task of its own.
    pub fn split(&mut self) -> Dice {
        Dice(self.0 ^ self.roll(usize::MAX) as u64)
    }
}

/// A number from the environment, for runs that are longer than the usual one.
pub fn number(name: &str) -> Option<usize> {
    std::env::var(name).ok()?.parse().ok()
}
