//! Joining a mesh, and who is in it.

use protocol::{net::to_peer_id, wire::enroll::NodeAddress};

use super::{
    super::{MeshSetup, Roll, behaviour::MeshBehaviour, peers::elsewhere},
    *,
};

impl NetTask {
    /// Opens the protocols of a mesh. The same mesh again only changes its members.
    pub(super) fn join(&mut self, setup: MeshSetup) {
        if self
            .joined
            .as_ref()
            .is_some_and(|joined| (joined.mesh, joined.epoch) == (setup.mesh, setup.epoch))
        {
            self.set_roll(setup.roll);
            return;
        }
        let behaviour = MeshBehaviour::new(&setup, &self.keypair, &self.budget);
        self.joined = Some(Joined {
            mesh: setup.mesh,
            epoch: setup.epoch,
            topic: IdentTopic::new(setup.topic),
        });
        self.heartbeat.give_up();
        self.lease.give_up();
        self.result.give_up();
        self.client.give_up();
        self.set_roll(setup.roll);
        self.swarm.behaviour_mut().mesh.install(behaviour);
        self.stale_since = None;
        tracing::info!(mesh = %setup.mesh.short(), members = self.roll.members.len(), "joined a mesh");
    }

    /// Says who is approved and who is blocked. This node itself is never its own peer.
    pub(super) fn set_roll(&mut self, mut roll: Roll) {
        let tells = roll.coordinators.contains(&self.local);
        roll.members.remove(&self.local);
        roll.blocked.remove(&self.local);
        let approved: Vec<_> = roll.members.difference(&self.roll.members).copied().collect();
        self.roll = roll;
        for node in approved {
            self.judge(reputation::Input::Approved(node));
        }
        self.lookups.retain(&self.roll.members);
        let members: BTreeSet<_> = self.roll.members.iter().map(to_peer_id).collect();
        let blocked = self.roll.blocked.iter().map(to_peer_id).collect();
        self.members.send_replace(Arc::new(members.clone()));
        let behaviour = self.swarm.behaviour_mut();
        behaviour.door.set_roll(members.clone(), blocked, tells);
        let gate = &mut behaviour.mesh;
        gate.set_allowed(members);
        if let Some(mesh) = gate.inner_mut() {
            for node in self.peers.nodes().filter(|node| !self.roll.members.contains(node)) {
                mesh.kad.remove_peer(&to_peer_id(&node));
            }
        }
        self.score_gossip();
        self.regate(self.now());
    }

    /// After a while, closes the connections that newly approved peers had before: those that answers to their
    /// enrolment went over.
    pub(super) fn regate(&mut self, now: Timestamp) {
        let gate = &mut self.swarm.behaviour_mut().mesh;
        if !gate.has_stale() {
            self.stale_since = None;
            return;
        }
        let since = *self.stale_since.get_or_insert(now);
        if now.saturating_since(since) >= self.regate_after {
            gate.close_stale();
            self.stale_since = None;
        }
    }

    /// Says to whom connections are kept up.
    pub(super) fn set_targets(&mut self, mut targets: Vec<NodeAddress>) {
        targets.retain(|target| target.node != self.local);
        for target in &targets {
            self.add_addresses(
                target.node,
                target.addresses.iter().filter_map(|text| text.parse().ok()),
            );
        }
        let connected = self.peers.nodes().collect();
        self.redial(redial::Input::Targets { targets, connected });
    }

    /// Tells every behaviour where a node may be dialled.
    pub(super) fn add_addresses(
        &mut self,
        node: NodeId,
        addresses: impl Iterator<Item = Multiaddr>,
    ) {
        let peer = to_peer_id(&node);
        let addresses = elsewhere(addresses.take(protocol::limits::ADDRESSES_MAX).collect());
        if !addresses.is_empty() {
            self.lookups.found(node);
        }
        for address in addresses {
            self.swarm.add_peer_address(peer, address);
        }
    }
}
