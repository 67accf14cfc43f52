use model::{OpError, Scope};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Call, Operation, Reply};

/// List what can be typed with a leading `/`, by key.
#[derive(JsonSchema)]
pub struct CommandsList;

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Params {}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Output {
    pub commands: Vec<CommandView>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct CommandView {
    pub key: &'static str,
    /// The same as `key`.
    pub name: &'static str,
    pub description: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<&'static str>,
    /// `action`, `prompt` or `namespace`.
    pub command_type: &'static str,
    pub has_children: bool,
    /// `builtin`, `skill`, `plugin`, `mcp` or `custom`.
    pub source_type: &'static str,
}

impl Operation for CommandsList {
    const NAME: &'static str = "commands.list";
    const SCOPE: Option<Scope> = Some(Scope::Read);
    type Params = Params;
    type Output = Output;

    async fn run(call: &Call, _: Params) -> Result<Reply<Output>, OpError> {
        let views = call.services.commands.list().iter().map(|command| CommandView {
            key: command.key,
            name: command.key,
            description: command.description,
            hint: command.hint,
            command_type: "action",
            has_children: false,
            source_type: "builtin",
        });
        Ok(Output { commands: views.collect() }.into())
    }
}
