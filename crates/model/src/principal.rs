//! Who is calling, and how far the call may reach.

use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::TokenId;
use crate::session::SessionKey;

/// The gateway's own scopes; each dialect translates its credentials into them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    Read,
    Write,
    Admin,
    Approvals,
    Pairing,
    /// The MCP endpoint alone; never combined with another scope.
    Mcp,
}

impl Scope {
    pub const ALL: [Scope; 6] = [Scope::Read, Scope::Write, Scope::Admin, Scope::Approvals, Scope::Pairing, Scope::Mcp];

    pub const fn as_str(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Write => "write",
            Scope::Admin => "admin",
            Scope::Approvals => "approvals",
            Scope::Pairing => "pairing",
            Scope::Mcp => "mcp",
        }
    }

    pub fn parse(text: &str) -> Option<Scope> {
        Scope::ALL.into_iter().find(|scope| scope.as_str() == text)
    }

    const fn bit(self) -> u8 {
        1 << (self as u8)
    }
}

/// A set of scopes. `write` does not imply `read` here: what implies what is a matter of dialects.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ScopeSet(u8);

impl ScopeSet {
    pub const EMPTY: ScopeSet = ScopeSet(0);
    /// Everything an operator can have: all but `mcp`, which stands alone.
    pub const OPERATOR: ScopeSet = ScopeSet(
        Scope::Read.bit() | Scope::Write.bit() | Scope::Admin.bit() | Scope::Approvals.bit() | Scope::Pairing.bit(),
    );

    pub const fn contains(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    #[must_use]
    pub const fn with(self, scope: Scope) -> ScopeSet {
        ScopeSet(self.0 | scope.bit())
    }

    #[must_use]
    pub const fn intersection(self, other: ScopeSet) -> ScopeSet {
        ScopeSet(self.0 & other.0)
    }

    pub const fn is_subset(self, other: ScopeSet) -> bool {
        self.0 & !other.0 == 0
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.contains(*scope))
    }

    /// As stored: words joined by `,`.
    pub fn to_text(self) -> String {
        self.iter().map(Scope::as_str).collect::<Vec<_>>().join(",")
    }

    /// Reads `to_text`; unknown words are left out, so that an older program never grants more.
    pub fn from_text(text: &str) -> ScopeSet {
        text.split(',').filter_map(Scope::parse).collect()
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        scopes.into_iter().fold(ScopeSet::EMPTY, ScopeSet::with)
    }
}

impl fmt::Debug for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScopeSet({})", self.to_text())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PrincipalKind {
    Operator,
    Node,
    Device,
    Guest,
}

/// One authenticated caller. Made at connect, read-only after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    pub kind: PrincipalKind,
    /// What rate limits and logs are keyed by: a token's, client's or device's id.
    pub id: Arc<str>,
    pub scopes: ScopeSet,
    /// The token behind the connection; its revocation ends the connection.
    pub token_id: Option<TokenId>,
    /// A guest sees this session and nothing else.
    pub confined_to: Option<SessionKey>,
}

impl Principal {
    pub fn operator(id: impl Into<Arc<str>>, scopes: ScopeSet) -> Self {
        Self { kind: PrincipalKind::Operator, id: id.into(), scopes, token_id: None, confined_to: None }
    }

    /// The gateway itself: recovery, schedules, the CLI's own process.
    pub fn gateway() -> Self {
        Self::operator("gateway", ScopeSet::OPERATOR)
    }
}
