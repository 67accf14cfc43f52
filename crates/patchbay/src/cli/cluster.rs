//! `patchbay cluster`

use clap::Subcommand;
use serde_json::{Value, json};

use super::common::{Common, TargetArgs};
use super::failure::Failure;
use super::output;

/// Show the nodes that share one database.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  patchbay cluster status\n  patchbay cluster status --url ws://127.0.0.1:18791 --json"
)]
pub struct Cluster {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Who is there, where they listen, and what each of them drives
    Status,
}

impl Cluster {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let mut client = common.target(&self.target)?.connect().await?;
        let Action::Status = self.action;
        let answer: Value = client.ask("cluster.status", &json!({})).await?;
        client.close().await;
        if common.json {
            return output::json(&answer);
        }
        tell(&answer)
    }
}

fn tell(answer: &Value) -> Result<(), Failure> {
    let word = |value: &Value| value.as_str().map(output::printable).unwrap_or_default();
    let rows = answer["nodes"].as_array().into_iter().flatten().map(|node| {
        let name = word(&node["name"]);
        let state = match (&node["draining"], node["silent_ms"].as_u64()) {
            (Value::Bool(true), _) => String::from("leaving"),
            (_, Some(silent)) => format!("seen {silent} ms ago"),
            (_, None) => String::from("alone"),
        };
        vec![
            if node["me"] == json!(true) { format!("{name} *") } else { name },
            node["fence"].to_string(),
            state,
            node["runs"].to_string(),
            word(&node["addresses"]["aleph"]),
            word(&node["host"]),
            node["pid"].to_string(),
            word(&node["version"]),
            output::time(node["joined_at"].as_i64()),
        ]
    });
    output::table(&["NODE", "LIFE", "STATE", "RUNS", "ALEPH", "HOST", "PID", "VERSION", "SINCE"], rows)?;
    output::note(format_args!("cluster {}, database {}", word(&answer["cluster_id"]), word(&answer["store"])));
    if let Some(bus) = answer["bus"].as_str() {
        let state = if answer["bus_up"] == json!(true) { "up" } else { "down: nodes meet in the database" };
        output::note(format_args!("bus {}: {state}", output::printable(bus)));
    }
    if answer["shared"] == json!(false) {
        output::note("a gateway on SQLite is alone; `store.url = \"postgres://…\"` lets others join");
    }
    match answer["orphans"].as_u64() {
        None | Some(0) => {}
        Some(orphans) => output::note(format_args!(
            "{orphans} runs wait to be taken over; a node that is gone counts as dead after {} ms",
            answer["lease_ms"]
        )),
    }
    Ok(())
}
