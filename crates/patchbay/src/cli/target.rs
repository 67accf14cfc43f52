//! Finding the gateway: the address that was given, else the one that runs on the home folder, else
//! where the configuration says that it listens.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use config::Layers;
use model::Secret;
use server::settings::{DialectName, ListenSettings, default_listeners};

use super::client::Client;
use super::failure::{Exit, Failure};
use crate::home::{Home, Running};
use crate::settings::Settings;

/// Where our own protocol is served on every listener.
const PATH: &str = "/aleph";

/// Which gateway to talk to and as whom. Looked up anew for each connection, so that a gateway that
/// comes back elsewhere is found.
#[derive(Debug, Clone)]
pub struct Target {
    home: Home,
    layers: Layers,
    url: Option<String>,
    token: Option<Secret>,
}

/// Candidates, best first, and how they were found.
#[derive(Debug, PartialEq, Eq)]
pub enum Located {
    Given(String),
    /// By `gateway.json` of a process that lives.
    Running(String),
    /// By the configuration; nobody may be there.
    Configured(Vec<String>),
}

impl Target {
    pub fn new(home: Home, layers: Layers, url: Option<String>, token: Option<Secret>) -> Self {
        Self { home, layers, url, token }
    }

    pub fn home(&self) -> &Home {
        &self.home
    }

    /// The credential was named on the command line.
    pub fn has_own_token(&self) -> bool {
        self.token.is_some()
    }

    pub fn locate(&self) -> Result<Located, Failure> {
        if let Some(url) = &self.url {
            return Ok(Located::Given(normalised(url)?));
        }
        if let Some(url) = self.home.running().and_then(running_url) {
            return Ok(Located::Running(normalised(&url)?));
        }
        // Where the configuration cannot be read, the gateway cannot have started with it either.
        let listeners =
            self.layers.load::<Settings>().map_or_else(|_| default_listeners(), |loaded| loaded.config.listen.clone());
        Ok(Located::Configured(configured_urls(&listeners)))
    }

    /// `--token`, else `PATCHBAY_TOKEN`, else the home folder's operator token.
    fn credential(&self) -> Option<Secret> {
        let variable = || std::env::var("PATCHBAY_TOKEN").ok().filter(|text| !text.is_empty()).map(Secret::new);
        self.token.clone().or_else(variable).or_else(|| self.home.existing_token())
    }

    pub async fn connect(&self) -> Result<Client, Failure> {
        let urls = match self.locate()? {
            Located::Given(url) | Located::Running(url) => vec![url],
            Located::Configured(urls) => urls,
        };
        let credential = self.credential();
        let mut first_failure = None;
        for url in &urls {
            match Client::connect(url, credential.as_ref()).await {
                Ok(client) => return Ok(client),
                Err(failure) if failure.exit == Exit::Unreachable => {
                    first_failure.get_or_insert(failure);
                }
                Err(failure) => return Err(failure),
            }
        }
        let failure =
            first_failure.unwrap_or_else(|| Failure::unreachable(anyhow::anyhow!("no listener is configured")));
        let advice = if self.url.is_some() {
            "is it running, and is the address right?"
        } else {
            "start one with `patchbay serve`"
        };
        Err(Failure::unreachable(anyhow::anyhow!("{:#}; {advice}", failure.error)))
    }
}

fn running_url(running: Running) -> Option<String> {
    running.aleph.or(running.comis).or(running.argent)
}

/// The listener of our own dialect first; the others serve it too.
fn configured_urls(listeners: &[ListenSettings]) -> Vec<String> {
    let mut listeners: Vec<&ListenSettings> =
        listeners.iter().filter(|listener| listener.address.port() != 0).collect();
    listeners.sort_by_key(|listener| listener.dialect != DialectName::Aleph);
    let url = |listener: &&ListenSettings| {
        let scheme = if listener.tls.is_some() { "wss" } else { "ws" };
        format!("{scheme}://{}{PATH}", reachable(listener.address))
    };
    listeners.iter().map(url).collect()
}

/// "All addresses" can be listened on but not called.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// `ws://` or `wss://` with a path; what people leave out is filled in.
fn normalised(url: &str) -> Result<String, Failure> {
    let (scheme, rest) = match url.trim().split_once("://") {
        Some(("ws" | "http", rest)) => ("ws", rest),
        Some(("wss" | "https", rest)) => ("wss", rest),
        Some((other, _)) => return Err(Failure::usage(format!("`{other}://` is none of ws, wss, http and https"))),
        None => ("ws", url.trim()),
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if authority.is_empty() || authority.contains(char::is_whitespace) {
        return Err(Failure::usage(format!("`{url}` is no address of a gateway; write it like ws://127.0.0.1:18790")));
    }
    let authority =
        authority.parse().map_or_else(|_| authority.to_owned(), |address: SocketAddr| reachable(address).to_string());
    Ok(format!("{scheme}://{authority}{}", if path.len() > 1 { path } else { PATH }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_leave_out_of_an_address_is_filled_in() {
        let cases = [
            ("127.0.0.1:1", "ws://127.0.0.1:1/aleph"),
            ("ws://0.0.0.0:1/", "ws://127.0.0.1:1/aleph"),
            ("http://[::]:1", "ws://[::1]:1/aleph"),
            ("https://gate.example/own/path", "wss://gate.example/own/path"),
        ];
        for (given, full) in cases {
            assert_eq!(normalised(given).map_err(|failure| failure.exit), Ok(full.to_owned()), "{given}");
        }
        for given in ["ftp://x", "", "ws://", "a b"] {
            assert_eq!(normalised(given).map_err(|failure| failure.exit), Err(Exit::Usage), "{given}");
        }
    }

    #[test]
    fn our_own_dialect_is_called_first_and_unbound_ports_never() {
        let listen = |dialect, address: &str| ListenSettings { dialect, address: address.parse().unwrap(), tls: None };
        let listeners = [
            listen(DialectName::Comis, "127.0.0.1:4766"),
            listen(DialectName::Argent, "127.0.0.1:0"),
            listen(DialectName::Aleph, "0.0.0.0:18790"),
        ];
        assert_eq!(configured_urls(&listeners), ["ws://127.0.0.1:18790/aleph", "ws://127.0.0.1:4766/aleph"]);
    }
}
