//! What the dialect serves.

use dialect::MethodTable;
use model::{ErrorKind, OpError, Scope};
use ops::{Call, Class, Reply};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::methods::{
    agent, agent_wait, agents, channels, chat_abort, chat_history, chat_send, commands, config, devices, follow,
    gateway, models, sessions_change, sessions_list, sessions_preview, startup,
};
use crate::scopes::{Need, need};

pub fn table() -> MethodTable {
    let mut table = Binder(MethodTable::default());
    conversation(&mut table);
    sessions(&mut table);
    surroundings(&mut table);
    pairing(&mut table);
    // The order of these decides which events follow.
    table.0.in_order(&[
        "sessions.subscribe",
        "sessions.unsubscribe",
        "sessions.messages.subscribe",
        "sessions.messages.unsubscribe",
    ]);
    table.0
}

fn conversation(table: &mut Binder) {
    table.bind::<chat_send::ChatSend, _, _, _, _>("chat.send", Class::Write, chat_send::ERRORS, chat_send::run);
    table.bind::<chat_history::ChatHistory, _, _, _, _>("chat.history", Class::Default, NAMED_AGENT, chat_history::run);
    table.bind::<chat_abort::ChatAbort, _, _, _, _>("chat.abort", Class::Write, chat_abort::ERRORS, chat_abort::run);
    table.bind::<startup::ChatStartup, _, _, _, _>("chat.startup", Class::Default, NAMED_AGENT, startup::startup);
    table.bind::<startup::ChatMetadata, _, _, _, _>(
        "chat.metadata",
        Class::Default,
        startup::METADATA_ERRORS,
        startup::metadata,
    );
    table.bind::<agent::Agent, _, _, _, _>("agent", Class::Write, agent::ERRORS, agent::run);
    table.bind::<agent_wait::AgentWait, _, _, _, _>("agent.wait", Class::Default, NONE, agent_wait::run);
    table.bind::<commands::CommandsList, _, _, _, _>("commands.list", Class::Default, NONE, commands::list);
    table.bind::<commands::CommandsCompact, _, _, _, _>(
        "commands.compact",
        Class::Heavy,
        commands::COMPACT_ERRORS,
        commands::compact,
    );
}

fn sessions(table: &mut Binder) {
    table.bind::<sessions_list::SessionsList, _, _, _, _>(
        "sessions.list",
        Class::Default,
        sessions_list::LIST_ERRORS,
        sessions_list::list,
    );
    table.bind::<sessions_list::SessionsDescribe, _, _, _, _>(
        "sessions.describe",
        Class::Default,
        NONE,
        sessions_list::describe,
    );
    table.bind::<sessions_list::SessionsResolve, _, _, _, _>(
        "sessions.resolve",
        Class::Default,
        sessions_list::RESOLVE_ERRORS,
        sessions_list::resolve,
    );
    table.bind::<sessions_preview::SessionsPreview, _, _, _, _>(
        "sessions.preview",
        Class::Default,
        NONE,
        sessions_preview::run,
    );
    table.bind::<sessions_change::SessionsReset, _, _, _, _>(
        "sessions.reset",
        Class::Write,
        sessions_change::RESET_ERRORS,
        sessions_change::reset,
    );
    table.bind::<sessions_change::SessionsCompact, _, _, _, _>(
        "sessions.compact",
        Class::Heavy,
        sessions_change::COMPACT_ERRORS,
        sessions_change::compact,
    );
    table.bind::<follow::SessionsSubscribe, _, _, _, _>("sessions.subscribe", Class::Default, NONE, follow::sessions);
    table.bind::<follow::SessionsUnsubscribe, _, _, _, _>(
        "sessions.unsubscribe",
        Class::Default,
        NONE,
        follow::no_sessions,
    );
    table.bind::<follow::SessionsMessagesSubscribe, _, _, _, _>(
        "sessions.messages.subscribe",
        Class::Default,
        follow::ERRORS,
        follow::transcript,
    );
    table.bind::<follow::SessionsMessagesUnsubscribe, _, _, _, _>(
        "sessions.messages.unsubscribe",
        Class::Default,
        NONE,
        follow::no_transcript,
    );
}

fn surroundings(table: &mut Binder) {
    table.bind::<agents::AgentsList, _, _, _, _>("agents.list", Class::Default, NONE, agents::list);
    table.bind::<agents::AgentIdentityGet, _, _, _, _>(
        "agent.identity.get",
        Class::Default,
        NAMED_AGENT,
        agents::identity,
    );
    table.bind::<models::ModelsList, _, _, _, _>("models.list", Class::Default, models::ERRORS, models::list);
    table.bind::<config::ConfigGet, _, _, _, _>("config.get", Class::Default, NONE, config::get);
    table.bind::<channels::ChannelsStatus, _, _, _, _>("channels.status", Class::Default, NONE, channels::status);
    table.bind::<gateway::Health, _, _, _, _>("health", Class::Default, gateway::HEALTH_ERRORS, gateway::health);
    table.bind::<gateway::Status, _, _, _, _>("status", Class::Default, NONE, gateway::status);
    table.bind::<gateway::SystemPresence, _, _, _, _>("system-presence", Class::Default, NONE, gateway::presence);
}

fn pairing(table: &mut Binder) {
    table.bind::<devices::DevicePairList, _, _, _, _>("device.pair.list", Class::Default, NONE, devices::list);
    table.bind::<devices::DevicePairApprove, _, _, _, _>(
        "device.pair.approve",
        Class::Write,
        devices::APPROVE_ERRORS,
        devices::approve,
    );
    table.bind::<devices::DevicePairReject, _, _, _, _>(
        "device.pair.reject",
        Class::Write,
        devices::REJECT_ERRORS,
        devices::reject,
    );
    table.bind::<devices::DeviceTokenRotate, _, _, _, _>(
        "device.token.rotate",
        Class::Write,
        devices::TOKEN_ERRORS,
        devices::rotate,
    );
    table.bind::<devices::DeviceTokenRevoke, _, _, _, _>(
        "device.token.revoke",
        Class::Write,
        devices::TOKEN_ERRORS,
        devices::revoke,
    );
}

const NONE: &[ErrorKind] = &[];
const NAMED_AGENT: &[ErrorKind] = &[ErrorKind::NotFound(model::Noun::Agent)];

/// Binds methods with the scope that [`need`] names for them.
struct Binder(MethodTable);

impl Binder {
    fn bind<M, P, R, F, Fut>(&mut self, name: &'static str, class: Class, errors: &'static [ErrorKind], handler: F)
    where
        M: JsonSchema,
        P: DeserializeOwned + JsonSchema + Send + 'static,
        R: Serialize + JsonSchema + 'static,
        F: Fn(Call, P) -> Fut + Send + Sync + Clone + 'static,
        Fut: Future<Output = Result<Reply<R>, OpError>> + Send,
    {
        self.0.handle::<M, P, R, F, Fut>(name, scope_of(name), class, errors, handler);
    }
}

/// In our own words; `None` for what everybody who is connected may call.
fn scope_of(name: &str) -> Option<Scope> {
    match need(name) {
        Need::Scope(scope) => Some(scope),
        Need::Anybody | Need::Node => None,
    }
}
