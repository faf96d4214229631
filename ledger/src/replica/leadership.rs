//! Turns what openraft reports into [`Leadership`]: a leader leads when it has caught up.

use std::{collections::BTreeSet, convert::Infallible, mem, time::Duration};

use openraft::{
    Instant as _, ReadPolicy, ServerState,
    async_runtime::watch::{RecvError, WatchReceiver},
    metrics::RaftServerMetrics,
};
use protocol::ids::NodeId;
use tokio::{sync::watch, time};

use super::{
    Fatal, Leadership,
    fault::Fault,
    raft::{Raft, Types},
};

/// How long a leader that could not catch up waits before it tries again.
const RETRY: Duration = Duration::from_millis(50);

/// How often a leader looks at its lease: a third of the shortest one.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What a node that has just started knows.
pub(crate) const NOBODY: Leadership =
    Leadership { leader: false, term: 0, since_index: 0, leader_node: None };

/// Reports who leads until Raft stops, which is a failure.
///
/// Cancel safe.
pub(crate) async fn report(
    raft: &Raft,
    leadership: &watch::Sender<Leadership>,
    fault: &Fault,
    lease: Duration,
) {
    let Err(_ended) = report_changes(raft, leadership, lease).await;
    fault.raise(Fatal::because("the consensus task ended"));
}

/// What openraft says at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    elected: bool,
    term: u64,
    leader_node: Option<NodeId>,
}

impl Seen {
    fn of(metrics: &RaftServerMetrics<Types>) -> Self {
        let leader = metrics.current_leader;
        let leader_node =
            leader.and_then(|id| metrics.membership_config.get_node(&id)).map(|member| member.node);
        let elected = metrics.state == ServerState::Leader && leader == Some(metrics.id);
        Self { elected, term: metrics.vote.leader_id.term, leader_node }
    }
}

async fn report_changes(
    raft: &Raft,
    leadership: &watch::Sender<Leadership>,
    lease: Duration,
) -> Result<Infallible, RecvError> {
    let mut metrics = raft.server_metrics();
    loop {
        let seen = Seen::of(&metrics.borrow_and_update());
        let before = *leadership.borrow();
        // A leader of a new term has to catch up first, even if it led the term before.
        if before.term != seen.term {
            leadership.send_if_modified(|shown| mem::replace(&mut shown.leader, false));
        }
        let goes_on = before.leader && before.term == seen.term && !is_cut_off(raft, lease);
        if before.leader && !goes_on {
            // At once: what a leader does besides must not go on while another may lead.
            leadership.send_if_modified(|shown| mem::replace(&mut shown.leader, false));
        }
        let since = match (seen.elected, goes_on) {
            (true, true) => Some(before.since_index),
            (true, false) => tokio::select! {
                caught_up = catch_up(raft) => caught_up,
                changed = metrics.changed() => {
                    changed?;
                    continue;
                }
            },
            (false, _) => None,
        };
        let now = Leadership {
            leader: since.is_some(),
            term: seen.term,
            since_index: since.unwrap_or(0),
            leader_node: seen.leader_node,
        };
        leadership.send_if_modified(|shown| mem::replace(shown, now) != now);
        if now.leader {
            // Who is not answered any more sees no change: the lease is looked at again and again.
            time::timeout(LOOK_EVERY, metrics.changed()).await.unwrap_or(Ok(()))?;
        } else if seen.elected {
            // Elapsed is as good as changed: look again.
            time::timeout(RETRY, metrics.changed()).await.unwrap_or(Ok(()))?;
        } else {
            metrics.changed().await?;
        }
    }
}

/// Whether no majority has answered this leader for as long as nobody else can have been elected since. One that votes
/// alone is its own majority.
fn is_cut_off(raft: &Raft, lease: Duration) -> bool {
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    let alone = |set: &BTreeSet<u64>| set.len() == 1 && set.contains(&metrics.id);
    if metrics.membership_config.membership().get_joint_config().iter().all(alone) {
        return false;
    }
    metrics.last_quorum_acked.is_some_and(|acked| acked.elapsed() >= lease)
}

/// Waits until everything that was committed before is applied: the index up to which it is.
async fn catch_up(raft: &Raft) -> Option<u64> {
    match raft.ensure_linearizable(ReadPolicy::ReadIndex).await {
        Ok(read) => Some(read.log_id().index),
        Err(error) => {
            tracing::debug!(%error, "not yet able to lead");
            None
        }
    }
}
