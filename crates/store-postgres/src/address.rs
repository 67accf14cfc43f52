//! Where the database is, as its address says.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use store::StoreError;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use crate::PostgresOptions;
use crate::tls::{Roots, Trust};

/// A name for the server's list of connections, unless the address has one.
const APPLICATION: &str = "patchbay";

/// Silence after which the other machine is asked whether it is there, and how often until it counts as gone.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(3);
const KEEPALIVE_RETRIES: u32 = 3;

/// How long something that was sent may wait for its receipt.
const RECEIPT_TIMEOUT: Duration = Duration::from_secs(10);

/// An address that was understood. Its `Debug` holds no password.
#[derive(Debug, Clone)]
pub struct Address {
    pub config: Config,
    pub trust: Trust,
    shown: String,
}

impl Address {
    /// Reads `postgres://user:password@host:port/database?sslmode=…`, as the server's own tools do.
    ///
    /// [`StoreError::Refused`] says what is wrong, without the address: it may hold a password.
    pub fn parse(url: &str, options: &PostgresOptions) -> Result<Address, StoreError> {
        let (rest, tls) = without_tls(url)?;
        let mut config = Config::from_str(&rest).map_err(|error| wrong(&crate::failure::with_causes(&error)))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(wrong("it names no host"));
        }
        if config.get_application_name().is_none() {
            config.application_name(APPLICATION);
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(options.connect_timeout);
        }
        config.keepalives_idle(KEEPALIVE_IDLE);
        config.keepalives_interval(KEEPALIVE_INTERVAL);
        config.keepalives_retries(KEEPALIVE_RETRIES);
        config.tcp_user_timeout(RECEIPT_TIMEOUT);
        let (mode, trust) = tls.chosen()?;
        config.ssl_mode(mode);
        let shown = shown(&config);
        Ok(Address { config, trust, shown })
    }

    /// The user, the machine and the database; never the password.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    pub fn user(&self) -> &str {
        self.config.get_user().unwrap_or_default()
    }

    pub fn database(&self) -> &str {
        self.config.get_dbname().unwrap_or_else(|| self.user())
    }
}

fn wrong(reason: &str) -> StoreError {
    StoreError::Refused(format!("the address is not of the form postgres://user:password@host:5432/database: {reason}"))
}

/// What the address says of TLS.
#[derive(Default)]
struct Tls {
    mode: Option<String>,
    roots: Option<String>,
}

impl Tls {
    fn chosen(self) -> Result<(SslMode, Trust), StoreError> {
        let roots = match self.roots.as_deref() {
            None => Roots::Public,
            Some(path) => Roots::File(PathBuf::from(path)),
        };
        Ok(match self.mode.as_deref() {
            Some("disable") => (SslMode::Disable, Trust::Anyone),
            None | Some("prefer") => (SslMode::Prefer, Trust::Anyone),
            Some("require") => (SslMode::Require, Trust::Anyone),
            Some("verify-ca") => (SslMode::Require, Trust::Signed(roots)),
            Some("verify-full") => (SslMode::Require, Trust::SignedAndNamed(roots)),
            Some(other) => {
                return Err(wrong(&format!(
                    "sslmode is `{other}`, and can be disable, prefer, require, verify-ca or verify-full"
                )));
            }
        })
    }
}

/// The address without the two parameters that the driver does not know, and these.
fn without_tls(url: &str) -> Result<(String, Tls), StoreError> {
    let scheme = ["postgres://", "postgresql://"].into_iter().find(|scheme| url.starts_with(scheme));
    let Some(scheme) = scheme else {
        return Err(wrong("it begins otherwise"));
    };
    // A question mark may stand in a password; what follows the first `@` is no password any more.
    let after_credentials = url[scheme.len()..].find('@').map_or(scheme.len(), |at| scheme.len() + at + 1);
    let (credentials, place) = url.split_at(after_credentials);
    let (place, query) = place.split_once('?').unwrap_or((place, ""));
    if place.contains('@') {
        return Err(wrong("an `@` in a password is written `%40`"));
    }
    let mut tls = Tls::default();
    let mut kept = Vec::new();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let value = || percent_decode_str(value).decode_utf8_lossy().into_owned();
        match name {
            "sslmode" => tls.mode = Some(value()),
            "sslrootcert" => tls.roots = Some(value()),
            // Here nobody would think of hiding it.
            "password" => return Err(wrong("a password stands before the host")),
            _ => kept.push(parameter),
        }
    }
    let question = if kept.is_empty() { "" } else { "?" };
    Ok((format!("{credentials}{place}{question}{}", kept.join("&")), tls))
}

fn shown(config: &Config) -> String {
    let user = config.get_user().unwrap_or_default();
    let database = config.get_dbname().unwrap_or(user);
    let ports = config.get_ports();
    let places: Vec<String> = if config.get_hosts().is_empty() {
        config.get_hostaddrs().iter().map(ToString::to_string).collect()
    } else {
        config.get_hosts().iter().map(host).collect()
    };
    let port = |position: usize| ports.get(position).or(ports.first()).copied().unwrap_or(5432);
    let places: Vec<String> =
        places.iter().enumerate().map(|(position, place)| format!("{place}:{}", port(position))).collect();
    format!("postgres://{user}@{}/{database}", places.join(","))
}

fn host(host: &Host) -> String {
    match host {
        Host::Tcp(name) if name.contains(':') => format!("[{name}]"),
        Host::Tcp(name) => name.clone(),
        #[cfg(unix)]
        Host::Unix(folder) => folder.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Address, String> {
        Address::parse(url, &PostgresOptions::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_address_is_shown_without_its_password() {
        for (url, shown) in [
            ("postgres://ann:secret@db.example:5433/gateway", "postgres://ann@db.example:5433/gateway"),
            ("postgresql://ann:se%40cret@db/gateway?sslmode=verify-full", "postgres://ann@db:5432/gateway"),
            ("postgres://ann:sec?ret@db/g?sslmode=disable&connect_timeout=5", "postgres://ann@db:5432/g"),
            ("postgres://ann@/g?host=/run/postgresql", "postgres://ann@/run/postgresql:5432/g"),
            ("postgres://ann:secret@[::1]:7/ann", "postgres://ann@[::1]:7/ann"),
            ("postgres://ann:secret@one,two:6000/g", "postgres://ann@one:5432,two:6000/g"),
        ] {
            let address = parse(url).expect(url);
            assert_eq!(address.shown(), shown, "{url}");
            assert!(!format!("{address:?}").contains("sec"), "{address:?}");
        }
    }

    #[test]
    fn a_wrong_address_is_told_without_repeating_it() {
        for (url, reason) in [
            ("mysql://ann:secret@db/g", "begins otherwise"),
            ("postgres://ann:sec@ret@db/g", "%40"),
            ("postgres://ann:secret@db/g?sslmode=sometimes", "sslmode is `sometimes`"),
            ("postgres://ann:secret@db/g?colour=blue", "unknown option `colour`"),
            ("postgres://ann:secret@db:port/g", "port"),
            ("postgres://ann@db/g?password=secret", "before the host"),
        ] {
            let refused = parse(url).expect_err(url);
            assert!(refused.contains(reason) && !refused.contains("sec"), "{url}: {refused}");
        }
    }

    #[test]
    fn tls_is_as_strict_as_the_address_says() {
        let mode = |url: &str| {
            let address = parse(url).expect(url);
            (address.config.get_ssl_mode(), address.trust)
        };
        assert_eq!(mode("postgres://a@h/d"), (SslMode::Prefer, Trust::Anyone));
        assert_eq!(mode("postgres://a@h/d?sslmode=disable"), (SslMode::Disable, Trust::Anyone));
        assert_eq!(mode("postgres://a@h/d?sslmode=require"), (SslMode::Require, Trust::Anyone));
        assert_eq!(
            mode("postgres://a@h/d?sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem"),
            (SslMode::Require, Trust::SignedAndNamed(Roots::File(PathBuf::from("/etc/ca.pem"))))
        );
        assert_eq!(mode("postgres://a@h/d?sslmode=verify-ca"), (SslMode::Require, Trust::Signed(Roots::Public)));
    }
}
