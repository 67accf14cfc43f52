//! Credentials and windows of requests, before anything else of a request is looked at.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use dialect::http::{Asker, Caller, Gate, Grant, written};

use crate::errors::ApiError;

/// Counts every request, and lets callers in that may use `/v1`; they find themselves in the
/// request's extensions.
pub(crate) async fn guard(State(gate): State<Arc<Gate>>, mut request: Request, next: Next) -> Response {
    let admission = match gate.enter(&mut request) {
        Ok(admission) => admission,
        Err(refused) => return refused,
    };
    let response = match authorized(request.extensions().get::<Asker>()) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refused) => refused.into_response(),
    };
    written(admission, response)
}

fn authorized(asker: Option<&Asker>) -> Result<Caller, ApiError> {
    let caller = asker.and_then(|asker| asker.caller.as_ref()).ok_or_else(ApiError::unauthorized)?;
    if caller.may(Grant::Api) || caller.may(Grant::Rpc) { Ok(caller.clone()) } else { Err(ApiError::forbidden()) }
}
