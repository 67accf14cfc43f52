//! Flags of every command, and what follows from them.

use std::path::PathBuf;

use config::Layers;
use model::Secret;

use super::failure::Failure;
use super::target::Target;
use crate::configuration::layers;
use crate::home::Home;

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

/// Where the gateway is and who calls, for the commands that talk to one.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct TargetArgs {
    /// The gateway's address [default: the one that runs on the home folder]
    #[arg(long, global = true, value_name = "URL")]
    pub url: Option<String>,
    /// The credential [default: PATCHBAY_TOKEN, else admin.token of the home folder]
    #[arg(long, global = true, value_name = "TOKEN", value_parser = |text: &str| Ok::<_, std::convert::Infallible>(Secret::new(text)))]
    pub token: Option<Secret>,
}

impl Common {
    pub fn home(&self) -> Result<Home, Failure> {
        Ok(Home::find(self.home.clone())?)
    }

    /// The configuration file, whether it exists or not.
    pub fn config_file(&self, home: &Home) -> PathBuf {
        self.config.clone().unwrap_or_else(|| home.config_file())
    }

    /// Where settings come from.
    pub fn layers(&self, home: &Home) -> Layers {
        layers(home.path(), self.config_file(home))
    }

    pub fn target(&self, args: &TargetArgs) -> Result<Target, Failure> {
        let home = self.home()?;
        let layers = self.layers(&home);
        Ok(Target::new(home, layers, args.url.clone(), args.token.clone()))
    }

    /// What is logged when flags ask for more than usual; libraries below stay quiet.
    pub fn log_level(&self) -> Option<String> {
        const QUIET: &str = "hyper=info,h2=info,rustls=info,tungstenite=info,rustyline=info";
        match self.verbose {
            0 => None,
            1 => Some(format!("debug,{QUIET}")),
            _ => Some(format!("trace,{QUIET}")),
        }
    }
}
