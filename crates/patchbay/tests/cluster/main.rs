//! Three gateways, each a process, on one real PostgreSQL and one real NATS, and what may happen to them.
//!
//! Between each node and the database, the bus and its clients is a wire of ours that can be cut and
//! slowed down. Whatever happens, each accepted message stands once and has one run, each run ends once,
//! the log has no gap, and nobody writes who is out of the cluster ([`check`]). A test prints its seed;
//! `PATCHBAY_SEED` repeats it.

mod check;
mod clients;
mod cuts;
mod dice;
mod frozen;
mod kills;
mod load;
mod node;
mod restarts;
mod rig;
mod servers;
mod upstream;
mod wire;
