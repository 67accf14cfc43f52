//! The command line. Messages go to stderr, results to stdout.
//!
//! One file for each command; a command that talks to a gateway finds it by its [`target`] and speaks
//! the gateway's own protocol through [`client`], or through [`watch`] when it follows events.

mod backup;
mod call;
mod chat;
mod client;
mod cluster;
mod common;
mod completions;
mod config;
mod doctor;
mod events;
mod explain;
mod failure;
mod models;
mod output;
mod progress;
mod restore;
mod schema;
mod serve;
mod sessions;
mod target;
mod token;
mod version;
mod watch;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use self::common::Common;
use self::failure::{Exit, Failure};

/// One agent gateway: between clients of every kind on one side, and agents, models and tools on the other.
#[derive(Debug, Parser)]
#[command(name = "patchbay", version, about, max_term_width = 100)]
#[command(after_help = "Examples:\n  \
    patchbay serve                      # run the gateway\n  \
    patchbay chat 'What can you do?'    # talk to it, or to one in this process\n  \
    patchbay models list                # which models there are\n  \
    patchbay doctor                     # what is wrong, and how to mend it\n\n\
    Exit codes: 0 success, 1 failure, 2 wrong usage, 3 no gateway answers, 4 the gateway refuses.")]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Chat(chat::Chat),
    Call(call::Call),
    Events(events::Events),
    Token(token::Token),
    Config(config::Config),
    Models(models::Models),
    Sessions(sessions::Sessions),
    Explain(explain::Explain),
    Cluster(cluster::Cluster),
    Doctor(doctor::Doctor),
    Backup(backup::Backup),
    Restore(restore::Restore),
    Schema(schema::Schema),
    Completions(completions::Completions),
    /// Print the version
    #[command(after_help = "Examples:\n  patchbay version\n  patchbay version --json")]
    Version,
}

/// Parses the arguments and runs the command.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { Exit::Usage } else { Exit::Success };
            // Help goes to stdout, mistakes to stderr; a closed pipe is nobody's loss.
            let _ = error.print();
            return code.into();
        }
    };
    // The first call wins; every TLS connection of the process needs it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().on_thread_park(crate::memory::on_park).build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            failure::report(&Failure::general(anyhow::anyhow!("the runtime cannot start: {error}")));
            return Exit::Failure.into();
        }
    };
    let result = runtime.block_on(run(cli));
    // Nobody waits for what is left, such as a read of the terminal.
    runtime.shutdown_background();
    match result {
        Ok(()) => Exit::Success.into(),
        Err(failure) => {
            failure::report(&failure);
            failure.exit.into()
        }
    }
}

async fn run(cli: Cli) -> Result<(), Failure> {
    let Cli { common, command } = cli;
    // The first start of logging counts: `serve` logs as configured, everything else only what goes wrong.
    if !matches!(command, Command::Serve(_)) {
        crate::logging::start(common.log_level().as_deref().unwrap_or("warn"));
    }
    match command {
        Command::Serve(serve) => serve.run(&common).await,
        Command::Chat(chat) => chat.run(&common).await,
        Command::Call(call) => call.run(&common).await,
        Command::Events(events) => events.run(&common).await,
        Command::Token(token) => token.run(&common).await,
        Command::Config(config) => config.run(&common).await,
        Command::Models(models) => models.run(&common).await,
        Command::Sessions(sessions) => sessions.run(&common).await,
        Command::Explain(explain) => explain.run(&common).await,
        Command::Cluster(cluster) => cluster.run(&common).await,
        Command::Doctor(doctor) => doctor.run(&common).await,
        Command::Backup(backup) => backup.run(&common).await,
        Command::Restore(restore) => restore.run(&common).await,
        Command::Schema(schema) => schema.run(),
        Command::Completions(completions) => completions.run(Cli::command()),
        Command::Version => version::run(&common),
    }
}
