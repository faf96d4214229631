//! A node's time in one mesh: its roles, from their start to their end.

use std::time::Duration;

use protocol::{
    ids::MeshId,
    sign::Signed,
    wire::{
        client::ClientRequest,
        enroll::{MeshHello, NodeDecision, Verdict},
    },
};
use tokio::sync::{Mutex, mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    AppError,
    up::{END_WITHIN, signalled},
};
use crate::{
    api::Member,
    roles::{clock::NodeClock, coordinator::Coordinator},
};

/// How long the leader may take to hear of what is handed back at the end.
const GIVE_BACK_WITHIN: Duration = Duration::from_secs(2);

/// How long the leader may take to hear that this node leaves.
const DEPART_WITHIN: Duration = Duration::from_secs(5);

/// A node's time in one mesh.
pub(super) struct Stay {
    pub(super) member: Member,
    /// Why it cannot go on, once it cannot.
    pub(super) failures: Mutex<mpsc::Receiver<AppError>>,
    /// Everything that runs for this mesh.
    pub(super) tasks: TaskTracker,
    /// Ends it.
    pub(super) stop: CancellationToken,
}

impl Stay {
    pub(super) const fn mesh(&self) -> MeshId {
        self.member.context.mesh
    }

    /// Whether nothing would be lost if this mesh were left. Not known counts as no.
    pub(super) fn is_pristine(&self) -> bool {
        self.member.hello().is_some_and(|hello| hello.pristine)
    }

    /// Takes no more work, and waits for what runs, at most so long; a signal ends the waiting.
    pub(super) async fn drain(&self, within: Duration) {
        let Some(worker) = &self.member.worker else { return };
        worker.drain(true).await;
        let mut slots = worker.slots();
        let (all, free) = *slots.borrow();
        if all != free {
            tracing::info!(
                running = all.saturating_sub(free),
                "waits for what runs; signal again to stop at once"
            );
        }
        let idle = slots.wait_for(|(all, free)| all == free);
        tokio::select! {
            _ = tokio::time::timeout(within, idle) => {}
            () = signalled() => tracing::info!("stops at once"),
        }
        // What is left is nobody's fault: others take it over at once, and it does not count as tried.
        let _heard = tokio::time::timeout(GIVE_BACK_WITHIN, worker.give_back()).await;
    }

    /// Says in the mesh that this node leaves it, so that it is not kept as one that may come back any time. A mesh that
    /// this node has founded keeps it as long as it lives; one that does not answer is left all the same.
    pub(super) async fn depart(&self) {
        let context = &self.member.context;
        let founder = context.genesis.peek().map(|genesis| genesis.coordinator);
        if founder == Ok(context.net.local()) {
            return;
        }
        let leave = NodeDecision {
            node: context.net.local(),
            verdict: Verdict::Leave,
            roles: Vec::new(),
            delegation: None,
            reason: None,
            note: String::new(),
            at: NodeClock::wall(),
        };
        let leave = Signed::sign(&leave, context.mesh, &context.keys.node);
        let told = self.member.submitter.change(ClientRequest::Decide(leave));
        match tokio::time::timeout(DEPART_WITHIN, told).await {
            Ok(Ok(_)) => tracing::info!(mesh = self.member.mesh_name, "has left"),
            Ok(Err(problem)) => {
                tracing::warn!(
                    mesh = self.member.mesh_name,
                    %problem,
                    "left without a word: the mesh still knows this node"
                );
            }
            Err(_) => tracing::warn!(
                mesh = self.member.mesh_name,
                "left without a word: nobody there answers"
            ),
        }
    }

    /// Ends everything that runs for this mesh. Its files are not written any more afterwards.
    pub(super) async fn end(&self) {
        if let Some(here) = self.member.leader.here() {
            here.step_aside().await;
        }
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(END_WITHIN, self.tasks.wait()).await.is_err() {
            tracing::warn!("not everything ended in time");
        }
        if let Some(here) = self.member.leader.here() {
            here.consensus().shutdown().await;
        }
    }

    /// Waits until the ledger cannot go on.
    pub(super) async fn fatal(&self) -> AppError {
        let mut here = self.member.leader.watch_here();
        let mut failures = self.failures.lock().await;
        loop {
            let coordinator = here.borrow_and_update().clone();
            tokio::select! {
                error = stopped(coordinator) => return error,
                Some(error) = failures.recv() => return error,
                Ok(()) = here.changed() => {}
            }
        }
    }
}

/// Why the ledger of a coordinator stopped, once it has.
async fn stopped(coordinator: Option<Coordinator>) -> AppError {
    let Some(coordinator) = coordinator else { return std::future::pending().await };
    let mut fatal = coordinator.consensus().fatal();
    match fatal.wait_for(Option::is_some).await.map(|fatal| fatal.clone()) {
        Ok(Some(fatal)) => AppError::Fatal(fatal),
        Ok(None) | Err(_) => AppError::Ended("ledger"),
    }
}

/// What a member that does not coordinate knows about its mesh: what its leader says, asked again and again.
pub(super) async fn follow_facts(member: Member, facts: watch::Sender<MeshHello>) {
    loop {
        let leader = *member.leader.watch().borrow();
        let said = match leader {
            // Its own records say it.
            _ if member.leader.here().is_some() => None,
            Some(leader) => member.context.net.hello(leader).await.ok(),
            None => None,
        };
        let mine = said.and_then(|said| said.mesh).filter(|said| said.mesh == member.context.mesh);
        let pause = if mine.is_some() { FACTS_EVERY } else { FACTS_AGAIN };
        if let Some(mine) = mine {
            facts.send_replace(mine);
        }
        tokio::time::sleep(pause).await;
    }
}

/// How often the leader is asked what there is to say about the mesh.
const FACTS_EVERY: Duration = Duration::from_secs(15);
/// The same, when it did not answer.
const FACTS_AGAIN: Duration = Duration::from_secs(1);
