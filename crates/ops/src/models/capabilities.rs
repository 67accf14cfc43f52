use model::{ErrorKind, Noun, OpError, Scope};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Call, Operation, Reply};

/// Tell what a model can do, as flags and as words.
#[derive(JsonSchema)]
pub struct ModelsCapabilities;

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Params {
    /// `provider/id`, or an id that only one provider lists.
    pub model_id: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Output {
    pub model_id: String,
    pub chat: bool,
    pub vision: bool,
    pub tools: bool,
    pub thinking: bool,
    pub streaming: bool,
    pub embeddings: bool,
    /// The flags that are set, as words.
    pub capabilities: Vec<&'static str>,
}

impl Operation for ModelsCapabilities {
    const NAME: &'static str = "models.capabilities";
    const SCOPE: Option<Scope> = Some(Scope::Read);
    const ERRORS: &'static [ErrorKind] = &[ErrorKind::NotFound(Noun::Model)];
    type Params = Params;
    type Output = Output;

    async fn run(call: &Call, params: Params) -> Result<Reply<Output>, OpError> {
        let entry = call.services.models.get(&params.model_id).await?;
        let can = entry.info.capabilities;
        Ok(Output {
            model_id: params.model_id,
            chat: can.chat,
            vision: can.vision,
            tools: can.tools,
            thinking: can.thinking,
            streaming: can.streaming,
            embeddings: can.embeddings,
            capabilities: can.words(),
        }
        .into())
    }
}
