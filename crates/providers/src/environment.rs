//! Providers that are found without configuration: keys in the environment, an Ollama next door.

use std::time::Duration;

use http::HeaderMap;
use model::Secret;

use crate::http::{KEEP_ALIVE, Near};
use crate::settings::{ProviderKind, ProviderSettings};

/// How long a probe for an Ollama may take; it runs while the gateway starts.
pub const OLLAMA_PROBE_LIMIT: Duration = Duration::from_millis(200);

/// Name of the provider, its kind, the variable with its key, the variable with its base URL.
const KNOWN: [(&str, ProviderKind, &str, &str); 3] = [
    ("openai", ProviderKind::Openai, "OPENAI_API_KEY", "OPENAI_BASE_URL"),
    ("anthropic", ProviderKind::Anthropic, "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"),
    ("gemini", ProviderKind::Gemini, "GEMINI_API_KEY", "GEMINI_BASE_URL"),
];

/// The providers whose keys are in the environment, in order of preference.
///
/// `*_BASE_URL` beside a key is honoured, so that a key meant for a proxy is not sent to the vendor.
/// An entry that does not validate is left out.
pub fn found_in_environment(env: &dyn Fn(&str) -> Option<String>) -> Vec<(String, ProviderSettings)> {
    let value_of = |name: &str| env(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
    KNOWN
        .into_iter()
        .filter_map(|(name, kind, key, base_url)| {
            let api_key = Some(Secret::new(value_of(key)?));
            let settings = ProviderSettings { api_key, base_url: value_of(base_url), ..ProviderSettings::new(kind) };
            settings.validate().is_empty().then(|| (name.to_owned(), settings))
        })
        .collect()
}

/// Whether an Ollama answers at `base_url`, which is a plain `http` one, within [`OLLAMA_PROBE_LIMIT`].
///
/// Asked at every start, so not with the general client: that reads the certificates of the system first.
pub async fn ollama_is_up(base_url: &str) -> bool {
    let Ok(uri) = format!("{}/api/version", base_url.trim_end_matches('/')).parse() else {
        return false;
    };
    let client = Near::new(HeaderMap::new(), OLLAMA_PROBE_LIMIT, KEEP_ALIVE, OLLAMA_PROBE_LIMIT);
    match tokio::time::timeout(OLLAMA_PROBE_LIMIT, client.get(uri)).await {
        Ok(Ok(response)) => response.status().is_success(),
        Ok(Err(_)) | Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_the_environment_make_providers() {
        let env = |name: &str| match name {
            "OPENAI_API_KEY" => Some("sk-1".to_owned()),
            "OPENAI_BASE_URL" => Some("http://127.0.0.1:1/v1".to_owned()),
            "ANTHROPIC_API_KEY" => Some("  ".to_owned()),
            "GEMINI_API_KEY" => Some("g-1\n".to_owned()),
            _ => None,
        };
        let found = found_in_environment(&env);
        let names: Vec<(&str, ProviderKind)> = found.iter().map(|(name, s)| (name.as_str(), s.kind)).collect();
        assert_eq!(names, [("openai", ProviderKind::Openai), ("gemini", ProviderKind::Gemini)]);
        assert_eq!(found[0].1.effective_base_url(), "http://127.0.0.1:1/v1");
        assert_eq!(found[1].1.api_key.as_ref().unwrap().expose_secret(), "g-1");
    }

    #[test]
    fn an_empty_environment_finds_nothing() {
        assert_eq!(found_in_environment(&|_| None), []);
    }
}
