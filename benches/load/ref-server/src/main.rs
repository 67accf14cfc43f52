//! The least a gateway of this kind can do, as a physical reference: WebSocket JSON-RPC answers, a
//! broadcast, and a reverse proxy for completions (whole and streamed), all on axum and hyper with
//! no features.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use clap::Parser;
use futures_util::SinkExt;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::broadcast;

/// Bare axum server: /health, /ws, /fan, /v1/chat/completions.
#[derive(Parser)]
struct Args {
    /// Port 0 picks one; the line `ready http://ADDRESS` on stdout tells it.
    #[arg(long, default_value = "127.0.0.1:9200")]
    listen: String,
    /// Where completions are forwarded to.
    #[arg(long, default_value = "127.0.0.1:9100")]
    upstream: String,
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Read buffer of a WebSocket connection, in bytes; axum's own default is 131072.
    #[arg(long, default_value_t = 4096)]
    ws_buffer: usize,
}

struct Shared {
    upstream: String,
    ws_buffer: usize,
    client: Client<HttpConnector, Body>,
    fan: broadcast::Sender<Utf8Bytes>,
}

fn main() -> std::io::Result<()> {
    let args = Args::parse();
    tokio::runtime::Builder::new_multi_thread().worker_threads(args.threads).enable_all().build()?.block_on(serve(args))
}

async fn serve(args: Args) -> std::io::Result<()> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let shared = Arc::new(Shared {
        upstream: args.upstream,
        ws_buffer: args.ws_buffer,
        client: Client::builder(TokioExecutor::new()).build(connector),
        fan: broadcast::channel(4096).0,
    });
    let app = Router::new()
        .route("/health", get(|| async { r#"{"status":"ok"}"# }))
        .route("/ws", any(rpc_upgrade))
        .route("/fan", any(fan_upgrade))
        .route("/v1/chat/completions", post(forward))
        .with_state(shared);
    let listener = tokio::net::TcpListener::bind(&args.listen).await?;
    println!("ready http://{}", listener.local_addr()?);
    axum::serve(
        axum::serve::ListenerExt::tap_io(listener, |stream| {
            let _ = stream.set_nodelay(true);
        }),
        app,
    )
    .await
}

#[derive(Deserialize)]
struct Call<'a> {
    #[serde(borrow)]
    id: &'a RawValue,
    method: &'a str,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

/// Answers `health` and `echo` as JSON-RPC 2.0.
fn answer(text: &str) -> String {
    let Ok(call) = serde_json::from_str::<Call>(text) else {
        return r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"parse error"}}"#.into();
    };
    let id = call.id.get();
    match (call.method, call.params) {
        ("health", _) => format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"status":"ok"}}}}"#),
        ("echo", params) => {
            format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{}}}"#, params.map_or("null", RawValue::get))
        }
        _ => format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,"message":"method not found"}}}}"#),
    }
}

async fn rpc_upgrade(State(shared): State<Arc<Shared>>, upgrade: WebSocketUpgrade) -> Response {
    let upgrade = upgrade.read_buffer_size(shared.ws_buffer);
    upgrade.on_upgrade(|mut socket| async move {
        while let Some(Ok(message)) = socket.recv().await {
            if let Message::Text(text) = message
                && socket.send(Message::Text(answer(&text).into())).await.is_err()
            {
                return;
            }
        }
    })
}

/// Every text that anyone sends goes to everyone.
async fn fan_upgrade(State(shared): State<Arc<Shared>>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.read_buffer_size(shared.ws_buffer).on_upgrade(move |socket| fan(socket, shared))
}

async fn fan(mut socket: WebSocket, shared: Arc<Shared>) {
    let mut events = shared.fan.subscribe();
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Ok(text) => {
                    if socket.feed(Message::Text(text)).await.is_err() || socket.flush().await.is_err() {
                        return;
                    }
                }
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return,
            },
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => {
                    let _ = shared.fan.send(text);
                }
                Some(Ok(_)) => {}
                _ => return,
            },
        }
    }
}

/// A reverse proxy that looks at nothing.
async fn forward(State(shared): State<Arc<Shared>>, mut request: Request) -> Response {
    let path = request.uri().path_and_query().map_or("/", |p| p.as_str()).to_string();
    let Ok(uri) = format!("http://{}{path}", shared.upstream).parse::<Uri>() else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    *request.uri_mut() = uri;
    request.headers_mut().remove(header::HOST);
    match shared.client.request(request).await {
        Ok(response) => response.map(Body::new),
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}
