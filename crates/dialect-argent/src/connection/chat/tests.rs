use model::{AgentId, SessionKey};

use super::*;

fn run() -> RunRef {
    let agent_id = AgentId::main();
    RunRef { run_id: RunId::trusted("r1"), session_key: SessionKey::main(&agent_id), agent_id, quiet: false }
}

/// Text and delta of a frame, with a mark when it replaces.
fn told(frame: Option<Frame>) -> Option<(String, String, bool)> {
    let frame = frame?;
    let text = format!("{{{}}}}}", String::from_utf8(frame.body).unwrap());
    let json: Value = serde_json::from_str(&text).unwrap();
    let payload = &json["payload"];
    let all = payload["message"]["content"][0]["text"].as_str().unwrap().to_owned();
    Some((all, payload["deltaText"].as_str().unwrap().to_owned(), payload["replace"] == true))
}

fn said(all: &str, delta: &str, replaces: bool) -> Option<(String, String, bool)> {
    Some((all.to_owned(), delta.to_owned(), replaces))
}

struct Script {
    views: ChatViews,
    so_far: TextSoFar,
    now: Instant,
    is_first: bool,
}

impl Script {
    fn new() -> Self {
        Self { views: ChatViews::default(), so_far: TextSoFar::new(), now: Instant::now(), is_first: true }
    }

    fn text(&mut self, after_ms: u64, text: &str) -> Option<(String, String, bool)> {
        self.now += Duration::from_millis(after_ms);
        self.so_far = self.so_far.push(text);
        let is_first = std::mem::take(&mut self.is_first);
        told(self.views.delta(&run(), 1, &self.so_far, is_first, Timestamp::from_ms(5), self.now))
    }

    fn flush(&mut self) -> Option<(String, String, bool)> {
        told(self.views.flush(&run(), self.now))
    }
}

#[test]
fn the_first_delta_goes_out_at_once_and_the_rest_every_150_ms() {
    let mut script = Script::new();
    assert_eq!(script.text(0, "At"), said("At", "At", false));
    assert_eq!(script.text(149, " nine"), None);
    assert_eq!(script.text(1, " from"), said("At nine from", " nine from", false));
    assert_eq!(script.text(10, " here"), None);
    assert_eq!(script.flush(), said("At nine from here", " here", false));
    assert_eq!(script.flush(), None);
}

#[test]
fn a_new_message_of_the_run_replaces_the_former_one() {
    let mut script = Script::new();
    script.text(0, "Let me look.");
    script.so_far = script.so_far.next_message();
    assert_eq!(script.text(200, "It is"), said("It is", "It is", true));
    assert_eq!(script.text(200, " nine"), said("It is nine", " nine", false));
}

#[test]
fn who_joins_in_the_middle_gets_the_whole_text() {
    let mut script = Script::new();
    script.is_first = false;
    script.so_far = script.so_far.push("At ");
    assert_eq!(script.text(0, "nine"), said("At nine", "At nine", true));
}

#[test]
fn the_silent_reply_is_held_back() {
    let mut script = Script::new();
    assert_eq!(script.text(0, "NO"), None);
    assert_eq!(script.text(200, "_REPLY"), None);
    assert_eq!(script.flush(), None);
    let mut script = Script::new();
    assert_eq!(script.text(0, "NO"), None);
    assert_eq!(script.text(1, "body"), said("NObody", "NObody", false));
}

#[test]
fn a_question_is_shown_and_then_replaced() {
    let mut script = Script::new();
    script.text(0, "Hm.");
    let options = [String::from("left"), String::from("right")];
    let frame = script.views.question(&run(), "Hm.", "Which way?", &options, Timestamp::from_ms(6), script.now);
    assert_eq!(
        told(Some(frame)),
        said("Hm.\n\nWhich way?\n- left\n- right", "Hm.\n\nWhich way?\n- left\n- right", true)
    );
    assert_eq!(script.text(200, " Left"), said("Hm. Left", "Hm. Left", true));
}
