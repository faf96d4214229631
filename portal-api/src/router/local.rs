//! This machine: pause, limits; and drains, of this node and of others.

use axum::extract::{Path, State};

use super::{
    App,
    answer::{Doc, Reply},
    extract::OptionalBody,
};
use crate::{
    Backend,
    problem::{FieldError, Problem},
    reference::NodeRef,
    views::{DrainRequest, LimitsChange, Node, OwnerLimits, Pause, PauseRequest},
};

/// Nothing is said to last longer, in seconds: a year.
const SECONDS_MAX: u64 = 366 * 24 * 3_600;

pub(super) async fn pause<B: Backend>(State(app): State<App<B>>) -> Reply<Pause> {
    app.backend.show_pause().await.map(Doc)
}

pub(super) async fn set_pause<B: Backend>(
    State(app): State<App<B>>,
    OptionalBody(request): OptionalBody<PauseRequest>,
) -> Reply<Pause> {
    in_bounds("/duration_seconds", request.duration_seconds)?;
    app.backend.pause(request).await.map(Doc)
}

pub(super) async fn resume<B: Backend>(State(app): State<App<B>>) -> Reply<Pause> {
    app.backend.resume().await.map(Doc)
}

pub(super) async fn limits<B: Backend>(State(app): State<App<B>>) -> Reply<OwnerLimits> {
    app.backend.show_limits().await.map(Doc)
}

pub(super) async fn set_limits<B: Backend>(
    State(app): State<App<B>>,
    OptionalBody(change): OptionalBody<LimitsChange>,
) -> Reply<OwnerLimits> {
    app.backend.set_limits(change).await.map(Doc)
}

pub(super) async fn drain<B: Backend>(
    State(app): State<App<B>>,
    Path(node): Path<String>,
    OptionalBody(request): OptionalBody<DrainRequest>,
) -> Reply<Node> {
    in_bounds("/deadline_seconds", request.deadline_seconds)?;
    order(app, node, Some(request)).await
}

pub(super) async fn undrain<B: Backend>(
    State(app): State<App<B>>,
    Path(node): Path<String>,
) -> Reply<Node> {
    order(app, node, None).await
}

async fn order<B: Backend>(app: App<B>, node: String, drain: Option<DrainRequest>) -> Reply<Node> {
    let node: NodeRef = node.parse()?;
    let nodes = app.backend.nodes().await?;
    let node = node.choose(&nodes)?.peer;
    app.backend.drain_node(node, drain).await.map(Doc)
}

fn in_bounds(pointer: &str, seconds: Option<u64>) -> Result<(), Problem> {
    match seconds {
        Some(seconds) if seconds > SECONDS_MAX => {
            let field =
                FieldError::new(pointer.to_owned(), "bad-value", "at most a year".to_owned());
            Err(Problem::invalid(vec![field]))
        }
        _ => Ok(()),
    }
}
