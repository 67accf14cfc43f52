//! Giving memory back after many connections have closed.
//!
//! The allocator keeps what was freed for whoever asks next, each thread for itself, and looks at it
//! again only when the thread allocates; a gateway whose clients have left does not. So each worker
//! gives back what it can when it has nothing to do and many connections have closed since it last did.

use std::cell::Cell;

/// Connections that must have closed.
const CLOSED_MIN: usize = 32;

thread_local! {
    /// The most connections that were open since this thread last gave memory back.
    static MOST_OPEN: Cell<usize> = const { Cell::new(0) };
}

/// For a worker of the runtime that is about to wait.
pub(crate) fn on_park() {
    let open = dialect::socket::open();
    let is_worth_it = MOST_OPEN.with(|most| {
        let is_worth_it = most.get() >= open + CLOSED_MIN;
        if is_worth_it || open > most.get() {
            most.set(open);
        }
        is_worth_it
    });
    if is_worth_it {
        #[allow(unsafe_code, reason = "the allocator has no safe wrapper for this call")]
        // SAFETY: it takes no pointers and may be called at any time, from any thread.
        unsafe {
            libmimalloc_sys::mi_collect(true);
        }
    }
}
