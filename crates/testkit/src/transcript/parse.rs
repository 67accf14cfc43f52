//! From text to steps.

use providers::testkit::{Gate, Scripted, Step as ModelStep};
use providers::{Chunk, FinishReason, ProviderError, ProviderErrorKind};
use serde_json::Value;

/// A file, read.
#[derive(Debug)]
pub struct Transcript {
    /// The file's name.
    pub name: String,
    /// As given by `@settings`; `null` without it.
    pub settings: Value,
    /// With the number of the line on which each begins.
    pub steps: Vec<(usize, Step)>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    Send(String),
    Binary(Vec<u8>),
    Expect(Value),
    ExpectInAnyOrder(Vec<Value>),
    ExpectText(String),
    ExpectClose(u16),
    Open(String),
    Connect { scopes: Vec<String>, client: String },
    Client(String),
    Cut,
    Refused { status: u16, headers: Vec<(String, String)> },
    Silence,
    Token { name: String, role: String, scopes: Vec<String> },
    Model(Value),
    Reached(String),
    Release(String),
    Given { key: String, role: String, text: String },
    Advance(i64),
    File(Value),
    Idle,
    Ended(String),
    Restart,
}

/// The name of a client that is given none.
pub const FIRST_CLIENT: &str = "main";

impl Transcript {
    /// `name` is for messages. `Err` names file and line.
    pub fn parse(name: &str, text: &str) -> Result<Self, String> {
        let mut transcript = Self { name: name.to_owned(), settings: Value::Null, steps: Vec::new() };
        let mut last_was_any_order = false;
        for (number, line) in joined(text) {
            let fail = |reason: String| format!("{name}:{number}: {reason}");
            if let Some(settings) = line.strip_prefix("@settings ") {
                transcript.settings = json(settings).map_err(fail)?;
                continue;
            }
            if let Some(expected) = line.strip_prefix("<~") {
                let expected = json(expected).map_err(fail)?;
                match transcript.steps.last_mut() {
                    Some((_, Step::ExpectInAnyOrder(group))) if last_was_any_order => group.push(expected),
                    _ => transcript.steps.push((number, Step::ExpectInAnyOrder(vec![expected]))),
                }
                last_was_any_order = true;
                continue;
            }
            last_was_any_order = false;
            transcript.steps.push((number, step(&line).map_err(fail)?));
        }
        Ok(transcript)
    }
}

/// Lines without comments, each with what continues it and the number of its first line.
fn joined(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut is_apart = true;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() || line.starts_with('#') {
            is_apart = true;
            continue;
        }
        match lines.last_mut() {
            Some((_, last)) if line.starts_with([' ', '\t']) && !is_apart => {
                last.push(' ');
                last.push_str(line.trim());
            }
            _ => lines.push((number, line.trim_end().to_owned())),
        }
        is_apart = false;
    }
    lines
}

fn step(line: &str) -> Result<Step, String> {
    if let Some(text) = line.strip_prefix("<=") {
        return Ok(Step::ExpectText(text.trim_start().to_owned()));
    }
    if let Some(code) = line.strip_prefix("<!") {
        return Ok(Step::ExpectClose(number(code)?));
    }
    if let Some(expected) = line.strip_prefix('<') {
        return Ok(Step::Expect(json(expected)?));
    }
    if let Some(text) = line.strip_prefix('>') {
        return Ok(Step::Send(repeated(text.trim_start())?));
    }
    let Some(directive) = line.strip_prefix('@') else { return Err(format!("no line begins like `{line}`")) };
    let (word, rest) = directive.split_once(char::is_whitespace).unwrap_or((directive, ""));
    let rest = rest.trim();
    let words = || rest.split_whitespace().map(str::to_owned);
    Ok(match word {
        "open" => Step::Open(words().next().unwrap_or_else(|| FIRST_CLIENT.to_owned())),
        "connect" => {
            let (scopes, client) = match rest.split_once("as ") {
                Some((scopes, client)) => (scopes, client),
                None => (rest, FIRST_CLIENT),
            };
            Step::Connect { scopes: scopes.split_whitespace().map(str::to_owned).collect(), client: client.to_owned() }
        }
        "client" => Step::Client(rest.to_owned()),
        "cut" => Step::Cut,
        "refused" => refused(rest)?,
        "binary" => Step::Binary(bytes(rest)?),
        "silence" => Step::Silence,
        "token" => {
            let mut words = words();
            let name = words.next().ok_or("a token has a name")?;
            let (roles, scopes): (Vec<String>, Vec<String>) = words.partition(|word| word.starts_with("role="));
            let role = roles.first().map_or("operator", |role| &role[5..]).to_owned();
            Step::Token { name, role, scopes }
        }
        "answer" => Step::Model(serde_json::json!({ "text": rest })),
        "model" => {
            let answer = json(rest)?;
            scripted(&answer, |_| Gate::new())?;
            Step::Model(answer)
        }
        "reached" => Step::Reached(rest.to_owned()),
        "release" => Step::Release(rest.to_owned()),
        "given" => {
            let (key, message) = rest.split_once(' ').ok_or("a message follows the session")?;
            let (role, text) = message.split_once(": ").ok_or("a message is `role: text`")?;
            Step::Given { key: key.to_owned(), role: role.to_owned(), text: text.to_owned() }
        }
        "advance" => Step::Advance(number(rest)?),
        "file" => Step::File(json(rest)?),
        "idle" => Step::Idle,
        "ended" => Step::Ended(rest.trim_matches(['"', '<', '>']).to_owned()),
        "restart" => Step::Restart,
        other => return Err(format!("there is no directive `@{other}`")),
    })
}

fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text.trim()).map_err(|error| format!("not JSON ({error}): {}", text.trim()))
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| format!("`{}` is no such number", text.trim()))
}

fn refused(rest: &str) -> Result<Step, String> {
    let (status, headers) = rest.split_once(' ').unwrap_or((rest, ""));
    let headers: Result<Vec<_>, String> = headers
        .split(", ")
        .filter(|header| !header.is_empty())
        .map(|header| {
            header
                .split_once(": ")
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .ok_or_else(|| format!("`{header}` is no header"))
        })
        .collect();
    Ok(Step::Refused { status: number(status)?, headers: headers? })
}

fn bytes(hex: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<char> = hex.chars().collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).map_err(|_| format!("`{hex}` is not hex")))
        .collect()
}

/// Writes out `<<COUNT*TEXT>>`.
fn repeated(text: &str) -> Result<String, String> {
    let Some((before, rest)) = text.split_once("<<") else { return Ok(text.to_owned()) };
    let (inside, after) = rest.split_once(">>").ok_or("`<<` without `>>`")?;
    let (count, piece) = inside.split_once('*').ok_or("`<<COUNT*TEXT>>` has a star")?;
    Ok(format!("{before}{}{}", piece.repeat(number(count)?), repeated(after)?))
}

/// An answer of the model as `@model` tells it; `gate` finds the gate of a name.
pub(super) fn scripted(answer: &Value, gate: impl FnOnce(&str) -> Gate) -> Result<Scripted, String> {
    const KEYS: [&str; 7] = ["reasoning", "text", "tools", "hold", "then", "broken", "refuse"];
    let fields = answer.as_object().ok_or("an answer of the model is an object")?;
    if let Some(unknown) = fields.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(format!("an answer of the model has no `{unknown}`"));
    }
    let text = |key: &str| answer.get(key).and_then(Value::as_str);
    if let Some(message) = text("refuse") {
        return Ok(Scripted::refuse(ProviderErrorKind::BadRequest, message));
    }
    let mut script = Scripted::Stream(Vec::new());
    if let Some(reasoning) = text("reasoning") {
        script = script.then_reasoning(reasoning);
    }
    script = script.then_text(text("text").unwrap_or_default());
    if let Some(name) = text("hold") {
        script = script.then_wait(&gate(name));
    }
    script = script.then_text(text("then").unwrap_or_default());
    if let Some(message) = text("broken") {
        return Ok(script.then(ModelStep::Fail(ProviderError::new(
            "scripted",
            ProviderErrorKind::BadRequest,
            message,
        ))));
    }
    let calls = answer.get("tools").and_then(Value::as_array).cloned().unwrap_or_default();
    for (index, call) in calls.iter().enumerate() {
        let (Some(id), Some(name)) = (call[0].as_str(), call[1].as_str()) else {
            return Err(String::from("a tool call is `[id, name, arguments]`"));
        };
        script = script
            .then(ModelStep::Chunk(Chunk::ToolCall { index, id: id.to_owned(), name: name.to_owned() }))
            .then(ModelStep::Chunk(Chunk::ToolArguments { index, text: call[2].to_string() }));
    }
    Ok(script.then_finish(if calls.is_empty() { FinishReason::Stop } else { FinishReason::ToolCalls }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn steps(text: &str) -> Vec<(usize, Step)> {
        Transcript::parse("x.txt", text).unwrap().steps
    }

    #[test]
    fn lines_are_joined_and_numbered_from_their_first() {
        let text = "# about\n@connect read\n\n> {\"a\":\n   1}\n< {\"b\":2}\n";
        let connect = Step::Connect { scopes: vec!["read".into()], client: "main".into() };
        assert_eq!(
            steps(text),
            [(2, connect), (4, Step::Send("{\"a\": 1}".into())), (6, Step::Expect(json!({ "b": 2 })))]
        );
    }

    #[test]
    fn neighbours_in_any_order_are_one_group() {
        let group = |list: &[i64]| Step::ExpectInAnyOrder(list.iter().map(|n| json!(n)).collect());
        assert_eq!(
            steps("<~ 1\n<~ 2\n< 3\n<~ 4"),
            [(1, group(&[1, 2])), (3, Step::Expect(json!(3))), (4, group(&[4]))]
        );
    }

    #[test]
    fn repetitions_are_written_out() {
        assert_eq!(steps("> a<<3*[>>b<<2*]>>"), [(1, Step::Send("a[[[b]]".into()))]);
    }

    #[test]
    fn directives_tell_their_parts() {
        let scopes = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let cases = [
            (
                "@connect read write as second",
                Step::Connect { scopes: scopes(&["read", "write"]), client: "second".into() },
            ),
            ("@connect", Step::Connect { scopes: vec![], client: "main".into() }),
            ("@connect as b", Step::Connect { scopes: vec![], client: "b".into() }),
            (
                "@token t role=node read",
                Step::Token { name: "t".into(), role: "node".into(), scopes: scopes(&["read"]) },
            ),
            (
                "@given agent:main:main user: hi: there",
                Step::Given { key: "agent:main:main".into(), role: "user".into(), text: "hi: there".into() },
            ),
            (
                "@refused 403 Origin: https://a.example, Host: b",
                Step::Refused {
                    status: 403,
                    headers: vec![("Origin".into(), "https://a.example".into()), ("Host".into(), "b".into())],
                },
            ),
            ("@binary 00ff", Step::Binary(vec![0, 255])),
            ("<! 1008", Step::ExpectClose(1008)),
            ("<= {\"id\":1.50}", Step::ExpectText("{\"id\":1.50}".into())),
        ];
        for (text, step) in cases {
            assert_eq!(steps(text), [(1, step)], "{text}");
        }
    }

    #[test]
    fn mistakes_name_file_and_line() {
        for (text, reason) in [
            ("\n< {", "x.txt:2: not JSON"),
            ("@fly", "x.txt:1: there is no directive `@fly`"),
            ("hello", "x.txt:1: no line begins like"),
            ("@model {\"txt\":1}", "x.txt:1: an answer of the model has no `txt`"),
            ("> <<3[>>", "x.txt:1: `<<COUNT*TEXT>>` has a star"),
        ] {
            let error = Transcript::parse("x.txt", text).unwrap_err();
            assert!(error.starts_with(reason), "{error}");
        }
    }
}
