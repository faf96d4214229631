//! Transports, connection limits and the two protocols that everybody speaks.

use std::time::Duration;

use libp2p::{
    PeerId, Swarm, Transport as _,
    core::{muxing::StreamMuxerBox, transport::Boxed, upgrade::Version},
    dns, identify,
    identity::Keypair,
    memory_connection_limits, noise, ping, quic,
    swarm::{self, NetworkBehaviour},
    tcp, yamux,
};

use crate::names;

/// A connection on which nothing happens for this long is closed.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// A connection that is not set up by then is given up.
const SETUP_TIMEOUT: Duration = Duration::from_secs(10);
/// Streams that one side may have open on a TCP connection.
const YAMUX_STREAMS_MAX: usize = 128;
/// Streams that one side may have open on a QUIC connection.
const QUIC_STREAMS_MAX: u32 = 64;
/// A QUIC connection on which nothing was heard for this long is closed: a peer that was killed says nothing. Four
/// [`QUIC_KEEP_ALIVE`] get lost before a living peer is taken for dead.
const QUIC_SILENCE_MAX: Duration = Duration::from_secs(4);
/// A QUIC connection on which nothing else is said says this often that it is there.
const QUIC_KEEP_ALIVE: Duration = Duration::from_secs(1);
/// Unread bytes on one QUIC stream.
const QUIC_STREAM_BYTES_MAX: u32 = 2 * 1024 * 1024;
/// Unread bytes on one QUIC connection.
const QUIC_CONNECTION_BYTES_MAX: u32 = 8 * 1024 * 1024;
/// Streams of one connection whose protocol is being agreed on.
const NEGOTIATING_STREAMS_MAX: usize = 64;

/// What a swarm listens and dials with.
pub type BoxedTransport = Boxed<(PeerId, StreamMuxerBox)>;

/// The transport could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The handshake's static key could not be signed.
    #[error("the noise handshake could not be set up")]
    Noise(#[source] noise::Error),
}

/// TCP with Noise and Yamux, and QUIC. Names are resolved by the system's resolver; where there is none, only
/// numeric addresses work.
///
/// # Errors
///
/// See [`TransportError`].
///
/// # Panics
///
/// Outside a tokio runtime.
pub fn tcp_quic(key: &Keypair) -> Result<BoxedTransport, TransportError> {
    match dns::tokio::Transport::system(numeric(key)?) {
        Ok(named) => Ok(named.boxed()),
        Err(_no_resolver) => numeric(key),
    }
}

/// TCP and QUIC, for numeric addresses.
fn numeric(key: &Keypair) -> Result<BoxedTransport, TransportError> {
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(key).map_err(TransportError::Noise)?)
        .multiplex(yamux_config())
        .timeout(SETUP_TIMEOUT)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let quic = quic::tokio::Transport::new(quic_config(key))
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    Ok(tcp.or_transport(quic).map(|either, _| either.into_inner()).boxed())
}

/// A transport inside this process, with the same handshake and the same multiplexer as TCP: for tests.
#[cfg(any(test, feature = "testing"))]
#[must_use]
#[expect(clippy::expect_used, reason = "for tests")]
pub fn memory(key: &Keypair) -> BoxedTransport {
    libp2p::core::transport::MemoryTransport::new()
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(key).expect("a key signs"))
        .multiplex(yamux_config())
        .timeout(SETUP_TIMEOUT)
        .boxed()
}

fn yamux_config() -> yamux::Config {
    let mut config = yamux::Config::default();
    config.set_max_num_streams(YAMUX_STREAMS_MAX);
    config
}

fn quic_config(key: &Keypair) -> quic::Config {
    let mut config = quic::Config::new(key);
    config.handshake_timeout = Duration::from_secs(5);
    config.max_idle_timeout = u32::try_from(QUIC_SILENCE_MAX.as_millis()).unwrap_or(u32::MAX);
    config.keep_alive_interval = QUIC_KEEP_ALIVE;
    config.max_concurrent_stream_limit = QUIC_STREAMS_MAX;
    config.max_stream_data = QUIC_STREAM_BYTES_MAX;
    config.max_connection_data = QUIC_CONNECTION_BYTES_MAX;
    config
}

/// A swarm with the timeouts that all our programs have.
#[must_use]
pub fn swarm<B: NetworkBehaviour>(
    transport: BoxedTransport,
    behaviour: B,
    local: PeerId,
) -> Swarm<B> {
    let config = swarm::Config::with_tokio_executor()
        .with_idle_connection_timeout(IDLE_TIMEOUT)
        .with_max_negotiating_inbound_streams(NEGOTIATING_STREAMS_MAX);
    Swarm::new(transport, behaviour, local, config)
}

/// How many connections there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Being accepted.
    pub pending_in: u32,
    /// Being made.
    pub pending_out: u32,
    /// Made by others.
    pub established_in: u32,
    /// Made by us.
    pub established_out: u32,
    /// Between us and one peer.
    pub per_peer: u32,
}

impl ConnectionLimits {
    /// The limits of a node.
    #[must_use]
    pub const fn node(established_in: u32) -> Self {
        // Handshakes are rationed where they begin (`node::net::accept`): this is only a backstop. A low limit here
        // would let that many silent connections keep everybody out.
        Self { pending_in: 128, pending_out: 32, established_in, established_out: 96, per_peer: 2 }
    }
}

/// The behaviour that keeps the limits.
#[must_use]
pub fn connection_limits(limits: ConnectionLimits) -> libp2p::connection_limits::Behaviour {
    libp2p::connection_limits::Behaviour::new(
        libp2p::connection_limits::ConnectionLimits::default()
            .with_max_pending_incoming(Some(limits.pending_in))
            .with_max_pending_outgoing(Some(limits.pending_out))
            .with_max_established_incoming(Some(limits.established_in))
            .with_max_established_outgoing(Some(limits.established_out))
            .with_max_established(Some(
                limits.established_in.saturating_add(limits.established_out),
            ))
            .with_max_established_per_peer(Some(limits.per_peer)),
    )
}

/// Refuses new connections while this process uses more than 70 % of the machine's memory.
#[must_use]
pub fn memory_limits() -> memory_connection_limits::Behaviour {
    memory_connection_limits::Behaviour::with_max_percentage(0.7)
}

/// identify: `/weft/1.0.0` and the agent given, such as `weft/0.1.0`.
#[must_use]
pub fn identify(key: &Keypair, agent: String) -> identify::Behaviour {
    identify::Behaviour::new(
        identify::Config::new_with_signed_peer_record(names::IDENTIFY.to_owned(), key)
            .with_agent_version(agent)
            // What peers say is ours to judge: identify would dial every address of it, loopback ones too.
            .with_cache_size(0)
            .with_push_listen_addr_updates(true),
    )
}

/// ping: every 15 s, given up after 10 s.
#[must_use]
pub fn ping() -> ping::Behaviour {
    ping::Behaviour::new(
        ping::Config::new()
            .with_interval(Duration::from_secs(15))
            .with_timeout(Duration::from_secs(10)),
    )
}
