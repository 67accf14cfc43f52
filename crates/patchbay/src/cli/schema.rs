//! `patchbay schema`

use super::failure::Failure;
use crate::contracts;

/// Print a machine-readable contract.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  patchbay schema config > config.schema.json\n  patchbay schema aleph | jq '.methods[].name'"
)]
pub struct Schema {
    /// Which contract
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(contracts::NAMES))]
    name: String,
}

impl Schema {
    pub fn run(self) -> Result<(), Failure> {
        let document = contracts::by_name(&self.name)
            .ok_or_else(|| Failure::usage(format!("there is no contract `{}`", self.name)))?;
        anstream::println!("{}", serde_json::to_string_pretty(&document)?);
        Ok(())
    }
}
