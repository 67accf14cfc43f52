//! The process that serves: one gateway after another on the same sockets.
//!
//! Normally there is one, from start to stop. There is another when the first asks for it, and when
//! somebody was to replace this process and could not: the sockets stay open, so that clients wait
//! instead of being refused. Read [`process`] first.

mod activation;
mod notify;
mod process;
mod replacement;
mod signals;
mod store;
mod succession;

use server::settings::ListenSettings;

use self::notify::Notify;
use self::process::{Process, second};
use self::replacement::Replacement;
use self::signals::Signals;
use self::store::Patience;
use crate::handover::{Successor, Terms, is_attended};
use crate::prepared::{Options, Prepared};

/// How the process is to serve.
pub struct Plan {
    pub options: Options,
    /// Instead of the configured listeners; empty = as configured.
    pub listen: Vec<ListenSettings>,
    /// Takes the place of the process that serves the home, if one does; absent = there must be none.
    pub replaces: Option<Terms>,
}

/// Serves until it is told to stop, or until another process serves.
pub async fn run(plan: Plan) -> anyhow::Result<()> {
    let signals = Signals::new()?;
    let replacement = Replacement::of_this_program()?;
    let prepared = Prepared::load(plan.options)?;
    let notify = Notify::from_environment();
    let successor = match plan.replaces {
        Some(terms) => Successor::ask(&prepared.home, terms).await?,
        // Two gateways on one home would answer for each other; the first one stays.
        None if is_attended(&prepared.home).await => return Err(second(&prepared)),
        None => None,
    };
    if plan.replaces.is_some() && successor.is_none() {
        tracing::info!("no gateway runs on this home that could be replaced; starting one");
    }
    let mut process = Process::new(prepared, signals, notify, replacement);
    let started = match successor {
        None => {
            process.bind(plan.listen, activation::sockets()?)?;
            process.start(Patience::ForTheNetwork).await?
        }
        Some(successor) => process.take_over(successor, plan.listen).await?,
    };
    process.serve(started).await
}
