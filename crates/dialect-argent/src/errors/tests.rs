use super::*;

fn message(method: &str, error: OpError) -> String {
    WireError::of(method, &error).message
}

#[test]
fn parameter_errors_speak_like_a_schema_validator() {
    assert_eq!(
        message("chat.send", OpError::invalid("message", "is required")),
        "invalid chat.send params: must have required property 'message'"
    );
    assert_eq!(
        message("connect", OpError::invalid("client.id", "is required")),
        "invalid connect params: at /client: must have required property 'id'"
    );
    assert_eq!(message("x", OpError::invalid("limit", "must be >= 1")), "invalid x params: at /limit: must be >= 1");
    assert_eq!(
        message("x", OpError::invalid("facts[0].since", "must be an integer")),
        "invalid x params: at /facts/0/since: must be integer"
    );
    assert_eq!(
        message("x", OpError::invalid("mode", "must be one of `a`, `b`")),
        "invalid x params: at /mode: must be equal to one of the allowed values"
    );
    assert_eq!(message("agent", OpError::not_found(Noun::Agent, "x")), "invalid agent params: unknown agent id \"x\"");
}

#[test]
fn every_kind_has_a_word_and_a_number() {
    let table = [
        (ErrorKind::InvalidParams, "INVALID_REQUEST", INVALID_PARAMS),
        (ErrorKind::NotFound(Noun::Session), "INVALID_REQUEST", SESSION_NOT_FOUND),
        (ErrorKind::NotFound(Noun::Run), "INVALID_REQUEST", INVALID_REQUEST),
        (ErrorKind::Unauthenticated, "INVALID_REQUEST", AUTH_FAILED),
        (ErrorKind::Denied, "INVALID_REQUEST", AUTH_FAILED),
        (ErrorKind::Conflict, "INVALID_REQUEST", INVALID_REQUEST),
        (ErrorKind::RateLimited, "UNAVAILABLE", INTERNAL),
        (ErrorKind::Busy, "UNAVAILABLE", AGENT_BUSY),
        (ErrorKind::Timeout, "AGENT_TIMEOUT", INTERNAL),
        (ErrorKind::ToolFailed, "UNAVAILABLE", INTERNAL),
        (ErrorKind::ProviderFailed, "UNAVAILABLE", INTERNAL),
        (ErrorKind::ProviderRefused, "UNAVAILABLE", INTERNAL),
        (ErrorKind::Unavailable, "UNAVAILABLE", INTERNAL),
        (ErrorKind::Internal, "UNAVAILABLE", INTERNAL),
    ];
    for (kind, code, number) in table {
        let wire = WireError::of("x", &OpError::new(kind, "m"));
        assert_eq!((wire.code, wire.rpc_code), (code, number), "{kind:?}");
    }
}

#[test]
fn a_busy_session_says_when_to_come_back() {
    let wire = WireError::of("agent", &OpError::busy("session `s` is busy", 250));
    assert_eq!(
        wire.native(),
        json!({
            "code": "UNAVAILABLE", "message": "agent is busy: session `s` is busy",
            "details": { "code": "AGENT_BUSY", "rpcCode": -32000 }, "retryable": true, "retryAfterMs": 1000,
        })
    );
    assert_eq!(
        wire.numeric(),
        json!({
            "code": -32000, "message": "agent is busy: session `s` is busy",
            "data": { "code": "AGENT_BUSY", "rpcCode": -32000, "retryable": true, "retryAfterMs": 1000 },
        })
    );
}

#[test]
fn details_carry_outcomes_and_missing_scopes() {
    let error = OpError::new(ErrorKind::ProviderFailed, "no")
        .with_details(json!({ "payload": { "runId": "r" }, "retryable": false }));
    let wire = WireError::of("agent", &error);
    assert_eq!((wire.payload, wire.retryable), (Some(json!({ "runId": "r" })), false));
    let error = OpError::denied("no").with_details(json!({ "missing_scope": "admin" }));
    let wire = WireError::of("device.pair.approve", &error);
    assert_eq!(wire.message, "missing scope: operator.admin");
    assert_eq!(
        wire.native()["details"],
        json!({ "code": "MISSING_SCOPE", "missingScope": "operator.admin", "requiredScopes": ["operator.admin"], "rpcCode": -32002 })
    );
}

#[test]
fn what_went_wrong_inside_is_not_told() {
    let wire = WireError::of("health", &OpError::internal("the disk is on fire"));
    assert_eq!((wire.message.as_str(), wire.detail), ("internal error", Some("INTERNAL")));
}
