//! Wire names and the operations behind them: built once at start, read-only after.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use model::{ErrorKind, OpError, Scope};
use ops::{Call, Class, Operation, Reply};
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::params;

/// Raw parameters of a call, owned: the frame they came in is gone when they are read.
pub type Params = Option<Box<RawValue>>;

/// An encoded result, and what may start once it is on its way.
pub struct Answer {
    /// JSON text.
    pub json: Vec<u8>,
    pub then: Option<Box<dyn FnOnce() + Send>>,
}

/// Room that an answer starts with: most need no more.
const USUAL_ANSWER_BYTES: usize = 512;

type Handler = Arc<dyn Fn(Call, Params) -> BoxFuture<'static, Result<Answer, OpError>> + Send + Sync>;

/// One method of a dialect.
pub struct Method {
    pub name: &'static str,
    /// What the caller's principal must hold.
    pub scope: Option<Scope>,
    pub class: Class,
    pub errors: &'static [ErrorKind],
    /// The reference text. Like the schemas it is made when somebody asks: a start needs none of them.
    pub docs: fn() -> String,
    pub params_schema: fn(&mut SchemaGenerator) -> schemars::Schema,
    pub result_schema: fn(&mut SchemaGenerator) -> schemars::Schema,
    /// Takes effect in arrival order: no further frame of the connection is read before it is done.
    pub in_order: bool,
    /// Its answer is the first to name a run: no event of that run may overtake it.
    pub reveals_run: bool,
    /// Its parameters may be any JSON value; those of all others are an object.
    pub takes_anything: bool,
    handler: Handler,
}

impl Method {
    /// Reads the parameters and runs the operation. Scope and limits are the dispatcher's business.
    pub fn call(&self, call: Call, params: Params) -> BoxFuture<'static, Result<Answer, OpError>> {
        let work = AssertUnwindSafe((self.handler)(call, params)).catch_unwind();
        // A bug in one call ends that call, not the connection.
        work.map(|result| result.unwrap_or_else(|_| Err(OpError::new(ErrorKind::Internal, "internal error")))).boxed()
    }
}

/// The methods of one dialect.
#[derive(Default)]
pub struct MethodTable {
    methods: HashMap<&'static str, Method>,
    aliases: HashMap<&'static str, &'static str>,
}

impl MethodTable {
    /// Binds an operation under its own name and in its own shape.
    pub fn bind<O: Operation>(&mut self) {
        self.bind_as::<O, O::Params, O::Output>(O::NAME);
    }

    /// Binds an operation under a wire name, with the wire's shapes of parameters and result.
    ///
    /// # Panics
    /// When the name is taken: a wiring bug that every test shows.
    pub fn bind_as<O, P, R>(&mut self, name: &'static str)
    where
        O: Operation,
        P: DeserializeOwned + JsonSchema + TryInto<O::Params> + Send + 'static,
        P::Error: Into<OpError>,
        R: From<O::Output> + Serialize + JsonSchema + 'static,
    {
        let handler: Handler = Arc::new(move |call, raw| {
            Box::pin(async move {
                let params = params::parse::<P>(raw.as_deref())?.try_into().map_err(Into::into)?;
                let reply = O::run(&call, params).await?;
                answer(reply.map(R::from))
            })
        });
        self.insert(Method {
            name,
            scope: O::SCOPE,
            class: O::CLASS,
            errors: O::ERRORS,
            docs: docs_of::<O>,
            params_schema: |generator| generator.subschema_for::<P>(),
            result_schema: |generator| generator.subschema_for::<R>(),
            in_order: false,
            reveals_run: false,
            takes_anything: false,
            handler,
        });
    }

    /// Binds an operation whose parameters may be any JSON value; absent ones are `null`.
    pub fn bind_anything<O: Operation>(&mut self) {
        let handler: Handler = Arc::new(move |call, raw| {
            Box::pin(async move { answer(O::run(&call, params::parse_any(raw.as_deref())?).await?) })
        });
        self.insert(Method {
            name: O::NAME,
            scope: O::SCOPE,
            class: O::CLASS,
            errors: O::ERRORS,
            docs: docs_of::<O>,
            params_schema: |generator| generator.subschema_for::<O::Params>(),
            result_schema: |generator| generator.subschema_for::<O::Output>(),
            in_order: false,
            reveals_run: false,
            takes_anything: true,
            handler,
        });
    }

    /// Binds a wire method that is several operations, or that only this dialect knows. `M` is a
    /// unit type whose doc comment is the reference text.
    pub fn handle<M, P, R, F, Fut>(
        &mut self,
        name: &'static str,
        scope: Option<Scope>,
        class: Class,
        errors: &'static [ErrorKind],
        handler: F,
    ) where
        M: JsonSchema,
        P: DeserializeOwned + JsonSchema + Send + 'static,
        R: Serialize + JsonSchema + 'static,
        F: Fn(Call, P) -> Fut + Send + Sync + Clone + 'static,
        Fut: Future<Output = Result<Reply<R>, OpError>> + Send,
    {
        let handler: Handler = Arc::new(move |call, raw| {
            let handler = handler.clone();
            Box::pin(async move {
                let params = params::parse::<P>(raw.as_deref())?;
                answer(handler(call, params).await?)
            })
        });
        self.insert(Method {
            name,
            scope,
            class,
            errors,
            docs: docs_of::<M>,
            params_schema: |generator| generator.subschema_for::<P>(),
            result_schema: |generator| generator.subschema_for::<R>(),
            in_order: false,
            reveals_run: false,
            takes_anything: false,
            handler,
        });
    }

    /// Marks methods that take effect in arrival order.
    ///
    /// # Panics
    /// When a name is not bound: a wiring bug.
    pub fn in_order(&mut self, names: &[&'static str]) {
        for name in names {
            self.methods.get_mut(name).expect("only bound methods are marked").in_order = true;
        }
    }

    /// Marks methods whose answer is the first to name a run.
    ///
    /// # Panics
    /// When a name is not bound: a wiring bug.
    pub fn reveals_run(&mut self, names: &[&'static str]) {
        for name in names {
            self.methods.get_mut(name).expect("only bound methods are marked").reveals_run = true;
        }
    }

    /// Another name for a bound method; not listed in contracts.
    pub fn alias(&mut self, alias: &'static str, name: &'static str) {
        debug_assert!(self.methods.contains_key(name), "an alias names a bound method");
        self.aliases.insert(alias, name);
    }

    pub fn get(&self, name: &str) -> Option<&Method> {
        self.methods.get(name).or_else(|| self.methods.get(self.aliases.get(name)?))
    }

    /// In order of name.
    pub fn iter(&self) -> impl Iterator<Item = &Method> {
        let mut methods: Vec<&Method> = self.methods.values().collect();
        methods.sort_by_key(|method| method.name);
        methods.into_iter()
    }

    pub fn len(&self) -> usize {
        self.methods.len()
    }

    pub fn is_empty(&self) -> bool {
        self.methods.is_empty()
    }

    fn insert(&mut self, method: Method) {
        let name = method.name;
        assert!(self.methods.insert(name, method).is_none(), "method {name} is bound twice");
    }
}

fn answer<R: Serialize>(reply: Reply<R>) -> Result<Answer, OpError> {
    let mut json = Vec::with_capacity(USUAL_ANSWER_BYTES);
    serde_json::to_writer(&mut json, &reply.output).map_err(OpError::internal)?;
    Ok(Answer { json, then: reply.then })
}

/// The doc comment of a type, as its schema tells it.
pub fn docs_of<T: JsonSchema>() -> String {
    let schema = schemars::schema_for!(T);
    let description = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    let title = schema.get("title").and_then(Value::as_str).filter(|_| description.is_empty());
    title.unwrap_or(description).to_owned()
}
