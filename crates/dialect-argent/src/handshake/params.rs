//! The parameters of `connect`, with the short forms that the published ArgentOS API shows.

use model::OpError;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::framing::Form;

/// As sent. Unknown fields are ignored: clients of newer versions send some.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ConnectParams {
    /// Required in native frames, else 3.
    min_protocol: Option<i64>,
    max_protocol: Option<i64>,
    client: Option<ClientParams>,
    /// `operator`, `node` or `device`.
    role: Option<String>,
    /// Scopes to ask for; absent = `operator.admin`.
    scopes: Option<Vec<String>>,
    /// `tool-events` asks for the tools of runs that this connection starts.
    caps: Vec<String>,
    /// Of nodes.
    commands: Option<Vec<String>>,
    permissions: Option<Map<String, Value>>,
    path_env: Option<String>,
    auth: Option<AuthParams>,
    device: Option<DeviceParams>,
    locale: Option<String>,
    user_agent: Option<String>,
    /// Deliver durable events after this place first.
    resume: Option<ResumeParams>,
    /// Short for `client.id`.
    client_name: Option<String>,
    /// Short for `client.displayName`.
    client_display_name: Option<String>,
    /// Short for `client.version`.
    client_version: Option<String>,
    /// Short for `role`.
    mode: Option<String>,
    /// Short for `auth.token`.
    token: Option<String>,
    /// Short for `auth.password`.
    password: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientParams {
    id: Option<String>,
    mode: Option<String>,
    version: Option<String>,
    platform: Option<String>,
    display_name: Option<String>,
    device_family: Option<String>,
    model_identifier: Option<String>,
    instance_id: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthParams {
    token: Option<String>,
    password: Option<String>,
    device_token: Option<String>,
    bootstrap_token: Option<String>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceParams {
    /// Lower-case hex SHA-256 of the raw public key.
    pub id: String,
    /// Ed25519: base64url of 32 bytes, or a PEM.
    pub public_key: String,
    /// Base64url of 64 bytes.
    pub signature: String,
    /// Unix milliseconds.
    pub signed_at: i64,
    /// The nonce of `connect.challenge`.
    #[serde(default)]
    pub nonce: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
pub struct ResumeParams {
    pub cursor: u64,
}

/// Checked and with the short forms resolved.
#[derive(Debug, Clone)]
pub struct Connect {
    pub min_protocol: i64,
    pub max_protocol: i64,
    pub client: Client,
    pub role: String,
    pub scopes: Option<Vec<String>>,
    pub wants_tools: bool,
    pub auth: Auth,
    pub device: Option<DeviceParams>,
    pub resume: Option<u64>,
}

#[derive(Debug, Clone, Default)]
pub struct Client {
    pub id: String,
    pub mode: String,
    pub version: String,
    pub platform: String,
    pub display_name: Option<String>,
    pub device_family: Option<String>,
    pub model_identifier: Option<String>,
    pub instance_id: Option<String>,
}

#[derive(Clone, Default)]
pub struct Auth {
    pub token: Option<String>,
    pub password: Option<String>,
    pub device_token: Option<String>,
    pub bootstrap_token: Option<String>,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Auth(…)")
    }
}

impl Auth {
    /// What the device signed over; never the password.
    pub fn signed_token(&self) -> &str {
        self.token.as_deref().or(self.device_token.as_deref()).or(self.bootstrap_token.as_deref()).unwrap_or_default()
    }
}

impl Client {
    pub fn is_control_ui(&self) -> bool {
        matches!(self.id.as_str(), "argent-control-ui" | "openclaw-control-ui")
    }

    /// Runs in a browser.
    pub fn is_web(&self) -> bool {
        self.mode == "webchat" || self.id == "webchat-ui" || self.is_control_ui()
    }

    /// Short-lived callers are not shown among those present.
    pub fn is_shown(&self) -> bool {
        !matches!(self.mode.as_str(), "cli" | "probe")
    }
}

impl ConnectParams {
    pub fn check(self, form: Form) -> Result<Connect, OpError> {
        let is_native = form == Form::Native;
        let min_protocol = protocol("minProtocol", self.min_protocol, is_native)?;
        let max_protocol = protocol("maxProtocol", self.max_protocol, is_native)?;
        let short = self.client_name.is_some();
        let given = self.client.unwrap_or_default();
        let id = given.id.or(self.client_name).filter(|id| !id.is_empty());
        let id = match id {
            Some(id) => id,
            None if is_native || given.mode.is_some() => return Err(OpError::invalid("client.id", "is required")),
            None => return Err(OpError::invalid("clientName", "is required")),
        };
        let demanded = |field: &str, value: Option<String>, otherwise: &str| match value {
            Some(value) if !value.is_empty() => Ok(value),
            Some(_) => Err(OpError::invalid(field, "must NOT have fewer than 1 characters")),
            None if is_native && !short => Err(OpError::invalid(field, "is required")),
            None => Ok(otherwise.to_owned()),
        };
        let client = Client {
            id,
            mode: demanded("client.mode", given.mode, "backend")?,
            version: demanded("client.version", given.version.or(self.client_version), "unknown")?,
            platform: demanded("client.platform", given.platform, "unknown")?,
            display_name: given.display_name.or(self.client_display_name),
            device_family: given.device_family,
            model_identifier: given.model_identifier,
            instance_id: given.instance_id,
        };
        let auth = self.auth.unwrap_or_default();
        let role = self.role.or(self.mode).unwrap_or_else(|| String::from("operator"));
        Ok(Connect {
            min_protocol,
            max_protocol,
            client,
            role,
            scopes: self.scopes,
            wants_tools: self.caps.iter().any(|cap| cap == "tool-events"),
            auth: Auth {
                token: auth.token.or(self.token).filter(|text| !text.is_empty()),
                password: auth.password.or(self.password).filter(|text| !text.is_empty()),
                device_token: auth.device_token.filter(|text| !text.is_empty()),
                bootstrap_token: auth.bootstrap_token.filter(|text| !text.is_empty()),
            },
            device: self.device,
            resume: self.resume.map(|resume| resume.cursor),
        })
    }
}

fn protocol(field: &str, value: Option<i64>, is_required: bool) -> Result<i64, OpError> {
    match value {
        Some(value) if value < 1 => Err(OpError::invalid(field, "must be >= 1")),
        Some(value) => Ok(value),
        None if is_required => Err(OpError::invalid(field, "is required")),
        None => Ok(3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(form: Form, params: Value) -> Result<Connect, String> {
        let params: ConnectParams = serde_json::from_value(params).unwrap();
        params.check(form).map_err(|error| error.message)
    }

    #[test]
    fn the_short_form_says_the_same_as_the_long_one() {
        let short = check(
            Form::Bare,
            json!({ "clientName": "dash", "clientDisplayName": "Dash", "mode": "operator", "token": "t" }),
        )
        .unwrap();
        assert_eq!((short.client.id.as_str(), short.client.display_name.as_deref()), ("dash", Some("Dash")));
        assert_eq!((short.role.as_str(), short.auth.token.as_deref(), short.max_protocol), ("operator", Some("t"), 3));
        let both = check(
            Form::Bare,
            json!({ "clientName": "a", "client": { "id": "b" }, "role": "node", "mode": "operator" }),
        )
        .unwrap();
        assert_eq!((both.client.id.as_str(), both.role.as_str()), ("b", "node"));
    }

    #[test]
    fn native_frames_must_be_complete() {
        let whole = json!({ "minProtocol": 3, "maxProtocol": 4, "client": { "id": "cli", "mode": "cli", "version": "1", "platform": "linux" } });
        assert!(check(Form::Native, whole.clone()).is_ok());
        for (field, reason) in [("minProtocol", "minProtocol: is required"), ("client", "client.id: is required")] {
            let mut part = whole.clone();
            part.as_object_mut().unwrap().remove(field);
            assert_eq!(check(Form::Native, part).unwrap_err(), reason);
        }
        let mut part = whole;
        part["client"]["version"] = json!("");
        assert_eq!(check(Form::Native, part).unwrap_err(), "client.version: must NOT have fewer than 1 characters");
    }
}
