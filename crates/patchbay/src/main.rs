//! `patchbay`: one agent gateway.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Before anything can start a thread: the engine of the embedded model leaves a core to the sockets.
    #[cfg(feature = "local")]
    local_model::priority::reserve_cores(0);
    patchbay::cli::main()
}
