//! The providers of models, and the weights of the embedded ones.

use std::sync::Arc;
use std::time::Duration;

use model::ModelRef;
use providers::{Provider, ProviderError, ProviderErrorKind};

use super::finding::Finding;
use crate::cli::models::offline_models;
use crate::home::Home;
use crate::settings::Settings;

/// A provider that has not told its models by then counts as away.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

pub async fn providers(settings: &Settings, home: &Home) -> Vec<Finding> {
    let models = match offline_models(settings, home).await {
        Ok(models) => models,
        Err(failure) => {
            return vec![
                Finding::broken("providers", format_args!("{:#}", failure.error))
                    .mend("correct the section under [providers]"),
            ];
        }
    };
    let Some(default) = models.default_model() else {
        let advice = "set OPENAI_API_KEY, ANTHROPIC_API_KEY or GEMINI_API_KEY, or add a section under [providers]";
        return vec![Finding::broken("providers", "no model is configured").mend(advice)];
    };
    let mut findings = Vec::new();
    for provider in models.registry().providers().into_iter().filter(|provider| provider.kind() != "local") {
        findings.push(asked(&provider, &default).await);
    }
    findings.push(Finding::ok("providers", format_args!("agents without a model of their own use {default}")));
    findings
}

async fn asked(provider: &Arc<dyn Provider>, default: &ModelRef) -> Finding {
    let name = provider.name();
    let error = match tokio::time::timeout(ANSWER_LIMIT, provider.models()).await {
        Ok(Ok(models)) => {
            return Finding::ok("providers", format_args!("{name} answers and has {} models", models.len()));
        }
        Ok(Err(error)) => error,
        Err(_) => ProviderError::new(
            name,
            ProviderErrorKind::Timeout,
            format!("no answer within {} s", ANSWER_LIMIT.as_secs()),
        ),
    };
    let message = format!("{name}: {}", error.message);
    let finding = if *default.provider == *name {
        Finding::broken("providers", message)
    } else {
        Finding::warning("providers", message)
    };
    finding.mend(match error.kind {
        ProviderErrorKind::Auth => format!("check the key: `patchbay config set providers.{name}.api_key -`"),
        _ => format!("check the network and `providers.{name}.base_url`"),
    })
}

#[cfg(feature = "local")]
pub async fn weights(settings: &Settings, home: &Home) -> Vec<Finding> {
    use local_model::ModelKind;
    use local_model::catalogue::{DEFAULT, DEFAULT_EMBEDDER};

    let is_needed = match offline_models(settings, home).await {
        Ok(models) => models.default_model().is_some_and(|model| &*model.provider == "local"),
        Err(_) => true,
    };
    let mut findings = Vec::new();
    for (name, kind, what) in
        [(DEFAULT, ModelKind::Chat, "chat model"), (DEFAULT_EMBEDDER, ModelKind::Embedder, "embedder")]
    {
        let Some(found) = local_model::manifest::find(&home.models(), name, kind) else {
            let message = format!("the embedded {what} is not installed");
            let is_broken = is_needed && kind == ModelKind::Chat;
            let finding =
                if is_broken { Finding::broken("weights", message) } else { Finding::warning("weights", message) };
            findings.push(finding.mend("`patchbay models pull default`"));
            continue;
        };
        let label = found.manifest.name.clone();
        let checked = tokio::task::spawn_blocking(move || found.is_intact()).await;
        findings.push(if checked.unwrap_or(false) {
            Finding::ok("weights", format_args!("{label} is installed and whole"))
        } else {
            Finding::broken("weights", format_args!("{label} is damaged"))
                .mend(format_args!("`patchbay models pull {label}`"))
        });
    }
    findings
}

/// This program was built without embedded models.
#[cfg(not(feature = "local"))]
pub async fn weights(_: &Settings, _: &Home) -> Vec<Finding> {
    Vec::new()
}
