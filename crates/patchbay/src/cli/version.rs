//! `patchbay version`

use serde_json::json;

use super::common::Common;
use super::failure::Failure;

pub fn run(common: &Common) -> Result<(), Failure> {
    let (version, build) = (env!("CARGO_PKG_VERSION"), option_env!("PATCHBAY_BUILD").unwrap_or("dev"));
    if common.json {
        anstream::println!("{}", json!({ "name": "patchbay", "version": version, "build": build }));
    } else {
        anstream::println!("patchbay {version} ({build})");
    }
    Ok(())
}
