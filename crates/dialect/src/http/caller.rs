//! Who asks: from a bearer token to what it grants over HTTP.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use model::{Principal, PrincipalKind, Scope, ScopeSet};
use services::tokens::TokenIdentity;

/// What routes ask of a credential, in the words of the published Comis API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Grant {
    /// `/api/*`, server-sent events, `/media/*`, `/v1/*` and most methods.
    Rpc,
    /// `/v1/*` alone.
    Api,
    /// Methods that manage the gateway; does not imply `rpc`.
    Admin,
    /// The MCP endpoint alone.
    McpClient,
}

impl Grant {
    pub const ALL: [Grant; 4] = [Grant::Rpc, Grant::Api, Grant::Admin, Grant::McpClient];

    pub const fn word(self) -> &'static str {
        match self {
            Grant::Rpc => "rpc",
            Grant::Api => "api",
            Grant::Admin => "admin",
            Grant::McpClient => "mcp-client",
        }
    }

    /// The gateway's own scopes that say the same; `api` says less than any of them.
    pub const fn scopes(self) -> ScopeSet {
        match self {
            Grant::Rpc => ScopeSet::EMPTY.with(Scope::Read).with(Scope::Write),
            Grant::Api => ScopeSet::EMPTY,
            Grant::Admin => ScopeSet::EMPTY.with(Scope::Admin),
            Grant::McpClient => ScopeSet::EMPTY.with(Scope::Mcp),
        }
    }

    const fn bit(self) -> u8 {
        1 << (self as u8)
    }
}

/// A set of grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Grants(u8);

impl Grants {
    pub const NONE: Grants = Grants(0);
    /// The word `*`: everything but the MCP endpoint, which stands alone.
    pub const ALL: Grants = Grants(Grant::Rpc.bit() | Grant::Api.bit() | Grant::Admin.bit());

    #[must_use]
    pub const fn with(self, grant: Grant) -> Grants {
        Grants(self.0 | grant.bit())
    }

    pub const fn has(self, grant: Grant) -> bool {
        self.0 & grant.bit() != 0
    }

    /// What a list of scope words grants; unknown words grant nothing, and so does an empty list.
    pub fn from_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Grants {
        words.into_iter().fold(Grants::NONE, |grants, word| match word {
            "*" => Grants(grants.0 | Grants::ALL.0),
            _ => Grant::ALL.into_iter().find(|grant| grant.word() == word).map_or(grants, |grant| grants.with(grant)),
        })
    }

    /// The scopes that a token with these words has in every other dialect.
    pub fn scopes(self) -> ScopeSet {
        if self == Grants::ALL {
            return ScopeSet::OPERATOR;
        }
        let granted = Grant::ALL.into_iter().filter(|grant| self.has(*grant));
        granted.flat_map(|grant| grant.scopes().iter().collect::<Vec<_>>()).collect()
    }

    /// What a known token grants: its scopes read as words, and its own words as far as its scopes
    /// still bear them out. Nodes and guests have no business here.
    pub fn of(identity: &TokenIdentity) -> Grants {
        if !matches!(identity.role.as_str(), "operator" | "device") {
            return Grants::NONE;
        }
        let scopes = identity.scopes;
        let mut grants = Grants::NONE;
        if Grant::Rpc.scopes().is_subset(scopes) {
            grants = grants.with(Grant::Rpc).with(Grant::Api);
        }
        if scopes.contains(Scope::Admin) {
            grants = grants.with(Grant::Admin);
        }
        if scopes.contains(Scope::Mcp) {
            grants = grants.with(Grant::McpClient);
        }
        let words = Grants::from_words(identity.words.iter().map(String::as_str));
        Grant::ALL
            .into_iter()
            .filter(|grant| words.has(*grant) && grant.scopes().is_subset(scopes))
            .fold(grants, Grants::with)
    }
}

/// An authenticated caller.
#[derive(Debug, Clone)]
pub struct Caller {
    pub principal: Arc<Principal>,
    pub grants: Grants,
    /// The token's name as its owner knows it.
    pub client_id: Arc<str>,
}

impl Caller {
    pub fn of(identity: &TokenIdentity) -> Caller {
        let kind = if identity.role == "device" { PrincipalKind::Device } else { PrincipalKind::Operator };
        let id: Arc<str> = Arc::from(identity.id.as_str());
        let client_id = id.strip_prefix("config:").map_or_else(|| Arc::clone(&id), Arc::from);
        let principal =
            Principal { kind, id, scopes: identity.scopes, token_id: Some(identity.id.clone()), confined_to: None };
        Caller { principal: Arc::new(principal), grants: Grants::of(identity), client_id }
    }

    /// Whoever asks where no credential is required.
    pub fn anonymous() -> Caller {
        let principal = Arc::new(Principal::operator("anonymous", ScopeSet::OPERATOR));
        Caller { client_id: Arc::clone(&principal.id), principal, grants: Grants::ALL }
    }

    pub fn may(&self, grant: Grant) -> bool {
        self.grants.has(grant)
    }
}

/// Who sent a request; [`limit`](super::limit) puts it into the request's extensions.
#[derive(Debug, Clone)]
pub struct Asker {
    /// Absent without a credential that somebody knows.
    pub caller: Option<Caller>,
    pub ip: IpAddr,
}

/// The token of an `Authorization: Bearer` header; `None` when the header is not exactly of that form.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_at_checked(6)?;
    let token = token.trim_start_matches([' ', '\t']);
    let is_separated = value.len() > 6 + token.len();
    let body = token.trim_end_matches('=');
    let is_legal =
        !body.is_empty() && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._~+/-".contains(&byte));
    (scheme.eq_ignore_ascii_case("bearer") && is_separated && is_legal).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::TokenId;

    fn identity(scopes: &str, words: &[&str], role: &str) -> TokenIdentity {
        TokenIdentity {
            id: TokenId::trusted("config:ci"),
            name: "ci".into(),
            scopes: ScopeSet::from_text(scopes),
            role: role.into(),
            device_id: None,
            expires_at: None,
            words: words.iter().map(|word| (*word).to_owned()).collect(),
        }
    }

    fn words(scopes: &str, words: &[&str]) -> Vec<&'static str> {
        let grants = Grants::of(&identity(scopes, words, "operator"));
        Grant::ALL.into_iter().filter(|grant| grants.has(*grant)).map(Grant::word).collect()
    }

    #[test]
    fn scopes_and_words_meet() {
        assert_eq!(words("", &[]), Vec::<&str>::new());
        assert_eq!(words("read", &[]), Vec::<&str>::new());
        assert_eq!(words("read,write", &[]), ["rpc", "api"]);
        assert_eq!(words("admin", &[]), ["admin"]);
        assert_eq!(words("mcp", &[]), ["mcp-client"]);
        assert_eq!(words("", &["api"]), ["api"]);
        assert_eq!(words("", &["ws", "anything"]), Vec::<&str>::new());
        assert_eq!(words("read", &["rpc", "admin", "*"]), ["api"], "words never outgrow the scopes");
        let guest = identity("read,write,admin", &["*"], "guest");
        assert_eq!(Grants::of(&guest), Grants::NONE);
    }

    #[test]
    fn words_become_scopes_that_say_no_more() {
        let scopes = |words: &[&str]| Grants::from_words(words.iter().copied()).scopes().to_text();
        assert_eq!(scopes(&[]), "");
        assert_eq!(scopes(&["api"]), "");
        assert_eq!(scopes(&["rpc"]), "read,write");
        assert_eq!(scopes(&["admin"]), "admin");
        assert_eq!(scopes(&["mcp-client"]), "mcp");
        assert_eq!(scopes(&["*"]), ScopeSet::OPERATOR.to_text());
    }

    #[test]
    fn only_a_well_formed_bearer_header_holds_a_token() {
        let read = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, value.parse().unwrap());
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(read("Bearer abc.DEF_~+/-9=="), Some("abc.DEF_~+/-9==".into()));
        assert_eq!(read("bearer   abc"), Some("abc".into()));
        for wrong in [
            "Bearerabc",
            "Bearer",
            "Bearer ",
            "Basic abc",
            "Bearer a b",
            "Bearer a=b",
            "Bearer ===",
            "Bear",
            "B\u{e9}arer x",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
