//! The one gate that every HTTP request passes: credential, address, window.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use services::Services;

use super::caller::{Asker, Caller, bearer};
use super::query;
use super::rate::{Admission, RateLimiter};

/// The limits in force; asked anew for every request.
pub trait HttpRules: Send + Sync {
    fn rate_window_ms(&self) -> u64;
    fn rate_max_requests(&self) -> u64;
    /// Bodies of requests to `/api`, `/v1` and `/rpc`.
    fn body_bytes_max(&self) -> usize;
    /// Origins of pages that may talk to the gateway, or `*`.
    fn origins(&self) -> &[String];
    /// Addresses whose `X-Forwarded-For` is believed.
    fn trusted_proxies(&self) -> &[IpAddr];
}

/// Both ends of the connection that a request came through. The listener puts it into the
/// extensions of each request; axum's `ConnectInfo` is understood too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    pub remote: SocketAddr,
    /// The listener is reachable from this machine only.
    pub listens_on_loopback: bool,
}

impl Peer {
    /// An unknown peer counts as one of no address.
    pub fn of(extensions: &Extensions) -> Peer {
        if let Some(peer) = extensions.get::<Peer>() {
            return *peer;
        }
        let remote = extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
        let remote = remote.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        Peer { remote, listens_on_loopback: false }
    }
}

/// Shared by all routes of a process.
pub struct Gate {
    services: Arc<Services>,
    rules: Box<dyn Fn() -> Arc<dyn HttpRules> + Send + Sync>,
    /// Where a token may stand in the query, for clients that cannot set headers.
    accepts_query_token: fn(&Method, &str) -> bool,
    limiter: RateLimiter,
    /// Absent: a credential is always required.
    is_auth_required: OnceLock<Box<dyn Fn() -> bool + Send + Sync>>,
}

/// The request was counted by an outer layer already.
#[derive(Clone, Copy)]
struct Counted;

impl Gate {
    pub fn new(
        services: Arc<Services>,
        rules: impl Fn() -> Arc<dyn HttpRules> + Send + Sync + 'static,
        accepts_query_token: fn(&Method, &str) -> bool,
    ) -> Self {
        Self {
            services,
            rules: Box::new(rules),
            accepts_query_token,
            limiter: RateLimiter::default(),
            is_auth_required: OnceLock::new(),
        }
    }

    pub fn services(&self) -> &Arc<Services> {
        &self.services
    }

    pub fn rules(&self) -> Arc<dyn HttpRules> {
        (self.rules)()
    }

    /// Says when a credential is required; without this it always is. Where it is not, callers
    /// without one are let in; a wrong one stays wrong. The first answer stands.
    pub fn require_auth_when(&self, is_required: impl Fn() -> bool + Send + Sync + 'static) {
        let _ = self.is_auth_required.set(Box::new(is_required));
    }

    fn is_auth_required(&self) -> bool {
        self.is_auth_required.get().is_none_or(|is_required| is_required())
    }

    /// The caller behind a request. A well-formed header wins over a token from the query, which
    /// the caller of this function passes only where it is accepted.
    pub fn authenticate(&self, headers: &HeaderMap, query_token: Option<&str>) -> Option<Caller> {
        let presented = bearer(headers).or(query_token.filter(|token| !token.is_empty()));
        match presented {
            Some(secret) => self.services.tokens.authenticate(secret).map(|identity| Caller::of(&identity)),
            None => (!self.is_auth_required()).then(Caller::anonymous),
        }
    }

    /// Counts a request of this caller, or of this address when there is none.
    pub fn count(&self, asker: &Asker) -> Admission {
        let rules = self.rules();
        let key = match asker.caller.as_ref().filter(|caller| caller.principal.token_id.is_some()) {
            Some(caller) => format!("token {}", caller.principal.id),
            None => asker.ip.to_string(),
        };
        self.limiter.admit(&key, self.services.clock.now(), rules.rate_window_ms(), rules.rate_max_requests())
    }

    /// Who sent a request, by its headers, its query where that may hold a token, and its peer.
    pub fn identify(&self, request: &Request) -> Asker {
        let (uri, headers) = (request.uri(), request.headers());
        let token = (self.accepts_query_token)(request.method(), uri.path())
            .then(|| query::first(uri.query(), "token"))
            .flatten();
        let ip = client_ip(headers, Peer::of(request.extensions()).remote.ip(), self.rules().trusted_proxies());
        Asker { caller: self.authenticate(headers, token.as_deref()), ip }
    }

    /// Identifies and counts a request before anything else is done with it; the [`Asker`] is then in its
    /// extensions. Gives what is to be written on its answer: nothing when an outer layer counted it or
    /// nobody counts it. `Err` is the answer of a request that is not admitted.
    pub fn enter(&self, request: &mut Request) -> Result<Option<Admission>, Response> {
        if request.extensions_mut().insert(Counted).is_some() {
            return Ok(None);
        }
        let path = request.uri().path();
        // Health checks are free.
        let is_free = path == "/health" || path == "/api/health";
        let is_openai = path.starts_with("/v1/");
        let asker = self.identify(request);
        let admission = (!is_free).then(|| self.count(&asker));
        if let Some(admission) = admission.filter(|admission| !admission.is_admitted) {
            return Err(refusal(admission, is_openai));
        }
        request.extensions_mut().insert(asker);
        Ok(admission)
    }
}

/// The address of the client: the peer's, or the left-most of `X-Forwarded-For` when the peer is a trusted proxy.
pub fn client_ip(headers: &HeaderMap, peer: IpAddr, trusted: &[IpAddr]) -> IpAddr {
    let peer = peer.to_canonical();
    if !trusted.iter().any(|proxy| proxy.to_canonical() == peer) {
        return peer;
    }
    let forwarded = headers.get("x-forwarded-for").and_then(|value| value.to_str().ok());
    let first = forwarded.and_then(|list| list.split(',').next()).map(str::trim);
    first.and_then(parse_ip).unwrap_or(peer)
}

/// An address with or without a port.
fn parse_ip(text: &str) -> Option<IpAddr> {
    let bare = text.parse::<IpAddr>().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()));
    bare.ok().map(|ip| ip.to_canonical())
}

/// The layer that identifies and counts every request.
pub async fn limit(State(gate): State<Arc<Gate>>, mut request: Request, next: Next) -> Response {
    match gate.enter(&mut request) {
        Ok(admission) => written(admission, next.run(request).await),
        Err(refused) => refused,
    }
}

/// An answer with what the client may still ask for.
pub fn written(admission: Option<Admission>, mut response: Response) -> Response {
    if let Some(admission) = admission {
        admission.write(response.headers_mut());
    }
    response
}

/// The answer to a request that was not admitted. All clients know it as a JSON-RPC error; those of
/// `/v1` look for the fields of their SDKs besides.
pub fn refusal(admission: Admission, is_openai: bool) -> Response {
    let body = if is_openai {
        r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"Rate limit exceeded","type":"rate_limit_error","param":null},"id":null}"#
    } else {
        r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"Rate limit exceeded"},"id":null}"#
    };
    let json = (CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let mut response = (StatusCode::TOO_MANY_REQUESTS, [json], body).into_response();
    admission.write(response.headers_mut());
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_name_the_client() {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", "203.0.113.9, 10.0.0.2".parse().unwrap());
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let trusted = [ip("10.0.0.1")];
        assert_eq!(client_ip(&headers, ip("10.0.0.1"), &trusted), ip("203.0.113.9"));
        assert_eq!(client_ip(&headers, ip("::ffff:10.0.0.1"), &trusted), ip("203.0.113.9"));
        assert_eq!(client_ip(&headers, ip("10.0.0.3"), &trusted), ip("10.0.0.3"));
        headers.insert("x-forwarded-for", "[2001:db8::1]:443".parse().unwrap());
        assert_eq!(client_ip(&headers, ip("10.0.0.1"), &trusted), ip("2001:db8::1"));
        headers.insert("x-forwarded-for", "unknown".parse().unwrap());
        assert_eq!(client_ip(&headers, ip("10.0.0.1"), &trusted), ip("10.0.0.1"));
    }
}
