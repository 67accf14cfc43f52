//! `connect`: the handshake, in both of its parameter forms.

use std::sync::Arc;

use model::{ErrorKind, OpError, Principal, PrincipalKind, ScopeSet, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use services::tokens::TokenIdentity;

use crate::Aleph;
use crate::settings::ChunkTopics;

const PROTOCOL: i64 = 1;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Params {
    #[serde(default = "protocol")]
    min_protocol: i64,
    #[serde(default = "protocol")]
    max_protocol: i64,
    #[serde(default)]
    client: Option<Client>,
    /// `operator` or `node`.
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    auth: Option<Auth>,
    #[serde(default)]
    token: Option<String>,
    #[serde(default, rename = "client_id")]
    client_id: Option<String>,
    #[serde(default, rename = "device_id")]
    device_id: Option<String>,
    #[serde(default, rename = "device_name")]
    device_name: Option<String>,
    #[serde(default, rename = "shared_token")]
    shared_token: Option<String>,
    #[serde(default, rename = "invitation_token")]
    invitation_token: Option<String>,
    /// Scopes to ask for; absent = all that the token has.
    #[serde(default)]
    scopes: Option<Vec<String>>,
    #[serde(default)]
    events: Option<EventChoices>,
}

const fn protocol() -> i64 {
    PROTOCOL
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Client {
    #[serde(default)]
    id: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Auth {
    #[serde(default)]
    token: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct EventChoices {
    #[serde(default)]
    chunk_topics: Option<ChunkTopics>,
    /// `flat` for notifications without an envelope.
    #[serde(default)]
    format: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Output {
    /// A signed token for later connections; absent for who came without a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    session_token: Option<String>,
    /// The same as `session_token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    role: &'static str,
    /// The scopes that were granted; `["*"]` for all.
    scopes: Vec<String>,
    permissions: Vec<String>,
    /// When the session token expires, Unix milliseconds; `null` when authentication is not required.
    expires_at: Option<i64>,
    device_id: String,
    client_id: String,
    protocol: i64,
    connection_id: String,
    server: Server,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Server {
    name: &'static str,
    version: &'static str,
    build: &'static str,
}

/// What a successful `connect` settles.
pub struct Connected {
    pub principal: Arc<Principal>,
    pub output: Output,
    pub is_flat: bool,
    pub chunk_topics: Option<ChunkTopics>,
}

/// Checks the parameters and the credentials.
pub fn connect(aleph: &Aleph, params: Params, connection_id: &str) -> Result<Connected, OpError> {
    check_version(&params)?;
    let required = (aleph.auth_required)();
    let client_id = params
        .client_id
        .clone()
        .or_else(|| params.client.as_ref().and_then(|client| client.id.clone()))
        .or_else(|| params.device_id.clone())
        .unwrap_or_else(|| connection_id.to_owned());
    let secret = params
        .auth
        .as_ref()
        .and_then(|auth| auth.token.as_deref())
        .or(params.token.as_deref())
        .or(params.shared_token.as_deref())
        .or(params.invitation_token.as_deref());
    let identity = match secret {
        Some(secret) => aleph.services.tokens.authenticate(secret),
        None if required => {
            return Err(OpError::new(ErrorKind::Unauthenticated, "Authentication required: no token given"));
        }
        None => None,
    };
    if identity.is_none() && required {
        return Err(OpError::new(ErrorKind::Unauthenticated, "Authentication failed: invalid token"));
    }
    let kind = role(params.role.as_deref(), identity.as_deref())?;
    let held = identity.as_ref().map_or(ScopeSet::OPERATOR, |identity| identity.scopes);
    let granted = match &params.scopes {
        Some(asked) if !asked.iter().any(|scope| scope == "*") => {
            held.intersection(ScopeSet::from_text(&asked.join(",")))
        }
        _ => held,
    };
    let granted = if kind == PrincipalKind::Node { granted.intersection(node_scopes()) } else { granted };
    let principal = Arc::new(Principal {
        kind,
        id: Arc::from(client_id.as_str()),
        scopes: granted,
        token_id: identity.as_ref().map(|identity| identity.id.clone()),
        confined_to: None,
    });
    let output = output(aleph, identity.as_deref(), &principal, client_id, params.device_id, connection_id);
    let wants_flat = params.events.as_ref().and_then(|events| events.format.as_deref()) == Some("flat");
    Ok(Connected {
        principal,
        output,
        is_flat: wants_flat || params.device_name.is_some(),
        chunk_topics: params.events.and_then(|events| events.chunk_topics),
    })
}

fn check_version(params: &Params) -> Result<(), OpError> {
    let (min, max) = (params.min_protocol, params.max_protocol);
    if min > PROTOCOL || max < PROTOCOL || min > max {
        let details = json!({ "server_min": PROTOCOL, "server_max": PROTOCOL });
        return Err(OpError::new(ErrorKind::InvalidParams, "Unsupported protocol version").with_details(details));
    }
    Ok(())
}

fn role(asked: Option<&str>, identity: Option<&TokenIdentity>) -> Result<PrincipalKind, OpError> {
    let asked = match asked {
        None | Some("operator") => PrincipalKind::Operator,
        Some("node") => PrincipalKind::Node,
        Some(other) => return Err(OpError::invalid("role", format!("`{other}` is neither operator nor node"))),
    };
    let is_node_token = identity.is_some_and(|identity| identity.role == "node");
    if is_node_token && asked == PrincipalKind::Operator {
        return Err(OpError::denied("a node token cannot connect as operator"));
    }
    Ok(asked)
}

/// What a node may hold at most.
fn node_scopes() -> ScopeSet {
    ScopeSet::EMPTY.with(model::Scope::Read).with(model::Scope::Write)
}

fn output(
    aleph: &Aleph,
    identity: Option<&TokenIdentity>,
    principal: &Principal,
    client_id: String,
    device_id: Option<String>,
    connection_id: &str,
) -> Output {
    let settings = (aleph.settings)();
    let role = if principal.kind == PrincipalKind::Node { "node" } else { "operator" };
    let lifetime = i64::try_from(settings.token_expiry_ms).unwrap_or(i64::MAX);
    let expires_at = aleph.services.clock.now().plus_ms(lifetime);
    let session =
        identity.map(|identity| aleph.services.tokens.issue_session(identity, role, principal.scopes, expires_at));
    let session_token = session.map(|secret| secret.expose_secret().to_owned());
    let scopes = match principal.kind {
        PrincipalKind::Node => vec![String::from("node")],
        _ if principal.scopes == ScopeSet::OPERATOR => vec![String::from("*")],
        _ => principal.scopes.iter().map(|scope| scope.as_str().to_owned()).collect(),
    };
    let info = &aleph.services.info;
    Output {
        token: session_token.clone(),
        session_token,
        role,
        permissions: scopes.clone(),
        scopes,
        expires_at: identity.map(|_| Timestamp::as_ms(expires_at)),
        device_id: device_id.unwrap_or_else(|| client_id.clone()),
        client_id,
        protocol: PROTOCOL,
        connection_id: connection_id.to_owned(),
        server: Server { name: "patchbay", version: info.version, build: info.build },
    }
}

/// Puts `connect` into the contract, which the table does not hold: it is not a call like others.
pub fn describe(document: &mut Value) {
    let mut generator = schemars::generate::SchemaSettings::draft2020_12()
        .with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.inline_subschemas = true;
        })
        .into_generator();
    let params: Value = generator.root_schema_for::<Params>().into();
    let result: Value = generator.root_schema_for::<Output>().into();
    let empty = serde_json::Map::new();
    let listed: Vec<Value> = params["properties"]
        .as_object()
        .unwrap_or(&empty)
        .iter()
        .map(|(name, schema)| json!({ "name": name, "required": false, "schema": schema }))
        .collect();
    let method = json!({
        "name": "connect",
        "summary": "Introduce yourself: version, role and token. The first message of a connection.",
        "description": "Introduce yourself: version, role and token. The first message of a connection. A further `connect` takes on another identity; when it fails, the old one stays.",
        "paramStructure": "by-name",
        "params": listed,
        "result": { "name": "result", "schema": result },
        "errors": [
            { "code": crate::errors::AUTH_REQUIRED, "message": "no token was given" },
            { "code": crate::errors::AUTH_FAILED, "message": "the token is unknown, expired or revoked" },
            { "code": crate::errors::PERMISSION_DENIED, "message": "the token does not allow the role" },
            { "code": crate::errors::RATE_LIMITED, "message": "too many failed attempts" },
        ],
        "x-scope": null,
    });
    if let Some(methods) = document["methods"].as_array_mut() {
        methods.push(method);
        methods.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    }
}
