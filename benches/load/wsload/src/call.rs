//! Single calls over the Aleph protocol, for modes that look at what is answered and told.

use std::io;
use std::time::Duration;

use benchkit::clock::now_ns;
use benchkit::ws::WsConn;
use serde_json::{Value, json};

const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// Sends a call and waits for its result; events that come before it are passed over.
pub async fn ask(conn: &mut WsConn, method: &str, params: Value) -> io::Result<Value> {
    let id = now_ns();
    let call = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
    conn.send_text(call.to_string().as_bytes()).await?;
    let answered = async {
        loop {
            let mut message: Value = serde_json::from_slice(conn.recv().await?)?;
            if message["id"] == id {
                return match message.get("error") {
                    Some(error) => Err(io::Error::other(format!("{method} refused: {error}"))),
                    None => Ok(message["result"].take()),
                };
            }
        }
    };
    match tokio::time::timeout(ANSWER_LIMIT, answered).await {
        Ok(answer) => answer,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer to {method}"))),
    }
}
