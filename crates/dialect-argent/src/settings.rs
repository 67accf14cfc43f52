//! `[argent]`: what only this dialect knows, the `gateway.*` keys of the published ArgentOS API.

use std::net::IpAddr;

use model::{ScopeSet, Secret};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use services::tokens::ConfiguredToken;
use sha2::{Digest, Sha256};

/// Bounds of `tick_interval_ms`.
const TICK_MS: std::ops::RangeInclusive<u64> = 1000..=300_000;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ArgentSettings {
    /// The shared secret of this dialect besides the common tokens.
    pub token: Option<Secret>,
    pub auth: AuthSettings,
    pub control_ui: ControlUi,
    /// Addresses of proxies whose `X-Forwarded-For` is believed.
    #[schemars(with = "Vec<String>")]
    pub trusted_proxies: Vec<IpAddr>,
    /// How often a connection gets a `tick` event, in milliseconds, 1000 to 300 000.
    pub tick_interval_ms: u64,
    /// By when a client must have sent `connect`, in milliseconds.
    pub handshake_timeout_ms: u64,
}

impl Default for ArgentSettings {
    fn default() -> Self {
        Self {
            token: None,
            auth: AuthSettings::default(),
            control_ui: ControlUi::default(),
            trusted_proxies: Vec::new(),
            tick_interval_ms: 30_000,
            handshake_timeout_ms: 15_000,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AuthSettings {
    /// What clients are asked for; absent = `password` when only a password is set, else `token`.
    pub mode: Option<AuthMode>,
    /// As the key `token` one level up, which wins.
    pub token: Option<Secret>,
    pub password: Option<Secret>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    Token,
    Password,
    /// Nothing is asked of peers on this machine.
    None,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ControlUi {
    /// Web origins that may connect besides those of this machine.
    pub allowed_origins: Vec<String>,
    /// Let control pages in without a device identity when they send a secret.
    pub allow_insecure_auth: bool,
}

impl ArgentSettings {
    /// The settings with what the environment says: `ARGENT_GATEWAY_TOKEN` and
    /// `ARGENT_GATEWAY_PASSWORD` win over the file.
    #[must_use]
    pub fn with_environment(mut self, read: impl Fn(&str) -> Option<String>) -> Self {
        let named = |name: &str| read(name).filter(|text| !text.trim().is_empty()).map(Secret::new);
        if let Some(token) = named("ARGENT_GATEWAY_TOKEN") {
            self.token = Some(token);
        }
        if let Some(password) = named("ARGENT_GATEWAY_PASSWORD") {
            self.auth.password = Some(password);
        }
        self
    }

    /// The secrets of this dialect for the common store of tokens. Each id changes with its secret,
    /// so that a new secret ends the connections that used the old one.
    pub fn configured_tokens(&self) -> Vec<ConfiguredToken> {
        let token = self.token.as_ref().or(self.auth.token.as_ref()).map(|secret| ("argent.token", secret));
        let password = self.auth.password.as_ref().map(|secret| ("argent.password", secret));
        token
            .into_iter()
            .chain(password)
            .filter(|(_, secret)| !secret.expose_secret().is_empty())
            .map(|(name, secret)| {
                let print = hex::encode(&Sha256::digest(secret.expose_secret().as_bytes())[..4]);
                ConfiguredToken {
                    id: format!("{name}.{print}"),
                    secret: secret.clone(),
                    scopes: ScopeSet::OPERATOR,
                    role: String::from("operator"),
                    words: Vec::new(),
                }
            })
            .collect()
    }

    pub(crate) fn mode(&self) -> AuthMode {
        let only_password = self.auth.password.is_some() && self.token.is_none() && self.auth.token.is_none();
        self.auth.mode.unwrap_or(if only_password { AuthMode::Password } else { AuthMode::Token })
    }

    pub(crate) fn tick_ms(&self) -> u64 {
        self.tick_interval_ms.clamp(*TICK_MS.start(), *TICK_MS.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Option<Secret> {
        Some(Secret::new(text))
    }

    #[test]
    fn the_environment_wins_and_the_upper_token_wins_over_the_lower() {
        let file = ArgentSettings {
            token: secret("a"),
            auth: AuthSettings { token: secret("b"), ..AuthSettings::default() },
            ..ArgentSettings::default()
        };
        let secrets = |settings: &ArgentSettings| {
            settings.configured_tokens().iter().map(|token| token.secret.expose_secret().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(secrets(&file), ["a"]);
        let over = file.with_environment(|name| (name == "ARGENT_GATEWAY_TOKEN").then(|| String::from("c")));
        assert_eq!(secrets(&over), ["c"]);
    }

    #[test]
    fn the_mode_follows_what_is_set() {
        let mut settings = ArgentSettings::default();
        assert_eq!(settings.mode(), AuthMode::Token);
        settings.auth.password = secret("p");
        assert_eq!(settings.mode(), AuthMode::Password);
        settings.token = secret("t");
        assert_eq!(settings.mode(), AuthMode::Token);
    }

    #[test]
    fn the_id_of_a_token_changes_with_its_secret() {
        let id = |text| {
            ArgentSettings { token: secret(text), ..ArgentSettings::default() }.configured_tokens()[0].id.clone()
        };
        assert_ne!(id("a"), id("b"));
        assert!(!id("a").contains('a') || id("a").starts_with("argent.token."));
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert!(serde_json::from_str::<ArgentSettings>(r#"{"tokn":"x"}"#).is_err());
        assert!(serde_json::from_str::<ArgentSettings>(r#"{"auth":{"mode":"none"}}"#).is_ok());
    }
}
