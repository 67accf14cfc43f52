//! One stream on its way through: what its client was told so far, and what is still owed.
//!
//! Most events of a stream begin with the same bytes, up to and including the model's name. Once an
//! event has been read exactly, those bytes are known, and the next events that begin with them and
//! neither finish nor tell anything else of note are copied with the other name, unread.

use std::sync::LazyLock;

use memchr::memchr;
use memchr::memmem::{self, Finder};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::events::{Item, Splitter, TooLong};
use crate::errors::FAILED_EVENT;
use crate::splice::{present, quoted, span};
use crate::sse::DONE;

/// What the client wants of its stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wishes {
    /// A chunk of usage at the end.
    pub usage: bool,
    pub choices: u32,
    /// Size of the conversation, for an upstream that does not count.
    pub prompt_bytes: usize,
}

#[derive(Debug)]
pub(super) struct Course {
    splitter: Splitter,
    told: Told,
}

/// Fields of events beside their data.
const FIELDS: [&[u8]; 3] = [b"event:", b"id:", b"retry:"];

/// Indexes of choices as bits; those beyond the last bit share it.
type Choices = u128;

#[derive(Debug)]
struct Told {
    /// What the client calls the model, as a JSON string.
    model: Vec<u8>,
    wishes: Wishes,
    beginning: Option<Beginning>,
    /// Start of chunks that the upstream owes: up to the value of `choices`.
    head: Option<Vec<u8>>,
    opened: Choices,
    finished: Choices,
    has_calls: bool,
    has_usage: bool,
    /// Events with a piece of an answer.
    pieces: u64,
    is_over: bool,
    out: Vec<u8>,
}

/// The bytes that events begin with, as they come and as they go on.
#[derive(Debug)]
struct Beginning {
    seen: Vec<u8>,
    told: Vec<u8>,
}

impl Course {
    /// `model` is what the client calls it.
    pub fn new(model: &str, wishes: Wishes) -> Self {
        let told = Told {
            model: quoted(model),
            wishes,
            beginning: None,
            head: None,
            opened: 0,
            finished: 0,
            has_calls: false,
            has_usage: false,
            pieces: 0,
            is_over: false,
            out: Vec::new(),
        };
        Self { splitter: Splitter::default(), told }
    }

    /// The upstream's next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        let Self { splitter, told } = self;
        if told.is_over {
            return;
        }
        told.out.reserve(bytes.len() + 64);
        if splitter.feed(bytes, |item| told.item(item)) == Err(TooLong) {
            told.fail("an event is too long");
        }
    }

    /// The upstream has ended its answer, or its connection broke. What is owed is told, or that
    /// the answer is not whole.
    pub fn end(&mut self) {
        let Self { splitter, told } = self;
        if !told.is_over && splitter.finish(|item| told.last_item(item)) == Err(TooLong) {
            told.fail("an event is too long");
        }
        if !told.is_over {
            let is_whole = told.opened != 0 && told.opened & !told.finished == 0;
            if is_whole { told.done() } else { told.fail("it ended before its finish reason") }
        }
    }

    /// Nothing more is to be told.
    pub const fn is_over(&self) -> bool {
        self.told.is_over
    }

    /// Bytes for the client that wait.
    pub const fn waiting(&self) -> usize {
        self.told.out.len()
    }

    /// What is to be told now: whole events.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.told.out)
    }
}

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    created: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    index: Option<u32>,
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    role: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_calls: Option<&'a RawValue>,
}

impl Told {
    fn item(&mut self, item: Item<'_>) {
        match item {
            _ if self.is_over => {}
            // A comment stands alone; other fields belong to the event that follows.
            Item::Line(line) if line.starts_with(b":") => self.line(line, b"\n\n"),
            Item::Line(line) if FIELDS.iter().any(|field| line.starts_with(field)) => self.line(line, b"\n"),
            Item::Line(_) => {}
            Item::Data(data) if memchr(b'\n', data).is_some() => {
                // Between the tokens of JSON any white space will do.
                let joined: Vec<u8> = data.iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte }).collect();
                self.event(joined.trim_ascii());
            }
            Item::Data(data) => self.event(data.trim_ascii()),
        }
    }

    fn line(&mut self, line: &[u8], end: &[u8]) {
        self.out.extend_from_slice(line);
        self.out.extend_from_slice(end);
    }

    /// An item at the end of the stream, which may be cut short.
    fn last_item(&mut self, item: Item<'_>) {
        match item {
            Item::Data(data)
                if data.trim_ascii() != b"[DONE]" && serde_json::from_slice::<serde::de::IgnoredAny>(data).is_err() => {
            }
            Item::Data(_) => self.item(item),
            Item::Line(_) => {}
        }
    }

    fn event(&mut self, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        if data == b"[DONE]" {
            return self.done();
        }
        let rest = self.beginning.as_ref().and_then(|beginning| data.strip_prefix(beginning.seen.as_slice()));
        match rest {
            Some(rest) if self.is_plain(rest) => self.copy(rest),
            _ => self.read(data),
        }
    }

    /// Whether an event with the usual beginning only carries on: every choice has its role, none
    /// finishes, there is no usage and no error.
    fn is_plain(&mut self, rest: &[u8]) -> bool {
        static FINISH: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"finish_reason\""));
        static USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"usage\""));
        static ERROR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"error\""));
        static CALLS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"tool_calls\""));
        let is_null =
            |finder: &Finder<'_>| finder.find_iter(rest).all(|at| value_is_null(&rest[at + finder.needle().len()..]));
        let is_plain = self.opened.count_ones() >= self.wishes.choices.min(Choices::BITS)
            && rest.ends_with(b"}")
            && is_null(&FINISH)
            && is_null(&USAGE)
            && is_null(&ERROR);
        if is_plain && !self.has_calls {
            self.has_calls = CALLS.find(rest).is_some();
        }
        is_plain
    }

    fn copy(&mut self, rest: &[u8]) {
        let beginning = self.beginning.as_ref().expect("only what has a known beginning is copied");
        self.out.extend_from_slice(b"data: ");
        self.out.extend_from_slice(&beginning.told);
        self.out.extend_from_slice(rest);
        self.out.extend_from_slice(b"\n\n");
        self.pieces += 1;
    }

    fn read(&mut self, data: &[u8]) {
        let Ok(frame) = serde_json::from_slice::<Frame<'_>>(data) else {
            return self.fail("an event is not of the documented shape");
        };
        if frame.error.is_some_and(|error| error.get().starts_with(['{', '"'])) {
            self.write(data, &frame);
            self.out.extend_from_slice(DONE);
            self.is_over = true;
            return;
        }
        self.has_usage |= frame.usage.is_some();
        if let Some(choices) = &frame.choices {
            if self.head.is_none() {
                self.head = Some(self.head_of(&frame));
            }
            choices.iter().for_each(|choice| self.open(choice));
            self.pieces += u64::from(!choices.is_empty());
            choices.iter().for_each(|choice| self.close(choice));
        }
        self.write(data, &frame);
        self.learn(data, &frame);
    }

    fn open(&mut self, choice: &Choice<'_>) {
        let has_role = choice.delta.as_ref().is_some_and(|delta| delta.role.is_some());
        self.has_calls |= choice.delta.as_ref().is_some_and(|delta| delta.tool_calls.is_some());
        if self.opened & bit(choice) != 0 {
            return;
        }
        self.opened |= bit(choice);
        if !has_role {
            let index = choice.index.unwrap_or(0);
            self.owed(&format!(r#"[{{"index":{index},"delta":{{"role":"assistant"}},"finish_reason":null}}]}}"#));
        }
    }

    fn close(&mut self, choice: &Choice<'_>) {
        if choice.finish_reason.is_some_and(|reason| reason.get() != "\"\"") {
            self.finished |= bit(choice);
        }
    }

    /// The event with the client's name for the model.
    fn write(&mut self, data: &[u8], frame: &Frame<'_>) {
        self.out.extend_from_slice(b"data: ");
        match frame.model {
            Some(model) => {
                let place = span(data, model);
                self.out.extend_from_slice(&data[..place.start]);
                self.out.extend_from_slice(&self.model);
                self.out.extend_from_slice(&data[place.end..]);
            }
            None if frame.choices.is_some() => {
                self.out.extend_from_slice(b"{\"model\":");
                self.out.extend_from_slice(&self.model);
                self.out.push(b',');
                // An object with choices has at least that field.
                self.out.extend_from_slice(&data[1..]);
            }
            None => self.out.extend_from_slice(data),
        }
        self.out.extend_from_slice(b"\n\n");
    }

    fn learn(&mut self, data: &[u8], frame: &Frame<'_>) {
        let (Some(model), Some(_)) = (frame.model, &frame.choices) else { return };
        let place = span(data, model);
        let before = &data[..place.start];
        // What stands before the name must say nothing that differs from event to event.
        if memmem::find(before, b"\"choices\"").is_none() && memmem::find(before, b"\"usage\"").is_none() {
            let told = [before, &self.model].concat();
            self.beginning = Some(Beginning { seen: data[..place.end].to_vec(), told });
        }
    }

    fn head_of(&self, frame: &Frame<'_>) -> Vec<u8> {
        let id = frame.id.map_or("\"\"", RawValue::get);
        let created = frame.created.map_or("0", RawValue::get);
        let mut head =
            format!(r#"data: {{"id":{id},"object":"chat.completion.chunk","created":{created},"model":"#).into_bytes();
        head.extend_from_slice(&self.model);
        head.extend_from_slice(br#","choices":"#);
        head
    }

    /// A chunk that the upstream left out.
    fn owed(&mut self, rest: &str) {
        if let Some(head) = &self.head {
            self.out.extend_from_slice(head);
            self.out.extend_from_slice(rest.as_bytes());
            self.out.extend_from_slice(b"\n\n");
        }
    }

    fn done(&mut self) {
        if self.opened == 0 {
            return self.fail("it ended before it began");
        }
        let unfinished = self.opened & !self.finished;
        let reason = if self.has_calls { "tool_calls" } else { "stop" };
        for index in (0..Choices::BITS).filter(|index| unfinished >> index & 1 == 1) {
            self.owed(&format!(r#"[{{"index":{index},"delta":{{}},"finish_reason":"{reason}"}}]}}"#));
        }
        if self.wishes.usage && !self.has_usage {
            // Vendors that do not count send about a token in each event, and a token has about four bytes.
            let prompt = (self.wishes.prompt_bytes as u64).div_ceil(4);
            let total = prompt + self.pieces;
            self.owed(&format!(
                r#"[],"usage":{{"prompt_tokens":{prompt},"completion_tokens":{},"total_tokens":{total}}}}}"#,
                self.pieces
            ));
        }
        self.out.extend_from_slice(DONE);
        self.is_over = true;
    }

    fn fail(&mut self, reason: &'static str) {
        tracing::warn!(reason, "a provider's stream failed");
        self.out.extend_from_slice(FAILED_EVENT);
        self.out.extend_from_slice(DONE);
        self.is_over = true;
    }
}

fn bit(choice: &Choice<'_>) -> Choices {
    1 << choice.index.unwrap_or(0).min(Choices::BITS - 1)
}

/// Whether what follows a key says nothing: `null`, or an empty string.
fn value_is_null(after_key: &[u8]) -> bool {
    let value = after_key.trim_ascii_start().strip_prefix(b":").map(<[u8]>::trim_ascii_start);
    value.is_some_and(|value| value.starts_with(b"null") || value.starts_with(b"\"\""))
}

#[cfg(test)]
mod tests;
