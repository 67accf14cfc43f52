//! What the dialect serves.

use dialect::MethodTable;
use model::PrincipalKind;
use ops::agent::cancel::AgentCancel;
use ops::agent::explain::AgentExplain;
use ops::agent::list::AgentList;
use ops::agent::respond_to_input::AgentRespondToInput;
use ops::agent::run::AgentRun;
use ops::agent::status::{self, AgentStatus};
use ops::chat::abort::ChatAbort;
use ops::chat::clear::ChatClear;
use ops::chat::history::ChatHistory;
use ops::chat::send::ChatSend;
use ops::cluster::status::ClusterStatus;
use ops::config::get::ConfigGet;
use ops::config::reload::ConfigReload;
use ops::config::schema::ConfigSchema;
use ops::config::validate::ConfigValidate;
use ops::events::list::EventsList;
use ops::events::subscribe::EventsSubscribe;
use ops::events::unsubscribe::EventsUnsubscribe;
use ops::models::capabilities::ModelsCapabilities;
use ops::models::get::ModelsGet;
use ops::models::list::ModelsList;
use ops::session::compact::SessionCompact;
use ops::session::delete::SessionDelete;
use ops::session::history::SessionHistory;
use ops::session::list::SessionList;
use ops::token::create::TokenCreate;
use ops::token::list::TokenList;
use ops::token::revoke::TokenRevoke;
use ops::utility::commands_list::CommandsList;
use ops::utility::echo::Echo;
use ops::utility::health::Health;
use ops::utility::version::Version;

use crate::errors;

pub fn table() -> MethodTable {
    let mut table = MethodTable::default();
    table.bind::<AgentRun>();
    table.bind::<AgentCancel>();
    table.bind_as::<AgentStatus, status::Params, RunStatus>("agent.status");
    table.bind::<AgentExplain>();
    table.bind::<AgentList>();
    table.bind::<AgentRespondToInput>();
    table.bind::<SessionList>();
    table.bind::<SessionHistory>();
    table.bind::<SessionCompact>();
    table.bind::<SessionDelete>();
    table.bind::<ChatSend>();
    table.bind::<ChatAbort>();
    table.bind::<ChatHistory>();
    table.bind::<ChatClear>();
    table.bind::<EventsSubscribe>();
    table.bind::<EventsUnsubscribe>();
    table.bind::<EventsList>();
    table.bind::<ModelsList>();
    table.bind::<ModelsGet>();
    table.bind::<ModelsCapabilities>();
    table.bind::<ConfigGet>();
    table.bind::<ConfigReload>();
    table.bind::<ConfigValidate>();
    table.bind::<ConfigSchema>();
    table.bind::<ClusterStatus>();
    table.bind::<TokenCreate>();
    table.bind::<TokenList>();
    table.bind::<TokenRevoke>();
    table.bind::<CommandsList>();
    table.bind::<Health>();
    table.bind_anything::<Echo>();
    table.bind::<Version>();
    table.in_order(&["events.subscribe", "events.unsubscribe"]);
    table.reveals_run(&["agent.run", "chat.send"]);
    table.alias("agent.abort", "agent.cancel");
    table.alias("sessions.history", "session.history");
    table.alias("sessions.list", "session.list");
    table.alias("sessions.delete", "session.delete");
    table.alias("sessions.reset", "chat.clear");
    table
}

/// What a role may call at all; scopes come on top.
pub fn may_call(kind: PrincipalKind, method: &str) -> bool {
    let everybody = matches!(method, "health" | "echo" | "version" | "commands.list") || method.starts_with("events.");
    match kind {
        PrincipalKind::Operator | PrincipalKind::Device => true,
        PrincipalKind::Node => {
            everybody
                || ["agent.", "chat.", "models."].iter().any(|namespace| method.starts_with(namespace))
                || matches!(
                    method,
                    "session.list" | "session.history" | "config.get" | "config.schema" | "config.validate"
                )
        }
        PrincipalKind::Guest => {
            everybody
                || matches!(
                    method,
                    "agent.run"
                        | "agent.cancel"
                        | "agent.status"
                        | "agent.respondToInput"
                        | "agent.list"
                        | "session.history"
                )
                || ["chat.", "models."].iter().any(|namespace| method.starts_with(namespace))
        }
    }
}

/// `agent.status` with this dialect's error codes.
#[derive(serde::Serialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct RunStatus(status::Output);

impl From<status::Output> for RunStatus {
    fn from(mut output: status::Output) -> Self {
        if let Some(error) = &mut output.error {
            let kind = model::ErrorKind::from_word(error.code.as_str().unwrap_or_default());
            error.code = errors::code(kind).into();
        }
        Self(output)
    }
}
