//! `patchbay models list`: what the running gateway knows, else what the providers say to this process.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Clock, Ids, SystemClock};
use ops::models::ModelView;
use ops::models::list::Output;
use providers::{ProviderKind, ProviderSettings};
use serde_json::{Value, json};
use services::Models;

use crate::cli::common::{Common, TargetArgs};
use crate::cli::failure::{Exit, Failure};
use crate::cli::output;
use crate::cli::target::Located;
use crate::compose;
use crate::home::Home;
use crate::settings::Settings;

pub async fn list(common: &Common, args: &TargetArgs, provider: Option<String>, refresh: bool) -> Result<(), Failure> {
    let target = common.target(args)?;
    let answer = match target.connect().await {
        Ok(mut client) => {
            let answer: Value = client.ask("models.list", &json!({ "provider": provider, "refresh": refresh })).await?;
            client.close().await;
            answer
        }
        Err(failure) if failure.exit == Exit::Unreachable && matches!(target.locate()?, Located::Configured(_)) => {
            serde_json::to_value(offline(common, provider.as_deref()).await?)?
        }
        Err(failure) => return Err(failure),
    };
    let models = answer["models"].as_array().cloned().unwrap_or_default();
    if common.json {
        return output::json(&models);
    }
    if models.is_empty() {
        output::note(
            "no model is known; set a provider's key, or install the embedded model with `patchbay models pull default`",
        );
        return Ok(());
    }
    output::table(&["MODEL", "", "CONTEXT", "CAPABILITIES"], models.iter().map(row))?;
    for (notice, ids) in notices(&models) {
        output::note(format_args!("{}: {notice}", ids.join(", ")));
    }
    Ok(())
}

/// What is to be known of some of the models, and of which.
fn notices(models: &[Value]) -> BTreeMap<&str, Vec<&str>> {
    let mut notices: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for model in models {
        if let (Some(notice), Some(id)) = (model["notice"].as_str(), model["id"].as_str()) {
            notices.entry(notice).or_default().push(id);
        }
    }
    notices
}

fn row(model: &Value) -> Vec<String> {
    let mark = if model["is_default"] == json!(true) { "*" } else { "" };
    let context = model["context_window"].as_u64().map_or_else(|| String::from("-"), |tokens| tokens.to_string());
    let can: Vec<&str> = model["capabilities"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let text = |key: &str| model[key].as_str().unwrap_or_default().to_owned();
    vec![text("id"), mark.to_owned(), context, can.join(", ")]
}

async fn offline(common: &Common, provider: Option<&str>) -> Result<Output, Failure> {
    let home = common.home()?;
    let loaded = common.layers(&home).load::<Settings>().map_err(Failure::because)?;
    let models = offline_models(&loaded.config, &home).await?;
    let entries = models.list(true).await;
    for failure in &models.registry().catalogue().await.failures {
        output::note(format_args!("{failure}"));
    }
    let wanted = |name: &str| provider.is_none_or(|wanted| wanted == name);
    Ok(Output {
        models: entries.into_iter().filter(|entry| wanted(&entry.reference.provider)).map(ModelView::from).collect(),
    })
}

/// The providers of a configuration, without a gateway: those configured, found in the environment, and an Ollama
/// on its default port.
pub async fn offline_models(settings: &Settings, home: &Home) -> Result<Models, Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let ids = Ids::system(Arc::clone(&clock));
    let models = compose::models(&clock, u64::from_le_bytes(ids.secret_bytes::<8>()));
    let ollama = ProviderSettings::new(ProviderKind::Ollama);
    let mut found = Vec::new();
    if !settings.providers.contains_key("ollama") && providers::ollama_is_up(ollama.effective_base_url()).await {
        found.push((String::from("ollama"), ollama));
    }
    compose::apply_providers(settings, home.path(), &models, &found).map_err(Failure::because)?;
    Ok(models)
}
