//! A text frame of a WebSocket, read as each dialect would.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

fuzz_target!(|text: &str| {
    let is_deep = dialect::depth::is_too_deep(text);
    let is_json = serde_json::from_str::<&RawValue>(text).is_ok();
    assert!(!is_deep || text.len() > 2 * dialect::depth::JSON_DEPTH_MAX, "little text is not deep");
    // The connection never reads deeper text further.
    if is_deep {
        return;
    }
    if is_json {
        match dialect_aleph::framing::request(text) {
            Ok(request) => {
                for raw in request.id.into_iter().chain(request.params.map(RawValue::get)) {
                    serde_json::from_str::<serde_json::Value>(raw).expect("what is echoed or passed on is JSON");
                }
            }
            Err(malformed) => {
                serde_json::from_str::<serde_json::Value>(malformed.id).expect("the id of an answer is JSON");
            }
        }
    }
    let _ = dialect_argent::framing::read(text);
    if let Ok(element) = serde_json::from_str::<&RawValue>(text) {
        let _ = dialect_argent::framing::read_element(element);
    }
});
