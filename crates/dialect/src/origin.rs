//! Which web pages may talk to the gateway, and under which names it may be addressed.

/// The host of an `Origin` or `Host` header: lower-case, without scheme, port and brackets.
pub fn host_of(text: &str) -> Option<String> {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let rest = rest.split('/').next()?;
    let host = match rest.strip_prefix('[') {
        Some(v6) => v6.split(']').next()?,
        None => rest
            .rsplit_once(':')
            .map_or(rest, |(host, port)| if port.bytes().all(|b| b.is_ascii_digit()) { host } else { rest }),
    };
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    (!host.is_empty()).then_some(host)
}

/// Names and addresses of this machine that only it can reach.
pub fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| match address {
            std::net::IpAddr::V4(v4) => v4.is_loopback(),
            std::net::IpAddr::V6(v6) => v6.is_loopback() || v6.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback()),
        })
}

/// Whether a page of `origin` may use a listener that was addressed as `host`.
///
/// A missing origin is no page and may. A page may when it comes from a loopback host, from the
/// host that was addressed, or from an allowed origin; `allowed` holds whole origins, hosts, or `*`.
pub fn is_origin_allowed(origin: Option<&str>, host: Option<&str>, allowed: &[String]) -> bool {
    let Some(origin) = origin else { return true };
    let Some(origin_host) = host_of(origin).filter(|_| origin != "null") else { return false };
    if is_loopback(&origin_host) || host.and_then(host_of).is_some_and(|host| host == origin_host) {
        return true;
    }
    allowed.iter().any(|entry| {
        entry == "*"
            || entry.trim_end_matches('/').eq_ignore_ascii_case(origin)
            || entry.eq_ignore_ascii_case(&origin_host)
    })
}

/// Whether a listener may answer to `host`. On a loopback listener every other name means that a
/// foreign page resolved its own name to this machine (DNS rebinding).
pub fn is_host_allowed(host: Option<&str>, listens_on_loopback: bool, allowed: &[String]) -> bool {
    if !listens_on_loopback {
        return true;
    }
    match host.and_then(host_of) {
        None => true,
        Some(host) => is_loopback(&host) || allowed.iter().any(|entry| host_of(entry).is_some_and(|name| name == host)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_pages_and_the_own_host_may_others_must_be_listed() {
        let listed = [String::from("https://ops.example")];
        let may = |origin: Option<&str>, host: &str| is_origin_allowed(origin, Some(host), &listed);
        assert!(may(None, "127.0.0.1:1"));
        assert!(may(Some("http://localhost:3000"), "127.0.0.1:1"));
        assert!(may(Some("http://[::1]:3000"), "127.0.0.1:1"));
        assert!(may(Some("https://harbor.lan"), "harbor.lan:18790"));
        assert!(may(Some("https://ops.example"), "127.0.0.1:1"));
        assert!(!may(Some("https://evil.example"), "127.0.0.1:1"));
        assert!(!may(Some("https://ops.example.evil"), "127.0.0.1:1"));
        assert!(!may(Some("http://localhost.evil.example"), "127.0.0.1:1"));
        assert!(!may(Some("null"), "127.0.0.1:1"));
    }

    #[test]
    fn a_loopback_listener_answers_to_loopback_names_only() {
        assert!(is_host_allowed(Some("127.0.0.1:4766"), true, &[]));
        assert!(is_host_allowed(Some("localhost"), true, &[]));
        assert!(!is_host_allowed(Some("evil.example:4766"), true, &[]));
        assert!(is_host_allowed(Some("harbor.lan"), false, &[]));
    }
}
