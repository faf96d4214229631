//! The listeners of the API.

use std::{net::SocketAddr, sync::Arc};

use portal_api::{
    router::{Listener, RouterConfig, Token, router},
    server::{self, ServerConfig},
};
use protocol::wire::enroll::Role;
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
    portal: Option<TcpListener>,
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
    let coordinates = options.config.roles.contains(&Role::Coordinator);
    let portal = match options.config.portal.filter(|_| coordinates) {
        Some(address) => {
            let failed = |source| ServeError::Address { address, source };
            Some(TcpListener::bind(address).await.map_err(failed)?)
        }
        None => None,
    };
    Ok(Listeners { socket, tcp, portal, token })
}

/// Serves until `stop`, then finishes what was begun.
pub async fn serve(listeners: Listeners, api: Arc<NodeApi>, stop: CancellationToken) {
    let Listeners { socket, tcp, portal, token } = listeners;
    let token = Token::new(&token);
    let config = ServerConfig::default();
    let local = router(api.clone(), RouterConfig::new(Listener::Socket));
    let loopback = Listener::Loopback { token, hosts: Vec::new() };
    let loopback = router(api.clone(), RouterConfig::new(loopback));
    let by_portal = async {
        if let Some(portal) = portal {
            // It listens on loopback only: a proxy in front of it passes one of these names on.
            let hosts = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned).to_vec();
            let router = router(api, RouterConfig::new(Listener::Portal { token, hosts }));
            server::serve(portal, router, config, stop.cancelled()).await;
        }
    };
    tokio::join!(
        server::serve(socket, local, config, stop.cancelled()),
        server::serve(tcp, loopback, config, stop.cancelled()),
        by_portal,
    );
}
