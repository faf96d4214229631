//! Commands for members whose address is not known: they wait a little, while Kademlia is asked.

use libp2p::kad::QueryId;
use protocol::net::to_peer_id;

use super::*;

/// Members that are looked for at a time; commands for others are tried at once.
const LOOKUPS_MAX: usize = 8;
/// Commands that wait for one member; more are tried at once.
const COMMANDS_PER_LOOKUP_MAX: usize = 32;
/// A command waits no longer than this; then it is tried whatever was found.
const WAIT_MAX: Duration = Duration::from_secs(3);
/// Nodes of which is remembered that some address is known.
const KNOWN_MAX: usize = protocol::limits::NODES_MAX;

/// Who is looked for, and what waits for it.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    /// Nodes that can be dialled, as far as is known.
    known: BTreeSet<NodeId>,
    waiting: BTreeMap<NodeId, Lookup>,
}

#[derive(Debug)]
struct Lookup {
    query: QueryId,
    until: Timestamp,
    commands: Vec<Command>,
}

impl Lookups {
    /// An address of a node is known.
    pub(super) fn found(&mut self, node: NodeId) {
        if self.known.len() < KNOWN_MAX {
            self.known.insert(node);
        }
    }

    /// What was known of a node did not work.
    pub(super) fn lost(&mut self, node: &NodeId) {
        self.known.remove(node);
    }

    /// Forgets everybody else.
    pub(super) fn retain(&mut self, members: &BTreeSet<NodeId>) {
        self.known.retain(|node| members.contains(node));
    }
}

impl NetTask {
    /// Obeys a command at once, or after its addressee was looked for.
    pub(super) fn obey_or_look(&mut self, command: Command) {
        let now = self.now();
        let unknown = command.member().filter(|node| {
            self.is_member(node) && !self.peers.contains(node) && !self.lookups.known.contains(node)
        });
        let (Some(node), Some(mesh)) = (unknown, self.swarm.behaviour_mut().mesh.inner_mut())
        else {
            self.obey(command);
            return;
        };
        if let Some(lookup) = self.lookups.waiting.get_mut(&node) {
            if lookup.commands.len() < COMMANDS_PER_LOOKUP_MAX {
                lookup.commands.push(command);
            } else {
                self.obey(command);
            }
        } else if self.lookups.waiting.len() < LOOKUPS_MAX {
            let query = mesh.kad.get_closest_peers(to_peer_id(&node));
            let until = now.saturating_add(WAIT_MAX);
            self.lookups.waiting.insert(node, Lookup { query, until, commands: vec![command] });
        } else {
            self.obey(command);
        }
    }

    /// Kademlia has nothing more to say.
    pub(super) fn looked(&mut self, query: QueryId) {
        self.release(|lookup| lookup.query == query);
    }

    /// Obeys what has waited long enough.
    pub(super) fn stop_looking(&mut self, now: Timestamp) {
        self.release(|lookup| lookup.until <= now);
    }

    fn release(&mut self, done: impl Fn(&Lookup) -> bool) {
        let released: Vec<_> =
            self.lookups.waiting.extract_if(.., |_, lookup| done(lookup)).collect();
        for command in released.into_iter().flat_map(|(_, lookup)| lookup.commands) {
            self.obey(command);
        }
    }
}
