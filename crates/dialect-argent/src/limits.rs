//! Bounds that clients are told.

/// Largest frame of a client that was let in.
pub const FRAME_BYTES_MAX: usize = 26_214_400;

/// What a connection may be behind; beyond it events that may be dropped are. The events wait in
/// the bus and the log, not in the connection, so this is told to clients and never reached.
pub const BUFFERED_BYTES_MAX: usize = 52_428_800;
