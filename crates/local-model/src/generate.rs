//! One answer: feeds a prompt, picks token after token, and says what comes out of it.
//!
//! Knows nothing of threads, files or candle: a [`LanguageModel`] gives logits, a sink takes chunks.

use std::sync::Arc;

use model::Usage;
use providers::{Chunk, FinishReason};

use crate::call_out::{CallOut, Calls};
use crate::error::EngineError;
use crate::grammar::{Grammar, Masker, State};
use crate::opening::{CALL_LEAD, Decision, Opening};
use crate::sampler::Sampler;
use crate::text_out::{TextOut, take_whole};
use crate::vocabulary::Vocabulary;

/// Prompt tokens fed at once; between two portions the engine looks whether the answer is still wanted.
/// Large portions are read faster, because weights are unpacked once for each.
const PORTION_TOKENS: usize = 128;

/// What computes logits.
pub trait LanguageModel {
    /// Begins a text. Gives how many of its tokens are known from before and need not be fed.
    fn begin(&mut self, prompt: &[u32]) -> usize;

    /// The logits of what follows, after these further tokens of the text.
    fn feed(&mut self, tokens: &[u32]) -> Result<Vec<f32>, EngineError>;
}

/// Where chunks go. Sending never waits.
pub trait Sink {
    fn send(&mut self, chunk: Chunk);

    /// `false` once nobody listens any more.
    fn is_open(&self) -> bool;
}

/// What is asked of the model.
pub struct Order {
    pub prompt: Vec<u32>,
    /// Tokens of the answer, at least 1.
    pub max_tokens: usize,
    pub stops: Vec<String>,
    pub sampler: Sampler,
    pub shape: Shape,
    /// The id of a call, should one be made.
    pub call_id: String,
}

/// What the answer must look like.
#[derive(Debug, Clone)]
pub enum Shape {
    Text,
    /// The model decides with its first tokens.
    TextOrCall(Arc<Calls>),
    Call(Arc<Calls>),
    Json(Arc<Grammar>),
}

/// Writes one answer into `sink`. `Ok(None)` when nobody listened any more; what was computed is lost.
pub fn generate(
    engine: &mut dyn LanguageModel,
    vocabulary: &Vocabulary,
    order: Order,
    sink: &mut dyn Sink,
) -> Result<Option<(FinishReason, Usage)>, EngineError> {
    let mut known = engine.begin(&order.prompt);
    let usage = Usage { input: order.prompt.len() as u64, cache_read: known as u64, ..Usage::default() };
    let mut logits = Vec::new();
    while known < order.prompt.len() {
        if !sink.is_open() {
            return Ok(None);
        }
        let portion = &order.prompt[known..order.prompt.len().min(known + PORTION_TOKENS)];
        logits = engine.feed(portion)?;
        known += portion.len();
    }
    let mut answer = Answer {
        engine,
        vocabulary,
        sink,
        sampler: order.sampler,
        max_tokens: order.max_tokens,
        written: Vec::new(),
        logits,
    };
    let finish = match order.shape {
        Shape::Text => answer.free(TextOut::new(&order.stops), None, &order.call_id)?,
        Shape::TextOrCall(calls) => answer.free(TextOut::new(&order.stops), Some(calls), &order.call_id)?,
        Shape::Call(calls) => {
            let state = State::start(&calls.grammar);
            answer.call(calls, state, &[], order.call_id)?
        }
        Shape::Json(grammar) => {
            let state = State::start(&grammar);
            answer.written(grammar, state, Writing::Json(Vec::new()))?
        }
    };
    let output = answer.written.len() as u64;
    Ok(finish.map(|finish| (finish, Usage { output, ..usage })))
}

struct Answer<'a> {
    engine: &'a mut dyn LanguageModel,
    vocabulary: &'a Vocabulary,
    sink: &'a mut dyn Sink,
    sampler: Sampler,
    max_tokens: usize,
    /// Tokens of the answer so far; those that close a JSON text by force are counted, not fed.
    written: Vec<u32>,
    logits: Vec<f32>,
}

/// What becomes of bytes under a grammar.
enum Writing {
    /// Text, with the bytes of a torn character.
    Json(Vec<u8>),
    Call(CallOut),
}

impl Answer<'_> {
    fn left(&self) -> usize {
        self.max_tokens.saturating_sub(self.written.len())
    }

    fn feed(&mut self, tokens: &[u32]) -> Result<(), EngineError> {
        self.logits = self.engine.feed(tokens)?;
        Ok(())
    }

    fn send_text(&mut self, text: String) {
        if !text.is_empty() {
            self.sink.send(Chunk::Text(text));
        }
    }

    /// Plain text, or a call when `calls` are given and the first tokens say so.
    fn free(
        &mut self,
        mut out: TextOut,
        mut calls: Option<Arc<Calls>>,
        call_id: &str,
    ) -> Result<Option<FinishReason>, EngineError> {
        let mut opening = Opening::default();
        let finish = loop {
            if !self.sink.is_open() {
                return Ok(None);
            }
            let id = self.sampler.pick(&mut self.logits, &self.written);
            if self.vocabulary.is_end(id) {
                break FinishReason::Stop;
            }
            self.written.push(id);
            let piece = self.vocabulary.piece(id);
            let mut text = None;
            if let Some(tools) = &calls {
                match opening.push(piece) {
                    Decision::Undecided => {}
                    Decision::Text(held) => text = Some(held),
                    Decision::Call { rest } => match self.committed(tools) {
                        Some(state) => {
                            let tools = Arc::clone(tools);
                            self.feed(&[id])?;
                            return self.call(tools, state, &rest, call_id.to_owned());
                        }
                        None => text = Some(opening.held()),
                    },
                }
            } else {
                text = Some(piece.to_vec());
            }
            if let Some(bytes) = text {
                calls = None;
                let shown = out.push(&bytes);
                self.send_text(shown);
            }
            if out.stopped() {
                break FinishReason::Stop;
            }
            if self.left() == 0 {
                break FinishReason::Length;
            }
            self.feed(&[id])?;
        };
        let held = opening.held();
        let rest = out.push(&held) + &out.finish();
        self.send_text(rest);
        Ok(Some(finish))
    }

    /// The state behind the lead of a call, when what is left of the limit holds the shortest one.
    fn committed(&self, calls: &Calls) -> Option<State> {
        let state = State::start(&calls.grammar).step_all(&calls.grammar, CALL_LEAD)?;
        self.fits(&state.closing(&calls.grammar), self.left()).then_some(state)
    }

    /// Writes the call from `state` on; `rest` is what the model wrote behind the lead.
    fn call(
        &mut self,
        calls: Arc<Calls>,
        state: State,
        rest: &[u8],
        id: String,
    ) -> Result<Option<FinishReason>, EngineError> {
        let grammar = Arc::clone(&calls.grammar);
        let mut out = CallOut::new(calls, id);
        let mut state = state;
        if state != State::start(&grammar) {
            out.push(CALL_LEAD);
            let spaced = [b" ", rest].concat();
            if let Some(next) = state.step_all(&grammar, &spaced)
                && !rest.is_empty()
                && self.fits(&next.closing(&grammar), self.left())
            {
                for chunk in out.push(&spaced) {
                    self.sink.send(chunk);
                }
                state = next;
            }
        }
        self.written(grammar, state, Writing::Call(out))
    }

    /// Writes JSON under the grammar until it is whole. It always becomes whole: when the limit comes near,
    /// the shortest ending is written without asking the model.
    fn written(
        &mut self,
        grammar: Arc<Grammar>,
        mut state: State,
        mut writing: Writing,
    ) -> Result<Option<FinishReason>, EngineError> {
        let natural = if matches!(writing, Writing::Call(_)) { FinishReason::ToolCalls } else { FinishReason::Stop };
        let cut = if matches!(writing, Writing::Call(_)) { FinishReason::ToolCalls } else { FinishReason::Length };
        let shortest = state.closing(&grammar);
        if !self.fits(&shortest, self.left()) {
            let (max, needed) = (self.max_tokens, self.written.len() + self.tokenise(&shortest).len());
            return Err(EngineError::Request(format!(
                "a limit of {max} output tokens is too low, the shortest answer takes {needed}"
            )));
        }
        let mut masker = Masker::new(Arc::clone(&grammar), self.vocabulary.order());
        loop {
            if !self.sink.is_open() {
                return Ok(None);
            }
            let (forced, behind) = state.forced(&grammar);
            if !forced.is_empty() {
                let tokens = self.tokenise(&forced);
                if !self.fits(&behind.closing(&grammar), self.left().saturating_sub(tokens.len())) {
                    self.close(&grammar, &state, &mut writing);
                    return Ok(Some(cut));
                }
                state = behind;
                self.write(&forced, &mut writing);
                self.written.extend_from_slice(&tokens);
                if state.must_end() {
                    return Ok(Some(natural));
                }
                self.feed(&tokens)?;
                continue;
            }
            if self.left() == 0 {
                self.close(&grammar, &state, &mut writing);
                return Ok(Some(cut));
            }
            let mask = masker.mask(&state);
            let ends = if state.may_end(&grammar) { self.vocabulary.ends() } else { &[] };
            let Some(id) = self.sampler.pick_masked(&self.logits, &mask, ends) else {
                self.close(&grammar, &state, &mut writing);
                return Ok(Some(natural));
            };
            if self.vocabulary.is_end(id) {
                self.close(&grammar, &state, &mut writing);
                return Ok(Some(natural));
            }
            let piece = self.vocabulary.piece(id);
            let next = state.step_all(&grammar, piece).expect("the mask allows only tokens that the automaton takes");
            if !self.fits(&next.closing(&grammar), self.left().saturating_sub(1)) {
                self.close(&grammar, &state, &mut writing);
                return Ok(Some(cut));
            }
            self.write(piece, &mut writing);
            self.written.push(id);
            state = next;
            if state.must_end() {
                return Ok(Some(natural));
            }
            self.feed(&[id])?;
        }
    }

    fn close(&mut self, grammar: &Grammar, state: &State, writing: &mut Writing) {
        let closing = state.closing(grammar);
        let tokens = self.tokenise(&closing);
        self.written.extend(tokens);
        self.write(&closing, writing);
    }

    fn write(&mut self, bytes: &[u8], writing: &mut Writing) {
        match writing {
            Writing::Json(torn) => {
                torn.extend_from_slice(bytes);
                let text = take_whole(torn);
                self.send_text(text);
            }
            Writing::Call(out) => {
                for chunk in out.push(bytes) {
                    self.sink.send(chunk);
                }
            }
        }
    }

    /// Tokens for bytes that we write ourselves. Bytes that are no text by themselves (the rest of a torn
    /// character) are counted as one token each.
    fn tokenise(&self, bytes: &[u8]) -> Vec<u32> {
        let text = std::str::from_utf8(bytes).ok();
        let tokens = text.and_then(|text| self.vocabulary.encode(text).ok());
        tokens.unwrap_or_else(|| vec![0; bytes.len()])
    }

    /// Whether `bytes` take no more than `tokens` tokens.
    fn fits(&self, bytes: &[u8], tokens: usize) -> bool {
        // A token has at least one byte, so a short text need not be tokenised.
        bytes.len() <= tokens || self.tokenise(bytes).len() <= tokens
    }
}

#[cfg(test)]
#[path = "generate_tests.rs"]
mod tests;
