//! Weights of embedded models: downloaded, taken in, deleted.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use local_model::{Installed, Progress};
use serde_json::{Value, json};

use crate::cli::common::Common;
use crate::cli::failure::Failure;
use crate::cli::output;

pub async fn pull(common: &Common, name: &str) -> Result<(), Failure> {
    let folder = folder(common)?;
    let installed = local_model::install(name, &folder, progress().as_ref()).await?;
    told(common, &installed)
}

pub async fn add(common: &Common, file: &Path) -> Result<(), Failure> {
    let folder = folder(common)?;
    let installed = local_model::add(file, &folder, progress().as_ref()).await?;
    told(common, &[installed])
}

pub fn remove(common: &Common, name: &str) -> Result<(), Failure> {
    let removed = local_model::remove(name, &common.home()?.models())?;
    if common.json {
        return output::json(&removed.iter().map(described).collect::<Vec<_>>());
    }
    for model in &removed {
        output::note(format_args!(
            "{} is deleted, {} are free again",
            model.manifest.name,
            output::bytes(model.bytes())
        ));
    }
    Ok(())
}

/// Downloads what `name` stands for into `models`, telling how it goes.
pub async fn fetch(name: &str, models: &Path) -> Result<(), Failure> {
    local_model::install(name, models, progress().as_ref()).await?;
    Ok(())
}

/// The folder of the models, made with the rest of the home.
fn folder(common: &Common) -> Result<PathBuf, Failure> {
    let home = common.home()?;
    home.prepare(&common.config_file(&home))?;
    Ok(home.models())
}

fn told(common: &Common, installed: &[Installed]) -> Result<(), Failure> {
    if common.json {
        return output::json(&installed.iter().map(described).collect::<Vec<_>>());
    }
    for model in installed {
        output::line(format_args!(
            "{} {} {}",
            model.manifest.name,
            output::bytes(model.bytes()),
            model.folder.display()
        ))?;
    }
    Ok(())
}

fn described(model: &Installed) -> Value {
    json!({
        "name": model.manifest.name, "kind": model.manifest.kind, "about": model.manifest.about,
        "licence": model.manifest.licence, "source": model.manifest.source, "bytes": model.bytes(),
        "folder": model.folder, "files": model.manifest.files,
    })
}

fn progress() -> Box<dyn Progress> {
    if std::io::stderr().is_terminal() { Box::new(Bar::default()) } else { Box::new(Lines::default()) }
}

/// A bar on a terminal.
#[derive(Default)]
struct Bar(Mutex<Option<ProgressBar>>);

impl Bar {
    fn with(&self, act: impl FnOnce(&ProgressBar)) {
        if let Some(bar) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            act(bar);
        }
    }
}

impl Progress for Bar {
    fn begin(&self, what: &str, total: Option<u64>) {
        const KNOWN: &str = "{msg} {wide_bar} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta}";
        let bar = match total {
            Some(total) => ProgressBar::new(total),
            None => ProgressBar::new_spinner(),
        };
        let template = if total.is_some() { KNOWN } else { "{spinner} {msg} {elapsed}" };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar);
    }

    fn advance(&self, bytes: u64) {
        self.with(|bar| bar.inc(bytes));
    }

    fn message(&self, text: &str) {
        let is_drawn = self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if is_drawn { self.with(|bar| bar.println(text)) } else { output::note(text) }
    }

    fn finish(&self) {
        self.with(ProgressBar::finish_and_clear);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Lines where nobody watches a bar: one for each tenth.
#[derive(Default)]
struct Lines(Mutex<Option<Step>>);

struct Step {
    what: String,
    total: Option<u64>,
    done: u64,
    told: u64,
}

impl Progress for Lines {
    fn begin(&self, what: &str, total: Option<u64>) {
        match total {
            Some(total) => output::note(format_args!("{what}: {}", output::bytes(total))),
            None => output::note(what),
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Step { what: what.to_owned(), total, done: 0, told: 0 });
    }

    fn advance(&self, bytes: u64) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(step) = &mut *held else { return };
        step.done += bytes;
        let Some(total) = step.total.filter(|total| *total > 0) else { return };
        let tenths = step.done.min(total) * 10 / total;
        if tenths > step.told {
            step.told = tenths;
            output::note(format_args!("{}: {} %", step.what, tenths * 10));
        }
    }

    fn message(&self, text: &str) {
        output::note(text);
    }

    fn finish(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
