//! What may be shown of a configuration.

use model::REDACTED;
use serde::Serialize;
use serde_json::Value;

/// The effective configuration as JSON with every secret replaced by [`REDACTED`].
///
/// Secrets are: every `model::Secret`; every text, and every text in a list, whose key
/// [`is_secret_name`]; the password in an address such as `postgres://user:password@host`.
pub fn redacted<T: Serialize>(config: &T) -> Value {
    let mut tree = tree_of(config);
    hide(&mut tree, false);
    tree
}

/// One top-level section, redacted; `None` when there is no such section.
pub fn section<T: Serialize>(config: &T, name: &str) -> Option<Value> {
    match redacted(config) {
        Value::Object(mut sections) => sections.remove(name),
        _ => None,
    }
}

/// Whether a key of this name holds a secret: its name contains `token`, `secret`, `password`,
/// `api_key`, `private_key`, `credential` or a close relative, in any case.
pub fn is_secret_name(name: &str) -> bool {
    const WORDS: [&str; 10] = [
        "token",
        "secret",
        "password",
        "passwd",
        "passphrase",
        "apikey",
        "privatekey",
        "credential",
        "authorization",
        "bearer",
    ];
    let plain: String = name.chars().filter(|c| *c != '_' && *c != '-').flat_map(char::to_lowercase).collect();
    WORDS.iter().any(|word| plain.contains(word))
}

pub(crate) fn tree_of<T: Serialize>(config: &T) -> Value {
    serde_json::to_value(config).expect("a configuration root has text keys and no failing serializer")
}

fn hide(value: &mut Value, secret: bool) {
    match value {
        Value::Object(map) => map.iter_mut().for_each(|(key, child)| hide(child, is_secret_name(key))),
        // A list of texts keeps the meaning of its key; the tables in a list have keys of their own.
        Value::Array(items) => items.iter_mut().for_each(|item| hide(item, secret)),
        Value::String(text) if secret => REDACTED.clone_into(text),
        Value::String(text) => {
            if let Some(masked) = without_password(text) {
                *text = masked;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// `scheme://user:password@rest` without the password; `None` when there is none.
///
/// A password may hold characters that an address should not, so it goes to the last `@`; showing
/// too little is the better mistake. A port, which looks alike, is digits up to the next slash.
fn without_password(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let (user, after) = rest.split_once(':').filter(|(user, _)| !user.contains(['/', '?', '#']))?;
    let (password, host) = after.rsplit_once('@')?;
    let port = password.split('/').next().unwrap_or_default();
    let is_port = !port.is_empty() && port.len() < password.len() && port.bytes().all(|byte| byte.is_ascii_digit());
    (!is_port).then(|| format!("{scheme}://{user}:{REDACTED}@{host}"))
}

#[cfg(test)]
mod tests;
