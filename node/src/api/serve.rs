//! The listeners of the API.

use std::{net::SocketAddr, sync::Arc};

use portal_api::router::{Listener, RouterConfig, Token, router};
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;

use super::NodeApi;
use crate::home::{HomeError, UpOptions};

/// The API could not be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The socket in the data directory could not be made.
    #[error("the socket `{path}` could not be made")]
    Socket {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// An address that was asked for cannot be listened on.
    #[error(
        "the API cannot listen on {address}; choose another with --api HOST:PORT (port 0: any free one)"
    )]
    Address {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The token file could not be made.
    #[error("the token of the API could not be kept")]
    Token(#[source] HomeError),
}

/// Sockets that are listened on.
#[derive(Debug)]
pub struct Listeners {
    socket: UnixListener,
    tcp: TcpListener,
    token: String,
}

impl Listeners {
    /// Where the API is.
    #[must_use]
    pub fn url(&self) -> String {
        let address = self.tcp.local_addr().map(|address| address.to_string());
        format!("http://{}", address.unwrap_or_default())
    }
}

/// Listens on the socket and on the address. A default address that is taken is replaced by a free one, and said.
///
/// # Errors
///
/// See [`ServeError`].
pub async fn bind(options: &UpOptions) -> Result<Listeners, ServeError> {
    let token = options.home.token_or_new().map_err(ServeError::Token)?;
    let path = options.home.socket();
    let failed = |source| ServeError::Socket { path: path.display().to_string(), source };
    let socket = options.home.bind_socket(&options.lock).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    let socket = UnixListener::from_std(socket).map_err(failed)?;
    let address = options.config.api;
    let tcp = match TcpListener::bind(address).await {
        Ok(tcp) => tcp,
        Err(error)
            if error.kind() == std::io::ErrorKind::AddrInUse && !options.config.api_chosen =>
        {
            let free = SocketAddr::new(address.ip(), 0);
            tracing::info!(%address, "the default address of the API is taken: a free port is used");
            TcpListener::bind(free)
                .await
                .map_err(|source| ServeError::Address { address: free, source })?
        }
        Err(source) => return Err(ServeError::Address { address, source }),
    };
    Ok(Listeners { socket, tcp, token })
}

/// Serves until `stop`, then finishes what was begun.
///
/// # Errors
///
/// If a listener fails.
pub async fn serve(
    listeners: Listeners,
    api: Arc<NodeApi>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let Listeners { socket, tcp, token } = listeners;
    let hosts = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "[::1]".to_owned()];
    let local = router(api.clone(), RouterConfig::new(Listener::Socket));
    let listener = Listener::Loopback { token: Token::new(&token), hosts };
    let loopback = router(api, RouterConfig::new(listener));
    let by_socket =
        axum::serve(socket, local).with_graceful_shutdown(stop.clone().cancelled_owned());
    let by_tcp = axum::serve(tcp, loopback).with_graceful_shutdown(stop.cancelled_owned());
    let (by_socket, by_tcp) = tokio::join!(by_socket.into_future(), by_tcp.into_future());
    by_socket.and(by_tcp)
}
