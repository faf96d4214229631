//! What the swarm speaks: with everybody, and with members.

use libp2p::{
    StreamProtocol, connection_limits, gossipsub::IdentTopic, identify, identity::Keypair,
    memory_connection_limits, ping, swarm::NetworkBehaviour,
};
use protocol::{
    names::{self, MeshProtocol},
    net::{self, Budget, ConnectionLimits, Gated, Kademlia, kademlia},
};

use super::{
    MeshSetup, NetConfig,
    door::Door,
    exchange::{
        ClientRpc, EnrollRpc, HeartbeatRpc, HelloRpc, LeaseRpc, ResultRpc, Rpc, RpcBehaviour,
    },
    gossip, streams,
};

/// Everything.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    pub(super) door: Door,
    pub(super) limits: connection_limits::Behaviour,
    pub(super) memory: memory_connection_limits::Behaviour,
    pub(super) identify: identify::Behaviour,
    pub(super) ping: ping::Behaviour,
    pub(super) hello: RpcBehaviour<HelloRpc>,
    pub(super) enroll: RpcBehaviour<EnrollRpc>,
    pub(super) mesh: Gated<MeshBehaviour>,
}

/// What only members speak.
#[derive(NetworkBehaviour)]
pub(super) struct MeshBehaviour {
    pub(super) kad: Kademlia,
    pub(super) gossip: gossip::Behaviour,
    pub(super) heartbeat: RpcBehaviour<HeartbeatRpc>,
    pub(super) lease: RpcBehaviour<LeaseRpc>,
    pub(super) result: RpcBehaviour<ResultRpc>,
    pub(super) client: RpcBehaviour<ClientRpc>,
    pub(super) blobs: streams::Behaviour,
    pub(super) raft: streams::Behaviour,
    pub(super) raft_snapshot: streams::Behaviour,
}

impl Behaviour {
    pub(super) fn new(config: &NetConfig, key: &Keypair, budget: &Budget) -> Self {
        Self {
            door: Door::new(),
            limits: net::connection_limits(ConnectionLimits::node(config.established_in_max)),
            memory: net::memory_limits(),
            identify: net::identify(key, config.agent.clone()),
            ping: net::ping(),
            hello: HelloRpc::behaviour(StreamProtocol::new(names::HELLO), budget),
            enroll: EnrollRpc::behaviour(StreamProtocol::new(names::ENROLL), budget),
            mesh: Gated::default(),
        }
    }
}

impl MeshBehaviour {
    pub(super) fn new(setup: &MeshSetup, key: &Keypair, budget: &Budget) -> Self {
        let local = key.public().to_peer_id();
        let name = |protocol: MeshProtocol| protocol_name(protocol.name(&setup.mesh, setup.epoch));
        Self {
            kad: kademlia(local, name(MeshProtocol::Kad)),
            gossip: gossip::behaviour(key, &IdentTopic::new(setup.topic.clone())),
            heartbeat: HeartbeatRpc::behaviour(name(MeshProtocol::Heartbeat), budget),
            lease: LeaseRpc::behaviour(name(MeshProtocol::Lease), budget),
            result: ResultRpc::behaviour(name(MeshProtocol::Result), budget),
            client: ClientRpc::behaviour(name(MeshProtocol::Client), budget),
            blobs: streams::Behaviour::new(name(MeshProtocol::Blob)),
            raft: streams::Behaviour::new(name(MeshProtocol::Raft)),
            raft_snapshot: streams::Behaviour::new(name(MeshProtocol::RaftSnapshot)),
        }
    }
}

#[expect(clippy::expect_used, reason = "the names of `protocol::names` begin with a slash")]
fn protocol_name(name: String) -> StreamProtocol {
    StreamProtocol::try_from_owned(name).expect("a protocol's name begins with a slash")
}
