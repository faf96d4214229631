//! What peers do wrong, and what becomes of them.

use protocol::net::to_peer_id;

use super::*;
use crate::core::reputation::{Input, Output, Rank};

/// What gossipsub is to think of a coordinator of one's own mesh.
const COORDINATOR_GOSSIP_SCORE: f64 = 50.0;

impl NetTask {
    /// A peer did something wrong.
    pub(super) fn fault(&mut self, node: NodeId, fault: Fault) {
        self.shell.metrics.faults.get_or_create(&vec![("kind", fault.name())]).inc();
        tracing::debug!(?node, fault = fault.name(), "a peer misbehaves");
        let (rank, address) = (self.rank(&node), self.peers.ip(&node));
        self.judge(Input::Fault { node, rank, address, fault });
    }

    fn rank(&self, node: &NodeId) -> Rank {
        if self.roll.coordinators.contains(node) {
            Rank::Coordinator
        } else if self.is_member(node) {
            Rank::Member
        } else {
            Rank::Stranger
        }
    }

    /// Hands something to the core, and performs what it asks for.
    pub(super) fn judge(&mut self, input: Input) {
        let now = self.now();
        for output in self.reputation.handle(now, input) {
            match output {
                Output::Scored(node) => self.score_gossip_of(&node),
                Output::Disconnect(node) => {
                    self.keep_out(node, "disconnected a peer that misbehaves")
                }
                Output::Banned(node) => {
                    self.shell.metrics.bans.inc();
                    self.keep_out(node, "banned a peer that misbehaves");
                }
                Output::Alarm(node, fault) => {
                    self.shell.metrics.alarms.inc();
                    let fault = fault.name();
                    tracing::error!(
                        ?node,
                        fault,
                        "a coordinator of this mesh misbehaves: it was not cut off; look at it"
                    );
                }
                Output::BansChanged => self.say_bans(),
            }
        }
    }

    fn keep_out(&mut self, node: NodeId, what: &'static str) {
        let now = self.now();
        if self.logged.take(now, what) {
            let score = self.reputation.score(now, &node);
            let address = self.peers.ip(&node);
            tracing::warn!(?node, ?address, score, "{what}");
        }
        self.refused.insert(node);
        self.tell_the_door();
        // Nothing to close if the connection is gone already.
        let _gone = self.swarm.disconnect_peer_id(to_peer_id(&node));
    }

    fn tell_the_door(&mut self) {
        let refused = self.refused.iter().map(to_peer_id).collect();
        self.swarm.behaviour_mut().door.set_refused(refused);
    }

    /// Whoever keeps the bans, and whoever turns addresses away, hears of them.
    fn say_bans(&mut self) {
        let bans: Vec<_> = self.reputation.bans().copied().collect();
        self.shell.metrics.banned.set(i64::try_from(bans.len()).unwrap_or(i64::MAX));
        self.refused.extend(bans.iter().map(|ban| ban.node));
        self.bans.send_replace(Arc::new(bans));
        let addresses = self.reputation.banned_addresses().into_iter().collect();
        self.banned_addresses.send_replace(Arc::new(addresses));
    }

    /// Takes over who was banned when the node last ran.
    pub(super) fn restore_bans(&mut self, bans: Vec<Ban>) {
        self.judge(Input::Restored(bans));
        self.say_bans();
        self.tell_the_door();
    }

    /// Sends strangers away who have stayed too long; lets those in again who were forgiven.
    pub(super) fn look_at_the_door(&mut self, now: Timestamp) {
        self.judge(Input::Tick);
        let before = self.refused.len();
        let (reputation, roll) = (&self.reputation, &self.roll);
        self.refused
            .retain(|node| !roll.coordinators.contains(node) && reputation.is_refused(now, node));
        if self.refused.len() != before {
            self.tell_the_door();
        }
        let door = &mut self.swarm.behaviour_mut().door;
        door.tick(now);
        let strangers = i64::try_from(door.strangers()).unwrap_or(i64::MAX);
        let turned_away = door.turned_away();
        self.shell.metrics.strangers.set(strangers);
        self.shell.metrics.turned_away.inc_by(turned_away);
    }

    /// Tells gossipsub what is thought of every member that is connected.
    pub(super) fn score_gossip(&mut self) {
        let nodes: Vec<_> = self.peers.nodes().filter(|node| self.is_member(node)).collect();
        for node in nodes {
            self.score_gossip_of(&node);
        }
    }

    /// Tells gossipsub what is thought of a member. Those that it does not know are nobody to it.
    pub(super) fn score_gossip_of(&mut self, node: &NodeId) {
        let score = match self.rank(node) {
            Rank::Coordinator => COORDINATOR_GOSSIP_SCORE,
            Rank::Member | Rank::Stranger => f64::from(self.reputation.score(self.now(), node)),
        };
        if let Some(mesh) = self.swarm.behaviour_mut().mesh.inner_mut() {
            mesh.gossip.set_application_score(&to_peer_id(node), score);
        }
    }
}
