//! Tells whoever watches a coordinating node that somebody asks to join: the shell of
//! [`core::notices`](crate::core::notices).

use protocol::{time::Clock as _, wire::view::NodeView};

use super::{
    coordinating::nodes_changed,
    words::{self, Terminal},
};
use crate::{api::Member, core::notices::Notices, roles::clock::until};

/// Says who asks, from now on and until the stay in the mesh ends. Who asked before is said once.
pub(super) async fn tell(member: Member, terminal: Terminal) {
    let mut here = member.leader.watch_here();
    let Ok(Some(coordinator)) = here.wait_for(Option::is_some).await.map(|here| here.clone())
    else {
        return;
    };
    let clock = member.context.clock;
    let mut events = coordinator.consensus().applied_events();
    let mut reveals = coordinator.reveals();
    let mut notices = Notices::default();
    loop {
        let Ok(waiting) = coordinator.waiting() else { return };
        let codes = waiting.iter().map(|node| (node.node, node.code));
        let due = notices.look(clock.now(), codes);
        for node in waiting.iter().filter(|node| due.contains(&node.node)) {
            say(&member, node, terminal).await;
        }
        let goes_on = tokio::select! {
            goes_on = nodes_changed(&mut events) => goes_on,
            revealed = reveals.changed() => revealed.is_ok(),
            () = until(clock, notices.deadline()) => true,
        };
        if !goes_on {
            return;
        }
    }
}

async fn say(member: &Member, node: &NodeView, terminal: Terminal) {
    let peers = member.context.net.peers().await;
    let peer = peers.iter().find(|peer| peer.node == node.node);
    let address = peer.map(|peer| peer.address.to_string());
    let code = node.code.map(|code| code.to_string()).unwrap_or_default();
    tracing::info!(node = %node.node, name = node.name, code, "asks to join");
    terminal.say(&words::asks(&node.name, address.as_deref(), &member.mesh_name, node.code));
}
