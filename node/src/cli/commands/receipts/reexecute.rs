//! Runs the task of a receipt again, on this machine, and compares.

use std::{collections::BTreeMap, sync::Arc};

use protocol::{
    ids::{AccountId, Hash},
    limits::TASK_TIMEOUT_MAX,
    wire::{manifest::InputSource, receipt::TaskReceipt, view::ReceiptProof},
};
use sandbox::{
    PROFILE,
    task::{ModuleSource, TaskDone},
};

use super::file::{Data, contents};
use crate::{
    cli::{context::Context, error::CliError, human, work::exec::run_alone},
    execution::{Execution, described, output_hash},
};

/// What came of running a task again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finding {
    /// The same outcome, output, memory and fuel.
    Same,
    /// Another outcome, output or peak of memory.
    OtherResult(String),
    /// The same result for other fuel.
    OtherFuel(String),
    /// It cannot be told.
    Unknown(String),
}

/// Runs it.
///
/// # Errors
///
/// If nothing can be run here, or the user stopped it.
pub(super) async fn run(
    context: &Context,
    proof: &ReceiptProof,
    data: Data,
) -> Result<Finding, CliError> {
    let claimed = proof.item;
    if proof.header.peek().map_or(0, |header| header.profile) != PROFILE {
        return Ok(Finding::Unknown(format!(
            "the task was run under another engine profile than {PROFILE}, the one of this build"
        )));
    }
    if !claimed.outcome.is_verifiable() {
        return Ok(Finding::Unknown(format!(
            "the host ended the task ({}): nobody can repeat that",
            claimed.outcome
        )));
    }
    let known: BTreeMap<Hash, Arc<[u8]>> =
        contents(&data.input).into_iter().zip(data.blobs.into_iter().map(Arc::from)).collect();
    let content = |source: &InputSource| -> Arc<[u8]> {
        match source {
            InputSource::Inline(content) => content.as_slice().into(),
            // Checked when the file was read: all of them are there.
            InputSource::Blob(blob) => known.get(&blob.hash).cloned().unwrap_or_default(),
        }
    };
    let execution = Execution {
        job: proof.receipt.job,
        task: claimed.task,
        spec: &proof.spec,
        input: &data.input,
        stdin: content(&data.input.stdin),
        files: data.input.files.iter().map(|file| content(&file.source)).collect(),
    };
    let mut run = execution.run(ModuleSource::Bytes(data.module.into()), AccountId([0; 32]));
    // Time is no part of a result: a slow machine must not call a fast one a liar.
    run.limits.timeout_ms = u32::try_from(TASK_TIMEOUT_MAX.as_millis()).unwrap_or(u32::MAX);
    Ok(compare(&claimed, &run_alone(context, run).await?))
}

fn compare(claimed: &TaskReceipt, done: &TaskDone) -> Finding {
    let (outcome, output) = described(done);
    if !outcome.is_verifiable() {
        let detail = done.detail.clone().unwrap_or_else(|| outcome.to_string());
        return Finding::Unknown(format!(
            "this machine could not run the task to its end: {detail}"
        ));
    }
    if outcome != claimed.outcome {
        return Finding::OtherResult(format!(
            "the receipt says that the task ended with {}, but it ends with {outcome}",
            claimed.outcome
        ));
    }
    let (hash, bytes) = (output_hash(&output), output.len());
    if hash != claimed.output || bytes != claimed.output_bytes {
        return Finding::OtherResult(format!(
            "the receipt says that the output is {}, but it is {hash}",
            claimed.output
        ));
    }
    if done.peak != claimed.peak {
        return Finding::OtherResult(format!(
            "the receipt says that the task needed {} of memory, but it needs {}",
            human::bytes(claimed.peak.bytes()),
            human::bytes(done.peak.bytes())
        ));
    }
    if done.fuel != claimed.fuel {
        return Finding::OtherFuel(format!(
            "the receipt bills {} of fuel, but the task uses {}",
            claimed.fuel.0, done.fuel.0
        ));
    }
    Finding::Same
}

#[cfg(test)]
mod tests {
    use protocol::{
        ids::TaskIndex,
        outcome::{Interruption, Outcome},
        time::UnixMillis,
        units::{Fuel, Pages},
    };

    use super::*;

    fn done() -> TaskDone {
        let none = TaskDone::without_output(Outcome::Exit(0), None);
        TaskDone { stdout: b"25\n".to_vec(), fuel: Fuel(700), peak: Pages(17), ..none }
    }

    fn receipt(done: &TaskDone) -> TaskReceipt {
        let (outcome, output) = described(done);
        TaskReceipt {
            task: TaskIndex(0),
            attempt: 1,
            input: Hash([0; 32]),
            output: output_hash(&output),
            output_bytes: output.len(),
            outcome,
            fuel: done.fuel,
            peak: done.peak,
            started: UnixMillis(0),
            finished: UnixMillis(1),
        }
    }

    #[test]
    fn every_difference_is_found_and_named_as_what_it_is() {
        let claimed = receipt(&done());
        assert_eq!(compare(&claimed, &done()), Finding::Same);
        let others = [
            TaskDone { stdout: b"26\n".to_vec(), ..done() },
            TaskDone { stderr: b"!".to_vec(), ..done() },
            TaskDone { files: vec![("x".to_owned(), Vec::new())], ..done() },
            TaskDone { outcome: Outcome::Exit(1), ..done() },
            TaskDone { outcome: Outcome::OutOfFuel, ..done() },
            TaskDone { peak: Pages(18), ..done() },
        ];
        for other in others {
            assert!(matches!(compare(&claimed, &other), Finding::OtherResult(_)), "{other:?}");
        }
        let cheaper = TaskDone { fuel: Fuel(699), ..done() };
        assert!(matches!(compare(&claimed, &cheaper), Finding::OtherFuel(_)));
    }

    #[test]
    fn a_machine_that_cannot_run_it_convicts_nobody() {
        for interruption in [Interruption::Timeout, Interruption::HostResources] {
            let broken = TaskDone { outcome: Outcome::Indeterminate(interruption), ..done() };
            assert!(matches!(compare(&receipt(&done()), &broken), Finding::Unknown(_)));
        }
    }
}
