//! Reading request bodies, never more than allowed.

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// The client went away or broke the framing.
    #[error("the body ended before its time")]
    Broken,
}

/// The whole body, at most `bytes_max` bytes. A longer one is refused by its `Content-Length`
/// before anything is read, and a chunked one as soon as it has grown too long.
pub async fn read_body(headers: &HeaderMap, body: Body, bytes_max: usize) -> Result<Bytes, BodyError> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > bytes_max as u64) {
        return Err(BodyError::TooLarge(bytes_max));
    }
    let mut stream = body.into_data_stream();
    let Some(first) = stream.next().await else { return Ok(Bytes::new()) };
    let first = first.map_err(|_| BodyError::Broken)?;
    if first.len() > bytes_max {
        return Err(BodyError::TooLarge(bytes_max));
    }
    let Some(second) = stream.next().await else { return Ok(first) };
    let mut whole = BytesMut::from(first);
    let mut next = Some(second);
    while let Some(chunk) = next {
        let chunk = chunk.map_err(|_| BodyError::Broken)?;
        if whole.len() + chunk.len() > bytes_max {
            return Err(BodyError::TooLarge(bytes_max));
        }
        whole.extend_from_slice(&chunk);
        next = stream.next().await;
    }
    Ok(whole.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunked(chunks: &[&'static str]) -> Body {
        let chunks: Vec<Result<Bytes, std::io::Error>> =
            chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk.as_bytes()))).collect();
        Body::from_stream(futures_util::stream::iter(chunks))
    }

    #[tokio::test]
    async fn bodies_are_read_up_to_the_limit_and_refused_beyond_it() {
        let none = HeaderMap::new();
        assert_eq!(read_body(&none, Body::empty(), 4).await, Ok(Bytes::new()));
        assert_eq!(read_body(&none, Body::from("abcd"), 4).await, Ok(Bytes::from("abcd")));
        assert_eq!(read_body(&none, chunked(&["ab", "c", "d"]), 4).await, Ok(Bytes::from("abcd")));
        assert_eq!(read_body(&none, Body::from("abcde"), 4).await, Err(BodyError::TooLarge(4)));
        assert_eq!(read_body(&none, chunked(&["abc", "de"]), 4).await, Err(BodyError::TooLarge(4)));
        let mut announced = HeaderMap::new();
        announced.insert(CONTENT_LENGTH, "5".parse().unwrap());
        assert_eq!(read_body(&announced, Body::empty(), 4).await, Err(BodyError::TooLarge(4)));
    }
}
