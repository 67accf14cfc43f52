//! `patchbay token`

use clap::Subcommand;
use model::Scope;
use serde::Deserialize;
use serde_json::{Value, json};

use super::common::{Common, TargetArgs};
use super::failure::Failure;
use super::output;

/// Create, list and revoke credentials.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    patchbay token create ci --scope read,write --expires-days 90\n  \
    TOKEN=$(patchbay token create phone --scope read)\n  \
    patchbay token list\n  \
    patchbay token revoke tok_01j…")]
pub struct Token {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a token; its secret goes to stdout, once and never again
    #[command(after_help = "Example:\n  patchbay token create ci --scope read,write --expires-days 90")]
    Create {
        /// For people, 1 to 64 characters
        name: String,
        /// What it may do: read, write, admin, approvals, pairing; or mcp alone
        #[arg(long = "scope", value_name = "SCOPE", required = true, value_delimiter = ',', value_parser = scope)]
        scopes: Vec<Scope>,
        /// Days until it expires [default: never]
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
        expires_days: Option<u32>,
    },
    /// Show the tokens that were made, newest first
    List,
    /// Revoke a token and those made with it; connections that use it are closed
    Revoke {
        /// Its id, as `token list` shows it
        id: String,
    },
}

fn scope(text: &str) -> Result<Scope, String> {
    let known = || Scope::ALL.map(Scope::as_str).join(", ");
    Scope::parse(text).ok_or_else(|| format!("`{text}` is none of {}", known()))
}

#[derive(Deserialize)]
struct Listed {
    id: String,
    name: String,
    role: String,
    scopes: Vec<String>,
    created_at: i64,
    expires_at: Option<i64>,
    revoked_at: Option<i64>,
}

impl Token {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let mut client = common.target(&self.target)?.connect().await?;
        match self.action {
            Action::Create { name, scopes, expires_days } => {
                let mut params = json!({ "name": name, "scopes": scopes });
                if let Some(days) = expires_days {
                    params["expires_days"] = json!(days);
                }
                created(common, &client.ask("token.create", &params).await?)?;
            }
            Action::List => list(common, client.ask("token.list", &json!({})).await?)?,
            Action::Revoke { id } => {
                let answer: Value = client.ask("token.revoke", &json!({ "id": id })).await?;
                if common.json {
                    output::json(&answer)?;
                } else if answer["revoked"] == json!(true) {
                    output::note(format_args!("`{id}` is revoked"));
                } else {
                    output::note(format_args!("`{id}` was revoked before"));
                }
            }
        }
        client.close().await;
        Ok(())
    }
}

fn created(common: &Common, token: &Value) -> Result<(), Failure> {
    if common.json {
        return output::json(token);
    }
    let expiry = token["expires_at"]
        .as_i64()
        .map_or_else(|| String::from("never expires"), |at| format!("expires {}", output::time(Some(at))));
    let scopes: Vec<&str> = token["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    output::note(format_args!(
        "{} ({}) may {} and {expiry}. This is its secret; it is not shown again:",
        token["name"].as_str().unwrap_or_default(),
        token["id"].as_str().unwrap_or_default(),
        scopes.join(", "),
    ));
    output::line(token["token"].as_str().unwrap_or_default())
}

fn list(common: &Common, answer: Value) -> Result<(), Failure> {
    if common.json {
        return output::json(&answer["tokens"]);
    }
    let tokens: Vec<Listed> = serde_json::from_value(answer["tokens"].clone())?;
    if tokens.is_empty() {
        output::note("no token was made yet; `patchbay token create NAME --scope read` makes one");
        return Ok(());
    }
    let rows = tokens.into_iter().map(|token| {
        let state =
            token.revoked_at.map_or_else(|| String::from("valid"), |at| format!("revoked {}", output::time(Some(at))));
        let expires = token.expires_at.map_or_else(|| String::from("never"), |at| output::time(Some(at)));
        vec![
            token.id,
            token.name,
            token.role,
            token.scopes.join(","),
            output::time(Some(token.created_at)),
            expires,
            state,
        ]
    });
    output::table(&["ID", "NAME", "ROLE", "SCOPES", "CREATED", "EXPIRES", "STATE"], rows)
}
