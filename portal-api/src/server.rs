//! Serves a router on a listener: a bounded number of connections, each with a time limit for a request's head.

use std::{future::Future, pin::pin, time::Duration};

use axum::{Router, body::Body, serve::Listener};
use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
};
use tower::ServiceExt as _;

/// Bounds of a server.
#[derive(Debug, Clone, Copy)]
pub struct ServerConfig {
    /// Connections at a time. Further ones wait in the kernel's queue, so that they cost nothing here. Default 512:
    /// twice the requests that are answered at a time.
    pub connections_max: usize,
    /// How long the head of a request may take, from the first moment that one is waited for. A connection that is
    /// idle for so long is closed too. Default 60 s, so that a client that works through large files keeps its
    /// connection.
    pub head_timeout: Duration,
    /// How long requests that were begun may go on after the stop. Default 10 s.
    pub drain_timeout: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            connections_max: 512,
            head_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// Serves until `stop`, then takes no more connections and ends once every request that was begun is answered, or
/// after the time for that.
///
/// Dropping it closes everything at once.
pub async fn serve<L: Listener>(
    mut listener: L,
    router: Router,
    config: ServerConfig,
    stop: impl Future<Output = ()> + Send,
) {
    let (stopping, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some(ended) = connections.join_next() => report(ended),
            (io, _) = listener.accept(), if connections.len() < config.connections_max => {
                connections.spawn(connection(io, router.clone(), config.head_timeout, stopped.clone()));
            }
        }
    }
    drop(listener);
    stopping.send_replace(());
    let drained = async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    };
    if tokio::time::timeout(config.drain_timeout, drained).await.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "requests took too long to end: their connections are closed"
        );
    }
}

/// One connection until its end, or until its last request after the stop.
async fn connection<I>(
    io: I,
    router: Router,
    head_timeout: Duration,
    mut stopped: watch::Receiver<()>,
) where
    I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        router.clone().oneshot(request.map(Body::new))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .serve_connection(TokioIo::new(io), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        // The server is gone at the latest when the channel is.
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection of the API ended early");
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection of the API met a bug");
    }
}
