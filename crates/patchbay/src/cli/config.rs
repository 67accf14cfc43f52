//! `patchbay config`

use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::Subcommand;
use config::{ConfigFile, Edit, EditError, Layers, Path, Problems, Saved};
use model::{Clock, SystemClock};
use serde_json::{Value, json};

use super::client::CallError;
use super::common::{Common, TargetArgs};
use super::failure::{Exit, Failure};
use super::output;
use crate::home::Home;
use crate::settings::Settings;

/// Read and change the configuration. Works on the file, with or without a running gateway.
///
/// Changes keep comments and order, are refused as a whole when something is wrong, and are taken up by a running
/// gateway by itself. Secrets are never printed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    patchbay config show\n  \
    patchbay config get agents.main.model\n  \
    patchbay config set agents.main.model openrouter/some-model\n  \
    patchbay config set providers.openrouter.api_key '{ env = \"OPENROUTER_API_KEY\" }'\n  \
    patchbay config unset agents.main.model\n  \
    patchbay config check\n  \
    patchbay config schema > config.schema.json\n  \
    patchbay config history\n  \
    patchbay config rollback 3")]
pub struct Config {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print the configuration in force: of the running gateway, else of defaults, file and environment together
    Show {
        /// Only this section, for instance `agents`
        section: Option<String>,
    },
    /// Print one value of the configuration in force
    Get {
        /// Dotted path, for instance `agents.main.model` or `listen[0].address`
        path: Path,
    },
    /// Set one value in the file
    #[command(after_help = "Examples:\n  \
        patchbay config set limits.run_timeout_secs 900\n  \
        patchbay config set agents.main.fallbacks '[\"local/default\"]'\n  \
        patchbay config set providers.openai.api_key - < key.txt")]
    Set {
        /// Dotted path, for instance `agents.main.model`
        path: Path,
        /// A TOML value, or plain text where a text is expected; `-` reads stdin
        #[arg(allow_hyphen_values = true)]
        value: String,
    },
    /// Take one value out of the file, so that its default holds
    Unset {
        /// Dotted path, for instance `agents.main.model`
        path: Path,
    },
    /// Look for mistakes in the configuration, or in another file, without using it
    Check {
        /// The file to check [default: the configuration file]
        file: Option<PathBuf>,
    },
    /// Print the JSON Schema of the configuration
    Schema,
    /// List the former versions of the file, newest first
    History,
    /// Put a former version of the file in force again
    Rollback {
        /// Its number, as `config history` shows it
        number: u64,
    },
}

impl Config {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let home = common.home()?;
        let layers = common.layers(&home);
        match self.action {
            Action::Show { section } => show(common, &in_force(common, &home, &layers).await?, section.as_deref()),
            Action::Get { path } => get(common, &in_force(common, &home, &layers).await?, &path),
            Action::Set { path, value } => {
                let value = if value == "-" { from_stdin()? } else { value };
                let value = config::setting_value::<Settings>(&path, &value);
                change(common, &home, &layers, &path, |edit| edit.set_at(&path, &value).map(|()| true)).await
            }
            Action::Unset { path } => change(common, &home, &layers, &path, |edit| edit.unset_at(&path)).await,
            Action::Check { file } => check(common, &home, layers, file),
            Action::Schema => output::document(&config::schema::<Settings>()),
            Action::History => history(common, &layers),
            Action::Rollback { number } => {
                let file = ConfigFile::new(layers.clone());
                let saved = file.rollback::<Settings>(number, SystemClock.now()).map_err(told)?;
                output::note(format_args!("version {number} is in {} again", layers.file().display()));
                after_change(common, &home, &saved).await
            }
        }
    }
}

fn from_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("cannot read stdin")?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// The effective configuration without its secrets. The gateway's own view wins while it runs: its
/// environment may differ from that of this shell.
async fn in_force(common: &Common, home: &Home, layers: &Layers) -> Result<Value, Failure> {
    if home.running().is_some()
        && let Ok(mut client) = common.target(&TargetArgs::default())?.connect().await
        && let Ok(mut answer) = client.ask::<Value>("config.get", &json!({})).await
    {
        return Ok(answer["config"].take());
    }
    let loaded = layers.load::<Settings>().map_err(|problems| wrong(&problems))?;
    warn(&loaded.warnings);
    Ok(config::redacted(loaded.config.as_ref()))
}

fn show(common: &Common, all: &Value, section: Option<&str>) -> Result<(), Failure> {
    let shown = match section {
        None => all.clone(),
        Some(name) => {
            let section = all.get(name).ok_or_else(|| {
                let known: Vec<&str> =
                    all.as_object().into_iter().flat_map(|all| all.keys().map(String::as_str)).collect();
                Failure::because(format!("there is no section `{name}`; there are {}", known.join(", ")))
            })?;
            json!({ name: section })
        }
    };
    if common.json {
        return output::json(&shown);
    }
    let toml = toml::to_string_pretty(&without_nulls(shown)).context("the configuration cannot be written as TOML")?;
    output::line(toml.trim_end())
}

/// TOML has no word for "nothing".
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key, without_nulls(value)))
                .collect(),
        ),
        Value::Array(items) => {
            Value::Array(items.into_iter().filter(|item| !item.is_null()).map(without_nulls).collect())
        }
        other => other,
    }
}

fn get(common: &Common, all: &Value, path: &Path) -> Result<(), Failure> {
    match path.find(all) {
        None | Some(Value::Null) => Err(Failure::because(format!("`{path}` is not set"))),
        Some(Value::String(text)) if !common.json => output::line(text),
        Some(value) => output::json(value),
    }
}

/// Changes the file and has a running gateway take it up.
async fn change(
    common: &Common,
    home: &Home,
    layers: &Layers,
    path: &Path,
    make: impl FnOnce(&mut Edit) -> Result<bool, EditError>,
) -> Result<(), Failure> {
    home.prepare(layers.file())?;
    let file = ConfigFile::new(layers.clone());
    let mut edit = file.edit().map_err(told)?;
    if !make(&mut edit).map_err(told)? {
        output::note(format_args!("`{path}` is not in {}; nothing was changed", layers.file().display()));
        return Ok(());
    }
    let saved: Saved<Settings> = file.save(&edit, SystemClock.now()).map_err(told)?;
    warn(&saved.loaded.warnings);
    if saved.former.is_none() {
        output::note(format_args!("{} says so already; nothing was changed", layers.file().display()));
        return Ok(());
    }
    output::note(format_args!("`{path}` is changed in {}", layers.file().display()));
    after_change(common, home, &saved).await
}

/// What becomes of a change that is on the disk. A running gateway would see it by itself a moment later; asking it
/// makes the next command find the change in force, and brings a refusal here.
async fn after_change(common: &Common, home: &Home, saved: &Saved<Settings>) -> Result<(), Failure> {
    if let Some(former) = saved.former {
        output::aside(format_args!("the former text is kept; `patchbay config rollback {former}` brings it back"));
    }
    if home.running().is_none() {
        return Ok(());
    }
    let Ok(mut client) = common.target(&TargetArgs::default())?.connect().await else {
        output::note("the running gateway takes it up by itself");
        return Ok(());
    };
    match client.call("config.reload", &json!({})).await {
        Ok(answer) => {
            let answer: Value = serde_json::from_str(answer.get())?;
            let needs_restart = answer["restart_required"] == json!(true);
            let words = if needs_restart { "takes it up only after a restart" } else { "has taken it up" };
            output::note(format_args!("the running gateway {words}"));
            Ok(())
        }
        Err(CallError::Answered(error)) if error.exit() == Exit::Failure => {
            Err(Failure::because(format!("it is written, but the running gateway stays as it was: {}", error.message)))
        }
        Err(_) => {
            output::note("the running gateway takes it up by itself");
            Ok(())
        }
    }
}

fn check(common: &Common, home: &Home, layers: Layers, file: Option<PathBuf>) -> Result<(), Failure> {
    let layers = match file {
        None => layers,
        Some(file) if !file.is_file() => return Err(Failure::because(format!("there is no file {}", file.display()))),
        Some(file) => crate::configuration::layers(home.path(), file),
    };
    let outcome = layers.load::<Settings>();
    if common.json {
        let (errors, warnings) = match &outcome {
            Ok(loaded) => (Vec::new(), Problems(loaded.warnings.clone()).findings()),
            Err(problems) => (problems.findings(), Vec::new()),
        };
        output::json(&json!({ "valid": outcome.is_ok(), "errors": errors, "warnings": warnings }))?;
        return outcome.map(|_| ()).map_err(|_| Failure::told(Exit::Failure));
    }
    let loaded = outcome.map_err(|problems| wrong(&problems))?;
    warn(&loaded.warnings);
    match loaded.source {
        Some(file) => output::line(format_args!("{} is valid", file.display())),
        None => output::line(format_args!("there is no {}; the defaults hold", layers.file().display())),
    }
}

fn history(common: &Common, layers: &Layers) -> Result<(), Failure> {
    let versions = ConfigFile::new(layers.clone()).history().map_err(told)?;
    if common.json {
        let rows: Vec<Value> = versions
            .iter()
            .map(|version| json!({ "number": version.number, "replaced_at": version.replaced_at, "bytes": version.bytes, "hash": version.hash, "path": version.path }))
            .collect();
        return output::json(&rows);
    }
    if versions.is_empty() {
        output::note("the file was not changed by a program yet");
        return Ok(());
    }
    let rows = versions.into_iter().map(|version| {
        vec![
            version.number.to_string(),
            output::time(Some(version.replaced_at.as_ms())),
            output::bytes(version.bytes),
            version.path.display().to_string(),
        ]
    });
    output::table(&["VERSION", "REPLACED", "SIZE", "FILE"], rows)
}

fn warn(warnings: &[config::Problem]) {
    for warning in warnings {
        output::note(format_args!("warning: {warning}"));
    }
}

/// Each problem on a line of its own, below a sentence.
fn wrong(problems: &Problems) -> Failure {
    match problems.as_ref() {
        [one] => Failure::because(one),
        several => Failure::general(anyhow!("{} mistakes in the configuration:\n{problems}", several.len())),
    }
}

fn told(error: EditError) -> Failure {
    match error {
        EditError::Invalid(problems) => wrong(&problems),
        EditError::Path(error) => Failure::usage(error),
        other => Failure::because(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_of_nulls() {
        let value = json!({ "a": null, "b": { "c": null, "d": [null, 1] } });
        assert_eq!(without_nulls(value), json!({ "b": { "d": [1] } }));
    }
}
