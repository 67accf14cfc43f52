//! A client for servers on this machine, and nothing in between.
//!
//! What the general client does for every request (proxies, redirects, decoding, retries, parsing the
//! address again) no server of this machine needs, and it costs about a quarter of a request that is
//! passed through.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::Full;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};

pub(crate) struct Near {
    client: Client<HttpConnector, Full<Bytes>>,
    /// Of every request.
    headers: HeaderMap,
}

impl Near {
    pub fn new(headers: HeaderMap, connect: Duration, keep_alive: Duration, pool_idle: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(connect));
        connector.set_keepalive(Some(keep_alive));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(pool_idle)
            .build(connector);
        Self { client, headers }
    }

    /// Waits for the head of the answer, whatever its status.
    pub async fn post(&self, uri: Uri, body: Bytes) -> Result<Response<reqwest::Body>, Error> {
        self.send(Method::POST, uri, body).await
    }

    /// Waits for the head of the answer, whatever its status.
    pub async fn get(&self, uri: Uri) -> Result<Response<reqwest::Body>, Error> {
        self.send(Method::GET, uri, Bytes::new()).await
    }

    async fn send(&self, method: Method, uri: Uri, body: Bytes) -> Result<Response<reqwest::Body>, Error> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        request.headers_mut().clone_from(&self.headers);
        Ok(self.client.request(request).await?.map(reqwest::Body::wrap))
    }
}
