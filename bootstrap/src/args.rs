//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use libp2p::Multiaddr;

/// A known address for a mesh: bootstrap, relay and reachability checks.
#[derive(Debug, clap::Parser)]
#[command(name = "weft-bootstrap", version, about)]
pub(crate) struct Args {
    /// Where to listen, as multiaddresses. May be given several times. Port 0 lets the system choose.
    #[arg(
        long,
        value_name = "MULTIADDR",
        env = "WEFT_BOOTSTRAP_LISTEN",
        value_delimiter = ',',
        default_values = ["/ip4/0.0.0.0/tcp/4311", "/ip4/0.0.0.0/udp/4311/quic-v1"]
    )]
    pub(crate) listen: Vec<Multiaddr>,

    /// An address at which others reach this server, if it is not one that it listens on. May be given several times.
    #[arg(long, value_name = "MULTIADDR", env = "WEFT_BOOTSTRAP_EXTERNAL", value_delimiter = ',')]
    pub(crate) external: Vec<Multiaddr>,

    /// The file with the server's key; made if there is none. Whoever has it can pose as this server.
    #[arg(long, value_name = "FILE", env = "WEFT_BOOTSTRAP_KEY", default_value = "bootstrap.key")]
    pub(crate) key: PathBuf,

    /// Where /livez and /metrics are served over HTTP.
    #[arg(
        long,
        value_name = "HOST:PORT",
        env = "WEFT_BOOTSTRAP_API",
        default_value = "127.0.0.1:4312"
    )]
    pub(crate) api: SocketAddr,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
