//! What a node does in its mesh. Each role is a shell: it performs what a core of [`crate::core`] decides.
//!
//! ```text
//! network ──Inbound──▶ app::inbound ──▶ coordinator  (core::dispatch, consensus)
//!                                  └──▶ worker       (core::worker, sandbox)
//! API ────────────────────────────────▶ submitter ──▶ coordinator, here or over the network
//! ```

pub mod clock;
pub mod coordinator;
pub mod leader;
pub mod owner;
pub mod submitter;
pub mod worker;

use std::sync::Arc;

use protocol::{ids::MeshId, sign::Signed, wire::genesis::Genesis};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{clock::NodeClock, owner::Owner};
use crate::{blobs::BlobStore, home::Keys, net::NetHandle};

/// What all roles of a node share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Context {
    /// The mesh.
    pub mesh: MeshId,
    /// Its founding statement.
    pub genesis: Arc<Signed<Genesis>>,
    /// Counts recoveries that started a new log.
    pub epoch: u32,
    /// The node's key, and that of its own owner.
    pub keys: Arc<Keys>,
    /// Whose the node is.
    pub owner: Owner,
    /// The node's content.
    pub blobs: BlobStore,
    /// The network.
    pub net: NetHandle,
    /// The time.
    pub clock: NodeClock,
    /// Tasks that are waited for at the end.
    pub tasks: TaskTracker,
    /// Ends everything.
    pub stop: CancellationToken,
}

impl Context {
    /// Runs something beside, until it ends or the node does.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            let _stopped = stop.run_until_cancelled_owned(work).await;
        });
    }
}
