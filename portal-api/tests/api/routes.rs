//! Every route, in every mood of the node behind it.

use std::sync::Arc;

use axum::body::Body;
use http::{Method, header};
use portal_api::{ErrorCode, Problem};

use crate::{
    client::{Reply, get, loopback, portal, request, send, socket},
    fake::Fake,
    samples,
};

/// Every route: method, path, and the kind of its document, if it answers with one.
pub(super) fn all() -> Vec<(Method, String, Option<&'static str>)> {
    let (job, node) = (samples::JOB, samples::finch());
    let hash = protocol::ids::Hash::of(samples::CONTENT);
    let receipt = samples::RECEIPT;
    let routes = [
        ("GET /livez", None),
        ("GET /readyz", None),
        ("GET /healthz", Some("Health")),
        ("GET /metrics", None),
        ("GET /version", Some("Version")),
        ("GET /api/v1/status", Some("Status")),
        ("GET /api/v1/id", Some("Identity")),
        ("GET /api/v1/peers", Some("PeerList")),
        ("GET /api/v1/coordinators", Some("Coordinators")),
        ("GET /api/v1/nodes", Some("NodeList")),
        ("GET /api/v1/nodes/{node}", Some("Node")),
        ("POST /api/v1/nodes/{node}/approve", Some("Node")),
        ("POST /api/v1/nodes/{node}/reject", Some("Node")),
        ("POST /api/v1/nodes/{node}/block", Some("Node")),
        ("POST /api/v1/nodes/{node}/drain", Some("Node")),
        ("POST /api/v1/nodes/{node}/resume", Some("Node")),
        ("POST /api/v1/nodes/{node}/unblock", Some("Node")),
        ("POST /api/v1/nodes/{node}/suspend", Some("Node")),
        ("POST /api/v1/nodes/{node}/reinstate", Some("Node")),
        ("POST /api/v1/nodes/{node}/labels", Some("Node")),
        ("GET /api/v1/invites", Some("InviteList")),
        ("POST /api/v1/invites", Some("Invite")),
        ("POST /api/v1/invites/{invite}/revoke", Some("Invite")),
        ("GET /api/v1/jobs", Some("JobList")),
        ("POST /api/v1/jobs", Some("Job")),
        ("GET /api/v1/jobs/{job}", Some("Job")),
        ("POST /api/v1/jobs/{job}/cancel", Some("Job")),
        ("GET /api/v1/jobs/{job}/tasks", Some("TaskList")),
        ("GET /api/v1/jobs/{job}/results", Some("JobResults")),
        ("GET /api/v1/jobs/{job}/explain", Some("JobExplanation")),
        ("GET /api/v1/jobs/{job}/logs?task=1", None),
        ("POST /api/v1/blobs", Some("Blob")),
        ("GET /api/v1/blobs/{hash}", None),
        ("HEAD /api/v1/blobs/{hash}", None),
        ("GET /api/v1/credits", Some("CreditBalance")),
        ("GET /api/v1/credits/balance", Some("CreditBalance")),
        ("GET /api/v1/credits/history", Some("CreditHistory")),
        ("GET /api/v1/receipts", Some("ReceiptList")),
        ("GET /api/v1/receipts/{id}", Some("Receipt")),
        ("GET /api/v1/receipts/{id}/export", Some("ReceiptFile")),
        ("POST /api/v1/local/join", Some("Joining")),
        ("POST /api/v1/local/leave", Some("Left")),
        ("POST /api/v1/local/coordinator", Some("Coordinators")),
        ("POST /api/v1/local/shutdown", Some("ShuttingDown")),
        ("GET /api/v1/local/pause", Some("Pause")),
        ("POST /api/v1/local/pause", Some("Pause")),
        ("POST /api/v1/local/resume", Some("Pause")),
        ("GET /api/v1/local/limits", Some("Limits")),
        ("PATCH /api/v1/local/limits", Some("Limits")),
        ("POST /api/v1/local/identity/rotate", Some("KeyChange")),
    ];
    let filled = |(route, kind): (&'static str, _)| {
        let (method, path) = route.split_once(' ').unwrap();
        let path = path
            .replace("{job}", &job.to_string())
            .replace("{node}", &node.to_string())
            .replace("{hash}", &hash.to_string())
            .replace("{invite}", &samples::INVITE.to_string())
            .replace("{id}", &receipt.to_string());
        (method.parse().unwrap(), path, kind)
    };
    routes.map(filled).to_vec()
}

async fn ask(router: &axum::Router, method: &Method, path: &str) -> Reply {
    let body = match path {
        "/api/v1/jobs" => samples::submission().to_string(),
        "/api/v1/local/join" => r#"{"address": "/ip4/10.0.0.1/tcp/1/p2p/x"}"#.to_owned(),
        "/api/v1/local/coordinator" => r#"{"action": "transfer"}"#.to_owned(),
        "/api/v1/local/leave" => format!(r#"{{"mesh": "{}"}}"#, samples::left().mesh),
        path if path.ends_with("/labels") => r#"{"add": ["gpu"]}"#.to_owned(),
        _ => String::new(),
    };
    let mut request = request(method.clone(), path, body);
    request.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
    send(router, request).await
}

/// Asserts that an answer is a problem; one to `HEAD` has no body that could say which.
#[track_caller]
fn assert_problem(method: &Method, reply: &Reply, code: &str) {
    let status = ErrorCode::by_code(code).and_then(ErrorCode::status).unwrap();
    assert_eq!(reply.status, status, "{reply:?}");
    if *method != Method::HEAD {
        reply.assert_problem(code);
    }
}

/// Whether the answer is made without the node.
fn is_always_well(path: &str) -> bool {
    matches!(path, "/livez" | "/version" | "/metrics")
}

#[tokio::test]
async fn every_route_answers_with_its_document() {
    let router = socket(Fake::Well);
    for (method, path, kind) in all() {
        let reply = ask(&router, &method, &path).await;
        assert!(reply.status.is_success(), "{method} {path}: {reply:?}");
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{path}");
        assert!(!reply.header("cache-control").is_empty(), "{path}");
        assert!(!reply.header("x-request-id").is_empty(), "{path}");
        if let Some(kind) = kind {
            assert_eq!(reply.json()["apiVersion"], "weft/v1", "{path}");
            assert_eq!(reply.json()["kind"], kind, "{path}");
        }
    }
}

#[tokio::test]
async fn every_failure_of_the_node_is_a_problem_document() {
    let router =
        socket(Fake::Fails(Problem::new(ErrorCode::NoLeader, "nobody leads").retry_after(2)));
    for (method, path, _) in all() {
        let reply = ask(&router, &method, &path).await;
        match path.as_str() {
            path if is_always_well(path) => assert!(reply.status.is_success(), "{path}"),
            "/readyz" | "/healthz" => {
                let problem = reply.assert_problem("not-ready");
                assert_eq!(problem["checks"][1]["good"], false);
            }
            _ => {
                assert_problem(&method, &reply, "no-leader");
                assert_eq!(reply.header("retry-after"), "2", "{path}");
            }
        }
    }
}

#[tokio::test]
async fn a_code_that_has_no_status_is_a_bug_that_keeps_its_words() {
    let router = socket(Fake::Fails(Problem::new(ErrorCode::Interrupted, "broken off")));
    let problem = get(&router, "/api/v1/status").await.assert_problem("internal");
    assert_eq!(problem["detail"], "interrupted: broken off");
}

#[tokio::test]
async fn every_bug_of_the_node_is_a_problem_document() {
    let router = socket(Fake::Panics);
    for (method, path, _) in all() {
        let reply = ask(&router, &method, &path).await;
        if !is_always_well(&path) {
            assert_problem(&method, &reply, "internal");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_route_of_a_node_that_hangs_ends_in_time() {
    let router = socket(Fake::Hangs(Arc::default()));
    for (method, path, _) in all() {
        // Only the store knows how long it needs to make a blob durable.
        if is_always_well(&path) || path == "/api/v1/blobs" {
            continue;
        }
        assert_problem(&method, &ask(&router, &method, &path).await, "timeout");
    }
}

#[tokio::test]
async fn every_path_refuses_other_methods_and_names_its_own() {
    let router = socket(Fake::Well);
    for (method, path, _) in all() {
        let reply = ask(&router, &Method::PUT, &path).await;
        reply.assert_problem("method-not-allowed");
        assert!(
            reply.header("allow").contains(method.as_str()),
            "{path}: {}",
            reply.header("allow")
        );
    }
}

#[tokio::test]
async fn an_unknown_path_is_not_found() {
    let router = socket(Fake::Well);
    for path in [
        "/",
        "/api",
        "/api/v1",
        "/api/v1/nothing",
        "/api/v2/status",
        "/api/v1/status/",
        "/v1/models",
    ] {
        get(&router, path).await.assert_problem("not-found");
    }
    get(&router, "/api/v1/jobs/%ff").await.assert_problem("malformed");
}

#[tokio::test]
async fn every_route_is_in_the_document() {
    let document = include_str!("../../../docs/api.md");
    for (_, path, _) in all() {
        let path = path.split('?').next().unwrap();
        // The receipt's id holds the job's.
        let path = path
            .replace(&samples::RECEIPT.to_string(), "{id}")
            .replace(&samples::JOB.to_string(), "{job}")
            .replace(&samples::INVITE.to_string(), "{invite}")
            .replace(&samples::finch().to_string(), "{node}")
            .replace(&protocol::ids::Hash::of(samples::CONTENT).to_string(), "{hash}");
        let short = path.rsplit_once('/').map_or("", |(_, end)| end);
        assert!(document.contains(&path) || document.contains(&format!("…/{short}`")), "{path}");
    }
}

#[tokio::test]
async fn the_portal_has_everything_but_this_machine() {
    let router = portal(Fake::Well);
    let mut request = request(Method::POST, "/api/v1/local/shutdown", Body::empty());
    request.headers_mut().insert(header::HOST, "portal.example".parse().unwrap());
    request.headers_mut().insert(header::AUTHORIZATION, "Bearer 0123456789abcdef".parse().unwrap());
    send(&router, request).await.assert_problem("not-found");
}

#[tokio::test]
async fn a_client_may_name_its_request() {
    let router = socket(Fake::Well);
    for (sent, kept) in
        [("my-request_7", true), ("", false), ("a b", false), (&"x".repeat(65), false)]
    {
        let mut request = request(Method::GET, "/api/v1/nothing", Body::empty());
        request.headers_mut().insert("x-request-id", sent.parse().unwrap());
        let reply = send(&router, request).await;
        reply.assert_problem("not-found");
        assert_eq!(reply.header("x-request-id") == sent, kept, "{sent}");
    }
}

#[tokio::test]
async fn the_loopback_address_answers_reads_without_a_token() {
    let router = loopback(Fake::Well);
    for (method, path, _) in all() {
        if matches!(method, Method::GET | Method::HEAD) {
            let mut request = request(method, &path, Body::empty());
            request.headers_mut().insert(header::HOST, "127.0.0.1:4304".parse().unwrap());
            assert!(send(&router, request).await.status.is_success(), "{path}");
        }
    }
}
