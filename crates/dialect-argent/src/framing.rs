//! The three forms of frames, told apart frame by frame; an answer has the form of its request.
//!
//! Reading keeps ids and parameters as raw JSON, so that an id comes back byte for byte and
//! parameters go straight into their type.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::errors::{PARSE_ERROR, WireError};

/// Elements of a batch.
pub const BATCH_MAX: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `{type:"req", id, method, params}`
    Native,
    /// JSON-RPC 2.0
    JsonRpc,
    /// `{id, method, params}`
    Bare,
}

/// Where an answer goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyTo {
    pub form: Form,
    /// JSON text; `None` when nobody waits for the answer.
    pub id: Option<Box<str>>,
}

#[derive(Debug)]
pub struct Request<'a> {
    pub form: Form,
    /// JSON text of a string or a number; absent when the frame had none.
    pub id: Option<&'a str>,
    pub method: Cow<'a, str>,
    pub params: Option<&'a RawValue>,
}

impl Request<'_> {
    /// The other name of the handshake exists outside of the native form only.
    pub fn is_connect(&self) -> bool {
        self.method == "connect" || (self.form != Form::Native && self.method == "auth")
    }

    pub fn reply_to(&self) -> ReplyTo {
        let id = match (self.form, self.id) {
            (_, Some(id)) => Some(Box::from(id)),
            // A notification is carried out and not answered; the handshake always is.
            (Form::JsonRpc, None) if !self.is_connect() => None,
            (_, None) => Some(Box::from("null")),
        };
        ReplyTo { form: self.form, id }
    }
}

#[derive(Debug)]
pub enum Incoming<'a> {
    Request(Request<'a>),
    /// A JSON-RPC batch of 1 to [`BATCH_MAX`] elements.
    Batch(Vec<&'a RawValue>),
    /// JSON that is no request.
    Malformed(Malformed),
    NotJson,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Absent when the frame has no form at all: then the connection's own is used.
    pub form: Option<Form>,
    /// JSON text of the frame's id, a string or a number.
    pub id: Option<Box<str>>,
    pub reasons: String,
}

impl Malformed {
    /// The answer on a connection of the form `own`.
    pub fn answer(&self, own: Form) -> Vec<u8> {
        let form = self.form.unwrap_or(own);
        let fallback = if form == Form::Native { r#""invalid""# } else { "null" };
        // Ids of native frames are strings; a number there is part of what is wrong.
        let id = self.id.clone().filter(|id| form != Form::Native || id.starts_with('"'));
        let id = id.unwrap_or_else(|| Box::from(fallback));
        let message = format!("invalid request frame: {}", self.reasons);
        failure(&ReplyTo { form, id: Some(id) }, &WireError::invalid_request(message)).unwrap_or_default()
    }
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow, default)]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<&'a RawValue>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

/// Reads one text frame.
pub fn read(text: &str) -> Incoming<'_> {
    if text.trim_start().starts_with('[') {
        return read_batch(text);
    }
    match serde_json::from_str::<Fields<'_>>(text) {
        Ok(fields) => request(&fields),
        Err(error) if error.is_data() => malformed(None, None, "must be object"),
        Err(_) => Incoming::NotJson,
    }
}

/// Reads one element of a batch, which must be JSON-RPC.
pub fn read_element(element: &RawValue) -> Result<Request<'_>, Malformed> {
    let refused = |reasons: &str| Malformed { form: Some(Form::JsonRpc), id: None, reasons: reasons.to_owned() };
    let fields: Fields<'_> = serde_json::from_str(element.get()).map_err(|_| refused("must be object"))?;
    match request(&fields) {
        Incoming::Request(request) if request.form == Form::JsonRpc && !request.is_connect() => Ok(request),
        Incoming::Request(request) => {
            let reasons = if request.is_connect() { "connect is not valid in a batch" } else { "must be JSON-RPC 2.0" };
            Err(Malformed { form: Some(Form::JsonRpc), id: request.id.map(Box::from), reasons: reasons.to_owned() })
        }
        Incoming::Malformed(bad) => Err(Malformed { form: Some(Form::JsonRpc), ..bad }),
        Incoming::Batch(_) | Incoming::NotJson => Err(refused("must be object")),
    }
}

fn read_batch(text: &str) -> Incoming<'_> {
    let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(text) else { return Incoming::NotJson };
    if elements.is_empty() || elements.len() > BATCH_MAX {
        return malformed(Some(Form::JsonRpc), None, &format!("a batch holds 1 to {BATCH_MAX} requests"));
    }
    Incoming::Batch(elements)
}

fn request<'a>(fields: &Fields<'a>) -> Incoming<'a> {
    let kind = fields.kind.map(RawValue::get);
    let form = match (kind, fields.jsonrpc.map(RawValue::get)) {
        (Some(kind), _) if kind.starts_with('"') => Form::Native,
        (Some(_), _) => return malformed(None, id_of(fields.id), "at /type: must be string"),
        (None, Some(r#""2.0""#)) => Form::JsonRpc,
        (None, Some(_)) => return malformed(Some(Form::JsonRpc), id_of(fields.id), r#"at /jsonrpc: must be "2.0""#),
        (None, None) => Form::Bare,
    };
    let mut reasons = Vec::new();
    if form == Form::Native && kind != Some(r#""req""#) {
        reasons.push(r#"at /type: must be "req""#);
    }
    let id = id_of(fields.id);
    match (form, &fields.id) {
        (Form::Native, None) => reasons.push("must have required property 'id'"),
        (Form::Native, Some(raw)) if !raw.get().starts_with('"') => reasons.push("at /id: must be string"),
        (Form::Native, Some(raw)) if raw.get() == r#""""# => {
            reasons.push("at /id: must NOT have fewer than 1 characters")
        }
        (_, Some(raw)) if id.is_none() && raw.get() != "null" => reasons.push("at /id: must be string or number"),
        _ => {}
    }
    let method = fields.method.map(|raw| serde_json::from_str::<Cow<'a, str>>(raw.get()));
    match &method {
        None => reasons.push("must have required property 'method'"),
        Some(Err(_)) => reasons.push("at /method: must be string"),
        Some(Ok(name)) if name.is_empty() => reasons.push("at /method: must NOT have fewer than 1 characters"),
        Some(Ok(_)) => {}
    }
    match method {
        Some(Ok(method)) if reasons.is_empty() => {
            // An explicit `null` is answered with `null`.
            let id = fields.id.map(RawValue::get);
            Incoming::Request(Request { form, id, method, params: fields.params })
        }
        // Without a method it is no frame of the bare form either.
        _ => {
            let known = (form != Form::Bare || fields.method.is_some()).then_some(form);
            malformed(known, id, &reasons.join("; "))
        }
    }
}

/// A string or a number, as JSON text.
fn id_of(raw: Option<&RawValue>) -> Option<&str> {
    let text = raw?.get();
    let legal = text.starts_with('"') || text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    (legal && text != r#""""#).then_some(text)
}

fn malformed<'a>(form: Option<Form>, id: Option<&str>, reasons: &str) -> Incoming<'a> {
    Incoming::Malformed(Malformed { form, id: id.map(Box::from), reasons: reasons.to_owned() })
}

/// The answer to a frame that is no JSON.
pub fn not_json() -> Vec<u8> {
    let error = json!({ "code": PARSE_ERROR, "message": "invalid JSON", "data": { "code": "PARSE_ERROR" } });
    format!(r#"{{"jsonrpc":"2.0","id":null,"error":{error}}}"#).into_bytes()
}

/// A good answer around an encoded result; `None` when nobody waits for it.
pub fn success(to: &ReplyTo, result: &[u8]) -> Option<Vec<u8>> {
    let id = to.id.as_deref()?;
    let (head, middle): (&[u8], &[u8]) = match to.form {
        Form::Native => (br#"{"type":"res","id":"#, br#","ok":true,"payload":"#),
        Form::JsonRpc => (br#"{"jsonrpc":"2.0","id":"#, br#","result":"#),
        Form::Bare => (br#"{"id":"#, br#","result":"#),
    };
    Some(concat(&[head, id.as_bytes(), middle, result, b"}"]))
}

/// A refusal; `None` when nobody waits for it.
pub fn failure(to: &ReplyTo, error: &WireError) -> Option<Vec<u8>> {
    let id = to.id.as_deref()?;
    let error_json = match to.form {
        Form::Native => error.native(),
        Form::JsonRpc | Form::Bare => error.numeric(),
    };
    let text = match (to.form, &error.payload) {
        (Form::Native, Some(payload)) => {
            format!(r#"{{"type":"res","id":{id},"ok":false,"error":{error_json},"payload":{payload}}}"#)
        }
        (Form::Native, None) => format!(r#"{{"type":"res","id":{id},"ok":false,"error":{error_json}}}"#),
        (Form::JsonRpc, _) => format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error_json}}}"#),
        (Form::Bare, _) => format!(r#"{{"id":{id},"error":{error_json}}}"#),
    };
    Some(text.into_bytes())
}

/// The parts of an event that differ from connection to connection, put around its shared bytes.
#[derive(Debug, Default, Clone, Copy)]
pub struct Around<'a> {
    /// Spelling of the session for this connection.
    pub session: Option<&'a str>,
    pub seq: Option<u64>,
    /// Presence and health.
    pub state_version: Option<(u64, u64)>,
    pub cursor: Option<u64>,
}

/// `body` is `"event":"…","payload":{…` without the brace that closes the payload.
pub fn event(form: Form, body: &[u8], around: Around<'_>) -> Vec<u8> {
    let (head, tail): (&[u8], &[u8]) = match form {
        Form::Native | Form::Bare => (br#"{"type":"event","#, b"}"),
        Form::JsonRpc => (br#"{"jsonrpc":"2.0","method":"event","params":{"#, b"}}"),
    };
    let mut frame = Vec::with_capacity(head.len() + body.len() + 160);
    frame.extend_from_slice(head);
    frame.extend_from_slice(body);
    if let Some(session) = around.session {
        frame.extend_from_slice(br#","sessionKey":"#);
        serde_json::to_writer(&mut frame, session).expect("writing to memory does not fail");
    }
    frame.push(b'}');
    let mut number = |name: &str, value: u64| {
        use std::io::Write;
        write!(frame, r#","{name}":{value}"#).expect("writing to memory does not fail");
    };
    if let Some(seq) = around.seq {
        number("seq", seq);
    }
    if let Some(cursor) = around.cursor {
        number("cursor", cursor);
    }
    if let Some((presence, health)) = around.state_version {
        frame.extend_from_slice(state_version(presence, health).as_bytes());
    }
    frame.extend_from_slice(tail);
    frame
}

fn state_version(presence: u64, health: u64) -> String {
    format!(r#","stateVersion":{{"presence":{presence},"health":{health}}}"#)
}

/// The shared bytes of an event. `payload` must be an object with at least one field.
pub fn event_body(name: &str, payload: &Value) -> Vec<u8> {
    let mut body = format!(r#""event":"{name}","payload":{payload}"#).into_bytes();
    let brace = body.pop();
    debug_assert!(brace == Some(b'}') && !body.ends_with(b"{"), "a payload is an object with fields");
    body
}

fn concat(parts: &[&[u8]]) -> Vec<u8> {
    let mut all = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
    for part in parts {
        all.extend_from_slice(part);
    }
    all
}

#[cfg(test)]
mod tests;
