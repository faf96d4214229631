//! The task that owns the swarm.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Context as _;
use futures::StreamExt as _;
use libp2p::{
    Multiaddr, PeerId, Swarm,
    core::PeerRecord,
    identify,
    metrics::{Metrics, Recorder as _, Registry},
    multiaddr::Protocol,
    swarm::SwarmEvent,
};
use protocol::{keys::SecretKey, limits::ADDRESSES_MAX, names, net};
use tokio_util::sync::CancellationToken;

use crate::{
    args::Args,
    behaviour::{Behaviour, BehaviourEvent},
};

/// How long a listener has to say where it listens.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(10);

/// The server.
pub(crate) struct Server {
    swarm: Swarm<Behaviour>,
    metrics: Metrics,
    /// Whether the addresses that others use were given, so that those that are listened on do not count.
    external_given: bool,
}

impl Server {
    /// Sets the swarm up and listens.
    pub(crate) fn start(
        args: &Args,
        key: &SecretKey,
        registry: &mut Registry,
    ) -> anyhow::Result<Self> {
        let keypair = net::keypair(key);
        let transport =
            net::tcp_quic(&keypair).context("the network transports could not be set up")?;
        let mut swarm =
            net::swarm(transport, Behaviour::new(&keypair), keypair.public().to_peer_id());
        for address in &args.listen {
            swarm.listen_on(address.clone()).with_context(|| {
                format!("cannot listen on {address}: choose another with --listen MULTIADDR")
            })?;
        }
        for address in &args.external {
            swarm.add_external_address(address.clone());
        }
        Ok(Self {
            swarm,
            metrics: Metrics::new(registry),
            external_given: !args.external.is_empty(),
        })
    }

    /// Waits for the first address that is listened on.
    pub(crate) async fn first_address(&mut self) -> anyhow::Result<Multiaddr> {
        let listening = async {
            loop {
                if let Some(address) = self.swarm.listeners().next() {
                    return address.clone();
                }
                let event = self.swarm.select_next_some().await;
                self.on_event(event);
            }
        };
        tokio::time::timeout(LISTEN_TIMEOUT, listening)
            .await
            .context("no listener said where it listens")
    }

    /// Runs until `stop` is cancelled, then closes all connections.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                event = self.swarm.select_next_some() => self.on_event(event),
            }
        }
        net::hang_up(&mut self.swarm).await;
    }

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        self.metrics.record(&event);
        if let SwarmEvent::NewListenAddr { address, .. } = event {
            self.on_listening(address);
        } else if let SwarmEvent::Behaviour(event) = event {
            self.on_behaviour(event);
        }
    }

    /// A relay tells those who reserve where it is: where it listens, unless other addresses were given.
    fn on_listening(&mut self, address: Multiaddr) {
        tracing::info!(%address, "listening");
        if !self.external_given {
            self.swarm.add_external_address(address);
        }
    }

    fn on_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Limits(never) | BehaviourEvent::Memory(never) => match never {},
            BehaviourEvent::Identify(event) => {
                self.metrics.record(&event);
                self.on_identify(event);
            }
            BehaviourEvent::Ping(event) => self.metrics.record(&event),
            BehaviourEvent::Kad(event) => self.metrics.record(&event),
            BehaviourEvent::Relay(event) => self.metrics.record(&event),
            BehaviourEvent::Autonat(event) => {
                tracing::debug!(?event, "tested whether a peer can be reached")
            }
        }
    }

    /// Another bootstrap server enters the table with the addresses that it signed.
    fn on_identify(&mut self, event: identify::Event) {
        let identify::Event::Received { peer_id, info, .. } = event else { return };
        if !info.protocols.iter().any(|protocol| *protocol == names::BOOTSTRAP_KAD) {
            return;
        }
        let record = info
            .signed_peer_record
            .and_then(|envelope| PeerRecord::from_signed_envelope(envelope).ok());
        for address in record.iter().flat_map(|record| signed_addresses(record, &peer_id)) {
            self.swarm.behaviour_mut().kad.add_address(&peer_id, address);
        }
    }
}

/// The addresses of a peer's record that may enter the table: its own, not too many, and not of this machine.
fn signed_addresses(record: &PeerRecord, peer: &PeerId) -> BTreeSet<Multiaddr> {
    let of_peer = record.peer_id() == *peer;
    record
        .addresses()
        .iter()
        .filter(|address| of_peer && is_routable(address))
        .take(ADDRESSES_MAX)
        .cloned()
        .collect()
}

fn is_routable(address: &Multiaddr) -> bool {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => !ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast(),
        Some(Protocol::Ip6(ip)) => !ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast(),
        Some(Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_)) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use libp2p::identity::Keypair;

    use super::*;

    #[test]
    fn only_addresses_that_others_can_use_enter_the_table() {
        let key = Keypair::generate_ed25519();
        let addresses: Vec<Multiaddr> = [
            "/ip4/127.0.0.1/tcp/1",
            "/ip4/203.0.113.7/tcp/1",
            "/memory/7",
            "/dns/example.net/tcp/1",
        ]
        .iter()
        .map(|text| text.parse().unwrap())
        .collect();
        let record = PeerRecord::new(&key, addresses.clone()).unwrap();
        let good = signed_addresses(&record, &key.public().to_peer_id());
        assert_eq!(good, BTreeSet::from([addresses[1].clone(), addresses[3].clone()]));
        assert!(signed_addresses(&record, &PeerId::random()).is_empty(), "of another peer");
    }
}
