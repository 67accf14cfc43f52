//! What is known of a peer when its socket opens, kept as few bytes.

use std::net::IpAddr;

use dialect::origin;
use dialect::peer::PeerInfo;

use crate::settings::ArgentSettings;

/// Headers by which proxies tell of whom they speak for.
const FORWARDING: [&str; 4] = ["x-forwarded-for", "x-forwarded-host", "forwarded", "x-real-ip"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Door {
    /// The client's address: the peer's, or what a trusted proxy says.
    pub address: IpAddr,
    /// On this machine, reached by a name of this machine, and not through an unknown proxy.
    pub is_local: bool,
    pub has_origin: bool,
    /// No page, or one that may connect.
    pub origin_allowed: bool,
}

impl Door {
    pub fn new(peer: &PeerInfo, settings: &ArgentSettings) -> Self {
        let forwards = FORWARDING.iter().any(|name| peer.header(name).is_some());
        let proxied =
            settings.trusted_proxies.contains(&peer.remote.ip()).then(|| forwarded_address(peer, settings)).flatten();
        let is_local = match proxied {
            Some(address) => address.is_loopback(),
            None => {
                peer.is_loopback()
                    && !forwards
                    && peer.host().and_then(origin::host_of).is_none_or(|host| is_local_name(&host))
            }
        };
        Self {
            address: proxied.unwrap_or(peer.remote.ip()),
            is_local,
            has_origin: peer.origin().is_some(),
            origin_allowed: origin::is_origin_allowed(peer.origin(), peer.host(), &settings.control_ui.allowed_origins),
        }
    }
}

fn is_local_name(host: &str) -> bool {
    origin::is_loopback(host) || host.ends_with(".ts.net")
}

/// The nearest address that is not itself a trusted proxy, read from the right; else the farthest.
fn forwarded_address(peer: &PeerInfo, settings: &ArgentSettings) -> Option<IpAddr> {
    let parse = |text: &str| text.trim().trim_matches(['[', ']']).parse::<IpAddr>().ok();
    let hops = peer.header("x-forwarded-for").map(|hops| hops.rsplit(',').filter_map(parse).collect::<Vec<_>>());
    let client = |hops: Vec<IpAddr>| {
        let untrusted = hops.iter().find(|hop| !settings.trusted_proxies.contains(hop));
        untrusted.or(hops.last()).copied()
    };
    hops.and_then(client).or_else(|| peer.header("x-real-ip").and_then(parse))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderMap;

    fn door(remote: &str, headers: &[(&'static str, &str)], proxies: &[&str]) -> Door {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        let peer = PeerInfo { remote: format!("{remote}:9").parse().unwrap(), headers: map, listens_on_loopback: true };
        let trusted_proxies = proxies.iter().map(|proxy| proxy.parse().unwrap()).collect();
        Door::new(&peer, &ArgentSettings { trusted_proxies, ..ArgentSettings::default() })
    }

    #[test]
    fn a_peer_is_local_by_address_name_and_the_absence_of_proxies() {
        assert!(door("127.0.0.1", &[("host", "localhost:18789")], &[]).is_local);
        assert!(door("127.0.0.1", &[("host", "box.tail1.ts.net")], &[]).is_local);
        assert!(!door("127.0.0.1", &[("host", "harbor.example")], &[]).is_local);
        assert!(!door("127.0.0.1", &[("host", "localhost"), ("x-real-ip", "127.0.0.1")], &[]).is_local);
        assert!(!door("10.0.0.7", &[("host", "localhost")], &[]).is_local);
    }

    #[test]
    fn a_trusted_proxy_says_who_the_client_is() {
        let through = door("10.0.0.1", &[("x-forwarded-for", "203.0.113.9, 10.0.0.2")], &["10.0.0.1", "10.0.0.2"]);
        assert_eq!((through.address, through.is_local), ("203.0.113.9".parse().unwrap(), false));
        assert!(door("10.0.0.1", &[("x-forwarded-for", "127.0.0.1")], &["10.0.0.1"]).is_local);
        assert_eq!(
            door("10.0.0.1", &[("x-forwarded-for", "203.0.113.9")], &[]).address,
            "10.0.0.1".parse::<IpAddr>().unwrap()
        );
    }

    #[test]
    fn foreign_pages_are_recognised() {
        assert!(!door("127.0.0.1", &[("host", "localhost"), ("origin", "https://evil.example")], &[]).origin_allowed);
        assert!(door("127.0.0.1", &[("host", "localhost"), ("origin", "http://localhost:3000")], &[]).origin_allowed);
    }
}
