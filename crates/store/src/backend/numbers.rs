//! Numbers as parameters.

use crate::StoreError;

/// A count as a parameter. Databases count to 2^63 - 1.
pub fn stored(value: u64) -> Result<i64, StoreError> {
    i64::try_from(value)
        .map_err(|_| StoreError::Conflict(format!("{value} is larger than any number that can be stored")))
}

/// A limit or offset, where "more than there can be" is as good as the number.
pub fn bound(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// 0 = all.
pub fn limit(value: u64) -> i64 {
    if value == 0 { i64::MAX } else { bound(value) }
}
