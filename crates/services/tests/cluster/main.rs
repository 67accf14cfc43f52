//! Several nodes over one database: each accepts everything, one drives each run, and none is missed
//! when it goes.

mod follow;
mod lease;
mod pair;
mod sessions;
