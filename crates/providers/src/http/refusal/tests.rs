use serde_json::json;

use super::*;

fn refused(status: u16, body: &str) -> (ProviderErrorKind, String) {
    let error = from_response("p", StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.as_bytes());
    assert_eq!(error.status, Some(status));
    (error.kind, error.message)
}

#[test]
fn each_vendor_shape_gives_its_message_and_kind() {
    use ProviderErrorKind::*;
    let cases = [
        (
            401,
            r#"{"error":{"message":"Incorrect key","type":"invalid_request_error","code":"invalid_api_key"}}"#,
            Auth,
            "Incorrect key",
        ),
        (400, r#"{"error":{"message":"too big","code":"context_length_exceeded"}}"#, ContextTooLong, "too big"),
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 > 8"}}"#,
            ContextTooLong,
            "prompt is too long: 9 > 8",
        ),
        (
            529,
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
            Overloaded,
            "Overloaded",
        ),
        (
            400,
            r#"[{"error":{"code":400,"message":"API key not valid","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}]"#,
            Auth,
            "API key not valid",
        ),
        (429, r#"{"error":{"code":429,"message":"quota","status":"RESOURCE_EXHAUSTED"}}"#, RateLimited, "quota"),
        (404, r#"{"error":"model 'x' not found"}"#, ModelNotFound, "model 'x' not found"),
        (400, r#"{"error":{"message":"no such model","code":"model_not_found"}}"#, ModelNotFound, "no such model"),
        (422, r#"{"detail":[{"loc":["body"],"msg":"field required","type":"missing"}]}"#, BadRequest, "field required"),
        (402, r#"{"error":{"message":"Insufficient Balance"}}"#, Auth, "Insufficient Balance"),
        (408, "", Timeout, "HTTP 408 Request Timeout"),
        (502, "<html><body>Bad gateway</body></html>", Overloaded, "HTTP 502 Bad Gateway"),
        (503, "upstream connect error\nmore", Overloaded, "upstream connect error"),
    ];
    for (status, body, kind, message) in cases {
        assert_eq!(refused(status, body), (kind, message.to_owned()), "{body}");
    }
}

#[test]
fn a_redirect_says_where_to() {
    let headers = HeaderMap::from_iter([(LOCATION, "https://b.example/v1".parse().unwrap())]);
    let error = from_response("p", StatusCode::MOVED_PERMANENTLY, &headers, b"");
    assert_eq!(error.message, "HTTP 301 Moved Permanently points to `https://b.example/v1`; set `base_url` to it");
    assert!(!error.is_transient());
}

#[test]
fn a_long_body_is_cut_between_characters() {
    let body = "é".repeat(5000);
    let error = from_response("p", StatusCode::BAD_REQUEST, &HeaderMap::new(), body.as_bytes());
    assert_eq!(error.body.map(|body| body.len()), Some(BODY_BYTES_MAX));
    assert_eq!(error.message.len(), MESSAGE_BYTES_MAX);
}

#[test]
fn an_error_inside_a_stream_is_transient_unless_it_says_otherwise() {
    use ProviderErrorKind::*;
    let kinds = [
        (json!({"error": {"message": "Provider disconnected", "code": 502}}), Overloaded, Some(502)),
        (json!({"error": {"message": "slow down", "code": 429}}), RateLimited, Some(429)),
        (json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}), Overloaded, None),
        (json!({"error": {"type": "invalid_request_error", "message": "no"}}), BadRequest, None),
        (json!({"error": "boom"}), Overloaded, None),
        (json!({"type": "error"}), Overloaded, None),
    ];
    for (event, kind, status) in kinds {
        let fault = in_stream(&event);
        assert_eq!((fault.kind, fault.status), (kind, status), "{event}");
    }
}
