//! The one voter of a group with learners answers when a learner has the entry too: whoever promotes the learner
//! by hand after a fire then loses nothing that was answered.
//!
//! It waits for a while only. A learner that is away must not stop the group, so from then on replies are local,
//! and say so, until a learner has nearly caught up.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use openraft::{async_runtime::watch::WatchReceiver, metrics::RaftMetrics};
use tokio::time;

use super::raft::{Raft, Types};

/// How long a reply waits for a learner.
const LEARNER_WAIT: Duration = Duration::from_secs(2);
/// A learner that lacks at most so many entries is waited for again.
const NEARLY: u64 = 256;

/// On how many disks a reply is when it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyDurability {
    /// On a majority of several voters.
    Majority,
    /// On that of the one voter and that of a learner.
    Learner,
    /// On that of the one voter: there is no learner, or none that keeps up.
    Local,
}

/// Whether learners are waited for.
#[derive(Debug, Default)]
pub(crate) struct Acknowledgement {
    /// The last wait was in vain.
    given_up: AtomicBool,
}

/// What the leader knows about copies.
enum Copies {
    /// Several vote: a committed entry is on a majority.
    Majority,
    /// One votes. The learner that has most has the log up to here; `None` without learners.
    Learner(Option<u64>),
}

fn copies(metrics: &RaftMetrics<Types>) -> Copies {
    let membership = metrics.membership_config.membership();
    let voters = membership.get_joint_config().iter().map(|set| set.len()).max();
    if voters.is_some_and(|voters| voters > 1) {
        return Copies::Majority;
    }
    let learners: Vec<_> = membership.learner_ids().collect();
    if learners.is_empty() {
        return Copies::Learner(None);
    }
    let matched = metrics.replication.iter().flatten();
    let best = matched
        .filter(|(id, _)| learners.contains(id))
        .map(|(_, matched)| matched.map_or(0, |matched| matched.index))
        .max();
    Copies::Learner(Some(best.unwrap_or(0)))
}

impl Acknowledgement {
    /// Waits until a learner has entry `index`, if the group is one voter with learners that keep up.
    pub(crate) async fn wait(&self, raft: &Raft, index: u64) {
        let mut metrics = raft.metrics();
        let best = match copies(&metrics.borrow_and_update()) {
            Copies::Majority | Copies::Learner(None) => return,
            Copies::Learner(Some(best)) => best,
        };
        if self.given_up.load(Ordering::Relaxed) && best.saturating_add(NEARLY) < index {
            return;
        }
        let arrived = async {
            loop {
                let is_there = match copies(&metrics.borrow_and_update()) {
                    Copies::Majority | Copies::Learner(None) => true,
                    Copies::Learner(Some(best)) => best >= index,
                };
                // Who has stopped is not waited for.
                if is_there || metrics.changed().await.is_err() {
                    return;
                }
            }
        };
        let in_time = time::timeout(LEARNER_WAIT, arrived).await.is_ok();
        if self.given_up.swap(!in_time, Ordering::Relaxed) == in_time {
            tracing::info!(in_time, "whether a learner keeps up has changed");
        }
    }

    /// What a reply is worth now.
    pub(crate) fn durability(&self, raft: &Raft) -> ReplyDurability {
        let metrics = raft.metrics();
        match copies(&metrics.borrow_watched()) {
            Copies::Majority => ReplyDurability::Majority,
            Copies::Learner(Some(_)) if !self.given_up.load(Ordering::Relaxed) => {
                ReplyDurability::Learner
            }
            Copies::Learner(_) => ReplyDurability::Local,
        }
    }
}
