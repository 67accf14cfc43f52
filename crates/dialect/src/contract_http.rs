//! Routes and what is published of them: an OpenAPI 3.1 document made by walking the tables that
//! also make the routers.

use axum::Router;
use axum::http::Method;
use axum::routing::MethodRouter;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::table::docs_of;

type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// One way a route answers.
pub struct RouteAnswer {
    pub status: u16,
    pub words: &'static str,
    pub content_type: &'static str,
    schema: Option<SchemaOf>,
}

/// One method of one path.
pub struct Route {
    pub method: Method,
    /// Parameters in braces: `/media/{id}`.
    pub path: &'static str,
    /// Unique in the document.
    pub id: &'static str,
    /// The reference text.
    pub docs: fn() -> String,
    /// One of these is needed; empty = everybody.
    pub scopes: &'static [&'static str],
    /// The token may stand in the query.
    pub has_query_token: bool,
    query: Option<SchemaOf>,
    request: Option<SchemaOf>,
    pub answers: Vec<RouteAnswer>,
}

impl Route {
    /// `D` is a unit type whose doc comment is the reference text.
    pub fn new<D: JsonSchema>(method: Method, path: &'static str, id: &'static str) -> Self {
        Self {
            method,
            path,
            id,
            docs: docs_of::<D>,
            scopes: &[],
            has_query_token: false,
            query: None,
            request: None,
            answers: Vec::new(),
        }
    }

    pub fn get<D: JsonSchema>(path: &'static str, id: &'static str) -> Self {
        Self::new::<D>(Method::GET, path, id)
    }

    pub fn post<D: JsonSchema>(path: &'static str, id: &'static str) -> Self {
        Self::new::<D>(Method::POST, path, id)
    }

    #[must_use]
    pub fn scopes(mut self, scopes: &'static [&'static str]) -> Self {
        self.scopes = scopes;
        self
    }

    #[must_use]
    pub fn query_token(mut self) -> Self {
        self.has_query_token = true;
        self
    }

    /// Query parameters, one for each field of `Q`.
    #[must_use]
    pub fn query<Q: JsonSchema>(mut self) -> Self {
        self.query = Some(|generator| generator.subschema_for::<Q>());
        self
    }

    /// A JSON body.
    #[must_use]
    pub fn body<B: JsonSchema>(mut self) -> Self {
        self.request = Some(|generator| generator.subschema_for::<B>());
        self
    }

    /// A JSON answer.
    #[must_use]
    pub fn answer<A: JsonSchema>(mut self, status: u16, words: &'static str) -> Self {
        let schema: SchemaOf = |generator| generator.subschema_for::<A>();
        self.answers.push(RouteAnswer { status, words, content_type: "application/json", schema: Some(schema) });
        self
    }

    /// An answer of another type, or without a body when `content_type` is empty.
    #[must_use]
    pub fn plain(mut self, status: u16, words: &'static str, content_type: &'static str) -> Self {
        self.answers.push(RouteAnswer { status, words, content_type, schema: None });
        self
    }

    fn describe(&self, generator: &mut SchemaGenerator) -> Value {
        let docs = (self.docs)();
        let summary = docs.split("\n\n").next().unwrap_or_default().replace('\n', " ");
        let mut operation = json!({
            "operationId": self.id,
            "summary": summary,
            "description": docs,
            "parameters": self.parameters(generator),
            "responses": self.responses(generator),
            "security": self.security(),
        });
        if !self.scopes.is_empty() {
            operation["x-scopes"] = json!(self.scopes);
        }
        if let Some(request) = self.request {
            let schema = request(generator);
            operation["requestBody"] =
                json!({ "required": true, "content": { "application/json": { "schema": schema } } });
        }
        operation
    }

    fn security(&self) -> Value {
        match (self.scopes.is_empty(), self.has_query_token) {
            (true, _) => json!([]),
            (false, false) => json!([{ "bearer": [] }]),
            (false, true) => json!([{ "bearer": [] }, { "query_token": [] }]),
        }
    }

    fn parameters(&self, generator: &mut SchemaGenerator) -> Vec<Value> {
        let in_path = self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let mut parameters: Vec<Value> = in_path
            .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
            .collect();
        let Some(query) = self.query else { return parameters };
        let schema = resolve(query(generator).into(), generator.definitions());
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            let is_required = required.contains(&name.as_str());
            parameters.push(json!({ "name": name, "in": "query", "required": is_required, "schema": schema }));
        }
        parameters
    }

    fn responses(&self, generator: &mut SchemaGenerator) -> Map<String, Value> {
        let mut responses = Map::new();
        for answer in &self.answers {
            let mut response = json!({ "description": answer.words });
            if !answer.content_type.is_empty() {
                let schema =
                    answer.schema.map_or_else(|| json!({ "type": "string" }), |schema| schema(generator).into());
                response["content"] = json!({ answer.content_type: { "schema": schema } });
            }
            // Several reasons for one status share its entry.
            let words = answer.words;
            responses
                .entry(answer.status.to_string())
                .and_modify(|known| {
                    let before = known["description"].as_str().unwrap_or_default().to_owned();
                    known["description"] = json!(format!("{before}; {words}"));
                })
                .or_insert(response);
        }
        responses
    }
}

fn resolve(schema: Value, definitions: &Map<String, Value>) -> Value {
    let name = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next());
    name.and_then(|name| definitions.get(name)).cloned().unwrap_or(schema)
}

/// The routes of one crate, each with what serves it.
pub struct RouteTable<S> {
    routes: Vec<(Route, MethodRouter<S>)>,
}

impl<S> Default for RouteTable<S> {
    fn default() -> Self {
        Self { routes: Vec::new() }
    }
}

impl<S: Clone + Send + Sync + 'static> RouteTable<S> {
    /// # Panics
    /// When the method of the path, or the id, is taken: a wiring bug that every test shows.
    pub fn add(&mut self, route: Route, handler: MethodRouter<S>) {
        let is_taken =
            |known: &Route| (known.path == route.path && known.method == route.method) || known.id == route.id;
        assert!(
            !self.routes.iter().any(|(known, _)| is_taken(known)),
            "route {} {} is bound twice",
            route.method,
            route.path
        );
        self.routes.push((route, handler));
    }

    /// In the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter().map(|(route, _)| route)
    }

    /// A router of all routes.
    pub fn into_router(self) -> Router<S> {
        self.into_paths().into_iter().fold(Router::new(), |router, (path, methods)| router.route(path, methods))
    }

    /// What serves each path, for those who answer wrong methods in words of their own.
    pub fn into_paths(self) -> Vec<(&'static str, MethodRouter<S>)> {
        let mut paths: Vec<(&'static str, MethodRouter<S>)> = Vec::new();
        for (route, handler) in self.routes {
            match paths.iter().position(|(path, _)| *path == route.path) {
                Some(at) => {
                    let (path, methods) = paths.swap_remove(at);
                    paths.push((path, methods.merge(handler)));
                }
                None => paths.push((route.path, handler)),
            }
        }
        paths
    }

    /// The `paths` object of an OpenAPI document; schemas that have a name go to `generator`.
    pub fn paths(&self, generator: &mut SchemaGenerator) -> Value {
        let mut paths = Map::new();
        for route in self.iter() {
            let operation = route.describe(generator);
            let path = paths.entry(route.path).or_insert_with(|| json!({}));
            path[route.method.as_str().to_ascii_lowercase()] = operation;
        }
        Value::Object(paths)
    }
}

/// A generator whose schemas are referred to as OpenAPI does.
pub fn generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into())
        .into_generator()
}

/// A whole document from the `paths` objects of several crates, which must have used `generator`.
pub fn openapi(
    title: &str,
    version: &str,
    description: &str,
    fragments: impl IntoIterator<Item = Value>,
    mut generator: SchemaGenerator,
) -> Value {
    let mut paths = Map::new();
    for fragment in fragments {
        if let Value::Object(fragment) = fragment {
            paths.extend(fragment);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": title, "version": version, "description": description, "license": { "name": "Apache-2.0 OR MIT" } },
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer" },
                "query_token": { "type": "apiKey", "in": "query", "name": "token" },
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;

    /// Read a thing.
    ///
    /// More about it.
    #[derive(JsonSchema)]
    struct ReadThing;

    #[derive(JsonSchema)]
    #[allow(dead_code, reason = "only its schema is used")]
    struct Query {
        /// How many.
        limit: Option<u32>,
        name: String,
    }

    #[derive(JsonSchema)]
    #[allow(dead_code, reason = "only its schema is used")]
    struct Thing {
        id: String,
    }

    #[test]
    fn a_document_is_made_of_the_table_itself() {
        let mut table: RouteTable<()> = RouteTable::default();
        let route =
            Route::get::<ReadThing>("/things/{id}", "readThing").scopes(&["rpc"]).query_token().query::<Query>();
        table.add(route.answer::<Thing>(200, "the thing").plain(404, "no such thing", ""), get(|| async {}));
        let mut generator = generator();
        let paths = table.paths(&mut generator);
        let document = openapi("T", "1", "D", [paths], generator);
        let operation = &document["paths"]["/things/{id}"]["get"];
        assert_eq!(operation["summary"], "Read a thing.");
        let names: Vec<_> = operation["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| (p["name"].as_str().unwrap(), p["in"].as_str().unwrap(), p["required"].as_bool().unwrap()))
            .collect();
        assert_eq!(names, [("id", "path", true), ("limit", "query", false), ("name", "query", true)]);
        assert_eq!(
            operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"],
            "#/components/schemas/Thing"
        );
        assert_eq!(operation["responses"]["404"], json!({ "description": "no such thing" }));
        assert_eq!(operation["security"], json!([{ "bearer": [] }, { "query_token": [] }]));
        assert!(document["components"]["schemas"]["Thing"].is_object());
    }

    #[test]
    #[should_panic(expected = "bound twice")]
    fn a_route_is_bound_once() {
        let mut table: RouteTable<()> = RouteTable::default();
        table.add(Route::get::<ReadThing>("/a", "a"), get(|| async {}));
        table.add(Route::get::<ReadThing>("/a", "b"), get(|| async {}));
    }
}
