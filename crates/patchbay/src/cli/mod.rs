//! The command line. Messages go to stderr, results to stdout.

mod failure;
mod schema;
mod serve;
mod version;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use failure::{Exit, Failure};

/// One agent gateway: between clients of every kind on one side, and agents, models and tools on the other.
#[derive(Debug, Parser)]
#[command(name = "patchbay", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Debug, Clone, clap::Args)]
pub struct Common {
    /// The folder that holds everything [default: PATCHBAY_HOME, else ~/.patchbay]
    #[arg(long, global = true, value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// The configuration file [default: config.toml in the home folder]
    #[arg(long, global = true, value_name = "FILE", env = "PATCHBAY_CONFIG")]
    pub config: Option<PathBuf>,
    /// Print results as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Say more; twice for even more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway in the foreground
    Serve(serve::Serve),
    /// Print a machine-readable contract
    Schema(schema::Schema),
    /// Print the version
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
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
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
    match command {
        Command::Serve(serve) => serve.run(&common).await,
        Command::Schema(schema) => schema.run(),
        Command::Version => version::run(&common),
    }
}
