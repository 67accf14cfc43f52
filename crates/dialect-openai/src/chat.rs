//! `POST /v1/chat/completions`.
//!
//! A request goes one of three ways: bytes through to a provider that speaks this API
//! ([`relay`](crate::relay)), a turn of an agent ([`agent`]), or a translated call of another
//! provider ([`model`]). The last two give [`pieces`] of an answer, told whole ([`answer`]) or as
//! they come ([`chunks`]).

pub(crate) mod agent;
mod answer;
mod chunks;
mod contract;
pub(crate) mod format;
pub(crate) mod head;
pub(crate) mod messages;
pub(crate) mod model;
pub(crate) mod parts;
pub(crate) mod pieces;
pub(crate) mod request;
pub(crate) mod tools;

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use dialect::contract_http::Route;
use dialect::http::Caller;
use futures_util::StreamExt;
use futures_util::future::try_join_all;

use crate::errors::{ApiError, ErrorBody, json_response};
use crate::route::{self, Routes, unknown, with_body_refusals};
use crate::splice::Envelope;
use crate::target::{self, Target};
use crate::{OpenAi, relay, sse};
use agent::AgentTurn;
use answer::{Answer, ChatCompletion};
use format::Format;
use head::Head;
use pieces::Pieces;

/// Answer a conversation, whole or as a stream of events.
///
/// The model `agent/<id>` is an agent: its turn runs in a session of its own and nothing of it is
/// remembered. It runs its own tools and gives calls of the request's `tools` back, with the finish
/// reason `tool_calls`; the next request carries the results. `<provider>/<model>` is a model of a
/// configured provider, listed or not. A stream ends with a chunk of usage, unless
/// `stream_options.include_usage` is false, and `[DONE]`; a connection that the client drops ends the
/// work at once.
#[derive(schemars::JsonSchema)]
struct CreateChatCompletion;

pub(crate) fn add(table: &mut Routes) {
    let route = Route::post::<CreateChatCompletion>("/v1/chat/completions", "createChatCompletion")
        .body::<contract::ChatCompletionRequest>()
        .answer::<ChatCompletion>(200, "the answer; with `stream`, chunks of it as `text/event-stream`")
        .answer::<ErrorBody>(404, "no such model");
    table.add(with_body_refusals(route), any(unknown).post(create));
}

async fn create(State(openai): State<Arc<OpenAi>>, Extension(caller): Extension<Caller>, request: Request) -> Response {
    respond(&openai, &caller, request).await.unwrap_or_else(IntoResponse::into_response)
}

async fn respond(openai: &OpenAi, caller: &Caller, request: Request) -> Result<Response, ApiError> {
    let body = route::body(request, openai.body_bytes_max()).await?;
    let services = openai.services();
    if let Some(envelope) = Envelope::read(&body)
        && let Some(asked) = envelope.model()
        && let Some(Target::Model(provider, model)) = target::known(services, &asked)
        && provider.forwards_openai()
    {
        return relay::completion(&*provider, &model, &asked, &envelope, &body).await;
    }
    let request = request::Request::read(&route::parse(&body)?)?;
    let head = Head::new(services, "chatcmpl-", &request.model);
    match openai.target(&request.model)? {
        // Its body could not be read as an envelope, so that nothing can be spliced into it.
        Target::Model(provider, _) if provider.forwards_openai() => Err(ApiError::bad_json()),
        Target::Model(provider, model) => {
            parts::check(&request, provider.kind(), &provider.describe(&model.model))?;
            let told = request.format.as_ref().filter(|format| model::must_be_told(provider.kind(), format));
            let open = || model::open(services, &model, &request, told);
            match request.stream {
                Some(_) => {
                    let sources = try_join_all((0..request.choices).map(|_| open())).await?;
                    Ok(streamed(head, &request, sources))
                }
                None => {
                    let read = (0..request.choices).map(|_| async { Answer::read(open().await?).await });
                    whole(&head, &request, told, try_join_all(read).await?)
                }
            }
        }
        Target::Agent(agent) => {
            if let Some(model) = services.models.model_of(&agent)
                && let Some(provider) = services.models.registry().get(&model.provider)
            {
                parts::check(&request, provider.kind(), &provider.describe(&model.model))?;
            }
            let start = |index| AgentTurn::start(services, caller, &agent, &request, &head, index);
            let turns = try_join_all((0..request.choices).map(start)).await?;
            let sources: Vec<Pieces> = turns.into_iter().map(AgentTurn::pieces).collect();
            match request.stream {
                Some(_) => Ok(streamed(head, &request, sources)),
                None => whole(
                    &head,
                    &request,
                    request.format.as_ref(),
                    try_join_all(sources.into_iter().map(Answer::read)).await?,
                ),
            }
        }
    }
}

fn streamed(head: Head, request: &request::Request, sources: Vec<Pieces>) -> Response {
    let style = chunks::Style { wish: request.stream, names_functions: request.names_functions };
    sse::response(chunks::stream(head, style, sources).boxed())
}

/// `told`: the form that the model was only told of.
fn whole(
    head: &Head,
    request: &request::Request,
    told: Option<&Format>,
    mut answers: Vec<Answer>,
) -> Result<Response, ApiError> {
    if let Some(format) = told {
        for answer in answers.iter_mut().filter(|answer| answer.calls.is_empty() && answer.finish == "stop") {
            answer.text = format.enforced(&answer.text).ok_or_else(|| {
                ApiError::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "the model's answer is not of the form that `response_format` asks for",
                )
            })?;
        }
    }
    let completion = ChatCompletion::new(head, answers, request.names_functions);
    Ok(json_response(StatusCode::OK, &completion))
}
