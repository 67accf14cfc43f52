//! Ids: one newtype per noun, prefixed text such as `run_01j…`, cheap to clone.
//!
//! An id that a client sends (a run id is the idempotency key in some dialects) is checked once on
//! entry; past that point an id is always 1 to 256 printable characters.

use std::borrow::Borrow;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::{Clock, Timestamp};

/// Longest id text, in bytes.
pub const ID_BYTES_MAX: usize = 256;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{noun} id `{text}` must be 1 to 256 printable characters without spaces at its ends")]
pub struct InvalidId {
    pub noun: &'static str,
    pub text: String,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $noun:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            pub const PREFIX: &'static str = $prefix;

            /// Checks length and characters; the prefix is not required of ids from outside.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                let legal = !text.is_empty()
                    && text.len() <= ID_BYTES_MAX
                    && text.trim() == text
                    && !text.chars().any(char::is_control);
                if legal {
                    Ok(Self(Arc::from(text)))
                } else {
                    let text = text.chars().take(64).collect();
                    Err(InvalidId { noun: $noun, text })
                }
            }

            /// For ids read back from our own store.
            pub fn trusted(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(/// One agent turn. Equals the idempotency key when the client gave one.
    RunId, "run_", "run");
id!(/// One transcript of a session; a reset gives the session a new one.
    SessionId, "ses_", "session");
id!(MessageId, "msg_", "message");
id!(/// A tool call as the model numbered it; unique within its run.
    ToolCallId, "call_", "tool call");
id!(/// A question that a run asked its user.
    InputId, "inp_", "input");
id!(TokenId, "tok_", "token");
id!(ConnectionId, "c_", "connection");

/// An agent's name: 1 to 64 characters of `a-z 0-9 _ -`, starting with a letter or digit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct AgentId(Arc<str>);

impl AgentId {
    /// The agent that always exists.
    pub fn main() -> Self {
        Self(Arc::from("main"))
    }

    /// Lower-cases and trims, then checks.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let lower = text.trim().to_ascii_lowercase();
        let legal = (1..=64).contains(&lower.len())
            && lower.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
            && !lower.starts_with(['-', '_']);
        if legal {
            Ok(Self(Arc::from(lower)))
        } else {
            Err(InvalidId { noun: "agent", text: text.chars().take(64).collect() })
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for AgentId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for AgentId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Makes new ids: 48 bits of time and 80 bits of randomness in lower-case base 32, rising within
/// one process even inside a millisecond.
pub struct Ids {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    last_ms: i64,
    low: u128,
    source: Source,
}

enum Source {
    System,
    Seeded(u64),
}

const LOW_BITS: u32 = 80;
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

impl Ids {
    /// Randomness from the operating system.
    pub fn system(clock: Arc<dyn Clock>) -> Self {
        Self::new(clock, Source::System)
    }

    /// The same seed and clock give the same ids; for tests and simulations.
    pub fn seeded(clock: Arc<dyn Clock>, seed: u64) -> Self {
        Self::new(clock, Source::Seeded(seed))
    }

    fn new(clock: Arc<dyn Clock>, source: Source) -> Self {
        Self { clock, state: Mutex::new(State { last_ms: i64::MIN, low: 0, source }) }
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub fn run(&self) -> RunId {
        RunId(self.text(RunId::PREFIX))
    }

    pub fn session(&self) -> SessionId {
        SessionId(self.text(SessionId::PREFIX))
    }

    pub fn message(&self) -> MessageId {
        MessageId(self.text(MessageId::PREFIX))
    }

    pub fn tool_call(&self) -> ToolCallId {
        ToolCallId(self.text(ToolCallId::PREFIX))
    }

    pub fn input(&self) -> InputId {
        InputId(self.text(InputId::PREFIX))
    }

    pub fn token(&self) -> TokenId {
        TokenId(self.text(TokenId::PREFIX))
    }

    pub fn connection(&self) -> ConnectionId {
        ConnectionId(self.text(ConnectionId::PREFIX))
    }

    /// A random version 4 UUID, where a protocol asks for that form.
    pub fn uuid(&self) -> uuid::Uuid {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let bits = (u128::from(state.source.next()) << 64) | u128::from(state.source.next());
        uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
    }

    /// `bytes` random bytes for a credential.
    pub fn secret_bytes<const N: usize>(&self) -> [u8; N] {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = [0_u8; N];
        for chunk in out.chunks_mut(8) {
            let bytes = state.source.next().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        out
    }

    fn text(&self, prefix: &str) -> Arc<str> {
        let now = self.clock.now().as_ms();
        let bits = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if now > state.last_ms {
                state.last_ms = now;
                state.low = ((u128::from(state.source.next()) << 64) | u128::from(state.source.next()))
                    & ((1 << (LOW_BITS - 1)) - 1);
            } else {
                state.low += 1;
            }
            (u128::from(state.last_ms.unsigned_abs()) << LOW_BITS) | state.low
        };
        let mut text = String::with_capacity(prefix.len() + 26);
        text.push_str(prefix);
        for shift in (0..26).rev() {
            let index = usize::try_from((bits >> (shift * 5)) & 31).unwrap_or(0);
            text.push(char::from(ALPHABET[index]));
        }
        Arc::from(text)
    }
}

impl Source {
    fn next(&mut self) -> u64 {
        match self {
            Source::System => getrandom::u64().expect("the operating system gives random bytes"),
            Source::Seeded(seed) => {
                // splitmix64: tiny, and good enough for ids in a test.
                *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut z = *seed;
                z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                z ^ (z >> 31)
            }
        }
    }
}

impl fmt::Debug for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ids")
    }
}

/// The same UUID for the same id, where a protocol wants that form of it: two 64-bit FNV-1a sums.
pub fn uuid_of(id: &str) -> uuid::Uuid {
    let sum = |start: u64| id.bytes().fold(start, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let bits = (u128::from(sum(0xcbf2_9ce4_8422_2325)) << 64) | u128::from(sum(0x6c62_272e_07bb_0142));
    uuid::Builder::from_custom_bytes(bits.to_be_bytes()).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::FixedClock;

    #[test]
    fn ids_rise_within_one_millisecond_and_repeat_for_a_seed() {
        let make = || Ids::seeded(Arc::new(FixedClock::at(1_790_000_000_000)), 7);
        let (first, second) = (make(), make());
        let ids: Vec<RunId> = (0..100).map(|_| first.run()).collect();
        let mut sorted = ids.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(ids, sorted);
        assert_eq!(ids, (0..100).map(|_| second.run()).collect::<Vec<_>>());
        assert_eq!(ids[0].as_str().len(), RunId::PREFIX.len() + 26);
    }

    #[test]
    fn ids_from_outside_are_checked() {
        assert!(RunId::parse("r-101").is_ok());
        assert!(RunId::parse("").is_err());
        assert!(RunId::parse(" x").is_err());
        assert!(RunId::parse("a\nb").is_err());
        assert!(RunId::parse(&"x".repeat(257)).is_err());
        assert_eq!(AgentId::parse(" Main ").map(|id| id.to_string()), Ok(String::from("main")));
        assert!(AgentId::parse("../etc").is_err());
    }
}
