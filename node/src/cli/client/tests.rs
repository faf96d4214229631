use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use axum::{
    Json, Router,
    body::Bytes as BodyBytes,
    extract::State,
    http::{HeaderMap, StatusCode as Status},
    routing::{get, post},
};
use portal_api::views::{Blob, Version};
use protocol::ids::Hash;
use tempfile::TempDir;
use tokio::net::UnixListener;

use super::*;

/// A node that knows a few answers.
struct Node {
    dir: TempDir,
    requests: Arc<AtomicU32>,
    _serving: JoinSet<()>,
}

impl Node {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let requests = Arc::new(AtomicU32::new(0));
        let router = Router::new()
            .route("/version", get(|| async { Json(Document::of(Version::of_this_build())) }))
            .route("/other", get(|| async { "{\"apiVersion\":\"weft/v1\",\"kind\":\"Other\"}" }))
            .route(
                "/poor",
                get(|| async { refuse(Problem::new(ErrorCode::InsufficientCredits, "how much")) }),
            )
            .route("/bare", get(|| async { Status::SERVICE_UNAVAILABLE }))
            .route(
                "/close",
                get(|| async {
                    ([("connection", "close")], Json(Document::of(Version::of_this_build())))
                }),
            )
            .route("/api/v1/blobs", post(keep))
            .route("/api/v1/blobs/{hash}", get(|| async { "content" }))
            .with_state(Arc::clone(&requests));
        let listener = UnixListener::bind(dir.path().join("weft.sock")).unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { dir, requests, _serving: serving }
    }

    /// Both, so that the node lives as long as its client.
    fn with_client() -> (Client, Self) {
        let node = Self::start();
        (Client::new(Target::Unix(node.dir.path().join("weft.sock"))), node)
    }
}

fn refuse(problem: Problem) -> (Status, Json<Problem>) {
    (problem.code.status().unwrap(), Json(problem))
}

/// Keeps nothing, but says what it was sent.
async fn keep(
    State(requests): State<Arc<AtomicU32>>,
    headers: HeaderMap,
    body: BodyBytes,
) -> Result<Json<Document<Blob>>, Status> {
    requests.fetch_add(1, Ordering::SeqCst);
    if headers["content-type"] != "application/octet-stream" || headers["host"] != "localhost" {
        return Err(Status::BAD_REQUEST);
    }
    Ok(Json(Document::of(Blob { hash: Hash::of(&body), bytes: body.len() as u64 })))
}

#[test]
fn a_name_cannot_leave_its_segment() {
    assert_eq!(encode("brave-otter"), "brave-otter");
    assert_eq!(encode("../a?b=c&d#e f"), "..%2Fa%3Fb%3Dc%26d%23e%20f");
    assert_eq!(encode("ä"), "%C3%A4");
}

#[tokio::test]
async fn a_document_is_read_and_another_one_is_not_taken_for_it() {
    let (mut client, _node) = Node::with_client();
    let version: Version = client.get("/version").await.unwrap();
    assert_eq!(version, Version::of_this_build());
    let error = client.get::<Version>("/other").await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::VersionMismatch);
}

#[tokio::test]
async fn what_the_node_refuses_keeps_its_code_and_words() {
    let (mut client, _node) = Node::with_client();
    let error = client.get::<Version>("/poor").await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::InsufficientCredits);
    assert!(error.render().contains("× how much\n"));
    assert_eq!(client.get::<Version>("/bare").await.unwrap_err().code(), ErrorCode::NotReady);
    assert_eq!(client.get::<Version>("/none").await.unwrap_err().code(), ErrorCode::NotFound);
}

#[tokio::test]
async fn content_is_uploaded_from_memory_and_from_files() {
    let (mut client, node) = Node::with_client();
    let large = vec![7; CHUNK_BYTES * 3 + 1];
    let path = node.dir.path().join("file");
    std::fs::write(&path, &large).unwrap();
    assert_eq!(
        client.put_blob(Upload::Bytes(Bytes::from_static(b"abc"))).await.unwrap(),
        Hash::of(b"abc")
    );
    assert_eq!(client.put_blob(Upload::File(&path)).await.unwrap(), Hash::of(&large));
    assert_eq!(node.requests.load(Ordering::SeqCst), 2);
    let missing = node.dir.path().join("none");
    let error = client.put_blob(Upload::File(&missing)).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::FileUnreadable);
}

#[tokio::test]
async fn content_that_is_not_what_its_hash_says_is_refused() {
    let (mut client, _node) = Node::with_client();
    let unwritable = |error: &io::Error| CliError::internal(error.to_string());
    let mut sink = Vec::new();
    assert_eq!(client.fetch_blob(Hash::of(b"content"), &mut sink, &unwritable).await.unwrap(), 7);
    assert_eq!(sink, b"content");
    let error = client.fetch_blob(Hash::of(b"other"), &mut sink, &unwritable).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Internal);
    assert!(client.has_blob(Hash::of(b"content")).await.unwrap());
}

#[tokio::test]
async fn a_connection_that_the_node_closed_is_opened_again() {
    let (mut client, _node) = Node::with_client();
    for _ in 0..3 {
        client.get::<Version>("/close").await.unwrap();
        client.get::<Version>("/version").await.unwrap();
    }
}

#[tokio::test]
async fn without_a_node_it_is_unreachable() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("weft.sock");
    let mut client = Client::new(Target::Unix(socket.clone()));
    assert_eq!(
        client.get::<Version>("/version").await.unwrap_err().code(),
        ErrorCode::DaemonUnreachable
    );
    drop(UnixListener::bind(&socket).unwrap());
    assert_eq!(
        client.get::<Version>("/version").await.unwrap_err().code(),
        ErrorCode::DaemonUnreachable
    );
}
