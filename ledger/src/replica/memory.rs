//! Consensus of one, in memory: for the tests of other crates.

use std::{
    fmt,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::{FutureExt, future::BoxFuture};
use protocol::ids::{MeshId, NodeId};
use tokio::sync::{broadcast, watch};

use super::{
    AppliedEvents, Clock, Consensus, Fatal, GroupStatus, Leadership, MemberRole, MemberStatus,
    Proposal, ProposeError, fault::Fault,
};
use crate::{
    command::Reply,
    records::{MemoryRecords, Range, ReadError, Record, Records, Table},
    state,
};

/// Applies each command at once to [`MemoryRecords`]. It always leads, and it survives nothing.
pub struct MemoryConsensus {
    mesh: MeshId,
    node: NodeId,
    clock: Clock,
    records: Arc<Shared>,
    index: AtomicU64,
    leadership: watch::Sender<Leadership>,
    events: broadcast::Sender<Arc<AppliedEvents>>,
    fault: Fault,
}

impl fmt::Debug for MemoryConsensus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryConsensus")
            .field("mesh", &self.mesh)
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl MemoryConsensus {
    /// Nothing applied yet.
    #[must_use]
    pub fn new(mesh: MeshId, node: NodeId, clock: Clock) -> Self {
        let leads = Leadership { leader: true, term: 1, since_index: 0, leader_node: Some(node) };
        Self {
            mesh,
            node,
            clock,
            records: Arc::default(),
            index: AtomicU64::new(0),
            leadership: watch::Sender::new(leads),
            events: broadcast::Sender::new(4_096),
            fault: Fault::new(),
        }
    }

    /// Makes it the leader, or takes that away: proposals then fail with [`ProposeError::NoLeader`].
    pub fn lead(&self, leader: bool) {
        self.leadership.send_modify(|now| {
            now.leader = leader;
            now.term = now.term.saturating_add(1);
            now.since_index = self.index.load(Ordering::SeqCst);
            now.leader_node = leader.then_some(self.node);
        });
    }

    fn apply(&self, proposal: Proposal) -> Result<Reply, ProposeError> {
        if let Some(fatal) = self.fault.get() {
            return Err(ProposeError::Stopped(fatal));
        }
        if !self.leadership.borrow().leader {
            return Err(ProposeError::NoLeader { leader: None });
        }
        let stamped = proposal.stamp(self.mesh, (self.clock)());
        let mut records = self.records.0.write().unwrap_or_else(PoisonError::into_inner);
        let applied = state::apply(&*records, &stamped).map_err(|error| {
            let fatal = Fatal::from_error(&error);
            self.fault.raise(fatal.clone());
            ProposeError::Stopped(fatal)
        })?;
        records.write(&applied.changes);
        let index = self.index.fetch_add(1, Ordering::SeqCst).saturating_add(1);
        if !applied.events.is_empty() {
            // It fails only if nobody listens.
            let _ = self.events.send(Arc::new(AppliedEvents { index, events: applied.events }));
        }
        Ok(applied.reply)
    }
}

impl Consensus for MemoryConsensus {
    fn propose(&self, proposal: Proposal) -> BoxFuture<'_, Result<Reply, ProposeError>> {
        async move { self.apply(proposal) }.boxed()
    }

    fn propose_many(
        &self,
        proposals: Vec<Proposal>,
    ) -> BoxFuture<'_, Result<Vec<Reply>, ProposeError>> {
        async move { proposals.into_iter().map(|proposal| self.apply(proposal)).collect() }.boxed()
    }

    fn read_barrier(&self) -> BoxFuture<'_, Result<u64, ProposeError>> {
        async move {
            if self.leadership.borrow().leader {
                Ok(self.index.load(Ordering::SeqCst))
            } else {
                Err(ProposeError::NoLeader { leader: None })
            }
        }
        .boxed()
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    fn status(&self) -> GroupStatus {
        let index = self.index.load(Ordering::SeqCst);
        GroupStatus {
            leadership: *self.leadership.borrow(),
            commit_index: index,
            applied_index: index,
            members: vec![MemberStatus { node: self.node, role: MemberRole::Voter, lag: Some(0) }],
        }
    }

    fn records(&self) -> Arc<dyn Records + Send + Sync> {
        Arc::clone(&self.records) as Arc<dyn Records + Send + Sync>
    }

    fn view(&self) -> Box<dyn Records + Send + Sync + '_> {
        Box::new(self.records.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn applied_events(&self) -> broadcast::Receiver<Arc<AppliedEvents>> {
        self.events.subscribe()
    }

    fn fatal(&self) -> watch::Receiver<Option<Fatal>> {
        self.fault.subscribe()
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        async move { self.fault.raise(Fatal::because("it was shut down")) }.boxed()
    }
}

/// The records as they are at each read.
#[derive(Debug, Default)]
struct Shared(RwLock<MemoryRecords>);

impl Records for Shared {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(table, key)
    }

    fn scan(&self, table: Table, range: &Range) -> Result<Vec<Record>, ReadError> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).scan(table, range)
    }
}

#[cfg(test)]
mod tests {
    use protocol::ids::RequestId;

    use super::*;
    use crate::{
        command::Command,
        state::Event,
        testing::{FOUNDED, TestMesh},
    };

    #[tokio::test]
    async fn it_applies_only_while_it_leads() {
        let mesh = TestMesh::default();
        let consensus =
            MemoryConsensus::new(mesh.id, mesh.coordinator.node(), Arc::new(|| FOUNDED));
        let founding =
            Proposal { request: RequestId([1; 16]), command: Command::Found(mesh.genesis.clone()) };
        consensus.lead(false);
        let refused = consensus.propose(founding.clone()).await;
        assert!(matches!(refused, Err(ProposeError::NoLeader { .. })));
        consensus.lead(true);
        let mut events = consensus.applied_events();
        let before = consensus.view();
        assert_eq!(consensus.propose(founding).await.unwrap(), Reply::Done { height: 1 });
        assert!(events.recv().await.unwrap().events.contains(&Event::Founded));
        assert_eq!(before.get(Table::Meta, b"head").unwrap(), None, "a view does not change");
        assert!(consensus.records().get(Table::Meta, b"head").unwrap().is_some());
        assert_eq!(consensus.read_barrier().await.unwrap(), 1);
    }
}
