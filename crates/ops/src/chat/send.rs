use model::{ErrorKind, Noun, OpError, RunId, Scope, SessionKey, Thinking};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::agent::run::{self, AgentRun, default_true};
use crate::text::Attachment;
use crate::{Call, Class, Operation, Reply};

/// Send a chat message. The same as `agent.run`, in the words of a chat view.
#[derive(JsonSchema)]
pub struct ChatSend;

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Params {
    /// 1 to 262 144 characters.
    pub message: String,
    #[serde(default)]
    pub session_key: Option<String>,
    #[serde(default)]
    pub thinking: Option<Thinking>,
    /// `provider/model`; its provider must be configured.
    #[serde(default)]
    pub model: Option<String>,
    #[serde(default)]
    pub attachments: Vec<Attachment>,
    #[serde(default = "default_true")]
    pub stream: bool,
    #[serde(default)]
    pub channel: Option<String>,
    #[serde(default)]
    pub idempotency_key: Option<RunId>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Output {
    pub run_id: RunId,
    /// `running` or `pending`.
    pub status: &'static str,
    pub session_key: SessionKey,
    /// Whether deltas of the answer follow as events.
    pub streaming: bool,
}

impl Operation for ChatSend {
    const NAME: &'static str = "chat.send";
    const SCOPE: Option<Scope> = Some(Scope::Write);
    const CLASS: Class = Class::Heavy;
    const ERRORS: &'static [ErrorKind] = &[
        ErrorKind::NotFound(Noun::Agent),
        ErrorKind::NotFound(Noun::Model),
        ErrorKind::Busy,
        ErrorKind::Denied,
        ErrorKind::Unavailable,
    ];
    type Params = Params;
    type Output = Output;

    async fn run(call: &Call, params: Params) -> Result<Reply<Output>, OpError> {
        let streaming = params.stream;
        let params = run::Params {
            message: params.message,
            session_key: params.session_key,
            thinking: params.thinking,
            model: params.model,
            attachments: params.attachments,
            stream: params.stream,
            channel: params.channel,
            peer_id: None,
            idempotency_key: params.idempotency_key,
        };
        let reply = AgentRun::run(call, params).await?;
        Ok(reply.map(|output| Output {
            run_id: output.run_id,
            status: output.status,
            session_key: output.session_key,
            streaming,
        }))
    }
}
