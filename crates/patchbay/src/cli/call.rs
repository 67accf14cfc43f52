//! `patchbay call`

use std::io::Read;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;
use serde_json::value::RawValue;

use super::client::{CallError, RpcError};
use super::common::{Common, TargetArgs};
use super::failure::{Exit, Failure};
use super::output;
use super::watch::{Patience, Watch};

/// How long a gateway that restarts in the middle of a followed run is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Call one method of the gateway and print its result as JSON.
///
/// `patchbay schema aleph` lists the methods. An error of the gateway goes to stderr; the exit code is 4 when
/// credentials or scope are at fault, else 1.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    patchbay call health\n  \
    patchbay call session.list '{\"limit\":5}' | jq '.sessions[].key'\n  \
    patchbay call agent.run '{\"message\":\"hello\"}' --follow\n  \
    patchbay call config.validate @params.json\n  \
    echo '{\"message\":\"hello\"}' | patchbay call chat.send -")]
pub struct Call {
    /// The method, for instance `session.list`
    method: String,
    /// Its parameters as JSON; `@FILE` reads a file, `-` reads stdin
    params: Option<String>,
    /// Print the events of the run that the call starts, one JSON a line, until it ends
    #[arg(long)]
    follow: bool,
    /// Seconds to wait for the answer
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    #[command(flatten)]
    target: TargetArgs,
}

impl Call {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let params = self.params.as_deref().map(read_params).transpose()?;
        let target = common.target(&self.target)?;
        let limit = Duration::from_secs(self.timeout);
        if self.follow {
            return self.run_following(common, params.as_deref(), limit).await;
        }
        let mut client = target.connect().await?;
        let result = client.call_within(&self.method, &params, limit).await.map_err(|error| told(common, error))?;
        output::raw_json(&result)?;
        client.close().await;
        Ok(())
    }

    async fn run_following(&self, common: &Common, params: Option<&RawValue>, limit: Duration) -> Result<(), Failure> {
        let patterns = vec![String::from("agent.*"), String::from("stream.*")];
        let mut watch = Watch::open(common.target(&self.target)?, patterns, None, Patience::Up(PATIENCE)).await?;
        let result = watch.call_raw(&self.method, &params, limit).await.map_err(|error| told(common, error))?;
        output::line(result.get())?;
        let answer: Value = serde_json::from_str(result.get())?;
        let Some(run_id) = answer["run_id"].as_str() else {
            output::note("the result names no run, so there is nothing to follow");
            return Ok(());
        };
        loop {
            let event = watch.next().await?;
            let data = event.data();
            if data["run_id"].as_str() != Some(run_id) {
                continue;
            }
            output::line(event.raw.get())?;
            match event.topic.as_str() {
                "agent.completed" => break,
                "agent.error" => {
                    return Err(Failure::because(format!(
                        "the run failed: {}",
                        data["error"].as_str().unwrap_or("no reason given")
                    )));
                }
                "agent.cancelled" => return Err(Failure::because("the run was cancelled")),
                _ => {}
            }
        }
        watch.close().await;
        Ok(())
    }
}

/// JSON from the command line, a file or stdin, kept as it is written.
fn read_params(argument: &str) -> Result<Box<RawValue>, Failure> {
    let text = match argument.strip_prefix('@') {
        Some(path) => std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {path}"))
            .map_err(|error| Failure::usage(format!("{error:#}")))?,
        None if argument == "-" => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("cannot read stdin")?;
            text
        }
        None => argument.to_owned(),
    };
    serde_json::from_str(&text).map_err(|error| Failure::usage(format!("the parameters are not JSON: {error}")))
}

/// With `--json` the error object itself goes to stderr, else a sentence.
fn told(common: &Common, error: CallError) -> Failure {
    let CallError::Answered(error) = error else { return error.into() };
    if common.json {
        output::note(serde_json::to_string(&error).unwrap_or_default());
        return Failure::told(error.exit());
    }
    let RpcError { code, message, data } = &error;
    let data = data.as_ref().map(|data| format!(" {data}")).unwrap_or_default();
    let sentence = format!("{message} ({code}){data}");
    if error.exit() == Exit::Refused { Failure::refused(sentence) } else { Failure::because(sentence) }
}
