//! `nats://user:password@host:4222/part`: where the bus is, and which part of it is ours.

use std::fmt;

use async_nats::ConnectOptions;

const PART: &str = "patchbay";
const PART_MAX: usize = 64;

/// A text that is no address of a bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadAddress(pub String);

impl fmt::Display for BadAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadAddress {}

/// Where a NATS server listens, who comes there, and the first word of our subjects.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    scheme: &'static str,
    hosts: String,
    /// Name and password, or a token alone.
    user: Option<(String, Option<String>)>,
    part: String,
}

impl Address {
    /// `nats://` or `tls://`, an optional `name:password@` or `token@`, one or more `host:port` with
    /// commas between, and an optional `/part` of letters, digits, `-` and `_`, so that several clusters
    /// can share a server.
    pub fn parse(url: &str) -> Result<Self, BadAddress> {
        let bad = |reason: &str| Err(BadAddress(reason.to_owned()));
        let (scheme, rest) = match (url.strip_prefix("nats://"), url.strip_prefix("tls://")) {
            (Some(rest), _) => ("nats", rest),
            (_, Some(rest)) => ("tls", rest),
            _ => return bad("must begin with `nats://` or `tls://`"),
        };
        let (authority, part) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (Some(user), hosts),
            None => (None, authority),
        };
        if hosts.is_empty() || hosts.split(',').any(|host| !is_host(host)) {
            return bad("must name a host, such as `nats://127.0.0.1:4222`");
        }
        let part = if part.is_empty() { PART } else { part };
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if part.len() > PART_MAX || !part.chars().all(is_word) {
            return bad("may end in `/part`, of at most 64 letters, digits, `-` and `_`");
        }
        let user = user.map(|user| match user.split_once(':') {
            Some((name, password)) => (name.to_owned(), Some(password.to_owned())),
            None => (user.to_owned(), None),
        });
        Ok(Self { scheme, hosts: hosts.to_owned(), user, part: part.to_owned() })
    }

    pub(crate) fn server(&self) -> Vec<String> {
        self.hosts.split(',').map(|host| format!("{}://{host}", self.scheme)).collect()
    }

    pub(crate) fn credentials(&self, options: ConnectOptions) -> ConnectOptions {
        match &self.user {
            Some((name, Some(password))) => options.user_and_password(name.clone(), password.clone()),
            Some((token, None)) => options.token(token.clone()),
            None => options,
        }
    }

    pub(crate) fn subject(&self, word: &str) -> String {
        format!("{}.{word}", self.part)
    }

    /// The name of what JetStream keeps for this part.
    pub(crate) fn stream(&self) -> &str {
        &self.part
    }
}

fn is_host(host: &str) -> bool {
    let (name, port) = host.rsplit_once(':').unwrap_or((host, "4222"));
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-._[]:%".contains(c);
    !name.is_empty() && name.chars().all(is_name) && port.parse::<u16>().is_ok()
}

/// Without name, password and token.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = if self.user.is_some() { "…@" } else { "" };
        write!(f, "{}://{user}{}", self.scheme, self.hosts)?;
        if self.part == PART { Ok(()) } else { write!(f, "/{}", self.part) }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_told_without_its_secrets() {
        for (url, told) in [
            ("nats://127.0.0.1:4222", "nats://127.0.0.1:4222"),
            ("nats://localhost", "nats://localhost"),
            ("tls://ann:hunter2@a.example:4222,b.example:4223/blue", "tls://…@a.example:4222,b.example:4223/blue"),
            ("nats://s3cr3t@[::1]:4222/", "nats://…@[::1]:4222"),
        ] {
            let address = Address::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!((address.to_string().as_str(), format!("{address:?}")), (told, format!("Address({told})")));
        }
        assert_eq!(Address::parse("nats://h/blue").unwrap().subject("node"), "blue.node");
        for bad in [
            "",
            "local",
            "http://h",
            "nats://",
            "nats://h:port",
            "nats://h h",
            "nats://h/a.b",
            "nats://h/>",
            "nats://u:p@",
        ] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
    }
}
