//! What is sent: submissions, decisions, uploads.

use std::{io, sync::Arc};

use axum::body::Body;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{Method, header};
use portal_api::{RouterConfig, router, router::Listener};
use protocol::ids::{Hash, JobId};
use serde_json::{Value, json};

use crate::{
    client::{Reply, get, post, request, send, socket},
    fake::Fake,
    samples,
};

/// The sample submission with some fields changed.
fn with(changes: &Value) -> Value {
    let mut body = samples::submission();
    let fields = body.as_object_mut().unwrap();
    fields.extend(changes.as_object().unwrap().clone());
    body
}

async fn send_text(text: &str, content_type: &str) -> Reply {
    let mut request = request(Method::POST, "/api/v1/jobs", text.to_owned());
    request.headers_mut().insert(header::CONTENT_TYPE, content_type.parse().unwrap());
    send(&socket(Fake::Well), request).await
}

#[tokio::test]
async fn a_submitted_job_is_found_at_its_location() {
    let reply = post(&socket(Fake::Well), "/api/v1/jobs", &samples::submission()).await;
    assert_eq!(reply.status, 202);
    let id = reply.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(reply.header("location"), format!("/api/v1/jobs/{id}"));
    assert_eq!(reply.header("idempotent-replayed"), "");
}

#[tokio::test]
async fn the_same_key_is_the_same_job() {
    let submit = async |key: &str| {
        let mut request = request(Method::POST, "/api/v1/jobs", samples::submission().to_string());
        request.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
        request.headers_mut().insert("idempotency-key", key.parse().unwrap());
        send(&socket(Fake::Well), request).await
    };
    let (first, again, other) = (submit("k-1").await, submit("k-1").await, submit("k-2").await);
    assert_eq!(first.json()["id"], again.json()["id"]);
    assert_ne!(first.json()["id"], other.json()["id"]);
    submit("").await.assert_problem("malformed");
}

#[tokio::test]
async fn the_id_in_the_body_wins_and_a_replay_is_said_so() {
    let mut request = request(
        Method::POST,
        "/api/v1/jobs",
        with(&json!({"job_id": samples::JOB.to_string()})).to_string(),
    );
    request
        .headers_mut()
        .insert(header::CONTENT_TYPE, "application/json; charset=utf-8".parse().unwrap());
    request.headers_mut().insert("idempotency-key", "k-1".parse().unwrap());
    let reply = send(&socket(Fake::Well), request).await;
    assert_eq!(reply.json()["id"], samples::JOB.to_string());
    assert_eq!(reply.header("idempotent-replayed"), "true");
}

#[tokio::test]
async fn a_dry_run_answers_with_the_plan() {
    let reply = post(&socket(Fake::Well), "/api/v1/jobs", &with(&json!({"dry_run": true}))).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json()["kind"], "JobPlan");
}

#[tokio::test]
async fn what_is_not_json_is_refused_with_its_place() {
    let reply = send_text("{\"name\": \"x\",\n  oops}", "application/json").await;
    let problem = reply.assert_problem("malformed-json");
    assert!(problem["detail"].as_str().unwrap().contains("line 2 column 3"), "{problem}");
    for text in ["", "{", "{} {}", "nonsense"] {
        let reply = send_text(text, "application/json").await;
        assert!(reply.status.is_client_error(), "{text}");
    }
}

#[tokio::test]
async fn another_content_type_is_refused() {
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        let reply = send_text(&samples::submission().to_string(), content_type).await;
        reply.assert_problem("unsupported-media-type");
    }
}

#[tokio::test]
async fn a_field_that_is_wrong_is_named() {
    let router = socket(Fake::Well);
    let hash = Hash([1; 32]).to_string();
    for (changes, pointer) in [
        (json!({"surprise": 1}), ""),
        (json!({"limits": {"fuel": "much"}}), "/limits/fuel"),
        (json!({"limits": {"feul": 1}}), "/limits"),
        (json!({"module": "abc"}), "/module"),
        (json!({"env": [["A", "b"], ["C"]]}), "/env/1"),
        (json!({"scope": "universe"}), "/scope"),
        (json!({"isolation": "Z"}), "/isolation"),
        (json!({"reduce": {"modul": hash}}), "/reduce"),
        (json!({"name": "-x"}), "/name"),
        (json!({"tasks": 0}), "/tasks"),
        (json!({"tasks": 1_000_001}), "/tasks"),
        (json!({"limits": {"memory_pages": 65_537}}), "/limits/memory_pages"),
        (json!({"limits": {"timeout_ms": 0}}), "/limits/timeout_ms"),
        (json!({"ttl_seconds": 0}), "/ttl_seconds"),
        (json!({"tags": ["ok", "not ok"]}), "/tags/1"),
        (json!({"env": [["A=B", "c"]]}), "/env/0"),
        (json!({"args": ["a\u{0}"]}), "/args/0"),
        (json!({"args": ["a".repeat(65_536)]}), "/args"),
    ] {
        let reply = post(&router, "/api/v1/jobs", &with(&changes)).await;
        let problem = reply.assert_problem("validation-failed");
        let found = problem["errors"][0]["pointer"].as_str().unwrap();
        assert!(found.starts_with(pointer), "{pointer} for {problem}");
    }
}

#[tokio::test]
async fn every_field_that_is_out_of_bounds_is_named() {
    let changes = json!({"name": "", "tasks": 0, "limits": {"fuel": 0}});
    let problem = post(&socket(Fake::Well), "/api/v1/jobs", &with(&changes))
        .await
        .assert_problem("validation-failed");
    let pointers: Vec<_> =
        problem["errors"].as_array().unwrap().iter().map(|error| &error["pointer"]).collect();
    assert_eq!(pointers, ["/name", "/tasks", "/limits/fuel"]);
}

#[tokio::test]
async fn every_way_to_reduce_is_understood() {
    let router = socket(Fake::Well);
    let module = json!({"module": Hash([1; 32]).to_string()});
    for reduce in [json!(null), json!("concat"), json!("json-sum"), json!("last"), module] {
        let reply = post(&router, "/api/v1/jobs", &with(&json!({"reduce": reduce}))).await;
        assert_eq!(reply.status, 202, "{reduce}");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let config = RouterConfig { json_bytes_max: 512, ..RouterConfig::new(Listener::Socket) };
    let router = router(Arc::new(Fake::Well), config);
    let body = with(&json!({"args": ["a".repeat(512)]}));
    post(&router, "/api/v1/jobs", &body).await.assert_problem("payload-too-large");
}

#[tokio::test]
async fn a_decision_may_come_with_a_body_or_without() {
    let router = socket(Fake::Well);
    let path = format!("/api/v1/nodes/{}/approve", samples::finch());
    let bare = send(&router, request(Method::POST, &path, Body::empty())).await;
    assert_eq!((bare.status.as_u16(), &bare.json()["admission"]), (200, &"APPROVED".into()));
    let reply = post(&router, &path, &json!({"code": "417208", "roles": ["relay"]})).await;
    assert_eq!(reply.json()["roles"], json!(["relay"]));
    post(&router, &path, &json!({"code": "000000"})).await.assert_problem("code-mismatch");
    post(&router, &path, &json!({"roles": ["king"]})).await.assert_problem("validation-failed");
    post(&router, &path, &json!({"because": "I can"})).await.assert_problem("validation-failed");
    for verdict in ["reject", "block"] {
        let path = format!("/api/v1/nodes/calm-finch/{verdict}");
        assert_eq!(post(&router, &path, &json!({})).await.json()["admission"], "BLACKLISTED");
    }
}

#[tokio::test]
async fn content_comes_back_as_it_was_sent() {
    let router = socket(Fake::Well);
    let sent = send(&router, request(Method::POST, "/api/v1/blobs", samples::CONTENT)).await;
    assert_eq!(sent.status, 201);
    let hash = Hash::of(samples::CONTENT).to_string();
    assert_eq!((&sent.json()["hash"], &sent.json()["bytes"]), (&json!(hash), &json!(6)));
    let path = sent.header("location").to_owned();
    let back = get(&router, &path).await;
    assert_eq!(back.body, samples::CONTENT);
    assert_eq!(back.header("content-length"), "6");
    assert_eq!(back.header("content-disposition"), "attachment");
    assert_eq!(back.header("etag"), format!("\"{hash}\""));
    let head = send(&router, request(Method::HEAD, &path, Body::empty())).await;
    assert_eq!((head.header("content-length"), head.body.len()), ("6", 0));
    let mut known = request(Method::GET, &path, Body::empty());
    known.headers_mut().insert(header::IF_NONE_MATCH, back.header("etag").parse().unwrap());
    assert_eq!(send(&router, known).await.status, 304);
}

#[tokio::test]
async fn content_that_nobody_has_is_not_found() {
    let router = socket(Fake::Well);
    for hash in [Hash([9; 32]).to_string(), "abc".to_owned()] {
        get(&router, &format!("/api/v1/blobs/{hash}")).await.assert_problem("not-found");
        let head =
            send(&router, request(Method::HEAD, &format!("/api/v1/blobs/{hash}"), Body::empty()))
                .await;
        assert_eq!(head.status, 404);
    }
}

#[tokio::test]
async fn a_blob_over_the_limit_is_refused_declared_or_not() {
    let config = RouterConfig { blob_bytes_max: 5, ..RouterConfig::new(Listener::Socket) };
    let router = router(Arc::new(Fake::Well), config);
    let mut declared = request(Method::POST, "/api/v1/blobs", samples::CONTENT);
    declared.headers_mut().insert(header::CONTENT_LENGTH, "6".parse().unwrap());
    send(&router, declared).await.assert_problem("payload-too-large");
    let pieces = samples::CONTENT.chunks(1).map(|piece| io::Result::Ok(Bytes::from_static(piece)));
    let undeclared =
        request(Method::POST, "/api/v1/blobs", Body::from_stream(stream::iter(pieces)));
    send(&router, undeclared).await.assert_problem("payload-too-large");
    let small = send(&router, request(Method::POST, "/api/v1/blobs", "12345")).await;
    assert_eq!(small.status, 201);
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_stands_still_is_given_up() {
    let begun = stream::iter([io::Result::Ok(Bytes::from_static(b"he"))]).chain(stream::pending());
    let upload = request(Method::POST, "/api/v1/blobs", Body::from_stream(begun));
    send(&socket(Fake::Well), upload).await.assert_problem("timeout");
}

#[tokio::test]
async fn an_upload_that_breaks_off_is_said_so() {
    let broken = stream::iter([Ok(Bytes::from_static(b"he")), Err(io::Error::other("gone"))]);
    let upload = request(Method::POST, "/api/v1/blobs", Body::from_stream(broken));
    send(&socket(Fake::Well), upload).await.assert_problem("malformed");
}

#[tokio::test(start_paused = true)]
async fn a_watcher_waits_for_news_and_no_longer_than_it_says() {
    let router = socket(Fake::Well);
    let begun = tokio::time::Instant::now();
    let path = format!("/api/v1/jobs/{}", samples::JOB);
    get(&router, &format!("{path}?wait=60&version=1")).await.json();
    assert_eq!(begun.elapsed().as_secs(), 0);
    get(&router, &format!("{path}?wait=60&version=97")).await.json();
    assert_eq!(begun.elapsed().as_secs(), 60);
    get(&router, &format!("{path}?wait=61")).await.assert_problem("validation-failed");
    get(&router, &format!("{path}?wait=soon")).await.assert_problem("validation-failed");
}

#[tokio::test]
async fn a_job_is_found_by_a_part_of_its_id_or_its_name() {
    let router = socket(Fake::Well);
    for job in ["abab", "ABABAB", "wordfreq", "WordFreq"] {
        assert_eq!(
            get(&router, &format!("/api/v1/jobs/{job}")).await.json()["id"],
            samples::JOB.to_string(),
            "{job}"
        );
    }
    let problem = get(&router, "/api/v1/jobs/acac").await.assert_problem("ambiguous-id");
    assert_eq!(problem["candidates"].as_array().unwrap().len(), 2);
    let problem = get(&router, "/api/v1/jobs/wordfrek").await.assert_problem("not-found");
    assert_eq!(problem["candidates"], json!(["wordfreq"]));
    for job in [JobId([0xee; 16]).to_string(), samples::NO_JOB.to_string(), "a%20b".to_owned()] {
        get(&router, &format!("/api/v1/jobs/{job}")).await.assert_problem("not-found");
    }
}

#[tokio::test]
async fn a_node_is_found_by_its_name_or_the_end_of_its_id() {
    let router = socket(Fake::Well);
    let finch = samples::finch().to_string();
    for node in ["calm-finch", finch.as_str(), &finch[finch.len() - 8..]] {
        assert_eq!(
            get(&router, &format!("/api/v1/nodes/{node}")).await.json()["peer"],
            finch,
            "{node}"
        );
    }
    get(&router, "/api/v1/nodes/12D3KooW").await.assert_problem("ambiguous-id");
    let problem = get(&router, "/api/v1/nodes/calm-fink").await.assert_problem("not-found");
    assert_eq!(problem["candidates"], json!(["calm-finch"]));
}

#[tokio::test]
async fn what_a_task_wrote_is_text_whatever_it_is() {
    let router = socket(Fake::Well);
    let path = format!("/api/v1/jobs/{}/logs", samples::JOB);
    let stdout = get(&router, &format!("{path}?task=1&stream=stdout")).await;
    assert_eq!(stdout.body, samples::CONTENT);
    assert_eq!(stdout.header("content-type"), "text/plain; charset=utf-8");
    assert!(get(&router, &format!("{path}?task=1")).await.body.is_empty());
    let problem = get(&router, &path).await.assert_problem("validation-failed");
    assert_eq!(problem["errors"][0]["pointer"], "/task");
    get(&router, &format!("{path}?task=700")).await.assert_problem("not-found");
    get(&router, &format!("{path}?task=1&stream=both")).await.assert_problem("validation-failed");
}
