//! Bounds on requests: how many at a time, and for how long.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, HttpBody},
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::config::RouterConfig;
use crate::problem::{ErrorCode, Problem};

/// Places for requests.
#[derive(Debug, Clone)]
pub(super) struct Load {
    places: Arc<Semaphore>,
}

impl Load {
    /// So many places.
    pub(super) fn new(places: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))) }
    }
}

/// Passes a request on if there is a place, which it keeps until its answer is sent. Refuses it otherwise: whoever
/// waited here would hold memory without a bound.
pub(super) async fn admit(
    State(load): State<Load>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let Ok(place) = load.places.try_acquire_owned() else {
        return Err(
            Problem::new(ErrorCode::QueueFull, "too many requests at a time").retry_after(1)
        );
    };
    let response = next.run(request).await;
    Ok(response.map(|body| Body::new(Placed { body, _place: place })))
}

/// A body that keeps its request's place until it is sent or given up.
struct Placed {
    body: Body,
    _place: OwnedSemaphorePermit,
}

impl HttpBody for Placed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// Answers within the time limit of a request, or with `timeout`.
pub(super) async fn in_time(
    State(config): State<Arc<RouterConfig>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    within(config.request_timeout, async { Ok(next.run(request).await) }).await
}

/// What `work` answers, or `timeout` after `limit`. Drops the work then.
pub(super) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    match tokio::time::timeout(limit, work).await {
        Ok(answer) => answer,
        Err(_) => {
            let detail = format!("no answer within {} s", limit.as_secs_f64());
            Err(Problem::new(ErrorCode::Timeout, detail))
        }
    }
}
