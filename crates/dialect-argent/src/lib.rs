//! The Argent dialect: frames over a WebSocket with a challenge, as ArgentOS and OpenClaw clients
//! speak it, in three forms that are told apart frame by frame.
//!
//! [`Argent`] holds what all connections share, `connection` what one has, `handshake` how one is
//! let in. Read [`table`] for what is served.

mod attempts;
mod connection;
mod door;
mod errors;
mod events;
pub mod framing;
mod handshake;
mod health;
mod keys;
mod limits;
mod link;
mod methods;
mod outcome;
mod outcomes;
mod rows;
mod scopes;
pub mod settings;
pub mod table;

use std::sync::Arc;

use axum::extract::ws::WebSocketUpgrade;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use dialect::MethodTable;
use dialect::peer::PeerInfo;
use dialect::{origin, socket};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use services::Services;
use sha2::{Digest, Sha256};

pub use settings::ArgentSettings;

/// Where this dialect's frames are kept beside an event.
pub(crate) const FRAME_SLOT: usize = 1;

/// How settings are asked for: anew for each connection, so that a reload needs no restart.
pub type Settings = Arc<dyn Fn() -> Arc<ArgentSettings> + Send + Sync>;

/// The dialect, shared by all of its connections.
pub struct Argent {
    pub(crate) services: Arc<Services>,
    pub(crate) settings: Settings,
    pub(crate) auth_required: Arc<dyn Fn() -> bool + Send + Sync>,
    pub(crate) table: MethodTable,
    /// What `hello-ok` says is served.
    pub(crate) features: Box<RawValue>,
    pub(crate) health: health::Health,
    pub(crate) attempts: attempts::Attempts,
    pub(crate) outcomes: outcomes::Outcomes,
}

impl Argent {
    /// `auth_required` = false lets peers of this machine in without a secret.
    pub fn new(
        services: Arc<Services>,
        settings: Settings,
        auth_required: Arc<dyn Fn() -> bool + Send + Sync>,
    ) -> Arc<Self> {
        let table = table::table();
        Arc::new(Self {
            features: features(&table),
            health: health::Health::new(Arc::clone(&services)),
            services,
            settings,
            auth_required,
            table,
            attempts: attempts::Attempts::default(),
            outcomes: outcomes::Outcomes::default(),
        })
    }

    pub fn table(&self) -> &MethodTable {
        &self.table
    }

    /// Changes with the effective configuration; lower-case hex of 32 bytes.
    pub(crate) fn config_hash(&self) -> String {
        hex::encode(Sha256::digest(self.services.config.effective().to_string().as_bytes()))
    }
}

fn features(table: &MethodTable) -> Box<RawValue> {
    let methods: Vec<&str> = std::iter::once("connect").chain(table.iter().map(|method| method.name)).collect();
    let features = json!({ "methods": methods, "events": events::NAMES, "capabilities": ["published-model-catalog"] });
    serde_json::value::to_raw_value(&features).expect("names are plain JSON")
}

/// Answers a WebSocket upgrade; 403 when a loopback listener is addressed by a foreign name. Pages
/// that may not connect are told so in the handshake.
pub fn upgrade(argent: &Arc<Argent>, upgrade: WebSocketUpgrade, peer: &PeerInfo) -> Response {
    let settings = (argent.settings)();
    let is_proxied = settings.trusted_proxies.contains(&peer.remote.ip());
    let tailnet = peer.host().and_then(origin::host_of).is_some_and(|host| host.ends_with(".ts.net"));
    if !is_proxied
        && !tailnet
        && !origin::is_host_allowed(peer.host(), peer.listens_on_loopback, &settings.control_ui.allowed_origins)
    {
        return (StatusCode::FORBIDDEN, "host not allowed").into_response();
    }
    let argent = Arc::clone(argent);
    let protocol = connection::ArgentConnection::new(Arc::clone(&argent), peer);
    upgrade
        .read_buffer_size(socket::READ_BUFFER_BYTES)
        .write_buffer_size(socket::WRITE_BUFFER_BYTES)
        .max_message_size(limits::FRAME_BYTES_MAX)
        .max_frame_size(limits::FRAME_BYTES_MAX)
        .on_upgrade(move |stream| {
            let lifecycle = &argent.services.lifecycle;
            let revocations = argent.services.tokens.revocations();
            lifecycle.track(socket::serve(stream, protocol, lifecycle.clone(), revocations))
        })
}

/// The OpenRPC document of the dialect.
pub fn openrpc(version: &str) -> Value {
    let mut document = dialect::contract::openrpc(
        "Patchbay, Argent dialect",
        version,
        "Requests in native frames, JSON-RPC 2.0 or a bare form. The gateway opens with the event connect.challenge; the first request is `connect`.",
        &table::table(),
        |kind| errors::rpc_code(kind).into(),
    );
    handshake::describe(&mut document);
    document
}
