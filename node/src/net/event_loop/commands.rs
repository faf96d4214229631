//! What the handle asks of the task.

use libp2p::gossipsub::PublishError as GossipError;
use protocol::net::to_peer_id;

use super::{
    super::{PublishError, RpcError, behaviour::MeshBehaviour, group::Bulk},
    *,
};

impl NetTask {
    pub(super) fn obey(&mut self, command: Command) {
        let now = self.now();
        match command {
            Command::Peers(reply) => {
                let list = self.peers.list(|node| {
                    (self.roll.members.contains(node), self.reputation.score(now, node))
                });
                drop(reply.send(list));
            }
            Command::ListenAddresses(reply) => {
                self.asked_where.push(reply);
                self.say_where();
            }
            Command::Connect(address, reply) => self.connect(&address, reply),
            Command::JoinMesh(setup, reply) => {
                self.join(*setup);
                let _gone = reply.send(());
            }
            Command::SetRoll(roll, reply) => {
                self.set_roll(*roll);
                let _gone = reply.send(());
            }
            Command::Report(node, fault) => self.fault(node, fault),
            Command::SetTargets(targets) => self.set_targets(targets),
            Command::SetSeeking(seeking) => self.set_seeking(seeking),
            Command::Publish(bytes, reply) => drop(reply.send(self.publish(bytes))),
            Command::Pace(to, reply) => drop(reply.send(self.asked.reserve(now, to, PATIENCE))),
            Command::OpenBlobs(to, reply) => {
                match reach(&mut self.swarm, &self.roll.members, &to) {
                    Ok(mesh) => mesh.blobs.open(to_peer_id(&to), reply),
                    Err(error) => drop(reply.send(Err(error))),
                }
            }
            Command::OpenGroup(to, bulk, reply) => {
                match reach(&mut self.swarm, &self.roll.members, &to) {
                    Ok(mesh) => {
                        let streams = match bulk {
                            Bulk::No => &mut mesh.raft,
                            Bulk::Snapshot => &mut mesh.raft_snapshot,
                        };
                        streams.open(to_peer_id(&to), reply);
                    }
                    Err(error) => drop(reply.send(Err(error))),
                }
            }
            Command::Hello(call) => {
                self.hello.ask(now, Ok(&mut self.swarm.behaviour_mut().hello), call)
            }
            Command::Enroll(call) => {
                self.enroll.ask(now, Ok(&mut self.swarm.behaviour_mut().enroll), *call)
            }
            Command::Heartbeat(call) => {
                let mesh = reach(&mut self.swarm, &self.roll.members, &call.to);
                self.heartbeat.ask(now, mesh.map(|mesh| &mut mesh.heartbeat), call);
            }
            Command::Lease(call) => {
                let mesh = reach(&mut self.swarm, &self.roll.members, &call.to);
                self.lease.ask(now, mesh.map(|mesh| &mut mesh.lease), *call);
            }
            Command::Result(call) => {
                let mesh = reach(&mut self.swarm, &self.roll.members, &call.to);
                self.result.ask(now, mesh.map(|mesh| &mut mesh.result), *call);
            }
            Command::Client(call) => {
                let mesh = reach(&mut self.swarm, &self.roll.members, &call.to);
                self.client.ask(now, mesh.map(|mesh| &mut mesh.client), *call);
            }
        }
    }

    fn publish(&mut self, bytes: Vec<u8>) -> Result<(), PublishError> {
        let found = bytes.len();
        let joined = self.joined.as_ref().ok_or(PublishError::NoMesh)?;
        let mesh = self.swarm.behaviour_mut().mesh.inner_mut().ok_or(PublishError::NoMesh)?;
        mesh.gossip.publish(joined.topic.hash(), bytes).map(drop).map_err(|error| match error {
            GossipError::Duplicate => PublishError::Duplicate,
            GossipError::NoPeersSubscribedToTopic => PublishError::NobodyListens,
            GossipError::MessageTooLarge => PublishError::TooLong { found },
            GossipError::AllQueuesFull(_)
            | GossipError::SigningError(_)
            | GossipError::TransformFailed(_) => PublishError::Busy,
        })
    }
}

/// The behaviours that reach a member, or why they do not.
fn reach<'a>(
    swarm: &'a mut Swarm<Behaviour>,
    members: &BTreeSet<NodeId>,
    to: &NodeId,
) -> Result<&'a mut MeshBehaviour, RpcError> {
    let mesh = swarm.behaviour_mut().mesh.inner_mut().ok_or(RpcError::NoMesh)?;
    if members.contains(to) { Ok(mesh) } else { Err(RpcError::NotMember) }
}
