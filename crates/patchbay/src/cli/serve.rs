//! `patchbay serve`

use std::time::Duration;

use server::settings::{DialectName, ListenSettings};

use super::common::Common;
use super::failure::Failure;
use crate::handover::Terms;
use crate::prepared::Options;
use crate::serving::{self, Plan};

/// Run the gateway in the foreground.
///
/// SIGINT and SIGTERM drain and stop it, SIGHUP reloads the configuration, SIGUSR2 replaces it by what is
/// now at the program's path, as `--replace` does.
///
/// With --replace the new process takes the listening sockets over from the gateway that runs on the home
/// folder, which answers what it was asked, has its clients connect anew and ends. No call is refused
/// meanwhile. When the new process does not become ready in time, the old one goes on. Give it the flags of
/// the old one; it keeps its --listen when none is given.
///
/// Listening sockets that systemd passes are used in place of configured ones.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    patchbay serve\n  \
    patchbay serve --listen aleph=127.0.0.1:0 --listen comis=127.0.0.1:4766\n  \
    patchbay serve --replace                    # the new program, in place of the running one\n  \
    patchbay serve --replace --drain 60         # and answers that are being given get a minute to end")]
pub struct Serve {
    /// Listen here instead of at the configured addresses; port 0 picks one
    #[arg(long, value_name = "DIALECT=HOST:PORT", value_parser = listener)]
    listen: Vec<ListenSettings>,
    /// Take the place of the gateway that runs on the home folder, if one does
    #[arg(long)]
    replace: bool,
    /// With --replace: seconds that this process gets to become ready
    #[arg(long, value_name = "SECS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    replace_timeout: u64,
    /// With --replace: seconds that answers get to end which the old process is giving [default: limits.drain_secs]
    #[arg(long, value_name = "SECS", value_parser = clap::value_parser!(u64).range(0..=3600))]
    drain: Option<u64>,
}

fn listener(text: &str) -> Result<ListenSettings, String> {
    let (dialect, address) =
        text.split_once('=').ok_or("must be DIALECT=HOST:PORT, for instance aleph=127.0.0.1:18790")?;
    let dialect = DialectName::parse(dialect).ok_or_else(|| format!("`{dialect}` is none of aleph, comis, argent"))?;
    let address = address.replacen("localhost:", "127.0.0.1:", 1);
    let address = address.parse().map_err(|_| format!("`{address}` is not an address and a port"))?;
    Ok(ListenSettings { dialect, address, tls: None })
}

impl Serve {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let options = Options { home: common.home()?, config: common.config.clone(), log: common.log_level() };
        let terms =
            Terms { timeout: Duration::from_secs(self.replace_timeout), drain: self.drain.map(Duration::from_secs) };
        let replaces = self.replace.then_some(terms);
        serving::run(Plan { options, listen: self.listen, replaces }).await?;
        Ok(())
    }
}
