//! A model and a tool that take their time, fail, and use tools, as the dice say.

use async_trait::async_trait;
use futures_util::StreamExt;
use model::Usage;
use providers::{
    Capabilities, ChatRequest, ChatStream, Chunk, FinishReason, ModelInfo, ModelSource, Provider, ProviderError,
    ProviderErrorKind,
};
use serde_json::{Value, json};
use tools::{Tool, ToolContext, ToolError, ToolOutput};

use crate::dice::Dice;

pub struct Model(pub Dice);

enum Step {
    Wait(u64),
    Say(Chunk),
    Fail,
}

impl Model {
    fn answer(&self, request: &ChatRequest) -> Vec<Step> {
        let dice = &self.0;
        let mut steps = vec![Step::Wait(dice.roll(40))];
        // A conversation of tools comes to its end in time.
        let tool_turns = request.messages.iter().rev().take_while(|message| message.role != model::Role::User).count();
        if dice.chance(25) && tool_turns < 5 && !request.tools.is_empty() {
            let id = format!("call_{}", dice.roll(1_000_000));
            let name = if dice.chance(30) { "ask_user" } else { "work" };
            let arguments = if name == "work" { json!({}) } else { json!({ "prompt": "which?" }) };
            steps.push(Step::Say(Chunk::ToolCall { index: 0, id, name: name.to_owned() }));
            steps.push(Step::Say(Chunk::ToolArguments { index: 0, text: arguments.to_string() }));
            steps.push(Step::Say(Chunk::Finish(FinishReason::ToolCalls)));
            return steps;
        }
        for word in 0..1 + dice.roll(4) {
            steps.push(Step::Say(Chunk::Text(format!("word{word} "))));
            steps.push(Step::Wait(dice.roll(60)));
        }
        if dice.chance(4) {
            steps.push(Step::Fail);
            return steps;
        }
        if dice.chance(5) {
            steps.push(Step::Wait(4000));
        }
        steps.push(Step::Say(Chunk::Usage(Usage { input: 5, output: 3, ..Usage::default() })));
        steps.push(Step::Say(Chunk::Finish(FinishReason::Stop)));
        steps
    }
}

#[async_trait]
impl Provider for Model {
    fn name(&self) -> &str {
        "sim"
    }

    fn kind(&self) -> &'static str {
        "scripted"
    }

    async fn chat(&self, request: ChatRequest) -> Result<ChatStream, ProviderError> {
        tokio::time::sleep(self.0.ms(0, 20)).await;
        let steps = futures_util::stream::iter(self.answer(&request));
        Ok(steps
            .filter_map(|step| async move {
                match step {
                    Step::Wait(ms) => {
                        tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
                        None
                    }
                    Step::Say(chunk) => Some(Ok(chunk)),
                    Step::Fail => Some(Err(ProviderError::new("sim", ProviderErrorKind::BadRequest, "on purpose"))),
                }
            })
            .boxed())
    }

    async fn models(&self) -> Result<Vec<ModelInfo>, ProviderError> {
        Ok(vec![self.describe("model")])
    }

    fn describe(&self, model: &str) -> ModelInfo {
        ModelInfo {
            id: model.to_owned(),
            name: model.to_owned(),
            capabilities: Capabilities { tools: true, ..Capabilities::default() },
            context_window: None,
            max_output_tokens: None,
            source: ModelSource::Config,
            notice: None,
        }
    }
}

/// The tool `work`, which may be run twice or not.
pub struct Work {
    pub dice: Dice,
    pub is_repeatable: bool,
}

#[async_trait]
impl Tool for Work {
    fn name(&self) -> &'static str {
        "work"
    }

    fn description(&self) -> &'static str {
        "Takes a while."
    }

    fn parameters(&self) -> Value {
        json!({ "type": "object", "properties": {} })
    }

    fn is_repeatable(&self) -> bool {
        self.is_repeatable
    }

    async fn call(&self, context: &ToolContext, _: Value) -> Result<ToolOutput, ToolError> {
        tokio::select! {
            biased;
            () = context.cancel.cancelled() => Err(ToolError::Cancelled),
            () = tokio::time::sleep(self.dice.ms(0, 300)) => Ok(ToolOutput { text: String::from("done") }),
        }
    }
}
