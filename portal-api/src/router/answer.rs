//! Documents and problems as HTTP answers.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, header};
use serde::Serialize;

use crate::{
    problem::{CONTENT_TYPE, ErrorCode, Problem},
    views::{Document, Kind, LedgerPoint},
};

/// What handlers return.
pub(super) type Reply<T> = Result<Doc<T>, Problem>;

/// A body that is answered as its document.
#[derive(Debug)]
pub(super) struct Doc<T>(pub T);

impl<T: Kind + Serialize> IntoResponse for Doc<T> {
    fn into_response(self) -> Response {
        Json(Document::of(self.0)).into_response()
    }
}

/// A body out of the ledger: the height is in a header too.
#[derive(Debug)]
pub(super) struct Ledger<T>(pub LedgerPoint, pub T);

impl<T: Kind + Serialize> IntoResponse for Ledger<T> {
    fn into_response(self) -> Response {
        ([("weft-ledger-height", self.0.ledger_height.to_string())], Doc(self.1)).into_response()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // A code of the command line that a backend let through: its words are kept.
        let Some(status) = self.code.status() else {
            let detail = format!("{}: {}", self.code, self.detail);
            return Self { code: ErrorCode::Internal, detail, extras: self.extras }.into_response();
        };
        // A problem document is strings and integers: it always serializes.
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response();
        if let Some(seconds) = self.extras.retry_after_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.code == ErrorCode::Unauthenticated {
            let scheme = HeaderValue::from_static("Bearer realm=\"weft\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        // For `finish`, which adds the request id.
        response.extensions_mut().insert(self);
        response
    }
}
