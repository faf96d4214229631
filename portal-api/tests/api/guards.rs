//! Who may ask, and who may change something.

use std::sync::Arc;

use axum::{Router, body::Body};
use http::{HeaderName, Method, header};
use portal_api::{RouterConfig, router, router::Listener};
use tower::ServiceExt as _;

use crate::{
    client::{Reply, TOKEN, get, loopback, portal, request, send, socket},
    fake::Fake,
    samples,
};

async fn ask(router: &Router, method: Method, path: &str, headers: &[(HeaderName, &str)]) -> Reply {
    let mut request = request(method, path, Body::empty());
    for (name, value) in headers {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    send(router, request).await
}

fn cancel() -> String {
    format!("/api/v1/jobs/{}/cancel", samples::JOB)
}

const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

#[tokio::test]
async fn a_name_that_was_bound_to_this_address_is_refused() {
    let router = loopback(Fake::Well);
    for host in ["evil.example", "evil.example:4304", "127.0.0.1.evil.example", "0.0.0.0:4304", ""]
    {
        let reply = ask(&router, Method::GET, "/api/v1/status", &[(header::HOST, host)]).await;
        reply.assert_problem("bad-host");
    }
    get(&router, "/api/v1/status").await.assert_problem("bad-host");
    for host in ["127.0.0.1:4304", "localhost", "LOCALHOST:1", "[::1]:4304", "weft.lan:4304"] {
        let reply = ask(&router, Method::GET, "/api/v1/status", &[(header::HOST, host)]).await;
        assert!(reply.status.is_success(), "{host}");
    }
}

#[tokio::test]
async fn the_portal_has_its_own_names_only() {
    let router = portal(Fake::Well);
    let reply = ask(&router, Method::GET, "/api/v1/status", &[(header::HOST, "127.0.0.1")]).await;
    reply.assert_problem("bad-host");
    let reply =
        ask(&router, Method::GET, "/api/v1/status", &[(header::HOST, "portal.example:4310")]).await;
    assert!(reply.status.is_success());
}

#[tokio::test]
async fn a_change_over_tcp_needs_the_token() {
    let router = loopback(Fake::Well);
    let host = (header::HOST, "127.0.0.1:4304");
    for shown in
        [None, Some("Bearer wrong"), Some("Bearer"), Some("Basic 0123456789abcdef"), Some(TOKEN)]
    {
        let mut headers = vec![host.clone()];
        headers.extend(shown.map(|shown| (header::AUTHORIZATION, shown)));
        let reply = ask(&router, Method::POST, &cancel(), &headers).await;
        reply.assert_problem("unauthenticated");
        assert_eq!(reply.header("www-authenticate"), "Bearer realm=\"weft\"");
    }
    for shown in ["Bearer 0123456789abcdef", "bearer  0123456789abcdef "] {
        let headers = [host.clone(), (header::AUTHORIZATION, shown)];
        assert_eq!(ask(&router, Method::POST, &cancel(), &headers).await.status, 202, "{shown}");
    }
}

#[tokio::test]
async fn a_page_of_another_site_changes_nothing_even_with_the_token() {
    let router = loopback(Fake::Well);
    let own =
        [(header::HOST, "127.0.0.1:4304"), (header::AUTHORIZATION, "Bearer 0123456789abcdef")];
    for foreign in [
        (header::ORIGIN, "https://evil.example"),
        (header::ORIGIN, "http://127.0.0.1:8080"),
        (header::ORIGIN, "null"),
        (SITE, "cross-site"),
        (SITE, "same-site"),
    ] {
        let headers = [own.as_slice(), std::slice::from_ref(&foreign)].concat();
        ask(&router, Method::POST, &cancel(), &headers).await.assert_problem("cross-origin");
    }
    for same in [(header::ORIGIN, "http://127.0.0.1:4304"), (SITE, "same-origin"), (SITE, "none")] {
        let headers = [own.as_slice(), std::slice::from_ref(&same)].concat();
        assert_eq!(ask(&router, Method::POST, &cancel(), &headers).await.status, 202, "{same:?}");
    }
}

#[tokio::test]
async fn whoever_reaches_the_socket_is_trusted() {
    let router = socket(Fake::Well);
    assert_eq!(ask(&router, Method::POST, &cancel(), &[]).await.status, 202);
    assert_eq!(ask(&router, Method::POST, "/api/v1/local/shutdown", &[]).await.status, 202);
}

#[tokio::test]
async fn no_other_site_is_told_that_it_may_read() {
    let router = loopback(Fake::Well);
    let headers = [(header::HOST, "localhost"), (header::ORIGIN, "https://evil.example")];
    let reply = ask(&router, Method::GET, "/api/v1/status", &headers).await;
    assert_eq!(reply.header("access-control-allow-origin"), "");
    assert_eq!(reply.header("cross-origin-resource-policy"), "same-origin");
    ask(&router, Method::OPTIONS, "/api/v1/jobs", &headers).await.assert_problem("cross-origin");
}

#[tokio::test]
async fn one_request_too_many_is_refused_until_a_place_is_free() {
    let config = RouterConfig { concurrency_max: 1, ..RouterConfig::new(Listener::Socket) };
    let router = router(Arc::new(Fake::Well), config);
    let blob = format!("/api/v1/blobs/{}", protocol::ids::Hash::of(samples::CONTENT));
    // The answer is not read yet, so it keeps its place.
    let first = router.clone().oneshot(request(Method::GET, &blob, Body::empty())).await.unwrap();
    let refused = get(&router, "/api/v1/status").await;
    refused.assert_problem("queue-full");
    assert_eq!(refused.header("retry-after"), "1");
    assert!(get(&router, "/livez").await.status.is_success());
    drop(first);
    assert!(get(&router, "/api/v1/status").await.status.is_success());
}
