//! The Aleph dialect: JSON-RPC 2.0 over WebSocket. Also our own protocol, which the page and the
//! command line speak; so nearly every operation is bound unchanged.
//!
//! [`Aleph`] holds what all connections share, `connection` what one has. Read [`table`] for what
//! is served.

mod batch;
mod connect;
mod connection;
mod errors;
mod events;
mod flat;
pub mod framing;
mod limits;
mod payload;
pub mod settings;
mod state;
pub mod table;

use std::sync::Arc;

use axum::extract::ws::WebSocketUpgrade;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use dialect::MethodTable;
use dialect::peer::PeerInfo;
use dialect::socket;
use futures_util::FutureExt;
use serde_json::Value;
use services::Services;

pub use settings::AlephSettings;

/// Where this dialect's frames are kept beside an event.
pub(crate) const FRAME_SLOT: usize = 0;

/// How settings are asked for: anew for each connection, so that a reload needs no restart.
pub type Settings = Arc<dyn Fn() -> Arc<AlephSettings> + Send + Sync>;

/// The dialect, shared by all of its connections.
pub struct Aleph {
    pub(crate) services: Arc<Services>,
    pub(crate) settings: Settings,
    pub(crate) auth_required: Arc<dyn Fn() -> bool + Send + Sync>,
    pub(crate) table: MethodTable,
    pub(crate) limiter: limits::Limiter,
    connections: Arc<tokio::sync::Semaphore>,
}

impl Aleph {
    pub fn new(
        services: Arc<Services>,
        settings: Settings,
        auth_required: Arc<dyn Fn() -> bool + Send + Sync>,
    ) -> Arc<Self> {
        let connections = Arc::new(tokio::sync::Semaphore::new(settings().max_connections as usize));
        Arc::new(Self {
            services,
            settings,
            auth_required,
            table: table::table(),
            limiter: limits::Limiter::default(),
            connections,
        })
    }

    pub fn table(&self) -> &MethodTable {
        &self.table
    }
}

/// Answers a WebSocket upgrade: 403 for a foreign page, 503 when the gateway is full.
pub fn upgrade(aleph: &Arc<Aleph>, upgrade: WebSocketUpgrade, peer: PeerInfo) -> Response {
    let settings = (aleph.settings)();
    if !dialect::origin::is_origin_allowed(peer.origin(), peer.host(), &settings.allowed_origins) {
        return (StatusCode::FORBIDDEN, "origin not allowed").into_response();
    }
    let Ok(permit) = Arc::clone(&aleph.connections).try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many connections").into_response();
    };
    let aleph = Arc::clone(aleph);
    let frame_max = settings.max_message_bytes;
    upgrade
        .read_buffer_size(socket::READ_BUFFER_BYTES)
        .write_buffer_size(socket::WRITE_BUFFER_BYTES)
        .max_message_size(frame_max)
        .max_frame_size(frame_max)
        .on_upgrade(move |stream| {
            let lifecycle = aleph.services.lifecycle.clone();
            let revocations = aleph.services.tokens.revocations();
            let protocol = connection::AlephConnection::new(aleph, settings, peer);
            lifecycle.track(socket::serve(stream, protocol, lifecycle.clone(), revocations)).map(|()| drop(permit))
        })
}

/// The OpenRPC document of the dialect.
pub fn openrpc(version: &str) -> Value {
    let mut document = dialect::contract::openrpc(
        "Patchbay, Aleph dialect",
        version,
        "JSON-RPC 2.0 over WebSocket. The first message is `connect`; events arrive as notifications `event`.",
        &table::table(),
        |kind| errors::code(kind).into(),
    );
    connect::describe(&mut document);
    document
}

/// The AsyncAPI document of the events that this dialect, and with it our own protocol, sends.
pub fn asyncapi(version: &str) -> Value {
    let mut generator = schemars::generate::SchemaSettings::draft2020_12()
        .with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        })
        .into_generator();
    let (channels, messages) = payload::describe(&mut generator);
    serde_json::json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Patchbay events",
            "version": version,
            "description": "Notifications `event` with params {topic, data, timestamp, cursor?, part_of?}. Durable events have a cursor; pass the last one as `after` to events.subscribe to resume. Of several notifications of one durable event only the last has its `cursor`, those before it have `part_of` instead: whoever resumes from an earlier cursor may get them again.",
            "license": { "name": "Apache-2.0 OR MIT" },
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "components": { "messages": messages },
    })
}
