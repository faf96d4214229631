//! The end of a swarm.

use std::time::Duration;

use futures::StreamExt as _;
use libp2p::{
    PeerId,
    swarm::{NetworkBehaviour, Swarm},
};

/// How long connections have to close.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// Closes all connections, for half a second at most, so that peers need not wait for a timeout to notice.
///
/// Cancel safe: what is not closed yet closes when the swarm is polled again.
pub async fn hang_up<B: NetworkBehaviour>(swarm: &mut Swarm<B>) {
    let peers: Vec<PeerId> = swarm.connected_peers().copied().collect();
    for peer in peers {
        // It fails if the peer has gone by itself.
        let _gone = swarm.disconnect_peer_id(peer);
    }
    let closing = async {
        while swarm.connected_peers().next().is_some() {
            swarm.next().await;
        }
    };
    let _overdue = tokio::time::timeout(CLOSE_TIMEOUT, closing).await;
}
