//! The protocol versions that are spoken.

/// Versions of the protocol that are served; they do not differ on the wire.
pub const PROTOCOL_MIN: i64 = 3;
pub const PROTOCOL_MAX: i64 = 4;
