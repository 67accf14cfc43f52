//! How much of the machine the embedded models may take: all cores but one, at low priority.
//!
//! The gateway must stay quick while a model computes. With a worker on every core and anything else running,
//! workers wait for the one that was pushed aside and speed falls to a tenth; with one core left free it does not.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

/// What candle reads once, when it starts its own workers.
const ENGINE_VARIABLES: [&str; 2] = ["CANDLE_NUM_THREADS", "RAYON_NUM_THREADS"];
/// As `nice -n 10`.
#[cfg(target_os = "linux")]
const NICENESS: libc::c_int = 10;

/// Threads for a setting, where 0 means all cores but one. At least 1.
pub fn threads_for(setting: usize) -> usize {
    match setting {
        0 => available_parallelism().map_or(1, NonZeroUsize::get).saturating_sub(1).max(1),
        given => given,
    }
}

/// Tells the engine how many threads it may start, by the variables that it reads; those already set win.
///
/// To be called first thing in `main`: the environment can only be changed while the process has one thread.
/// Gives `false`, and changes nothing, when that is no longer so or cannot be known; the engine then starts a
/// thread for each physical core.
pub fn reserve_cores(setting: usize) -> bool {
    let threads = std::fs::read_dir("/proc/self/task").map_or(usize::MAX, Iterator::count);
    if threads != 1 {
        return false;
    }
    let wanted = threads_for(setting).to_string();
    for variable in ENGINE_VARIABLES {
        if std::env::var_os(variable).is_none() {
            #[allow(unsafe_code, reason = "the engine can be told in no other way")]
            // SAFETY: the kernel lists this thread alone, so nobody reads the environment meanwhile.
            unsafe {
                std::env::set_var(variable, &wanted);
            }
        }
    }
    true
}

/// Lowers the priority of the calling thread and of the threads it will start. A refusal is harmless.
pub fn lower_priority() {
    #[cfg(target_os = "linux")]
    {
        #[allow(unsafe_code, reason = "there is no safe wrapper in the standard library")]
        // SAFETY: takes three integers and touches no memory of ours; 0 means the calling thread.
        let refused = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) } != 0;
        if refused {
            tracing::debug!("the priority of the embedded model could not be lowered");
        }
    }
}

/// Threads named `name-0` … at low priority, for the parallel parts of the engine.
pub fn pool(name: &'static str, threads: usize) -> Result<ThreadPool, ThreadPoolBuildError> {
    ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(move |index| format!("{name}-{index}"))
        .start_handler(|_| lower_priority())
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_is_left_free_and_there_is_always_a_thread() {
        assert_eq!(threads_for(3), 3);
        let cores = available_parallelism().unwrap().get();
        assert_eq!(threads_for(0), if cores > 1 { cores - 1 } else { 1 });
    }

    #[test]
    fn the_environment_is_left_alone_once_there_are_threads() {
        let before = std::env::var_os(ENGINE_VARIABLES[0]);
        std::thread::scope(|scope| {
            let (release, hold) = std::sync::mpsc::sync_channel::<()>(0);
            scope.spawn(move || hold.recv());
            assert!(!reserve_cores(7));
            drop(release);
        });
        assert_eq!(std::env::var_os(ENGINE_VARIABLES[0]), before);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn threads_of_a_pool_have_low_priority_and_a_name() {
        let pool = pool("polite", 2).unwrap();
        let (name, niceness) = pool.install(|| {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            // The fields behind the name in brackets; the nineteenth of all is the niceness.
            let niceness: i32 = stat.rsplit(')').next().unwrap().split_whitespace().nth(16).unwrap().parse().unwrap();
            (std::thread::current().name().unwrap().to_owned(), niceness)
        });
        assert!(name.starts_with("polite-") && niceness >= NICENESS, "{name} at {niceness}");
    }
}
