//! `patchbay explain`

use serde_json::{Value, json};

use super::common::{Common, TargetArgs};
use super::failure::Failure;
use super::output;

/// Tell the whole life of a message: why did I get nothing, or twice?
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    patchbay explain run_01k2…\n  \
    patchbay explain msg_01k2…\n  \
    patchbay explain chatcmpl-…           # an answer of the OpenAI API\n  \
    patchbay explain my-idempotency-key --json")]
pub struct Explain {
    /// A run or a message, by any id that a client has seen of it
    #[arg(value_name = "RUN|MESSAGE")]
    id: String,
    #[command(flatten)]
    target: TargetArgs,
}

impl Explain {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let mut client = common.target(&self.target)?.connect().await?;
        let answer: Value = client.ask("agent.explain", &json!({ "id": self.id })).await?;
        client.close().await;
        if common.json {
            return output::json(&answer);
        }
        tell(&answer)
    }
}

fn tell(answer: &Value) -> Result<(), Failure> {
    let word = |value: &Value| value.as_str().map(output::printable).unwrap_or_default();
    let ids = &answer["ids"];
    output::line(format_args!(
        "{} is {}: {} of agent {}, through {} by {}",
        word(&ids["run_id"]),
        word(&answer["status"]),
        word(&answer["session_key"]),
        word(&answer["agent_id"]),
        word(&answer["origin"]),
        word(&answer["started_by"]),
    ))?;
    if let Some(node) = answer["node"].as_str() {
        output::line(format_args!("node {}", output::printable(node)))?;
    }
    for finding in answer["findings"].as_array().into_iter().flatten() {
        output::line(format_args!("* {}", word(finding)))?;
    }
    output::line("")?;
    let timeline = answer["timeline"].as_array().cloned().unwrap_or_default();
    let first = timeline.first().and_then(|entry| entry["at"].as_i64()).unwrap_or_default();
    let rows = timeline.iter().map(|entry| {
        let at = entry["at"].as_i64();
        let since = at.map_or_else(String::new, |at| format!("+{} ms", at - first));
        let cursor = entry["cursor"].as_u64().map_or_else(|| String::from("-"), |cursor| cursor.to_string());
        vec![output::time(at), since, cursor, word(&entry["what"]), word(&entry["text"])]
    });
    output::table(&["AT", "", "EVENT", "WHAT", ""], rows)?;
    output::line("")?;
    let known = [
        ("Aleph, ArgentOS", &ids["run_id"]),
        ("message", &ids["message_id"]),
        ("Comis, answer", &ids["comis_run_uuid"]),
        ("Comis, message", &ids["comis_message_uuid"]),
        ("OpenAI API", &ids["openai_id"]),
    ];
    let rows = known.iter().filter(|(_, id)| !word(id).is_empty()).map(|(name, id)| vec![(*name).to_owned(), word(id)]);
    output::table(&["KNOWN AS", "ID"], rows)
}
