//! `/v1/responses`: an answer made of items, kept for a while so that the next request can go on from it.
//!
//! A [request](request) is read into the same form as one of [`chat`], from there on turns of agents
//! and models of providers answer it in pieces. The [draft](draft) makes items of the pieces and, for
//! a stream, [events](events) of the items; [`kept`] holds what is answered.

mod content;
mod contract;
mod draft;
mod events;
mod items;
mod keeping;
mod kept;
mod object;
mod request;
mod writer;

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, delete as on_delete};
use dialect::contract_http::Route;
use dialect::http::Caller;

use crate::chat::agent::AgentTurn;
use crate::chat::format::Format;
use crate::chat::head::Head;
use crate::chat::pieces::Pieces;
use crate::chat::{model as translated, parts};
use crate::errors::{ApiError, ErrorBody, json_bytes, json_response};
use crate::route::{self, Routes, unknown, with_body_refusals, with_refusals};
use crate::target::Target;
use crate::{OpenAi, sse};
use draft::Draft;
use keeping::Keeping;
use kept::Referred;
use object::{DeletedResponse, ResponseObject};
use request::Asked;

const ONE_PREFIX: &str = "/v1/responses/";

/// Answer input, whole or as a stream of events.
///
/// The model `agent/<id>` is an agent, `<provider>/<model>` a model of a configured provider, listed or
/// not. Function tools are run by the client, beside those that an agent runs itself: their calls are
/// items of the output, and `function_call_output` items of the next request bring the results.
/// Unless `store` is false an answer is kept for an hour and can be read, deleted and gone on with
/// as `previous_response_id`, by the token that asked for it alone. A connection that the client drops
/// ends the work at once.
#[derive(schemars::JsonSchema)]
struct CreateResponse;

/// Read a response that is kept.
#[derive(schemars::JsonSchema)]
struct ReadResponse;

/// Forget a response that is kept. Responses that went on from it stay.
#[derive(schemars::JsonSchema)]
struct DeleteResponse;

pub(crate) fn add(table: &mut Routes) {
    let create_route = Route::post::<CreateResponse>("/v1/responses", "createResponse")
        .body::<contract::ResponseRequest>()
        .answer::<ResponseObject>(200, "the response; with `stream`, events of it as `text/event-stream`")
        .answer::<ErrorBody>(404, "no such model");
    table.add(with_body_refusals(create_route), any(unknown).post(create));
    let read_route = Route::get::<ReadResponse>("/v1/responses/{id}", "readResponse")
        .answer::<ResponseObject>(200, "the response")
        .answer::<ErrorBody>(404, "not kept, or another token's");
    table.add(with_refusals(read_route), any(unknown).get(read));
    let delete_route = Route::new::<DeleteResponse>(Method::DELETE, "/v1/responses/{id}", "deleteResponse")
        .answer::<DeletedResponse>(200, "it is forgotten")
        .answer::<ErrorBody>(404, "not kept, or another token's");
    table.add(with_refusals(delete_route), on_delete(delete));
}

async fn create(State(openai): State<Arc<OpenAi>>, Extension(caller): Extension<Caller>, request: Request) -> Response {
    respond(&openai, &caller, request).await.unwrap_or_else(IntoResponse::into_response)
}

async fn read(State(openai): State<Arc<OpenAi>>, Extension(caller): Extension<Caller>, request: Request) -> Response {
    let streams = dialect::http::query::first(request.uri().query(), "stream").is_some_and(|word| word == "true");
    if streams {
        let message = "Invalid request: stream: a response that is kept is not streamed again";
        return ApiError::bad_request(message).with_param("stream").into_response();
    }
    let id = id_of(&request);
    match kept::get(&openai.services().kept, &caller.principal.id, id).await {
        Ok(Some(kept)) => json_bytes(StatusCode::OK, kept.object),
        Ok(None) => not_kept(id).into_response(),
        Err(error) => ApiError::from(error).into_response(),
    }
}

async fn delete(State(openai): State<Arc<OpenAi>>, Extension(caller): Extension<Caller>, request: Request) -> Response {
    let id = id_of(&request);
    match kept::remove(&openai.services().kept, &caller.principal.id, id).await {
        Ok(true) => json_response(StatusCode::OK, &DeletedResponse::new(id)),
        Ok(false) => not_kept(id).into_response(),
        Err(error) => ApiError::from(error).into_response(),
    }
}

/// As it stands in the path: ours need no decoding, and what needs it is not ours.
fn id_of(request: &Request) -> &str {
    request.uri().path().strip_prefix(ONE_PREFIX).unwrap_or_default()
}

fn not_kept(id: &str) -> ApiError {
    ApiError::not_found(format!("Response with id '{id}' not found."))
}

async fn respond(openai: &Arc<OpenAi>, caller: &Caller, request: Request) -> Result<Response, ApiError> {
    let body = route::body(request, openai.body_bytes_max()).await?;
    let services = openai.services();
    let owner = Arc::clone(&caller.principal.id);
    let body = route::parse(&body)?;
    let referred = Referred::by(&body, &services.kept, &owner).await?;
    let asked = Asked::read(&body, &referred)?;
    let head = Head::new(services, "resp_", &asked.chat.model);
    let source = open(openai, caller, &asked, &head).await?;
    let object = asked.object(&head);
    let shows_reasoning = asked.shows_reasoning;
    let keeping = Keeping { openai: Arc::clone(openai), owner, conversation: asked.conversation };
    let ids = Arc::clone(&services.ids);
    if asked.chat.stream.is_some() {
        let draft = Draft::streamed(object, ids, shows_reasoning);
        return Ok(sse::response(Box::pin(events::stream(draft, source.pieces, keeping))));
    }
    let draft = Draft::whole(object, ids, shows_reasoning);
    whole(draft, source, keeping).await
}

/// Where an answer comes from.
struct Source {
    pieces: Pieces,
    /// The form that the model was only told of.
    told: Option<Format>,
    /// A turn that runs and fails is an answer that says so; a model that fails is none.
    is_turn: bool,
}

async fn open(openai: &OpenAi, caller: &Caller, asked: &Asked, head: &Head) -> Result<Source, ApiError> {
    let (services, request) = (openai.services(), &asked.chat);
    match openai.target(&request.model)? {
        Target::Model(provider, model) => {
            parts::check(request, provider.kind(), &provider.describe(&model.model))?;
            let told = request.format.clone().filter(|format| translated::must_be_told(provider.kind(), format));
            let pieces = translated::open(services, &model, request, told.as_ref()).await?;
            Ok(Source { pieces, told, is_turn: false })
        }
        Target::Agent(agent) => {
            if let Some(model) = services.models.model_of(&agent)
                && let Some(provider) = services.models.registry().get(&model.provider)
            {
                parts::check(request, provider.kind(), &provider.describe(&model.model))?;
            }
            let turn = AgentTurn::start(services, caller, &agent, request, head, 0).await?;
            Ok(Source { pieces: turn.pieces(), told: request.format.clone(), is_turn: true })
        }
    }
}

async fn whole(mut draft: Draft, source: Source, keeping: Keeping) -> Result<Response, ApiError> {
    match draft.read(source.pieces).await {
        Ok(()) => {
            if let Some(format) = source.told {
                draft.keep_to(&format)?;
            }
        }
        Err(error) if source.is_turn && error.status == StatusCode::INTERNAL_SERVER_ERROR => draft.fail(),
        Err(error) => return Err(error),
    }
    let object = draft.into_object();
    keeping.keep(&object).await;
    Ok(json_response(StatusCode::OK, &object))
}
