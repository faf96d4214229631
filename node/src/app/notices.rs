//! Tells whoever watches a coordinating node that somebody asks to join.

use std::collections::BTreeSet;

use ledger::state::query;
use protocol::{ids::NodeId, wire::view::Admission};

use super::{
    coordinating::nodes_changed,
    words::{self, Terminal},
};
use crate::api::Member;

/// Says who asks, from now on and until the stay in the mesh ends. Who asked before is said once.
pub(super) async fn tell(member: Member, terminal: Terminal) {
    let mut here = member.leader.watch_here();
    let Ok(Some(coordinator)) = here.wait_for(Option::is_some).await.map(|here| here.clone())
    else {
        return;
    };
    let consensus = coordinator.consensus();
    let mut events = consensus.applied_events();
    let mut told = BTreeSet::new();
    loop {
        let Ok(nodes) = query::nodes(consensus.records().as_ref()) else { return };
        let pending = |admission| admission == Admission::Pending;
        told.retain(|node: &NodeId| {
            nodes.iter().any(|known| known.node == *node && pending(known.admission))
        });
        for node in nodes.iter().filter(|node| pending(node.admission)) {
            if told.insert(node.node) {
                let peers = member.context.net.peers().await;
                let peer = peers.iter().find(|peer| peer.node == node.node);
                let address = peer.map(|peer| peer.address.to_string());
                tracing::info!(node = %node.node, name = node.name, "asks to join");
                terminal.say(&words::asks(&node.name, address.as_deref(), &member.mesh_name));
            }
        }
        if !nodes_changed(&mut events).await {
            return;
        }
    }
}
