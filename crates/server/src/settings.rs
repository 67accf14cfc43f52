//! `[[listen]]` and `[auth]`.

use std::net::SocketAddr;
use std::path::PathBuf;

use model::{Scope, Secret};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One address that the gateway listens on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenSettings {
    /// What a WebSocket upgrade on `/` speaks: `aleph`, `comis` or `argent`.
    pub dialect: DialectName,
    /// `address:port`; port 0 picks a free one.
    pub address: SocketAddr,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSettings>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DialectName {
    Aleph,
    Comis,
    Argent,
}

impl DialectName {
    pub const ALL: [DialectName; 3] = [DialectName::Aleph, DialectName::Comis, DialectName::Argent];

    pub const fn as_str(self) -> &'static str {
        match self {
            DialectName::Aleph => "aleph",
            DialectName::Comis => "comis",
            DialectName::Argent => "argent",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| name.as_str() == text)
    }

    pub const fn default_port(self) -> u16 {
        match self {
            DialectName::Aleph => 18790,
            DialectName::Comis => 4766,
            DialectName::Argent => 18789,
        }
    }

    /// Scheme of the address that is told to people.
    pub const fn scheme(self, has_tls: bool) -> &'static str {
        match (self, has_tls) {
            (DialectName::Comis, false) => "http",
            (DialectName::Comis, true) => "https",
            (_, false) => "ws",
            (_, true) => "wss",
        }
    }
}

/// Certificate and key of a listener, PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    pub cert_path: PathBuf,
    pub key_path: PathBuf,
    /// Certificates of those who may connect; with it clients must show one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_path: Option<PathBuf>,
    #[serde(default = "default_true")]
    pub require_client_cert: bool,
}

const fn default_true() -> bool {
    true
}

/// Who may connect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AuthSettings {
    /// `false` only on loopback.
    pub required: bool,
    /// Tokens besides those made by `patchbay token create`.
    pub token: Vec<TokenSettings>,
    /// Further names under which a loopback listener may be addressed, for instance by a proxy.
    pub allowed_hosts: Vec<String>,
}

impl Default for AuthSettings {
    fn default() -> Self {
        Self { required: true, token: Vec::new(), allowed_hosts: Vec::new() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenSettings {
    /// 1 to 64 characters, unique.
    pub id: String,
    /// At least 16 characters.
    pub secret: Secret,
    /// Of `read`, `write`, `admin`, `approvals`, `pairing`; or `mcp` alone. Empty grants nothing.
    #[serde(default)]
    pub scopes: Vec<Scope>,
}

/// The three default listeners, on loopback.
pub fn default_listeners() -> Vec<ListenSettings> {
    DialectName::ALL
        .into_iter()
        .map(|dialect| ListenSettings {
            dialect,
            address: SocketAddr::from(([127, 0, 0, 1], dialect.default_port())),
            tls: None,
        })
        .collect()
}
