//! Content by its hash.

use std::{
    io,
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    body::{Body, BodyDataStream},
    extract::{Path, Request, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use protocol::ids::{BadId, Hash};

use super::{App, answer::Doc, load::within};
use crate::{
    Backend,
    backend::ByteStream,
    problem::{ErrorCode, Problem},
    views::Blob,
};

pub(super) async fn put<B: Backend>(
    State(app): State<App<B>>,
    request: Request,
) -> Result<Response, Problem> {
    let limit = app.config.blob_bytes_max;
    let declared = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok());
    if declared.is_some_and(|declared: u64| declared > limit) {
        return Err(too_large(limit));
    }
    let fault = Arc::new(OnceLock::new());
    let upload = Upload {
        body: request.into_body().into_data_stream(),
        left: limit,
        limit,
        stall: app.config.stall_timeout,
        fault: Arc::clone(&fault),
    };
    let stored = app.backend.put_blob(upload.into_stream()).await;
    // Where the upload itself failed, that is the reason, whatever the store made of it.
    let (hash, bytes) = match fault.get() {
        Some(fault) => return Err(Problem::clone(fault)),
        None => stored?,
    };
    let location = [(header::LOCATION, format!("/api/v1/blobs/{hash}"))];
    Ok((StatusCode::CREATED, location, Doc(Blob { hash, bytes })).into_response())
}

fn too_large(limit: u64) -> Problem {
    Problem::new(ErrorCode::PayloadTooLarge, format!("a blob takes at most {limit} bytes here"))
}

/// The body of a request on its way to the store: bounded in length, and in how long it may stand still.
struct Upload {
    body: BodyDataStream,
    left: u64,
    limit: u64,
    stall: Duration,
    fault: Arc<OnceLock<Problem>>,
}

impl Upload {
    /// Ends with an error where the upload fails; why is in `fault` then.
    fn into_stream(self) -> ByteStream {
        stream::try_unfold(self, async |mut upload| match upload.next().await {
            Ok(piece) => Ok(piece.map(|piece| (piece, upload))),
            Err(problem) => {
                let error = io::Error::other(problem.clone());
                // Only the first fault counts, and there is only one: the stream ends with it.
                let _first = upload.fault.set(problem);
                Err(error)
            }
        })
        .boxed()
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        let Ok(piece) = tokio::time::timeout(self.stall, self.body.next()).await else {
            let detail = format!("nothing came for {} s", self.stall.as_secs_f64());
            return Err(Problem::new(ErrorCode::Timeout, detail));
        };
        let Some(piece) = piece else {
            return Ok(None);
        };
        let piece = piece.map_err(|error| {
            Problem::new(ErrorCode::MalformedRequest, format!("the upload broke off: {error}"))
        })?;
        let bytes = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        self.left = self.left.checked_sub(bytes).ok_or_else(|| too_large(self.limit))?;
        Ok(Some(piece))
    }
}

pub(super) async fn get<B: Backend>(
    State(app): State<App<B>>,
    Path(hash): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let hash = parse(&hash)?;
    // Content never changes, so whoever has it has it for good.
    let known = headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes() == tag(hash).as_bytes());
    if known {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag(hash))]).into_response());
    }
    let content = within(app.config.request_timeout, app.backend.get_blob(hash)).await?;
    Ok(answer(hash, content.bytes, Body::from_stream(content.stream)))
}

pub(super) async fn head<B: Backend>(
    State(app): State<App<B>>,
    Path(hash): Path<String>,
) -> Result<Response, Problem> {
    let hash = parse(&hash)?;
    let bytes = within(app.config.request_timeout, app.backend.head_blob(hash)).await?;
    Ok(answer(hash, bytes, Body::empty()))
}

fn parse(hash: &str) -> Result<Hash, Problem> {
    hash.parse().map_err(|error: BadId| Problem::new(ErrorCode::NotFound, error.to_string()))
}

fn tag(hash: Hash) -> String {
    format!("\"{hash}\"")
}

/// Content of whatever kind: a browser may save it, never show or run it.
fn answer(hash: Hash, bytes: u64, body: Body) -> Response {
    let mut response = ([(header::ETAG, tag(hash))], body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, max-age=31536000, immutable"),
    );
    response
}
