//! An answer in the making: items out of pieces, and the events that tell of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::StatusCode;
use futures_util::StreamExt;
use model::Ids;
use serde::Serialize;
use serde_json::json;

use super::object::{IncompleteDetails, OutputItem, OutputPart, ResponseError, ResponseObject, SummaryPart};
use super::writer::Writer;
use crate::chat::format::Format;
use crate::chat::pieces::{Ended, Piece, Pieces};
use crate::errors::ApiError;

/// The last item of the output, when more can be added to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Nothing,
    Message,
    Reasoning,
}

pub(super) struct Draft {
    object: ResponseObject,
    ids: Arc<Ids>,
    shows_reasoning: bool,
    open: Open,
    /// Calls that have begun, to their places in the output. They stay open until the end, because
    /// their arguments may come mixed.
    calls: BTreeMap<usize, usize>,
    /// Absent for an answer in one piece.
    pub writer: Option<Writer>,
}

#[derive(Serialize)]
struct TextDelta<'a> {
    item_id: &'a str,
    output_index: usize,
    content_index: usize,
    delta: &'a str,
    logprobs: [(); 0],
}

impl Draft {
    pub fn whole(object: ResponseObject, ids: Arc<Ids>, shows_reasoning: bool) -> Self {
        Self { object, ids, shows_reasoning, open: Open::Nothing, calls: BTreeMap::new(), writer: None }
    }

    pub fn streamed(object: ResponseObject, ids: Arc<Ids>, shows_reasoning: bool) -> Self {
        let mut draft = Self { writer: Some(Writer::default()), ..Self::whole(object, ids, shows_reasoning) };
        draft.tell_object("response.created");
        draft.tell_object("response.in_progress");
        draft
    }

    /// Reads all pieces of an answer in one piece.
    pub async fn read(&mut self, mut pieces: Pieces) -> Result<(), ApiError> {
        while let Some(piece) = pieces.next().await {
            let Some(ended) = self.take(piece?) else { continue };
            self.end(&ended);
            // The pieces may say more than the answer: what an agent said before it used its tools.
            if let Some(text) = ended.text.filter(|text| !text.is_empty()) {
                self.set_text(text);
            }
            return Ok(());
        }
        tracing::error!("an answer ended without saying so");
        Err(ApiError::internal())
    }

    /// Gives the end when it is there; then call [`Draft::end`].
    pub fn take(&mut self, piece: Piece) -> Option<Ended> {
        match piece {
            Piece::Text(text) => self.text(&text),
            Piece::Reasoning(text) if self.shows_reasoning => self.reasoning(&text),
            Piece::Reasoning(_) => {}
            Piece::Call { index, id, name } => self.call(index, id, name),
            Piece::Arguments { index, text } => self.arguments(index, &text),
            Piece::End(ended) => return Some(ended),
        }
        None
    }

    fn text(&mut self, text: &str) {
        let mut text = text;
        if self.open != Open::Message {
            // What sets two messages of one text apart has no place at the beginning of an item.
            text = if self.object.output.is_empty() { text } else { text.trim_start_matches('\n') };
            if text.is_empty() {
                return;
            }
            self.open_message();
        }
        if text.is_empty() {
            return;
        }
        let output_index = self.last();
        let Some(OutputItem::Message { id, content, .. }) = self.object.output.last_mut() else { return };
        if let Some(OutputPart::OutputText { text: so_far, .. }) = content.first_mut() {
            so_far.push_str(text);
        }
        if let Some(writer) = &mut self.writer {
            let delta = TextDelta { item_id: id, output_index, content_index: 0, delta: text, logprobs: [] };
            writer.event("response.output_text.delta", &delta);
        }
    }

    fn open_message(&mut self) {
        self.close();
        let id = format!("msg_{}", self.ids.uuid());
        let item =
            OutputItem::Message { id: id.clone(), role: "assistant", status: "in_progress", content: Vec::new() };
        let output_index = self.add(item);
        let part = OutputPart::text(String::new());
        self.tell(
            "response.content_part.added",
            || json!({ "item_id": id, "output_index": output_index, "content_index": 0, "part": part }),
        );
        if let Some(OutputItem::Message { content, .. }) = self.object.output.last_mut() {
            content.push(OutputPart::text(String::new()));
        }
        self.open = Open::Message;
    }

    fn reasoning(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        if self.open != Open::Reasoning {
            self.close();
            let id = format!("rs_{}", self.ids.uuid());
            let output_index = self.add(OutputItem::Reasoning { id: id.clone(), summary: Vec::new() });
            let part = SummaryPart::SummaryText { text: String::new() };
            self.tell(
                "response.reasoning_summary_part.added",
                || json!({ "item_id": id, "output_index": output_index, "summary_index": 0, "part": part }),
            );
            if let Some(OutputItem::Reasoning { summary, .. }) = self.object.output.last_mut() {
                summary.push(part);
            }
            self.open = Open::Reasoning;
        }
        let output_index = self.last();
        let Some(OutputItem::Reasoning { id, summary }) = self.object.output.last_mut() else { return };
        if let Some(SummaryPart::SummaryText { text: so_far }) = summary.first_mut() {
            so_far.push_str(text);
        }
        if let Some(writer) = &mut self.writer {
            let delta = json!({ "item_id": id, "output_index": output_index, "summary_index": 0, "delta": text });
            writer.event("response.reasoning_summary_text.delta", &delta);
        }
    }

    fn call(&mut self, index: usize, call_id: String, name: String) {
        self.close();
        let id = format!("fc_{}", self.ids.uuid());
        let item = OutputItem::FunctionCall { id, call_id, name, arguments: String::new(), status: "in_progress" };
        let output_index = self.add(item);
        self.calls.insert(index, output_index);
    }

    fn arguments(&mut self, index: usize, more: &str) {
        let Some(output_index) = self.calls.get(&index).copied().filter(|_| !more.is_empty()) else { return };
        let Some(OutputItem::FunctionCall { id, arguments, .. }) = self.object.output.get_mut(output_index) else {
            return;
        };
        arguments.push_str(more);
        if let Some(writer) = &mut self.writer {
            let delta = json!({ "item_id": id, "output_index": output_index, "delta": more });
            writer.event("response.function_call_arguments.delta", &delta);
        }
    }

    /// Adds an item and tells of it; gives its place.
    fn add(&mut self, item: OutputItem) -> usize {
        self.object.output.push(item.clone());
        let output_index = self.last();
        self.tell("response.output_item.added", || json!({ "output_index": output_index, "item": item }));
        output_index
    }

    /// The place of the newest item.
    fn last(&self) -> usize {
        self.object.output.len().saturating_sub(1)
    }

    /// Ends the open message or reasoning, as a whole one.
    fn close(&mut self) {
        self.close_as("completed");
    }

    fn close_as(&mut self, word: &'static str) {
        let output_index = self.last();
        let was_open = std::mem::replace(&mut self.open, Open::Nothing);
        match self.object.output.last_mut() {
            Some(OutputItem::Message { id, status, content, .. }) if was_open == Open::Message => {
                *status = word;
                let Some(part @ OutputPart::OutputText { text, .. }) = content.first() else { return };
                let at = json!({ "item_id": id, "output_index": output_index, "content_index": 0 });
                let done = [
                    ("response.output_text.done", with(&at, json!({ "text": text, "logprobs": [] }))),
                    ("response.content_part.done", with(&at, json!({ "part": part }))),
                ];
                self.tell_all(done);
            }
            Some(OutputItem::Reasoning { id, summary }) if was_open == Open::Reasoning => {
                let Some(part @ SummaryPart::SummaryText { text }) = summary.first() else { return };
                let at = json!({ "item_id": id, "output_index": output_index, "summary_index": 0 });
                let done = [
                    ("response.reasoning_summary_text.done", with(&at, json!({ "text": text }))),
                    ("response.reasoning_summary_part.done", with(&at, json!({ "part": part }))),
                ];
                self.tell_all(done);
            }
            _ => return,
        }
        self.tell_item_done(output_index);
    }

    fn close_calls(&mut self, is_cut: bool) {
        let places: Vec<usize> = std::mem::take(&mut self.calls).into_values().collect();
        for (number, output_index) in places.iter().copied().enumerate() {
            let word = if is_cut && number + 1 == places.len() { "incomplete" } else { "completed" };
            let Some(OutputItem::FunctionCall { id, name, arguments, status, .. }) =
                self.object.output.get_mut(output_index)
            else {
                continue;
            };
            *status = word;
            let done = json!({ "item_id": id, "output_index": output_index, "name": name, "arguments": arguments });
            self.tell_all([("response.function_call_arguments.done", done)]);
            self.tell_item_done(output_index);
        }
    }

    fn tell_item_done(&mut self, output_index: usize) {
        let Self { object, writer, .. } = self;
        if let Some(writer) = writer
            && let Some(item) = object.output.get(output_index)
        {
            writer.event("response.output_item.done", &json!({ "output_index": output_index, "item": item }));
        }
    }

    /// The answer is over.
    pub fn end(&mut self, ended: &Ended) {
        let reason = match ended.finish {
            "length" => Some("max_output_tokens"),
            "content_filter" => Some("content_filter"),
            _ => None,
        };
        if self.object.output.is_empty() && reason.is_none() {
            // A response that says nothing says so in a message.
            self.open_message();
        }
        self.close_as(if reason.is_some() && self.calls.is_empty() { "incomplete" } else { "completed" });
        self.close_calls(reason.is_some());
        self.object.usage = Some(ended.usage.into());
        self.object.incomplete_details = reason.map(|reason| IncompleteDetails { reason });
        self.object.status = if reason.is_some() { "incomplete" } else { "completed" };
        self.tell_object(if reason.is_some() { "response.incomplete" } else { "response.completed" });
    }

    /// The answer failed: nothing of it stands.
    pub fn fail(&mut self) {
        self.open = Open::Nothing;
        self.calls.clear();
        self.object.output.clear();
        self.object.status = "failed";
        let message = String::from("Internal server error");
        self.object.error = Some(ResponseError { code: "server_error", message });
        self.tell_object("response.failed");
    }

    /// Puts a text in the place of what the pieces said, when they made one message.
    fn set_text(&mut self, text: String) {
        let mut messages = self.object.output.iter_mut().filter_map(|item| match item {
            OutputItem::Message { content, .. } => Some(content),
            _ => None,
        });
        if let (Some(content), None) = (messages.next(), messages.next()) {
            *content = vec![OutputPart::text(text)];
        }
    }

    /// Keeps a whole answer in words to its form.
    pub fn keep_to(&mut self, format: &Format) -> Result<(), ApiError> {
        let has_calls = self.object.output.iter().any(|item| matches!(item, OutputItem::FunctionCall { .. }));
        if self.object.status != "completed" || has_calls {
            return Ok(());
        }
        let text = self.object.message().map(|message| message.content.text().into_owned()).unwrap_or_default();
        let text = format.enforced(&text).ok_or_else(|| {
            let message = "the model's answer is not of the form that `text.format` asks for";
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, message)
        })?;
        self.set_text(text);
        Ok(())
    }

    pub fn object(&self) -> &ResponseObject {
        &self.object
    }

    pub fn into_object(self) -> ResponseObject {
        self.object
    }

    fn tell_object(&mut self, kind: &'static str) {
        let Self { object, writer, .. } = self;
        if let Some(writer) = writer {
            #[derive(Serialize)]
            struct Told<'a> {
                response: &'a ResponseObject,
            }
            writer.event(kind, &Told { response: object });
        }
    }

    fn tell(&mut self, kind: &'static str, fields: impl FnOnce() -> serde_json::Value) {
        if let Some(writer) = &mut self.writer {
            writer.event(kind, &fields());
        }
    }

    fn tell_all<const N: usize>(&mut self, events: [(&'static str, serde_json::Value); N]) {
        if let Some(writer) = &mut self.writer {
            events.iter().for_each(|(kind, fields)| writer.event(kind, fields));
        }
    }
}

fn with(at: &serde_json::Value, more: serde_json::Value) -> serde_json::Value {
    let mut fields = at.clone();
    if let (Some(fields), serde_json::Value::Object(more)) = (fields.as_object_mut(), more) {
        fields.extend(more);
    }
    fields
}
