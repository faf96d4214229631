//! The last step of every answer: request id, headers, and a problem document for every error.

use std::{
    any::Any,
    sync::atomic::{AtomicU64, Ordering},
};

use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::problem::{ErrorCode, Problem};

/// Names the request, in the request, the answer and the log.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// No longer id is taken from a client, in bytes.
const REQUEST_ID_MAX: usize = 64;

/// Requests are numbered over all listeners of the process.
static REQUESTS: AtomicU64 = AtomicU64::new(1);

/// Answers a request whose handler panicked. The panic itself is in the log.
pub(super) fn panicked(_: Box<dyn Any + Send>) -> Response {
    Problem::new(ErrorCode::Internal, "the request met a bug; the log of the node has more")
        .into_response()
}

/// Numbers the request and finishes its answer.
pub(super) async fn finish(request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let what = format!("{} {}", request.method(), request.uri().path());
    let response = next.run(request).await;
    let status = response.status().as_u16();
    let problem = problem_of(&response);
    let code = problem.as_ref().map(|problem| problem.code.code());
    tracing::debug!(request = id, what, status, code, "request answered");
    let mut response = match problem {
        Some(problem) => {
            log_problem(&id, &what, &problem);
            with_body(response, problem, &id)
        }
        None => response,
    };
    set_headers(response.headers_mut());
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// What clients do wrong, and what passes by itself, is theirs to see.
fn log_problem(id: &str, what: &str, problem: &Problem) {
    if problem.code == ErrorCode::Internal {
        tracing::warn!(request = id, what, %problem, "request failed");
    }
}

/// The id that the client chose, if it is a harmless one; else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let harmless = |id: &&str| {
        (1..=REQUEST_ID_MAX).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    headers
        .get(REQUEST_ID)
        .and_then(|id| id.to_str().ok())
        .filter(harmless)
        .map_or_else(|| format!("{:x}", REQUESTS.fetch_add(1, Ordering::Relaxed)), str::to_owned)
}

/// The problem that an answer tells: the handler's own, or, for what the framework refused by itself (a path that
/// is not UTF-8, a method that is not served), the one of its status.
fn problem_of(response: &Response) -> Option<Problem> {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return None;
    }
    let own = response.extensions().get::<Problem>().cloned();
    Some(own.unwrap_or_else(|| {
        let code = ErrorCode::of_status(status);
        Problem::new(code, code.title())
    }))
}

/// The answer with the problem as its body. Headers like `Allow` stay.
fn with_body(response: Response, mut problem: Problem, id: &str) -> Response {
    problem.extras.request_id = Some(id.to_owned());
    let mut headers = response.into_parts().0.headers;
    let mut told = problem.into_response();
    for name in [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
        headers.remove(name);
    }
    headers.extend(told.headers_mut().drain());
    *told.headers_mut() = headers;
    told
}

/// Browsers are told to trust nothing here; nothing is cached unless a handler says so.
fn set_headers(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}
