//! From the bytes of a tool call to the chunks of a stream.

use std::sync::Arc;

use providers::Chunk;
use serde_json::Value;

use crate::grammar::Grammar;
use crate::text_out::take_whole;

/// The tools that may be called, compiled.
#[derive(Debug)]
pub struct Calls {
    pub grammar: Arc<Grammar>,
    pub names: Vec<String>,
}

impl Calls {
    pub fn new<'a>(tools: impl IntoIterator<Item = (&'a str, &'a Value)> + Clone) -> Self {
        let names = tools.clone().into_iter().map(|(name, _)| name.to_owned()).collect();
        Self { grammar: Arc::new(Grammar::of_calls(tools)), names }
    }
}

/// Follows one call as it is written: `{"name": NAME, "arguments": ARGUMENTS}`.
#[derive(Debug)]
pub struct CallOut {
    calls: Arc<Calls>,
    id: String,
    /// Before the arguments: all bytes so far; then those of the arguments that are not sent.
    bytes: Vec<u8>,
    named: bool,
}

impl CallOut {
    pub fn new(calls: Arc<Calls>, id: String) -> Self {
        Self { calls, id, bytes: Vec::new(), named: false }
    }

    pub fn push(&mut self, bytes: &[u8]) -> Vec<Chunk> {
        self.bytes.extend_from_slice(bytes);
        let mut chunks = Vec::new();
        if !self.named
            && let Some((name, lead)) = self.name()
        {
            chunks.push(Chunk::ToolCall { index: 0, id: self.id.clone(), name });
            self.bytes.drain(..lead);
            self.named = true;
        }
        if self.named
            && let Some(last) = self.bytes.pop()
        {
            // The last byte may be the brace that closes the call around the arguments.
            let text = take_whole(&mut self.bytes);
            self.bytes.push(last);
            if !text.is_empty() {
                chunks.push(Chunk::ToolArguments { index: 0, text });
            }
        }
        chunks
    }

    fn name(&self) -> Option<(String, usize)> {
        self.calls.names.iter().find_map(|name| {
            let lead = format!("{{\"name\": {}, \"arguments\": ", Value::from(name.as_str()));
            self.bytes.starts_with(lead.as_bytes()).then(|| (name.clone(), lead.len()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn however_it_is_cut_a_call_becomes_its_name_and_its_arguments() {
        let schema = json!({"type": "object"});
        let calls = Arc::new(Calls::new([("get", &schema), ("get_more", &schema)]));
        let text = "{\"name\": \"get_more\", \"arguments\": {\"a\": {\"ü\": \"日\"}}}".as_bytes();
        for cut in 1..text.len() {
            let mut out = CallOut::new(Arc::clone(&calls), "call_1".into());
            let chunks: Vec<Chunk> = text.chunks(cut).flat_map(|piece| out.push(piece)).collect();
            assert_eq!(chunks[0], Chunk::ToolCall { index: 0, id: "call_1".into(), name: "get_more".into() });
            let arguments: String = chunks[1..]
                .iter()
                .map(|chunk| {
                    if let Chunk::ToolArguments { index: 0, text } = chunk {
                        text.as_str()
                    } else {
                        panic!("{chunk:?}")
                    }
                })
                .collect();
            assert_eq!(arguments, "{\"a\": {\"ü\": \"日\"}}", "in pieces of {cut}");
        }
    }
}
