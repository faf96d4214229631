//! Asks the API without a socket.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
};
use http::{HeaderMap, Method, Request, StatusCode, header};
use portal_api::{
    RouterConfig, router,
    router::{Listener, Token},
};
use serde_json::Value;
use tower::ServiceExt as _;

use crate::fake::Fake;

pub(crate) const TOKEN: &str = "0123456789abcdef";

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// Asserts that it is a problem document of this code, consistent with its status.
    #[track_caller]
    pub(crate) fn assert_problem(&self, code: &str) -> Value {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let problem = self.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], self.status.as_u16(), "{problem}");
        assert_eq!(problem["request_id"], self.header("x-request-id"), "{problem}");
        assert_eq!(
            (&problem["apiVersion"], &problem["kind"]),
            (&"weft/v1".into(), &"Error".into())
        );
        problem
    }
}

pub(crate) fn socket(fake: Fake) -> Router {
    router(Arc::new(fake), RouterConfig::new(Listener::Socket))
}

pub(crate) fn loopback(fake: Fake) -> Router {
    let listener =
        Listener::Loopback { token: Token::new(TOKEN), hosts: vec!["weft.lan".to_owned()] };
    router(Arc::new(fake), RouterConfig::new(listener))
}

pub(crate) fn portal(fake: Fake) -> Router {
    let listener =
        Listener::Portal { token: Token::new(TOKEN), hosts: vec!["portal.example".to_owned()] };
    router(Arc::new(fake), RouterConfig::new(listener))
}

pub(crate) async fn send(router: &Router, request: Request<Body>) -> Reply {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
    Reply { status: parts.status, headers: parts.headers, body }
}

pub(crate) fn request(method: Method, path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::builder().method(method).uri(path).body(body.into()).unwrap()
}

pub(crate) async fn get(router: &Router, path: &str) -> Reply {
    send(router, request(Method::GET, path, Body::empty())).await
}

pub(crate) async fn post(router: &Router, path: &str, body: &Value) -> Reply {
    let mut request = request(Method::POST, path, body.to_string());
    request.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
    send(router, request).await
}
