//! `patchbay doctor`

mod finding;
mod gateway;
mod machine;
mod models;

use anstyle::AnsiColor;
use serde_json::json;

use self::finding::{Finding, State};
use super::common::Common;
use super::failure::{Exit, Failure};
use super::output;
use crate::settings::Settings;

/// Look for what is wrong with this installation, and say how to mend it.
///
/// Checks the home folder, the configuration, the database, the listeners, the providers, the weights of embedded
/// models, the disk and the clock. Changes nothing. The exit code is 1 when something is broken.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  patchbay doctor\n  patchbay doctor --json | jq '.findings[] | select(.state != \"ok\")'"
)]
pub struct Doctor {}

impl Doctor {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let home = common.home()?;
        let layers = common.layers(&home);
        let mut findings = machine::home(&home);
        findings.push(machine::disk(home.path()));
        findings.push(machine::clock(&home));
        match layers.load::<Settings>() {
            Ok(loaded) => {
                findings.extend(configuration(&loaded));
                findings.push(gateway::database(&loaded.config, &home).await);
                findings.extend(gateway::listeners(common, &loaded.config, &home).await?);
                findings.extend(models::providers(&loaded.config, &home).await);
                findings.extend(models::weights(&loaded.config, &home).await);
            }
            Err(problems) => findings.extend(problems.iter().map(|problem| {
                let advice = "correct the file, or bring a former version back: `patchbay config history`";
                Finding::broken("configuration", problem).mend(advice)
            })),
        }
        told(common, &findings)
    }
}

fn configuration(loaded: &config::Loaded<Settings>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = loaded
        .warnings
        .iter()
        .map(|warning| Finding::warning("configuration", warning).mend("see `patchbay config schema`"))
        .collect();
    if findings.is_empty() {
        let what = loaded.source.as_ref().map_or_else(
            || String::from("there is no file; the defaults hold"),
            |file| format!("{} is valid", file.display()),
        );
        findings.push(Finding::ok("configuration", what));
    }
    findings
}

fn told(common: &Common, findings: &[Finding]) -> Result<(), Failure> {
    let is_broken = findings.iter().any(|finding| finding.state == State::Broken);
    if common.json {
        output::json(&json!({ "ok": !is_broken, "findings": findings }))?;
    } else {
        for finding in findings {
            let (word, colour) = match finding.state {
                State::Ok => ("ok     ", AnsiColor::Green),
                State::Warning => ("warning", AnsiColor::Yellow),
                State::Broken => ("broken ", AnsiColor::Red),
            };
            output::line(format_args!("{} {:<13} {}", output::coloured(word, colour), finding.check, finding.message))?;
            if let Some(mend) = &finding.mend {
                output::line(format_args!("{:>21} → {mend}", ""))?;
            }
        }
    }
    if is_broken { Err(Failure::told(Exit::Failure)) } else { Ok(()) }
}
