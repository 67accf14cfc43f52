//! `patchbay completions`

use clap::Command;
use clap_complete::{Shell, generate};

use super::failure::Failure;
use super::output;

/// Print a script that completes commands and flags in a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    patchbay completions bash > ~/.local/share/bash-completion/completions/patchbay\n  \
    patchbay completions zsh > ~/.zfunc/_patchbay\n  \
    patchbay completions fish > ~/.config/fish/completions/patchbay.fish")]
pub struct Completions {
    shell: Shell,
}

impl Completions {
    pub fn run(self, mut command: Command) -> Result<(), Failure> {
        let mut script = Vec::new();
        generate(self.shell, &mut command, "patchbay", &mut script);
        output::piece(&String::from_utf8_lossy(&script))
    }
}
