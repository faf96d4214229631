//! This node, its neighbours, and the nodes of its mesh.

use axum::{
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use protocol::wire::{enroll::Verdict, is_tag, view::Admission};
use serde::Deserialize;

use super::{
    App,
    answer::{Doc, Reply},
    extract::{JsonBody, OptionalBody, Params},
};
use crate::{
    Backend, names,
    problem::{ErrorCode, FieldError, Problem},
    reference::NodeRef,
    views::{
        CoordinatorRequest, Coordinators, Decision, Health, Identity, JoinRequest, KeyChange,
        LabelChange, LeaveRequest, List, Node, Peer, Status, Version,
    },
};

/// What prometheus-client writes.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) async fn ready<B: Backend>(State(app): State<App<B>>) -> Result<&'static str, Problem> {
    check_ready(app.backend.health().await).map(|_| "ok\n")
}

pub(super) async fn health<B: Backend>(State(app): State<App<B>>) -> Reply<Health> {
    check_ready(app.backend.health().await).map(Doc)
}

fn check_ready(health: Health) -> Result<Health, Problem> {
    if health.ready {
        return Ok(health);
    }
    let bad: Vec<_> = health
        .checks
        .iter()
        .filter(|check| !check.good)
        .map(|check| check.detail.as_str())
        .collect();
    let detail = if bad.is_empty() { "the node is not ready".to_owned() } else { bad.join("; ") };
    let mut problem = Problem::new(ErrorCode::NotReady, detail);
    problem.extras.checks = health.checks;
    Err(problem)
}

pub(super) async fn metrics<B: Backend>(State(app): State<App<B>>) -> Response {
    ([(header::CONTENT_TYPE, OPENMETRICS)], app.backend.metrics().await).into_response()
}

pub(super) async fn version() -> Doc<Version> {
    Doc(Version::of_this_build())
}

pub(super) async fn status<B: Backend>(State(app): State<App<B>>) -> Reply<Status> {
    app.backend.status().await.map(Doc)
}

pub(super) async fn identity<B: Backend>(State(app): State<App<B>>) -> Reply<Identity> {
    app.backend.identity().await.map(Doc)
}

pub(super) async fn peers<B: Backend>(State(app): State<App<B>>) -> Reply<List<Peer>> {
    app.backend.peers().await.map(|peers| Doc(List::whole(peers)))
}

pub(super) async fn coordinators<B: Backend>(State(app): State<App<B>>) -> Reply<Coordinators> {
    app.backend.coordinators().await.map(Doc)
}

#[derive(Debug, Deserialize)]
pub(super) struct NodesParams {
    #[serde(with = "names::option", default)]
    admission: Option<Admission>,
}

pub(super) async fn list<B: Backend>(
    State(app): State<App<B>>,
    Params(params): Params<NodesParams>,
) -> Reply<List<Node>> {
    let mut nodes = app.backend.nodes().await?;
    nodes.retain(|node| params.admission.is_none_or(|admission| node.admission == admission));
    Ok(Doc(List::whole(nodes)))
}

pub(super) async fn show<B: Backend>(
    State(app): State<App<B>>,
    Path(node): Path<String>,
) -> Reply<Node> {
    let node: NodeRef = node.parse()?;
    let nodes = app.backend.nodes().await?;
    node.choose(&nodes).cloned().map(Doc)
}

pub(super) async fn approve<B: Backend>(
    app: State<App<B>>,
    node: Path<String>,
    decision: OptionalBody<Decision>,
) -> Reply<Node> {
    decide(app, node, decision, Verdict::Approve).await
}

pub(super) async fn reject<B: Backend>(
    app: State<App<B>>,
    node: Path<String>,
    decision: OptionalBody<Decision>,
) -> Reply<Node> {
    decide(app, node, decision, Verdict::Reject).await
}

pub(super) async fn block<B: Backend>(
    app: State<App<B>>,
    node: Path<String>,
    decision: OptionalBody<Decision>,
) -> Reply<Node> {
    decide(app, node, decision, Verdict::Block).await
}

pub(super) async fn unblock<B: Backend>(
    app: State<App<B>>,
    node: Path<String>,
    decision: OptionalBody<Decision>,
) -> Reply<Node> {
    decide(app, node, decision, Verdict::Unblock).await
}

pub(super) async fn suspend<B: Backend>(
    app: State<App<B>>,
    node: Path<String>,
    decision: OptionalBody<Decision>,
) -> Reply<Node> {
    decide(app, node, decision, Verdict::Suspend).await
}

pub(super) async fn reinstate<B: Backend>(
    app: State<App<B>>,
    node: Path<String>,
    decision: OptionalBody<Decision>,
) -> Reply<Node> {
    decide(app, node, decision, Verdict::Reinstate).await
}

pub(super) async fn label<B: Backend>(
    State(app): State<App<B>>,
    Path(node): Path<String>,
    JsonBody(change): JsonBody<LabelChange>,
) -> Reply<Node> {
    let node: NodeRef = node.parse()?;
    let nodes = app.backend.nodes().await?;
    let node = node.choose(&nodes)?.peer;
    let wrong = |(at, tag): (usize, &String)| {
        let detail = "a label has 1 to 64 letters, digits, `-`, `_`, `.` and `:`, and begins with a letter or digit";
        (!is_tag(tag)).then(|| FieldError::new(format!("/add/{at}"), "bad-value", detail))
    };
    let wrong: Vec<_> = change.add.iter().enumerate().filter_map(wrong).collect();
    if !wrong.is_empty() {
        return Err(Problem::invalid(wrong));
    }
    app.backend.label_node(node, change).await.map(Doc)
}

pub(super) async fn rotate<B: Backend>(State(app): State<App<B>>) -> Reply<KeyChange> {
    app.backend.rotate_key().await.map(Doc)
}

async fn decide<B: Backend>(
    State(app): State<App<B>>,
    Path(node): Path<String>,
    OptionalBody(decision): OptionalBody<Decision>,
    verdict: Verdict,
) -> Reply<Node> {
    let node: NodeRef = node.parse()?;
    let nodes = app.backend.nodes().await?;
    let node = node.choose(&nodes)?.peer;
    app.backend.decide_node(node, verdict, decision).await.map(Doc)
}

pub(super) async fn join<B: Backend>(
    State(app): State<App<B>>,
    JsonBody(request): JsonBody<JoinRequest>,
) -> Result<Response, Problem> {
    let joining = app.backend.join(request).await?;
    Ok((StatusCode::ACCEPTED, Doc(joining)).into_response())
}

pub(super) async fn leave<B: Backend>(
    State(app): State<App<B>>,
    JsonBody(request): JsonBody<LeaveRequest>,
) -> Result<Response, Problem> {
    let left = app.backend.leave(request).await?;
    Ok((StatusCode::ACCEPTED, Doc(left)).into_response())
}

pub(super) async fn coordinate<B: Backend>(
    State(app): State<App<B>>,
    JsonBody(request): JsonBody<CoordinatorRequest>,
) -> Reply<Coordinators> {
    app.backend.coordinate(request).await.map(Doc)
}

pub(super) async fn shut_down<B: Backend>(State(app): State<App<B>>) -> Result<Response, Problem> {
    let going = app.backend.shut_down().await?;
    Ok((StatusCode::ACCEPTED, Doc(going)).into_response())
}
