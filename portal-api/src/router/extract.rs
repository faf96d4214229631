//! Bodies and query strings, parsed; what cannot be parsed is a problem that says where.

use axum::extract::{FromRequest, FromRequestParts, Query, Request, rejection::BytesRejection};
use bytes::Bytes;
use http::{StatusCode, header, request::Parts};
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use serde_path_to_error::{Path, Segment};

use crate::problem::{ErrorCode, FieldError, Problem};

/// A JSON body.
#[derive(Debug)]
pub(super) struct JsonBody<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let is_json = is_json(&request);
        let bytes =
            Bytes::from_request(request, state).await.map_err(|rejection| of_bytes(&rejection))?;
        parse(is_json, &bytes).map(Self)
    }
}

/// A JSON body that may be left out: then it is the default.
#[derive(Debug)]
pub(super) struct OptionalBody<T>(pub T);

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for OptionalBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let is_json = is_json(&request);
        let bytes =
            Bytes::from_request(request, state).await.map_err(|rejection| of_bytes(&rejection))?;
        if bytes.is_empty() { Ok(Self(T::default())) } else { parse(is_json, &bytes).map(Self) }
    }
}

/// The query string. Unknown names are ignored.
#[derive(Debug)]
pub(super) struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(params)) => Ok(Self(params)),
            Err(rejection) => Err(Problem::new(ErrorCode::ValidationFailed, rejection.body_text())),
        }
    }
}

/// `application/json`, with or without parameters. A page of another site cannot send that without asking first.
fn is_json(request: &Request) -> bool {
    let value = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = value.and_then(|value| value.split(';').next());
    kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

fn of_bytes(rejection: &BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return Problem::new(
            ErrorCode::PayloadTooLarge,
            "the body is longer than JSON bodies may be",
        );
    }
    Problem::new(ErrorCode::MalformedRequest, rejection.body_text())
}

fn parse<T: DeserializeOwned>(is_json: bool, bytes: &[u8]) -> Result<T, Problem> {
    if !is_json {
        let detail = "the body is not sent as `application/json`";
        return Err(Problem::new(ErrorCode::UnsupportedMediaType, detail));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let pointer = pointer(error.path());
        of_json(&error.into_inner(), pointer)
    })?;
    reader.end().map_err(|error| of_json(&error, String::new()))?;
    Ok(value)
}

fn of_json(error: &serde_json::Error, pointer: String) -> Problem {
    match error.classify() {
        Category::Data => {
            // The place is said by the pointer, and the message repeats the line and column.
            Problem::invalid(vec![FieldError::new(pointer, "bad-value", error.to_string())])
        }
        Category::Io | Category::Syntax | Category::Eof => {
            Problem::new(ErrorCode::MalformedJson, format!("not JSON: {error}"))
        }
    }
}

/// The path as a JSON pointer (RFC 6901).
fn pointer(path: &Path) -> String {
    path.iter()
        .map(|segment| match segment {
            Segment::Seq { index } => format!("/{index}"),
            Segment::Map { key } | Segment::Enum { variant: key } => {
                format!("/{}", key.replace('~', "~0").replace('/', "~1"))
            }
            Segment::Unknown => "/?".to_owned(),
        })
        .collect()
}
