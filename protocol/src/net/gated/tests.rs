//! Two swarms in one process: identify for everybody, a request-response protocol behind the gate.

use std::time::Duration;

use futures::StreamExt as _;
use libp2p::{
    StreamProtocol, Swarm,
    identity::Keypair,
    ping,
    request_response::{self, Event, Message, OutboundFailure, ProtocolSupport},
    swarm::SwarmEvent,
};

use super::*;
use crate::{
    keys::SecretKey,
    net::{self, Codec},
    wire::{enroll::HelloRequest, lease::LeaseResponse},
};

type Inner = request_response::Behaviour<Codec<HelloRequest, LeaseResponse>>;

/// A behaviour for everybody and one behind the gate.
#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p::swarm::derive_prelude")]
struct Behaviour {
    ping: ping::Behaviour,
    gated: Gated<Inner>,
}

fn inner() -> Inner {
    Inner::new(
        [(StreamProtocol::new("/test/1"), ProtocolSupport::Full)],
        request_response::Config::default(),
    )
}

/// A node that listens.
struct Node {
    swarm: Swarm<Behaviour>,
    peer: PeerId,
    address: Multiaddr,
}

async fn node(seed: u8) -> Node {
    let key: Keypair = net::keypair(&SecretKey::from_seed(&[seed; 32]));
    let peer = key.public().to_peer_id();
    let behaviour = Behaviour { ping: net::ping(), gated: Gated::default() };
    let mut swarm = net::swarm(net::memory(&key), behaviour, peer);
    swarm.listen_on("/memory/0".parse().unwrap()).unwrap();
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            break address;
        }
    };
    Node { swarm, peer, address }
}

impl Node {
    fn gate(&mut self) -> &mut Gated<Inner> {
        &mut self.swarm.behaviour_mut().gated
    }

    fn open_to(&mut self, peers: &[PeerId]) {
        self.gate().set_allowed(peers.iter().copied().collect());
    }

    fn ask(&mut self, peer: PeerId) {
        self.gate().inner_mut().unwrap().send_request(&peer, HelloRequest { version: 1 }.into());
    }
}

/// Runs both until something of interest happened at the first.
async fn run<T>(
    one: &mut Node,
    other: &mut Node,
    mut pick: impl FnMut(&SwarmEvent<BehaviourEvent>) -> Option<T>,
) -> T {
    let running = async {
        loop {
            let event = tokio::select! {
                event = one.swarm.select_next_some() => event,
                event = other.swarm.select_next_some() => {
                    answer(other, event);
                    continue;
                }
            };
            if let Some(picked) = pick(&event) {
                return picked;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), running).await.expect("it happens")
}

/// Answers every request.
fn answer(node: &mut Node, event: SwarmEvent<BehaviourEvent>) {
    if let SwarmEvent::Behaviour(BehaviourEvent::Gated(Event::Message {
        message: Message::Request { channel, .. },
        ..
    })) = event
    {
        node.gate().inner_mut().unwrap().send_response(channel, LeaseResponse::Done).unwrap();
    }
}

fn connected(event: &SwarmEvent<BehaviourEvent>) -> Option<()> {
    matches!(event, SwarmEvent::ConnectionEstablished { .. }).then_some(())
}

fn closed(event: &SwarmEvent<BehaviourEvent>) -> Option<()> {
    matches!(event, SwarmEvent::ConnectionClosed { .. }).then_some(())
}

/// What came of a request.
fn outcome(event: &SwarmEvent<BehaviourEvent>) -> Option<Result<(), String>> {
    if let SwarmEvent::Behaviour(BehaviourEvent::Gated(Event::Message { .. })) = event {
        Some(Ok(()))
    } else if let SwarmEvent::Behaviour(BehaviourEvent::Gated(Event::OutboundFailure {
        error,
        ..
    })) = event
    {
        Some(Err(error.to_string()))
    } else {
        None
    }
}

/// Both know each other's address, as if from a list of members.
async fn acquainted() -> (Node, Node) {
    let (mut one, mut other) = (node(1).await, node(2).await);
    one.swarm.add_peer_address(other.peer, other.address.clone());
    one.swarm.dial(other.address.clone()).unwrap();
    run(&mut one, &mut other, connected).await;
    (one, other)
}

#[tokio::test]
async fn a_stranger_reaches_the_open_protocols_but_not_the_gated_ones() {
    let (mut one, mut other) = acquainted().await;
    run(&mut one, &mut other, |event| {
        matches!(event, SwarmEvent::Behaviour(BehaviourEvent::Ping(event)) if event.result.is_ok())
            .then_some(())
    })
    .await;
    other.gate().install(inner());
    one.gate().install(inner());
    let peer = other.peer;
    one.open_to(&[peer]);
    one.gate().close_stale();
    run(&mut one, &mut other, closed).await;
    one.swarm.dial(other.address.clone()).unwrap();
    run(&mut one, &mut other, connected).await;
    one.ask(peer);
    let refused = run(&mut one, &mut other, outcome).await;
    assert_eq!(refused, Err(OutboundFailure::UnsupportedProtocols.to_string()));
}

#[tokio::test]
async fn who_becomes_allowed_gets_through_on_the_next_connection() {
    let (mut one, mut other) = acquainted().await;
    let (here, there) = (one.peer, other.peer);
    one.open_to(&[there]);
    other.open_to(&[here]);
    other.gate().install(inner());
    one.gate().install(inner());
    run(&mut one, &mut other, closed).await;
    one.swarm.dial(other.address.clone()).unwrap();
    run(&mut one, &mut other, connected).await;
    one.ask(there);
    assert_eq!(run(&mut one, &mut other, outcome).await, Ok(()));
    assert!(!one.gate().has_stale());

    other.open_to(&[]);
    run(&mut one, &mut other, closed).await;
}

#[tokio::test]
async fn newcomers_keep_their_connection_until_it_is_time() {
    let (mut one, _other) = acquainted().await;
    one.gate().install(inner());
    assert!(!one.gate().has_stale(), "nobody is allowed yet");
    let peer = _other.peer;
    one.open_to(&[peer]);
    assert!(one.gate().has_stale());
    assert!(one.gate().orders.is_empty(), "still open: the answer to its enrolment is on its way");
    one.gate().close_stale();
    assert_eq!(one.gate().orders.len(), 1);
    assert!(!one.gate().has_stale());
    one.gate().close_stale();
    assert_eq!(one.gate().orders.len(), 1, "told once");
}

#[tokio::test]
async fn a_behaviour_that_comes_late_hears_where_the_node_listens() {
    /// Counts the addresses that it hears of.
    struct Listener(usize);

    impl NetworkBehaviour for Listener {
        type ConnectionHandler = dummy::ConnectionHandler;
        type ToSwarm = std::convert::Infallible;

        fn handle_established_inbound_connection(
            &mut self,
            _: ConnectionId,
            _: PeerId,
            _: &Multiaddr,
            _: &Multiaddr,
        ) -> Result<THandler<Self>, ConnectionDenied> {
            Ok(dummy::ConnectionHandler)
        }

        fn handle_established_outbound_connection(
            &mut self,
            _: ConnectionId,
            _: PeerId,
            _: &Multiaddr,
            _: Endpoint,
            _: PortUse,
        ) -> Result<THandler<Self>, ConnectionDenied> {
            Ok(dummy::ConnectionHandler)
        }

        fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
            if let FromSwarm::NewListenAddr(_) = event {
                self.0 = self.0.saturating_add(1);
            }
        }

        fn on_connection_handler_event(
            &mut self,
            _: PeerId,
            _: ConnectionId,
            event: THandlerOutEvent<Self>,
        ) {
            match event {}
        }

        fn poll(
            &mut self,
            _: &mut Context<'_>,
        ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
            Poll::Pending
        }
    }

    let key = net::keypair(&SecretKey::from_seed(&[1; 32]));
    let mut swarm =
        net::swarm(net::memory(&key), Gated::<Listener>::default(), key.public().to_peer_id());
    swarm.listen_on("/memory/0".parse().unwrap()).unwrap();
    while !matches!(swarm.select_next_some().await, SwarmEvent::NewListenAddr { .. }) {}
    swarm.behaviour_mut().install(Listener(0));
    assert_eq!(swarm.behaviour().inner().map(|listener| listener.0), Some(1));
}
