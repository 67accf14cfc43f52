//! The words for scopes and roles, and what each method asks of its caller.

use model::{PrincipalKind, Scope, ScopeSet};

/// Scopes of a principal in the role `device` at most.
pub const DEVICE_MAX: [Scope; 3] = [Scope::Read, Scope::Write, Scope::Approvals];

pub const fn word(scope: Scope) -> &'static str {
    match scope {
        Scope::Read => "operator.read",
        Scope::Write => "operator.write",
        Scope::Admin => "operator.admin",
        Scope::Approvals => "operator.approvals",
        Scope::Pairing => "operator.pairing",
        // No method of this dialect asks for it.
        Scope::Mcp => "operator.mcp",
    }
}

fn parse(text: &str) -> Option<Scope> {
    [Scope::Read, Scope::Write, Scope::Admin, Scope::Approvals, Scope::Pairing]
        .into_iter()
        .find(|scope| word(*scope) == text)
}

/// What the words amount to: admin is everything, write includes read, unknown words are nothing.
pub fn expand<'a>(words: impl IntoIterator<Item = &'a str>) -> ScopeSet {
    words.into_iter().filter_map(parse).fold(ScopeSet::EMPTY, |set, scope| match scope {
        Scope::Admin => ScopeSet::OPERATOR,
        Scope::Write => set.with(Scope::Read).with(Scope::Write),
        scope => set.with(scope),
    })
}

/// The shortest list of words for a set.
pub fn words(set: ScopeSet) -> Vec<String> {
    if set == ScopeSet::OPERATOR {
        return vec![word(Scope::Admin).to_owned()];
    }
    let implied = |scope: Scope| scope == Scope::Read && set.contains(Scope::Write);
    set.iter().filter(|scope| *scope != Scope::Mcp && !implied(*scope)).map(|scope| word(scope).to_owned()).collect()
}

pub const fn role_word(kind: PrincipalKind) -> &'static str {
    match kind {
        PrincipalKind::Operator => "operator",
        PrincipalKind::Node => "node",
        PrincipalKind::Device => "device",
        PrincipalKind::Guest => "guest",
    }
}

/// What a method asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Everybody who is connected.
    Anybody,
    Scope(Scope),
    /// Role node; operators are refused by role.
    Node,
}

const READ: &[&str] = &[
    "chat.history",
    "agent.identity.get",
    "config.get",
    "config.schema",
    "sessions.list",
    "sessions.preview",
    "cron.list",
    "models.list",
    "knowledge.search",
    "knowledge.library.list",
    "knowledge.collections.list",
    "execution.worker.status",
    "channels.status",
    "status",
    "system-presence",
    "tts.status",
    "agents.list",
    "agents.files.list",
    "agents.files.get",
    "sessions.subscribe",
    "sessions.messages.subscribe",
    "sessions.describe",
    "sessions.resolve",
    "sessions.search",
    "chat.startup",
    "commands.list",
    "logs.tail",
    "cron.status",
    "cron.get",
    "cron.runs",
    "last-heartbeat",
    "usage.cost",
    "usage.status",
    "diagnostics.stability",
    "question.list",
    "taskSuggestions.list",
    "node.list",
    "node.describe",
    "skills.status",
    "tts.providers",
    "sessions.unsubscribe",
    "sessions.messages.unsubscribe",
    "chat.metadata",
    "update.status",
    "voicewake.get",
];

const WRITE: &[&str] = &[
    "chat.send",
    "chat.abort",
    "agent",
    "agent.wait",
    "config.set",
    "config.patch",
    "cron.add",
    "cron.update",
    "cron.run",
    "cron.remove",
    "knowledge.ingest",
    "execution.worker.runNow",
    "execution.worker.pause",
    "execution.worker.resume",
    "send",
    "tts.convert",
    "sessions.patch",
    "commands.compact",
    "wake",
    "node.invoke",
    "talk.mode",
    "poll",
    "knowledge.vault.ingest",
    "knowledge.library.delete",
    "knowledge.library.reindex",
    "knowledge.collections.grant",
    "execution.worker.metrics.reset",
    "tts.enable",
    "tts.disable",
    "tts.setProvider",
    "voicewake.set",
];

const APPROVALS: &[&str] = &[
    "exec.approval.request",
    "exec.approval.resolve",
    "plugin.approval.list",
    "exec.approval.list",
    "exec.approval.get",
    "exec.approval.waitDecision",
];

const PAIRING: &[&str] = &[
    "node.pair.request",
    "node.pair.list",
    "node.pair.approve",
    "node.pair.reject",
    "node.pair.verify",
    "device.pair.list",
    "device.pair.approve",
    "device.pair.reject",
    "device.token.rotate",
    "device.token.revoke",
    "node.rename",
];

/// What a method asks for, served or not. What nobody has heard of asks for admin, so that others
/// cannot find out what exists.
pub fn need(method: &str) -> Need {
    let among = |list: &[&str]| list.contains(&method);
    match method {
        "health" => Need::Anybody,
        "node.invoke.result" | "node.event" => Need::Node,
        _ if among(READ) => Need::Scope(Scope::Read),
        _ if among(WRITE) => Need::Scope(Scope::Write),
        _ if among(APPROVALS) => Need::Scope(Scope::Approvals),
        _ if among(PAIRING) => Need::Scope(Scope::Pairing),
        _ => Need::Scope(Scope::Admin),
    }
}

/// Whether a role may call a method at all.
pub fn may_call(kind: PrincipalKind, method: &str, need: Need) -> bool {
    match kind {
        PrincipalKind::Node => need == Need::Node || matches!(method, "health" | "skills.bins"),
        PrincipalKind::Operator | PrincipalKind::Device => need != Need::Node,
        PrincipalKind::Guest => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_is_everything_and_write_includes_read() {
        assert_eq!(expand(["operator.admin"]), ScopeSet::OPERATOR);
        assert_eq!(words(expand(["operator.write", "operator.questions"])), ["operator.write"]);
        assert_eq!(words(expand(["operator.read", "operator.pairing"])), ["operator.read", "operator.pairing"]);
        assert_eq!(expand(["admin", "read"]), ScopeSet::EMPTY);
    }

    #[test]
    fn roles_are_checked_before_scopes() {
        assert!(!may_call(PrincipalKind::Node, "chat.send", need("chat.send")));
        assert!(may_call(PrincipalKind::Node, "health", need("health")));
        assert!(!may_call(PrincipalKind::Operator, "node.event", need("node.event")));
        assert_eq!(need("no.such.method"), Need::Scope(Scope::Admin));
    }
}
