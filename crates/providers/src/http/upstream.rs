//! The vendor's end of the line: where it is, how to authenticate, how long to wait.

use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http::Uri;
use http_body_util::BodyExt;
use model::Secret;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use reqwest::{Client, RequestBuilder, Url, redirect};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::near::Near;
use super::refusal;
use crate::error::{ProviderError, ProviderErrorKind};
use crate::fault::{Fault, read_json};
use crate::settings::{Limits, ProviderSettings};

/// Most bytes of an answer that is read as one piece: lists of models, embeddings.
const JSON_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most bytes of a refusal that are read to find its message.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;
/// A list of models is not worth a longer wait.
const LIST_LIMIT: Duration = Duration::from_secs(15);
/// How long a connection without a request is kept.
const POOL_IDLE: Duration = Duration::from_secs(90);
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(30);
const AGENT: &str = concat!("patchbay/", env!("CARGO_PKG_VERSION"));

/// The head of an answer, and its body still to come.
pub(crate) type Response = http::Response<reqwest::Body>;

pub(crate) struct Upstream {
    pub name: Arc<str>,
    client: Client,
    /// For a server on this machine that is spoken to in plain HTTP.
    near: Option<Near>,
    /// Without a slash at its end.
    base_url: String,
    pub limits: Limits,
    /// What must not appear in a message, though a vendor may repeat it to us.
    secrets: Vec<Secret>,
}

/// An address that is called again and again.
pub(crate) struct Endpoint {
    url: Url,
    uri: Uri,
}

impl Endpoint {
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }
}

/// How a vendor wants its key.
#[derive(Debug, Clone, Copy)]
pub(crate) enum KeyHeader {
    Bearer,
    /// The key alone, under this name.
    Plain(&'static str),
}

impl Upstream {
    /// `base_url` is the effective one, cut to what the adapter's paths are appended to.
    pub fn new(
        name: &str,
        settings: &ProviderSettings,
        base_url: &str,
        key: KeyHeader,
        fixed: &[(&'static str, &'static str)],
    ) -> Result<Self, String> {
        let base_url = base_url.trim_end_matches('/').to_owned();
        let url = Url::parse(&base_url).map_err(|error| format!("`{base_url}` is not a URL: {error}"))?;
        let headers = headers(settings, key, fixed)?;
        let mut builder = Client::builder()
            .default_headers(headers.clone())
            .user_agent(AGENT)
            .connect_timeout(settings.limits().connect)
            // A redirect would carry the key to a place that nobody configured.
            .redirect(redirect::Policy::none())
            // Compressed streams arrive in bursts, and passed-through bytes are not looked into.
            .no_gzip()
            .tcp_nodelay(true)
            .tcp_keepalive(KEEP_ALIVE)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .http2_adaptive_window(true)
            .pool_idle_timeout(POOL_IDLE);
        if is_loopback(&url) {
            builder = builder.no_proxy();
        }
        let connect = settings.limits().connect;
        let near = is_near(&url).then(|| Near::new(with_usual(headers), connect, KEEP_ALIVE, POOL_IDLE));
        let client = builder.build().map_err(|error| format!("no HTTP client: {}", root_cause(&error)))?;
        let secrets = settings.api_key.iter().chain(settings.headers.values()).cloned().collect();
        Ok(Self { name: name.into(), client, near, base_url, limits: settings.limits(), secrets })
    }

    pub fn error(&self, kind: ProviderErrorKind, message: impl Into<String>) -> ProviderError {
        ProviderError::new(&*self.name, kind, message)
    }

    pub fn fault(&self, fault: Fault) -> ProviderError {
        self.without_secrets(fault.into_error(&self.name))
    }

    /// `path` starts with a slash. It may hold a model's id, so the result may not be a URL.
    pub fn url(&self, path: &str) -> Result<Url, ProviderError> {
        Url::parse(&format!("{}{path}", self.base_url))
            .map_err(|error| self.error(ProviderErrorKind::BadRequest, format!("`{path}` is not a path: {error}")))
    }

    /// The address of `path`, ready to be called.
    pub fn endpoint(&self, path: &str) -> Result<Endpoint, ProviderError> {
        let url = self.url(path)?;
        let uri = url
            .as_str()
            .parse()
            .map_err(|error| self.error(ProviderErrorKind::BadRequest, format!("`{url}` cannot be called: {error}")))?;
        Ok(Endpoint { url, uri })
    }

    /// Sends JSON and waits for the head of the answer, whatever its status.
    pub async fn call(&self, endpoint: &Endpoint, body: Bytes) -> Result<Response, ProviderError> {
        let Some(near) = &self.near else { return self.send(self.post(endpoint.url.clone(), body)).await };
        match tokio::time::timeout(self.limits.first_byte, near.post(endpoint.uri.clone(), body)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(self.near_error(&error)),
            Err(_) => Err(self.silent(self.limits.first_byte)),
        }
    }

    /// Calls and takes only an answer of success.
    pub async fn call_json(&self, endpoint: &Endpoint, body: &impl Serialize) -> Result<Response, ProviderError> {
        let response = self.call(endpoint, json(body).into()).await?;
        self.accepted(response).await
    }

    fn post(&self, url: Url, body: impl Into<reqwest::Body>) -> RequestBuilder {
        self.client.post(url).header(CONTENT_TYPE, JSON).body(body)
    }

    pub fn post_json(&self, url: Url, body: &impl Serialize) -> RequestBuilder {
        self.post(url, json(body))
    }

    /// Sends and waits for the head of the answer, whatever its status.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, ProviderError> {
        match tokio::time::timeout(self.limits.first_byte, request.send()).await {
            Ok(Ok(response)) => Ok(response.into()),
            Ok(Err(error)) => Err(self.transport_error(&error)),
            Err(_) => Err(self.silent(self.limits.first_byte)),
        }
    }

    /// Sends and takes only an answer of success.
    pub async fn send_accepted(&self, request: RequestBuilder) -> Result<Response, ProviderError> {
        let response = self.send(request).await?;
        self.accepted(response).await
    }

    async fn accepted(&self, response: Response) -> Result<Response, ProviderError> {
        if response.status().is_success() { Ok(response) } else { Err(self.refusal(response).await) }
    }

    /// Sends and reads the whole answer as JSON.
    pub async fn fetch<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ProviderError> {
        let response = self.send_accepted(request).await?;
        let bytes = self.read_all(response, JSON_BYTES_MAX).await?;
        if bytes.len() >= JSON_BYTES_MAX {
            let message = format!("the answer is longer than {JSON_BYTES_MAX} bytes");
            return Err(self.error(ProviderErrorKind::Malformed, message));
        }
        read_json(&bytes, "the answer").map_err(|fault| self.fault(fault))
    }

    /// Fetches a list that nobody waits for long.
    pub async fn list<T: DeserializeOwned>(&self, path: &str) -> Result<T, ProviderError> {
        let request = self.client.get(self.url(path)?);
        let limit = LIST_LIMIT.min(self.limits.first_byte);
        tokio::time::timeout(limit, self.fetch(request)).await.unwrap_or_else(|_| Err(self.silent(limit)))
    }

    /// The error that a refused request stands for. Reads what it needs of the body.
    pub async fn refusal(&self, response: Response) -> ProviderError {
        let status = response.status();
        let headers = response.headers().clone();
        // A refusal without its body is still a refusal.
        let body = self.read_all(response, REFUSAL_BYTES_MAX).await.unwrap_or_default();
        self.without_secrets(refusal::from_response(&self.name, status, &headers, &body))
    }

    /// The body of a refused request for callers that pass it on: its beginning, without secrets.
    pub async fn refusal_body(&self, response: Response) -> Vec<u8> {
        // A refusal without its body is still a refusal.
        let body = self.read_all(response, REFUSAL_BYTES_MAX).await.unwrap_or_default();
        match String::from_utf8(body) {
            Ok(text) => self.redacted(text).into_bytes(),
            Err(error) => error.into_bytes(),
        }
    }

    /// What went wrong below HTTP, in words without URL and key.
    pub fn transport_error(&self, error: &reqwest::Error) -> ProviderError {
        let cause = root_cause(error);
        let (kind, message) = if error.is_timeout() {
            (ProviderErrorKind::Timeout, "the connection took too long".to_owned())
        } else if error.is_connect() {
            (ProviderErrorKind::Unreachable, format!("cannot reach {}: {cause}", self.base_url))
        } else if error.is_builder() {
            (ProviderErrorKind::BadRequest, format!("the request cannot be built: {cause}"))
        } else {
            (ProviderErrorKind::Cut, format!("the connection broke off: {cause}"))
        };
        self.without_secrets(self.error(kind, message))
    }

    fn near_error(&self, error: &hyper_util::client::legacy::Error) -> ProviderError {
        let cause = innermost(error);
        let is_timeout = cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut);
        self.without_secrets(match error.is_connect() {
            true if is_timeout => self.error(ProviderErrorKind::Timeout, "the connection took too long"),
            true => self.error(ProviderErrorKind::Unreachable, format!("cannot reach {}: {cause}", self.base_url)),
            false => self.error(ProviderErrorKind::Cut, format!("the connection broke off: {cause}")),
        })
    }

    pub fn silent(&self, limit: Duration) -> ProviderError {
        self.error(ProviderErrorKind::Timeout, format!("no answer within {} ms", limit.as_millis()))
    }

    async fn read_all(&self, response: Response, limit: usize) -> Result<Vec<u8>, ProviderError> {
        let mut pieces = response.into_body().into_data_stream();
        let mut bytes = Vec::new();
        loop {
            match tokio::time::timeout(self.limits.silence, pieces.next()).await {
                Ok(Some(Ok(piece))) => {
                    let room = limit - bytes.len();
                    bytes.extend_from_slice(&piece[..piece.len().min(room)]);
                    if bytes.len() == limit {
                        return Ok(bytes);
                    }
                }
                Ok(None) => return Ok(bytes),
                Ok(Some(Err(error))) => return Err(self.transport_error(&error)),
                Err(_) => return Err(self.silent(self.limits.silence)),
            }
        }
    }

    fn without_secrets(&self, mut error: ProviderError) -> ProviderError {
        error.message = self.redacted(error.message);
        error.body = error.body.map(|body| self.redacted(body));
        error
    }

    fn redacted(&self, mut text: String) -> String {
        for secret in &self.secrets {
            let secret = secret.expose_secret();
            // Shorter values stand in ordinary words and are no secrets.
            if secret.len() >= 6 && text.contains(secret) {
                text = text.replace(secret, model::REDACTED);
            }
        }
        text
    }
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");

fn json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("a request is made of values that JSON has")
}

/// With what the general client adds by itself.
fn with_usual(mut headers: HeaderMap) -> HeaderMap {
    headers.insert(CONTENT_TYPE, JSON);
    headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
    headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(AGENT));
    headers
}

fn headers(
    settings: &ProviderSettings,
    key: KeyHeader,
    fixed: &[(&'static str, &'static str)],
) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in fixed {
        headers.insert(*name, HeaderValue::from_static(value));
    }
    if let Some(secret) = &settings.api_key {
        let (name, text) = match key {
            KeyHeader::Bearer => ("authorization", format!("Bearer {}", secret.expose_secret())),
            KeyHeader::Plain(name) => (name, secret.expose_secret().to_owned()),
        };
        headers.insert(name, sensitive(&text).ok_or("the API key holds characters that no header may hold")?);
    }
    for (name, value) in &settings.headers {
        let name: HeaderName = name.parse().map_err(|_| format!("`{name}` is not the name of a header"))?;
        let value = sensitive(value.expose_secret());
        let value = value.ok_or_else(|| format!("the value of header `{name}` cannot be sent"))?;
        headers.insert(name, value);
    }
    Ok(headers)
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A proxy of the environment is not meant for this machine's own services.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether nothing of the general client is needed: it also turns a name in the address into a header.
fn is_near(url: &Url) -> bool {
    is_loopback(url) && url.scheme() == "http" && url.username().is_empty() && url.password().is_none()
}

/// The innermost cause: `connection refused` rather than `error sending request`.
fn root_cause(error: &reqwest::Error) -> String {
    innermost(error).to_string()
}

fn innermost<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_addresses_of_this_machine_are_near() {
        let near = |text: &str| is_near(&Url::parse(text).unwrap());
        assert!(near("http://127.0.0.1:11434/v1") && near("http://localhost/v1") && near("http://[::1]:8080"));
        for far in ["https://localhost/v1", "http://10.0.0.5/v1", "http://me:word@localhost/v1", "http://me@127.0.0.1"]
        {
            assert!(!near(far), "{far}");
        }
    }
}
