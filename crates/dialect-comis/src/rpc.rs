//! JSON-RPC 2.0: from one text to one answer, the same over WebSocket and HTTP.

use std::sync::Arc;

use dialect::depth::is_too_deep;
use dialect::http::{Caller, Grant};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all, ready};
use model::Scope;
use ops::Call;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::errors::{FAILED, INVALID_REQUEST, LIMITED, METHOD_NOT_FOUND, PARSE_ERROR, code, rpc_error, words};
use crate::{Comis, ORIGIN};

/// Calls of one connection that may be unfinished.
pub(crate) const PENDING_MAX: usize = 256;

type Then = Box<dyn FnOnce() + Send>;

/// What a text came to.
#[derive(Default)]
pub(crate) struct Outcome {
    /// Absent when there is nothing to answer.
    pub frame: Option<Vec<u8>>,
    /// What may start once the answer is on its way.
    pub then: Vec<Then>,
    /// Calls that were counted as unfinished and no longer are.
    pub settled: usize,
}

impl Outcome {
    fn answer(frame: Vec<u8>) -> Self {
        Self { frame: Some(frame), ..Self::default() }
    }
}

/// What a text asks for.
pub(crate) enum Plan {
    /// Nothing runs; this is the answer.
    Answer(Vec<u8>),
    /// So many calls run.
    Run(BoxFuture<'static, Outcome>, usize),
}

/// A request, with every member as it came.
#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    method: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
}

/// A member that is there, `null` included.
fn present<'de: 'a, 'a, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// One request that is well formed.
struct Request {
    /// JSON text, byte for byte; absent for a notification.
    id: Option<String>,
    method: String,
    params: Option<Box<RawValue>>,
}

/// Reads a text and plans what to do. `room` is how many more calls may run.
pub(crate) fn plan(comis: &Arc<Comis>, caller: &Caller, text: &str, room: usize) -> Plan {
    let refuse = |code, words: &str| Plan::Answer(rpc_error(code, words, None, "null"));
    if is_too_deep(text) {
        return refuse(PARSE_ERROR, "Parse error");
    }
    let Ok(value) = serde_json::from_str::<&RawValue>(text) else { return refuse(PARSE_ERROR, "Parse error") };
    if !value.get().starts_with('[') {
        return match read(value) {
            Ok(_) if room == 0 => Plan::Answer(crowded(read(value).ok())),
            Ok(request) => Plan::Run(dispatch(comis, caller, request), 1),
            Err(refused) => Plan::Answer(refused),
        };
    }
    let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(value.get()) else {
        return refuse(PARSE_ERROR, "Parse error");
    };
    let max = comis.settings().max_batch_size;
    if items.len() > max {
        return refuse(INVALID_REQUEST, &format!("Batch size {} exceeds maximum of {max}", items.len()));
    }
    if items.is_empty() {
        return refuse(INVALID_REQUEST, "Invalid Request");
    }
    batch(comis, caller, &items, room)
}

fn batch(comis: &Arc<Comis>, caller: &Caller, items: &[&RawValue], room: usize) -> Plan {
    let mut running = 0;
    let calls: Vec<BoxFuture<'static, Outcome>> = items
        .iter()
        .map(|item| match read(item) {
            Ok(request) if running < room => {
                running += 1;
                dispatch(comis, caller, request)
            }
            Ok(request) => ready(Outcome::answer(crowded(Some(request)))).boxed(),
            Err(refused) => ready(Outcome::answer(refused)).boxed(),
        })
        .collect();
    let all = async move {
        let mut whole = Outcome::default();
        let mut frames = Vec::new();
        for outcome in join_all(calls).await {
            frames.extend(outcome.frame);
            whole.then.extend(outcome.then);
            whole.settled += outcome.settled;
        }
        if !frames.is_empty() {
            let mut frame = vec![b'['];
            frame.extend_from_slice(&frames.join(&b","[..]));
            frame.push(b']');
            whole.frame = Some(frame);
        }
        whole
    };
    Plan::Run(all.boxed(), running)
}

fn crowded(request: Option<Request>) -> Vec<u8> {
    let id = request.and_then(|request| request.id);
    rpc_error(LIMITED, "Too many pending requests", None, id.as_deref().unwrap_or("null"))
}

/// A request, or the answer to what is none.
fn read(value: &RawValue) -> Result<Request, Vec<u8>> {
    let invalid = |id: &str| rpc_error(INVALID_REQUEST, "Invalid Request", None, id);
    if !value.get().starts_with('{') {
        return Err(invalid("null"));
    }
    let Ok(raw) = serde_json::from_str::<Raw<'_>>(value.get()) else { return Err(invalid("null")) };
    let id = raw.id.map(RawValue::get);
    let is_id_legal =
        id.is_none_or(|id| id == "null" || id.starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit()));
    let echoed = id.filter(|_| is_id_legal).unwrap_or("null");
    let is_version_2 = raw.jsonrpc.is_some_and(|version| version.get() == "\"2.0\"");
    let method = raw.method.and_then(|method| serde_json::from_str::<String>(method.get()).ok());
    let are_params_legal = raw.params.is_none_or(|params| params.get().starts_with(['{', '[']));
    match method {
        Some(method) if is_version_2 && is_id_legal && are_params_legal => {
            // Methods have named parameters: a list names none of them.
            let params = raw.params.filter(|params| params.get().starts_with('{')).map(ToOwned::to_owned);
            Ok(Request { id: id.map(str::to_owned), method, params })
        }
        _ => Err(invalid(echoed)),
    }
}

fn dispatch(comis: &Arc<Comis>, caller: &Caller, request: Request) -> BoxFuture<'static, Outcome> {
    let Request { id, method, params } = request;
    let settled = |frame: Option<Vec<u8>>| Outcome { frame, settled: 1, ..Outcome::default() };
    let refuse =
        |code, words: &str, data| ready(settled(id.as_deref().map(|id| rpc_error(code, words, data, id)))).boxed();
    let Some(found) = comis.table().get(&method) else { return refuse(METHOD_NOT_FOUND, "Method not found", None) };
    let required = required(found.scope);
    if !caller.may(required) {
        let words = format!("Insufficient scope: requires '{}'", required.word());
        let data = json!({ "clientId": caller.client_id, "required": required.word() });
        return refuse(FAILED, &words, Some(data));
    }
    let call = Call {
        services: Arc::clone(comis.services()),
        principal: Arc::clone(&caller.principal),
        connection: None,
        dialect: ORIGIN,
    };
    let running = found.call(call, params);
    async move {
        let (frame, then) = match running.await {
            Ok(answer) => (id.map(|id| result(&answer.json, &id)), answer.then),
            Err(error) => (id.map(|id| rpc_error(code(error.kind), words(&error), None, &id)), None),
        };
        Outcome { frame, then: then.into_iter().collect(), settled: 1 }
    }
    .boxed()
}

/// Comis knows two words where the gateway has six scopes.
const fn required(scope: Option<Scope>) -> Grant {
    match scope {
        Some(Scope::Admin) => Grant::Admin,
        _ => Grant::Rpc,
    }
}

fn result(json: &[u8], id: &str) -> Vec<u8> {
    let mut frame = Vec::with_capacity(json.len() + id.len() + 40);
    frame.extend_from_slice(br#"{"jsonrpc":"2.0","result":"#);
    frame.extend_from_slice(json);
    frame.extend_from_slice(br#","id":"#);
    frame.extend_from_slice(id.as_bytes());
    frame.push(b'}');
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<(Option<String>, String, Option<String>), String> {
        let raw = RawValue::from_string(text.to_owned()).unwrap();
        match read(&raw) {
            Ok(request) => Ok((request.id, request.method, request.params.map(|params| params.get().to_owned()))),
            Err(refused) => Err(String::from_utf8(refused).unwrap()),
        }
    }

    #[test]
    fn ids_are_kept_byte_for_byte_and_absence_differs_from_null() {
        let id = |id: &str| read_text(&format!(r#"{{"jsonrpc":"2.0","method":"m","id":{id}}}"#)).unwrap().0;
        for text in ["1", "-0.10", "\"a\\u0041\"", "null", "123456789012345678901234567890"] {
            assert_eq!(id(text).as_deref(), Some(text));
        }
        assert_eq!(read_text(r#"{"jsonrpc":"2.0","method":"m"}"#).unwrap().0, None);
    }

    #[test]
    fn lists_of_parameters_name_none() {
        let params = |params: &str| {
            read_text(&format!(r#"{{"jsonrpc":"2.0","method":"m","params":{params}}}"#)).map(|read| read.2)
        };
        assert_eq!(params(r#"{"a":1}"#), Ok(Some(r#"{"a":1}"#.into())));
        assert_eq!(params("[1]"), Ok(None));
        assert!(params("1").is_err());
        assert!(params("null").is_err());
    }

    #[test]
    fn what_is_no_request_is_answered_with_its_id_when_that_is_legal() {
        let id_of = |text: &str| {
            let refused = read_text(text).unwrap_err();
            let value: serde_json::Value = serde_json::from_str(&refused).unwrap();
            assert_eq!(value["error"], json!({ "code": -32600, "message": "Invalid Request" }));
            value["id"].clone()
        };
        assert_eq!(id_of("null"), json!(null));
        assert_eq!(id_of("7"), json!(null));
        assert_eq!(id_of(r#"{"id":7}"#), json!(7));
        assert_eq!(id_of(r#"{"jsonrpc":"1.0","method":"m","id":"x"}"#), json!("x"));
        assert_eq!(id_of(r#"{"jsonrpc":"2.0","method":1,"id":2}"#), json!(2));
        assert_eq!(id_of(r#"{"jsonrpc":"2.0","method":"m","id":[1]}"#), json!(null));
        assert_eq!(id_of(r#"{"jsonrpc":"2.0","method":"m","id":1,"id":2}"#), json!(null));
    }
}
