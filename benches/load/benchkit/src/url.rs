//! The few URL forms the tools need: `http://` and `ws://` to a TCP address.

use std::net::{SocketAddr, ToSocketAddrs};

#[derive(Clone, Debug)]
pub struct Url {
    pub scheme: String,
    pub host: String,
    pub path: String,
    pub addr: SocketAddr,
}

impl Url {
    pub fn parse(text: &str) -> Result<Url, String> {
        let (scheme, rest) = text.split_once("://").ok_or_else(|| format!("not a URL: {text}"))?;
        let default_port = match scheme {
            "http" | "ws" => 80,
            "nats" => 4222,
            other => return Err(format!("scheme {other} is not supported (no TLS here)")),
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => (&rest[..at], &rest[at..]),
            None => (rest, "/"),
        };
        let host = if authority.contains(':') { authority.to_string() } else { format!("{authority}:{default_port}") };
        let addr = host
            .to_socket_addrs()
            .map_err(|e| format!("{host}: {e}"))?
            .next()
            .ok_or_else(|| format!("{host}: no address"))?;
        if !addr.ip().is_loopback() {
            return Err(format!("{addr} is not a loopback address; refusing to load it"));
        }
        Ok(Url { scheme: scheme.to_string(), host, path: path.to_string(), addr })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_host_and_path() {
        let url = Url::parse("http://127.0.0.1:9100/v1/x?y=1").unwrap();
        assert_eq!(url.host, "127.0.0.1:9100");
        assert_eq!(url.path, "/v1/x?y=1");
    }

    #[test]
    fn refuses_other_machines() {
        assert!(Url::parse("http://192.0.2.1/").is_err());
    }
}
