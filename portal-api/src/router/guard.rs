//! Who may ask, and who may change something.
//!
//! The loopback address is no boundary: a page in a browser of this machine can send requests to it, under the
//! name of its own site if that name is re-bound to 127.0.0.1.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, Method, Uri, header};

use super::config::{Listener, RouterConfig, Token};
use crate::problem::{ErrorCode, Problem};

/// Names that every listener on the loopback address has.
const LOOPBACK_HOSTS: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];

/// Passes on what is allowed.
pub(super) async fn check(
    State(config): State<Arc<RouterConfig>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (method, headers) = (request.method(), request.headers());
    match &config.listener {
        Listener::Socket => {}
        Listener::Loopback { token, hosts } => {
            check_host(
                headers,
                LOOPBACK_HOSTS.into_iter().chain(hosts.iter().map(String::as_str)),
            )?;
            check_change(method, headers, token)?;
        }
        Listener::Portal { token, hosts } => {
            check_host(headers, hosts.iter().map(String::as_str))?;
            check_change(method, headers, token)?;
        }
    }
    Ok(next.run(request).await)
}

fn check_host<'a>(
    headers: &HeaderMap,
    mut allowed: impl Iterator<Item = &'a str>,
) -> Result<(), Problem> {
    let host = text(headers, header::HOST).unwrap_or_default();
    let name = name_of(host);
    if allowed.any(|allowed| allowed.eq_ignore_ascii_case(name)) {
        return Ok(());
    }
    let name: String = name.chars().take(255).collect();
    Err(Problem::new(ErrorCode::BadHost, format!("`{name}` is not a name of this API")))
}

/// The host without its port and without a last dot.
fn name_of(host: &str) -> &str {
    let name = match host.rfind(']') {
        Some(end) if host.starts_with('[') => host.get(..=end).unwrap_or(host),
        Some(_) | None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    name.strip_suffix('.').unwrap_or(name)
}

fn check_change(method: &Method, headers: &HeaderMap, token: &Token) -> Result<(), Problem> {
    if matches!(*method, Method::GET | Method::HEAD) {
        return Ok(());
    }
    check_origin(headers)?;
    let shown = text(headers, header::AUTHORIZATION).and_then(|value| value.split_once(' '));
    match shown {
        Some((scheme, shown))
            if scheme.eq_ignore_ascii_case("bearer") && Token::new(shown.trim()) == *token =>
        {
            Ok(())
        }
        Some(_) => {
            Err(Problem::new(ErrorCode::Unauthenticated, "the token is not the one of this node"))
        }
        None => Err(Problem::new(
            ErrorCode::Unauthenticated,
            "changes over TCP need the token of this node",
        )),
    }
}

/// Refuses what a page of another site sends. Programs send neither header.
fn check_origin(headers: &HeaderMap) -> Result<(), Problem> {
    let refused = || Err(Problem::new(ErrorCode::CrossOrigin, "a page of another site sent this"));
    if text(headers, header::HeaderName::from_static("sec-fetch-site"))
        .is_some_and(|site| !matches!(site, "same-origin" | "none"))
    {
        return refused();
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let host = text(headers, header::HOST);
    let origin = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
    match (origin.as_ref().and_then(Uri::authority), host) {
        (Some(origin), Some(host)) if origin.as_str().eq_ignore_ascii_case(host) => Ok(()),
        (Some(_) | None, _) => refused(),
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_compared_without_its_port() {
        for (host, name) in [
            ("127.0.0.1:4304", "127.0.0.1"),
            ("localhost", "localhost"),
            ("localhost.:1", "localhost"),
            ("[::1]:4304", "[::1]"),
            ("[::1]", "[::1]"),
            ("evil.example:80", "evil.example"),
            ("", ""),
            ("::1", ""),
        ] {
            assert_eq!(name_of(host), name, "{host}");
        }
    }
}
