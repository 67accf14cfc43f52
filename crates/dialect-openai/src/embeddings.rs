//! `POST /v1/embeddings`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dialect::contract_http::Route;
use model::ModelRef;
use providers::Provider;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use services::Services;

use crate::check::{Fields, Issues, expected};
use crate::errors::{ApiError, ErrorBody, json_bytes, json_response};
use crate::route::{Routes, body, parse, unknown, with_body_refusals};
use crate::splice::{Envelope, with_model};
use crate::{OpenAi, relay, target};

const PATH: &str = "/embeddings";
/// Most inputs of one request.
const INPUTS_MAX: usize = 2048;

/// Turn texts into vectors.
///
/// The model `<provider>/<model>` is asked itself; any other name means the gateway's embedder.
#[derive(JsonSchema)]
struct CreateEmbeddings;

/// Texts to be turned into vectors.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "read field by field; this is its published shape")]
struct EmbeddingsRequest {
    #[schemars(length(min = 1))]
    model: String,
    /// A text, texts, or tokens where the provider takes them.
    input: InputSchema,
    encoding_format: Option<Encoding>,
    /// Shorter vectors.
    #[schemars(range(min = 1))]
    dimensions: Option<u32>,
    user: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
#[allow(dead_code, reason = "only its schema is used")]
enum InputSchema {
    Text(String),
    Texts(Vec<String>),
    Tokens(Vec<u32>),
    ManyTokens(Vec<Vec<u32>>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Encoding {
    Float,
    /// Little-endian 32-bit floats, one after the other.
    Base64,
}

/// Vectors in the order of their inputs.
#[derive(Serialize, JsonSchema)]
struct EmbeddingList {
    object: &'static str,
    data: Vec<Embedding>,
    /// The model that made them.
    model: String,
    usage: EmbeddingUsage,
}

#[derive(Serialize, JsonSchema)]
struct Embedding {
    object: &'static str,
    embedding: Vector,
    index: usize,
}

#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
enum Vector {
    Floats(Vec<f32>),
    Base64(String),
}

#[derive(Serialize, JsonSchema)]
struct EmbeddingUsage {
    prompt_tokens: u64,
    total_tokens: u64,
}

pub(crate) fn add(table: &mut Routes) {
    let route = Route::post::<CreateEmbeddings>("/v1/embeddings", "createEmbeddings")
        .body::<EmbeddingsRequest>()
        .answer::<EmbeddingList>(200, "the vectors")
        .answer::<ErrorBody>(404, "no provider makes embeddings");
    table.add(with_body_refusals(route), any(unknown).post(create));
}

async fn create(State(openai): State<Arc<OpenAi>>, request: Request) -> Response {
    respond(&openai, request).await.unwrap_or_else(IntoResponse::into_response)
}

async fn respond(openai: &OpenAi, request: Request) -> Result<Response, ApiError> {
    let body = body(request, openai.body_bytes_max()).await?;
    let wish = Wish::read(&parse(&body)?)?;
    let services = openai.services();
    let (provider, model, told) = match target::provider(services, &wish.model) {
        Some((provider, model)) => (provider, model, wish.model.clone()),
        None => {
            let (provider, model) = default_embedder(services).await?;
            let told = model.to_string();
            (provider, model, told)
        }
    };
    if provider.forwards_openai() {
        forward(&*provider, &model, &told, &wish, &body).await
    } else {
        embed(&*provider, &model, told, wish).await
    }
}

/// The gateway's embedder, also when nobody has asked for the catalogue yet.
async fn default_embedder(services: &Services) -> Result<(Arc<dyn Provider>, ModelRef), ApiError> {
    let registry = services.models.registry();
    let model = match registry.default_embedder() {
        Some(model) => Some(model),
        None => {
            registry.catalogue().await;
            registry.default_embedder()
        }
    };
    let found = model.and_then(|model| registry.get(&model.provider).map(|provider| (provider, model)));
    found.ok_or_else(|| ApiError::not_found("No embedding provider configured"))
}

#[derive(Debug, PartialEq)]
struct Wish {
    model: String,
    input: Input,
    encoding: Encoding,
    dimensions: Option<usize>,
}

#[derive(Debug, PartialEq)]
enum Input {
    Texts(Vec<String>),
    /// Token numbers, which only their own vendor can read.
    Tokens,
}

impl Wish {
    fn read(body: &Value) -> Result<Self, ApiError> {
        let mut issues = Issues::default();
        let wish = Fields::new(body, "", &mut issues).and_then(|fields| {
            let model = fields.filled_string("model", &mut issues);
            let input = input(&fields, &mut issues);
            let encoding = fields.choice("encoding_format", &["float", "base64"], &mut issues);
            let dimensions = fields.integer("dimensions", 1, i64::from(u32::MAX), &mut issues);
            fields.string("user", &mut issues);
            Some(Self {
                model: model?.to_owned(),
                input: input?,
                encoding: if encoding == Some("base64") { Encoding::Base64 } else { Encoding::Float },
                dimensions: dimensions.and_then(|dimensions| usize::try_from(dimensions).ok()),
            })
        });
        issues.result()?;
        wish.ok_or_else(ApiError::bad_json)
    }
}

fn input(fields: &Fields<'_>, issues: &mut Issues) -> Option<Input> {
    let is_tokens =
        |value: &Value| value.as_array().is_some_and(|items| !items.is_empty() && items.iter().all(Value::is_u64));
    let value = fields.get("input");
    let reason = match value {
        Some(Value::String(text)) if text.is_empty() => "must not be empty".to_owned(),
        Some(Value::String(text)) => return Some(Input::Texts(vec![text.clone()])),
        Some(Value::Array(items)) if items.is_empty() => "Too small: expected array to have >=1 items".to_owned(),
        Some(Value::Array(items)) if items.len() > INPUTS_MAX && !value.is_some_and(is_tokens) => {
            format!("Too big: expected array to have <={INPUTS_MAX} items")
        }
        Some(Value::Array(items)) if items.iter().all(Value::is_string) => {
            let Some(place) = items.iter().position(|item| item.as_str() == Some("")) else {
                return Some(Input::Texts(items.iter().filter_map(Value::as_str).map(str::to_owned).collect()));
            };
            issues.add(format!("input.{place}"), "must not be empty");
            return None;
        }
        Some(Value::Array(items)) if value.is_some_and(is_tokens) || items.iter().all(is_tokens) => {
            return Some(Input::Tokens);
        }
        Some(Value::Array(_)) => "Invalid input: expected strings or token numbers".to_owned(),
        other => expected("string", other),
    };
    issues.add("input", reason);
    None
}

/// Asks a provider that speaks this API itself, so that it gets every field of the request.
async fn forward(
    provider: &dyn Provider,
    model: &ModelRef,
    told: &str,
    wish: &Wish,
    body: &[u8],
) -> Result<Response, ApiError> {
    let envelope = Envelope::read(body).ok_or_else(ApiError::bad_json)?;
    let spliced = with_model(body, envelope.model, &model.model);
    let document = match relay::document(provider, PATH, spliced).await? {
        Ok(document) => document,
        Err(refused) => return Ok(refused),
    };
    let answered = relay::read_answer(provider.name(), &document)?;
    let document = with_model(&document, answered.model, told);
    Ok(json_bytes(StatusCode::OK, if wish.encoding == Encoding::Base64 { encoded(document) } else { document }))
}

/// The vectors as the client wants them: many servers send numbers whatever they are asked for, and
/// clients that asked for base64 would read them as nothing.
fn encoded(document: Vec<u8>) -> Vec<u8> {
    let Ok(mut value) = serde_json::from_slice::<Value>(&document) else { return document };
    let mut changed = false;
    for entry in value.get_mut("data").and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(numbers) = entry.get("embedding").and_then(Value::as_array) else { continue };
        #[allow(clippy::cast_possible_truncation, reason = "vectors are of 32-bit floats")]
        let floats: Vec<f32> = numbers.iter().filter_map(Value::as_f64).map(|number| number as f32).collect();
        entry["embedding"] = base64_of(&floats).into();
        changed = true;
    }
    if changed { value.to_string().into_bytes() } else { document }
}

async fn embed(provider: &dyn Provider, model: &ModelRef, told: String, wish: Wish) -> Result<Response, ApiError> {
    let Input::Texts(texts) = wish.input else {
        let message = format!("Invalid request: input: `{told}` takes texts, not token numbers");
        return Err(ApiError::bad_request(message).with_param("input"));
    };
    let embedded = provider.embed(&model.model, &texts).await?;
    let tokens = texts.iter().map(|text| (text.chars().count() as u64).div_ceil(4)).sum();
    let mut data = Vec::with_capacity(embedded.vectors.len());
    for (index, vector) in embedded.vectors.into_iter().enumerate() {
        let vector = shortened(vector, wish.dimensions)?;
        let embedding = match wish.encoding {
            Encoding::Float => Vector::Floats(vector),
            Encoding::Base64 => Vector::Base64(base64_of(&vector)),
        };
        data.push(Embedding { object: "embedding", embedding, index });
    }
    let usage = EmbeddingUsage { prompt_tokens: tokens, total_tokens: tokens };
    Ok(json_response(StatusCode::OK, &EmbeddingList { object: "list", data, model: told, usage }))
}

/// The first numbers of a vector, brought back to length 1.
fn shortened(mut vector: Vec<f32>, dimensions: Option<usize>) -> Result<Vec<f32>, ApiError> {
    let Some(wanted) = dimensions.filter(|wanted| *wanted != vector.len()) else { return Ok(vector) };
    if wanted > vector.len() {
        let message = format!("Invalid request: dimensions: the model gives {} at most", vector.len());
        return Err(ApiError::bad_request(message).with_param("dimensions"));
    }
    vector.truncate(wanted);
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|x| *x /= length);
    }
    Ok(vector)
}

fn base64_of(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wish(input: Value) -> Result<Input, String> {
        let body = json!({ "model": "m", "input": input, "other": 1 });
        Wish::read(&body).map(|wish| wish.input).map_err(|error| error.message)
    }

    #[test]
    fn inputs_are_texts_or_tokens() {
        assert_eq!(wish(json!("a")), Ok(Input::Texts(vec!["a".into()])));
        assert_eq!(wish(json!(["a", "b"])), Ok(Input::Texts(vec!["a".into(), "b".into()])));
        assert_eq!(wish(json!([1, 2])), Ok(Input::Tokens));
        assert_eq!(wish(json!([[1], [2, 3]])), Ok(Input::Tokens));
        assert_eq!(wish(json!(vec![7; 5000])), Ok(Input::Tokens));
        let refused = |input| wish(input).unwrap_err();
        assert_eq!(refused(json!("")), "Invalid request: input: must not be empty");
        assert_eq!(refused(json!(["a", ""])), "Invalid request: input.1: must not be empty");
        assert_eq!(refused(json!([])), "Invalid request: input: Too small: expected array to have >=1 items");
        assert_eq!(
            refused(json!(["a", 1])),
            "Invalid request: input: Invalid input: expected strings or token numbers"
        );
        assert_eq!(
            refused(json!(vec!["a"; 2049])),
            "Invalid request: input: Too big: expected array to have <=2048 items"
        );
        assert_eq!(refused(json!(null)), "Invalid request: input: Invalid input: expected string, received undefined");
    }

    #[test]
    fn vectors_are_shortened_to_length_one() {
        assert_eq!(shortened(vec![3.0, 4.0, 12.0], Some(2)).unwrap(), [0.6, 0.8]);
        assert_eq!(shortened(vec![3.0, 4.0], Some(2)).unwrap(), [3.0, 4.0]);
        assert_eq!(shortened(vec![1.0], Some(2)).unwrap_err().param.as_deref(), Some("dimensions"));
    }

    #[test]
    fn numbers_of_an_upstream_become_base64() {
        let document = br#"{"data":[{"embedding":[1.0,-2.5],"index":0}],"x":1}"#.to_vec();
        let read: Value = serde_json::from_slice(&encoded(document)).unwrap();
        assert_eq!(
            STANDARD.decode(read["data"][0]["embedding"].as_str().unwrap()).unwrap(),
            [0, 0, 128, 63, 0, 0, 32, 192]
        );
        let already = br#"{"data":[{"embedding":"AACAPw=="}]}"#.to_vec();
        assert_eq!(encoded(already.clone()), already);
    }
}
