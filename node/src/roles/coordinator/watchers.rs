//! Askers who wait for a job to change.

use protocol::ids::JobId;
use tokio::sync::oneshot;

use crate::core::dispatch::Dispatch;

/// Askers that may wait. Beyond this the oldest is answered as if something had changed.
const WATCHERS_MAX: usize = 1_024;

#[derive(Debug, Default)]
pub(super) struct Watchers {
    waiting: Vec<(JobId, u64, oneshot::Sender<()>)>,
}

impl Watchers {
    /// Somebody who has seen this version waits for another.
    pub(super) fn add(&mut self, job: JobId, version: u64, reply: oneshot::Sender<()>) {
        if self.waiting.len() >= WATCHERS_MAX {
            let (_, _, oldest) = self.waiting.remove(0);
            let _gone = oldest.send(());
        }
        self.waiting.push((job, version, reply));
    }

    /// Answers those for whom something changed, and forgets those who went away.
    pub(super) fn look(&mut self, dispatch: &Dispatch) {
        let due = |(job, version, reply): &mut (JobId, u64, oneshot::Sender<()>)| {
            reply.is_closed() || dispatch.version(job) != Some(*version)
        };
        for (_, _, reply) in self.waiting.extract_if(.., due) {
            let _gone = reply.send(());
        }
    }
}
