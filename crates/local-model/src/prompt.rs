//! From a request to the tokens that the model reads: our own short system text, and as much of the
//! conversation as fits.
//!
//! A model of 135 million weights is confused by the system text of an agent; it gets one sentence of ours
//! and, when there are tools, one line about them. A larger imported model gets the caller's own text.

use model::{Content, NewMessage, Part, Role, ToolCall};
use providers::{ChatRequest, ResponseFormat, ToolChoice, ToolSpec};
use serde_json::{Value, json};

use crate::error::EngineError;
use crate::template::{ChatTemplate, Line};
use crate::vocabulary::Vocabulary;

/// Found by trial: with it "What is the capital of France?" is answered with Paris.
pub const SYSTEM_TEXT: &str = "You answer questions with short and correct facts.";
/// Of a tool's result, for a small model; from the front.
const RESULT_CHARS_MAX: usize = 1200;
/// Tools named in the line about them.
const TOOLS_NAMED_MAX: usize = 12;
/// Old turns go in groups, so that most prompts of a long conversation begin as the one before and the model
/// need not read everything anew for each.
const TURNS_DROPPED_AT_ONCE: usize = 8;
/// A token stands for no more than this many bytes on average; older text is not even looked at.
const BYTES_PER_TOKEN_MAX: usize = 16;

/// What composing needs to know of a loaded model.
pub struct Reader<'a> {
    pub vocabulary: &'a Vocabulary,
    pub template: &'a ChatTemplate,
    pub is_small: bool,
}

impl Reader<'_> {
    /// The prompt of a request, at most `max` tokens. The oldest turns are left out first, whole, so that a
    /// tool's result never stands without its call; then finished tool exchanges of the newest turn.
    pub fn compose(&self, request: &ChatRequest, max: usize) -> Result<Vec<u32>, EngineError> {
        let system = self.system(request);
        let messages: Vec<&NewMessage> =
            request.messages.iter().filter(|message| message.role != Role::System).collect();
        let newest = messages.iter().rposition(|message| message.role == Role::User).unwrap_or(0);
        if messages.is_empty() {
            return Err(EngineError::Request("there is no message to answer".into()));
        }
        let (older, turn) = messages.split_at(newest);
        let (unread, turns) = self.recent_turns(older, max);
        let (question, exchanges) = turn.split_at(1);
        let exchanges = split_before(exchanges, |message| message.role == Role::Assistant);

        // More dropped is never longer, so the least that must go is found by halving.
        let drops = turns.len() + exchanges.len().saturating_sub(1);
        let attempt = |dropped: usize| {
            let kept_turns = turns.iter().skip(dropped).flat_map(|turn| turn.iter());
            let kept_exchanges =
                exchanges.iter().skip(dropped.saturating_sub(turns.len())).flat_map(|exchange| exchange.iter());
            let kept: Vec<&NewMessage> = kept_turns.chain(question).chain(kept_exchanges).copied().collect();
            self.tokens(&system, &kept)
        };
        let (mut low, mut high) = (0, drops);
        while low < high {
            let middle = usize::midpoint(low, high);
            if attempt(middle)?.len() <= max { high = middle } else { low = middle + 1 }
        }
        if low > 0 && low < turns.len() {
            low = ((unread + low).next_multiple_of(TURNS_DROPPED_AT_ONCE) - unread).min(turns.len());
        }
        let tokens = attempt(low)?;
        if tokens.len() > max {
            return Err(EngineError::TooLong { tokens: tokens.len(), max });
        }
        Ok(tokens)
    }

    fn system(&self, request: &ChatRequest) -> String {
        let mut text = if self.is_small {
            String::from(SYSTEM_TEXT)
        } else {
            let texts = request.messages.iter().filter(|message| message.role == Role::System);
            let texts: Vec<String> =
                texts.map(|message| self.vocabulary.disarm(&message.content.text()).into_owned()).collect();
            if texts.is_empty() { String::from(SYSTEM_TEXT) } else { texts.join("\n\n") }
        };
        if let Some(line) = tool_line(&request.tools, &request.tool_choice, self.is_small) {
            text.push(' ');
            text.push_str(&self.vocabulary.disarm(&line));
        }
        match &request.response_format {
            Some(ResponseFormat::JsonObject) => text.push_str(" Answer with a JSON object."),
            Some(ResponseFormat::JsonSchema { schema, .. }) if !self.is_small => {
                text.push_str(&format!(" Answer with JSON that follows this schema: {schema}"));
            }
            Some(ResponseFormat::JsonSchema { .. }) => text.push_str(" Answer with JSON."),
            None => {}
        }
        text
    }

    /// The older conversation in turns, each from a user's message to before the next; what certainly
    /// cannot fit is left out before anything is tokenised. Also gives how many turns that was.
    fn recent_turns<'m>(&self, older: &[&'m NewMessage], max: usize) -> (usize, Vec<Vec<&'m NewMessage>>) {
        let mut turns = split_before(older, |message| message.role == Role::User);
        let mut bytes = 0;
        let fitting = turns.iter().rev().take_while(|turn| {
            bytes += turn.iter().map(|message| message.content.text().len()).sum::<usize>();
            bytes <= max * BYTES_PER_TOKEN_MAX
        });
        let mut unread = turns.len() - fitting.count();
        turns.drain(..unread);
        // A conversation cut in the middle of a turn by somebody else: begin with a question.
        if turns.first().is_some_and(|turn| turn[0].role != Role::User) {
            turns.remove(0);
            unread += 1;
        }
        (unread, turns)
    }

    fn tokens(&self, system: &str, messages: &[&NewMessage]) -> Result<Vec<u32>, EngineError> {
        let mut lines = vec![Line { role: "system", content: system.to_owned() }];
        for (index, message) in messages.iter().enumerate() {
            let line = self.line(message, &messages[..index]);
            match lines.last_mut() {
                // Several results of one answer, or a note before a question: templates want turns to alternate.
                Some(last) if last.role == line.role && line.role != "system" => {
                    last.content.push('\n');
                    last.content.push_str(&line.content);
                }
                _ => lines.push(line),
            }
        }
        self.vocabulary.encode(&self.template.render(&lines)?)
    }

    fn line(&self, message: &NewMessage, before: &[&NewMessage]) -> Line {
        let text = text_of(&message.content);
        let (role, content) = match message.role {
            Role::System => ("system", text),
            Role::User => ("user", text),
            Role::Assistant if message.tool_calls.is_empty() => ("assistant", text),
            Role::Assistant => {
                let calls: Vec<String> = message.tool_calls.iter().map(call_text).collect();
                let calls = calls.join("\n");
                ("assistant", if text.is_empty() { calls } else { format!("{text}\n{calls}") })
            }
            Role::Tool => {
                let calls = before.iter().rev().flat_map(|message| &message.tool_calls);
                let name = calls.into_iter().find(|call| Some(&call.id) == message.tool_call_id.as_ref());
                let name = name.map_or("the tool", |call| call.name.as_str());
                let result = if self.is_small { cut(&text, RESULT_CHARS_MAX) } else { text };
                ("user", format!("Result of {name}: {result}"))
            }
        };
        Line { role, content: self.vocabulary.disarm(&content).into_owned() }
    }
}

/// Groups that begin at each message for which `begins` holds; what comes before the first is a group too.
fn split_before<'m>(messages: &[&'m NewMessage], begins: impl Fn(&NewMessage) -> bool) -> Vec<Vec<&'m NewMessage>> {
    let mut groups: Vec<Vec<&NewMessage>> = Vec::new();
    for message in messages {
        match groups.last_mut() {
            Some(group) if !begins(message) => group.push(message),
            _ => groups.push(vec![message]),
        }
    }
    groups
}

fn text_of(content: &Content) -> String {
    let Content::Parts(parts) = content else { return content.text().into_owned() };
    let texts = parts.iter().map(|part| match part {
        Part::Text { text } => text.clone(),
        Part::Image { .. } => "(an image, which this model cannot see)".to_owned(),
        Part::Audio { .. } => "(a recording, which this model cannot hear)".to_owned(),
        Part::File { name, .. } => format!("(the file {name}, which this model cannot open)"),
    });
    texts.collect::<Vec<_>>().join("\n")
}

/// As the grammar spells a call.
fn call_text(call: &ToolCall) -> String {
    let arguments = serde_json::from_str(&call.arguments).unwrap_or_else(|_| json!({}));
    format!("{{\"name\": {}, \"arguments\": {arguments}}}", Value::from(call.name.as_str()))
}

fn tool_line(tools: &[ToolSpec], choice: &ToolChoice, is_small: bool) -> Option<String> {
    let offered: Vec<&ToolSpec> = match choice {
        ToolChoice::None => return None,
        ToolChoice::Named(name) => tools.iter().filter(|tool| tool.name == *name).collect(),
        ToolChoice::Auto | ToolChoice::Required => tools.iter().collect(),
    };
    if offered.is_empty() {
        return None;
    }
    let form = "{\"name\": ..., \"arguments\": {...}}";
    if is_small {
        let names: Vec<&str> = offered.iter().take(TOOLS_NAMED_MAX).map(|tool| tool.name.as_str()).collect();
        return Some(format!("Tools you may call with {form}: {}.", names.join(", ")));
    }
    let tools: Vec<String> = offered
        .iter()
        .map(|tool| {
            json!({"name": tool.name, "description": tool.description, "parameters": &*tool.parameters}).to_string()
        })
        .collect();
    Some(format!("To call a tool answer with {form} and nothing else. Tools:\n{}", tools.join("\n")))
}

fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((at, _)) => format!("{} …", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
#[path = "prompt_tests.rs"]
mod tests;
