//! Credentials, before anything else of a request is looked at.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use dialect::http::{Asker, Caller, Grant};

use crate::errors::ApiError;

/// Lets callers in that may use `/v1`; they find themselves in the request's extensions.
pub(crate) async fn guard(mut request: Request, next: Next) -> Response {
    match authorized(request.extensions().get::<Asker>()) {
        Ok(caller) => request.extensions_mut().insert(caller),
        Err(refused) => return refused.into_response(),
    };
    next.run(request).await
}

fn authorized(asker: Option<&Asker>) -> Result<Caller, ApiError> {
    let caller = asker.and_then(|asker| asker.caller.as_ref()).ok_or_else(ApiError::unauthorized)?;
    if caller.may(Grant::Api) || caller.may(Grant::Rpc) { Ok(caller.clone()) } else { Err(ApiError::forbidden()) }
}
