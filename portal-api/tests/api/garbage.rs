//! Whatever a stranger sends over HTTP is answered: never with a panic, never with a failure that is not a problem
//! document, and never as a bug of the node. The requests are the same in every run.

use axum::body::Body;
use http::{HeaderName, HeaderValue, Method, Request, header};
use portal_api::problem::CONTENT_TYPE;
use protocol::testing::Numbers;

use crate::{
    client::{TOKEN, loopback, portal, send, socket},
    fake::Fake,
    routes,
};

/// Requests of each listener.
const REQUESTS: usize = 3_000;

/// One of these.
fn pick<'a, T>(numbers: &mut Numbers, of: &'a [T]) -> &'a T {
    numbers.pick(of).unwrap()
}

const PIECES: &[&str] = &[
    "%",
    "%00",
    "%ff",
    "%2f",
    "..",
    "/",
    "//",
    "?",
    "&",
    "=",
    "limit=",
    "limit=0",
    "limit=501",
    "limit=99999999999999999999",
    "cursor=",
    "cursor=AAAA",
    "wait=60000",
    "wait=-1",
    "version=x",
    "task=4294967296",
    "stream=both",
    "state=",
    "state=%80",
    "account=mine",
    "a",
    "0000",
    "ffffffffffffffffffffffffffffffff",
    "12D3KooW",
    "r-00000000000000000000000000000000-0",
    "é",
    "'",
    "\\",
    ";",
    "+",
    "*",
];

const VALUES: &[&[u8]] = &[
    b"",
    b"x",
    b"application/json",
    b"application/json; charset=utf-8",
    b"text/plain",
    b"Bearer ",
    b"Bearer x",
    b"Bearer 0123456789abcdef",
    b"localhost",
    b"127.0.0.1:99999",
    b"evil.example",
    b"null",
    b"https://evil.example",
    b"cross-site",
    b"bytes=0-",
    b"bytes=9-1",
    b"\xff\xfe",
    b"100-continue",
    b"*",
    b"0",
    b"99999999999999999999",
];

const NAMES: &[HeaderName] = &[
    header::CONTENT_TYPE,
    header::AUTHORIZATION,
    header::HOST,
    header::ORIGIN,
    header::RANGE,
    header::IF_NONE_MATCH,
    header::ACCEPT,
    header::EXPECT,
    header::CONTENT_LENGTH,
];

const BODIES: &[&str] = &[
    "",
    "{}",
    "[]",
    "null",
    "{",
    "\u{0}",
    "{\"name\":1}",
    "{\"unknown\":true}",
    "{\"code\":null,\"roles\":[\"boss\"]}",
    "{\"name\":\"x\",\"module\":\"00\",\"manifest\":\"00\",\"tasks\":-1}",
    "{\"name\":\"x\",\"tasks\":1e400}",
    "{\"job_id\":\"\",\"limits\":{\"fuel\":18446744073709551616}}",
];

fn mutated(path: &str, numbers: &mut Numbers) -> String {
    let mut path = path.to_owned();
    for _ in 0..numbers.below(4) {
        let piece = pick(numbers, PIECES);
        let places: Vec<_> = path.char_indices().map(|(at, _)| at).skip(1).collect();
        match numbers.below(4) {
            0 => path.push_str(piece),
            1 => path.push_str(&format!("?{piece}")),
            2 if !places.is_empty() => path.insert_str(*pick(numbers, &places), piece),
            _ if !places.is_empty() => path.truncate(*pick(numbers, &places)),
            _ => {}
        }
    }
    path
}

/// A request near one of a route's, if it can be said in HTTP at all.
fn request(
    numbers: &mut Numbers,
    all: &[(Method, String, Option<&'static str>)],
) -> Option<Request<Body>> {
    let (method, path, _) = pick(numbers, all);
    let other =
        [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::HEAD];
    let method = if numbers.below(4) == 0 { pick(numbers, &other) } else { method };
    let body = match numbers.below(3) {
        0 => (*pick(numbers, BODIES)).as_bytes().to_vec(),
        1 => (0..numbers.below(64)).map(|_| numbers.byte()).collect(),
        _ => Vec::new(),
    };
    let mut request =
        Request::builder().method(method).uri(mutated(path, numbers)).body(body.into()).ok()?;
    let headers = request.headers_mut();
    headers.insert(header::HOST, HeaderValue::from_static("127.0.0.1"));
    if numbers.below(2) == 0 {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::AUTHORIZATION, format!("Bearer {TOKEN}").parse().unwrap());
    }
    for _ in 0..numbers.below(3) {
        let value: &&[u8] = pick(numbers, VALUES);
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.insert(pick(numbers, NAMES), value);
        }
    }
    Some(request)
}

#[tokio::test(start_paused = true)]
async fn every_request_is_answered() {
    let all = routes::all();
    let mut numbers = Numbers::default();
    for router in [socket(Fake::default()), loopback(Fake::default()), portal(Fake::default())] {
        let mut refused = 0;
        for _ in 0..REQUESTS {
            let Some(request) = request(&mut numbers, &all) else { continue };
            let (method, uri) = (request.method().clone(), request.uri().clone());
            let reply = send(&router, request).await;
            assert_ne!(reply.status.as_u16(), 500, "{method} {uri}: {reply:?}");
            if reply.status.is_client_error() && method != Method::HEAD {
                refused += 1;
                assert_eq!(reply.header("content-type"), CONTENT_TYPE, "{method} {uri}: {reply:?}");
                let problem = reply.json();
                let code = portal_api::ErrorCode::by_code(problem["code"].as_str().unwrap());
                assert_eq!(code.unwrap().status(), Some(reply.status), "{method} {uri}: {problem}");
            }
        }
        assert!(refused > REQUESTS / 4, "only {refused} were refused: the mutations are too weak");
    }
}
