//! The way to whoever leads: in this process, or over the network.

use std::sync::Arc;

use protocol::{
    ids::NodeId,
    reject::RejectReason,
    wire::{
        client::{ClientRequest, ClientResponse},
        heartbeat::{Heartbeat, HeartbeatResponse},
        receipt::{ResultRequest, ResultResponse},
    },
};
use tokio::sync::watch;

use super::coordinator::Coordinator;
use crate::net::{NetHandle, RpcError};

/// The way to the leader. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Leader {
    local: NodeId,
    coordinator: Option<Coordinator>,
    net: NetHandle,
    known: Arc<watch::Sender<Option<NodeId>>>,
}

impl Leader {
    /// A way that knows nobody yet. `coordinator` is this node's own, if it has that role.
    #[must_use]
    pub fn new(net: NetHandle, coordinator: Option<Coordinator>) -> Self {
        let (known, _) = watch::channel(None);
        Self { local: net.local(), coordinator, net, known: Arc::new(known) }
    }

    /// Somebody said who leads.
    pub fn learn(&self, leader: Option<NodeId>) {
        self.known.send_if_modified(|known| {
            let changed = *known != leader;
            *known = leader;
            changed
        });
    }

    /// Who leads, as far as known, now and from now on.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Option<NodeId>> {
        self.known.subscribe()
    }

    /// This node's own coordinator.
    #[must_use]
    pub const fn here(&self) -> Option<&Coordinator> {
        self.coordinator.as_ref()
    }

    fn target(&self) -> Result<(NodeId, Option<&Coordinator>), RpcError> {
        let leader = (*self.known.borrow()).ok_or(RpcError::Unreachable)?;
        Ok((leader, self.coordinator.as_ref().filter(|_| leader == self.local)))
    }

    /// Tells the leader that this worker is alive.
    ///
    /// # Errors
    ///
    /// If nobody leads or the leader cannot be reached.
    pub async fn heartbeat(&self, beat: Heartbeat) -> Result<HeartbeatResponse, RpcError> {
        match self.target()? {
            (_, Some(here)) => Ok(here.heartbeat(self.local, beat).await),
            (leader, None) => self.net.heartbeat(leader, beat).await,
        }
    }

    /// Delivers results.
    ///
    /// # Errors
    ///
    /// If nobody leads or the leader cannot be reached.
    pub async fn result(&self, results: ResultRequest) -> Result<ResultResponse, RpcError> {
        match self.target()? {
            (_, Some(here)) => Ok(here.result(self.local, results).await),
            (leader, None) => self.net.result(leader, results).await,
        }
    }

    /// Asks for a change or an answer. A leader that cannot be reached is a rejection, so that whoever asked can
    /// be told what to do.
    pub async fn client(&self, request: ClientRequest) -> ClientResponse {
        let answer = match self.target() {
            Ok((_, Some(here))) => Ok(here.client(self.local, request).await),
            Ok((leader, None)) => self.net.client(leader, request).await,
            Err(error) => Err(error),
        };
        answer.unwrap_or_else(|error| {
            let reason = match error {
                RpcError::Malformed => RejectReason::TooLarge,
                RpcError::NotMember | RpcError::Unsupported => RejectReason::NotApproved,
                RpcError::Busy => RejectReason::Busy,
                RpcError::Unreachable
                | RpcError::Timeout
                | RpcError::Closed
                | RpcError::NoMesh
                | RpcError::Stopped => RejectReason::NoLeader,
            };
            ClientResponse::rejected(reason, format!("the coordinator did not answer: {error}"))
        })
    }
}
