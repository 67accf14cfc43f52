//! Failed handshakes by address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use model::Timestamp;

/// Failures of one address in [`WINDOW_MS`] before it is locked out.
const FAILURES_MAX: u32 = 10;
const WINDOW_MS: u64 = 60_000;
const LOCKED_MS: i64 = 300_000;
/// Addresses remembered; when there are more, those that are not locked are forgotten.
const ADDRESSES_MAX: usize = 10_000;

#[derive(Debug, Default)]
pub struct Attempts {
    by_address: Mutex<HashMap<IpAddr, Record>>,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    since: Timestamp,
    failures: u32,
    locked_until: Option<Timestamp>,
}

impl Attempts {
    /// `Err` holds how long the address is still locked out, in milliseconds.
    pub fn check(&self, address: IpAddr, now: Timestamp) -> Result<(), u64> {
        let records = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        match records.get(&address).and_then(|record| record.locked_until) {
            Some(until) if until > now => Err(until.ms_since(now)),
            _ => Ok(()),
        }
    }

    /// Peers of this machine are never locked out.
    pub fn failed(&self, address: IpAddr, now: Timestamp) {
        if address.is_loopback() {
            return;
        }
        let mut records = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if records.len() >= ADDRESSES_MAX {
            records.retain(|_, record| record.locked_until.is_some_and(|until| until > now));
            if records.len() >= ADDRESSES_MAX && !records.contains_key(&address) {
                return;
            }
        }
        let record = records.entry(address).or_insert(Record { since: now, failures: 0, locked_until: None });
        if now.ms_since(record.since) >= WINDOW_MS {
            *record = Record { since: now, failures: 0, locked_until: None };
        }
        record.failures += 1;
        if record.failures > FAILURES_MAX {
            record.locked_until = Some(now.plus_ms(LOCKED_MS));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eleventh_failure_of_a_remote_address_locks_it_for_five_minutes() {
        let attempts = Attempts::default();
        let (remote, local): (IpAddr, IpAddr) = ("203.0.113.9".parse().unwrap(), "127.0.0.1".parse().unwrap());
        let now = Timestamp::from_ms(1_000_000);
        for _ in 0..10 {
            attempts.failed(remote, now);
            attempts.failed(local, now);
        }
        assert_eq!(attempts.check(remote, now), Ok(()));
        attempts.failed(remote, now);
        attempts.failed(local, now);
        assert_eq!(attempts.check(remote, now), Err(300_000));
        assert_eq!(attempts.check(local, now), Ok(()));
        assert_eq!(attempts.check(remote, now.plus_ms(300_000)), Ok(()));
        // A new window begins.
        attempts.failed(remote, now.plus_ms(300_000));
        assert_eq!(attempts.check(remote, now.plus_ms(300_001)), Ok(()));
    }
}
