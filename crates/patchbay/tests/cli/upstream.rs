//! A model server of the OpenAI kind that gives the answers of the test, in order.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

pub enum Answer {
    /// Text in these pieces.
    Text(&'static [&'static str]),
    /// The same, and then nothing until the client goes away.
    Hang(&'static [&'static str]),
    Tool(&'static str, Value),
    Refuse(u16, &'static str),
}

pub struct Upstream {
    pub port: u16,
    requests: Arc<Mutex<Vec<Value>>>,
    left: Receiver<()>,
}

impl Upstream {
    pub fn start(answers: impl IntoIterator<Item = Answer>) -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (leave, left) = sync_channel(16);
        let script = Arc::new(Mutex::new(answers.into_iter().collect::<VecDeque<_>>()));
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (script, seen, leave) = (Arc::clone(&script), Arc::clone(&seen), leave.clone());
                std::thread::spawn(move || serve(stream, &script, &seen, &leave));
            }
        });
        Upstream { port, requests, left }
    }

    /// The messages of each call so far: role and text.
    pub fn conversations(&self) -> Vec<Vec<(String, String)>> {
        let said = |message: &Value| (text(&message["role"]), text(&message["content"]));
        let messages = |request: &Value| request["messages"].as_array().unwrap().iter().map(said).collect();
        self.requests.lock().unwrap().iter().map(messages).collect()
    }

    /// How many calls there were, for another thread.
    pub fn counter(&self) -> impl Fn() -> usize + Send + 'static {
        let requests = Arc::clone(&self.requests);
        move || requests.lock().unwrap().len()
    }

    /// Returns once a client has left a hanging answer.
    pub fn wait_for_leaving(&self) {
        self.left.recv().unwrap();
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn serve(stream: TcpStream, script: &Mutex<VecDeque<Answer>>, seen: &Mutex<Vec<Value>>, leave: &SyncSender<()>) {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    seen.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
    let answer = script.lock().unwrap().pop_front().unwrap_or(Answer::Refuse(500, "the script of the test is empty"));
    let stream = reader.get_mut();
    match answer {
        Answer::Refuse(status, message) => {
            let body = json!({ "error": { "message": message } }).to_string();
            let head = format!(
                "HTTP/1.1 {status} No\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            stream.write_all((head + &body).as_bytes()).unwrap();
        }
        Answer::Text(pieces) => finish(stream, pieces.iter().map(|piece| json!({ "content": piece })), "stop"),
        Answer::Tool(name, arguments) => {
            let function = json!({ "name": name, "arguments": arguments.to_string() });
            let call =
                json!({ "tool_calls": [{ "index": 0, "id": "call_1", "type": "function", "function": function }] });
            finish(stream, [call], "tool_calls");
        }
        Answer::Hang(pieces) => {
            begin(stream);
            pieces.iter().for_each(|piece| chunk(stream, &json!({ "content": piece }), &Value::Null));
            let _ = stream.read_to_end(&mut Vec::new());
            let _ = leave.send(());
        }
    }
}

fn begin(stream: &mut TcpStream) {
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n").unwrap();
}

fn chunk(stream: &mut TcpStream, delta: &Value, finish: &Value) {
    let chunk = json!({ "id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }] });
    stream.write_all(format!("data: {chunk}\n\n").as_bytes()).unwrap();
}

fn finish(stream: &mut TcpStream, deltas: impl IntoIterator<Item = Value>, reason: &str) {
    begin(stream);
    deltas.into_iter().for_each(|delta| chunk(stream, &delta, &Value::Null));
    chunk(stream, &json!({}), &json!(reason));
    stream.write_all(b"data: [DONE]\n\n").unwrap();
}
