//! Every code that this program prints: what it means, and the way out.
//!
//! A code is a word. The same word may stand for an error of a command and for the end of a task; both are told.

use ledger::state::record::EndReason;
use portal_api::{ErrorCode, views::Kind};
use protocol::{
    outcome::{Interruption, Outcome},
    reject::RejectReason,
    wire::availability::Cause,
};
use serde::Serialize;

use crate::{core::scheduler::Obstacle, doctor::Finding};

/// Where a code is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Met {
    /// A command or a request ends with it.
    Error,
    /// One node says it to another.
    Rejection,
    /// A task or a job ends with it.
    End,
    /// A node cannot take a task because of it.
    Obstacle,
    /// `weft doctor` finds it.
    Finding,
}

impl Met {
    /// The word for it, as in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Rejection => "rejection",
            Self::End => "end",
            Self::Obstacle => "obstacle",
            Self::Finding => "finding",
        }
    }
}

/// What a code means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// The code.
    pub code: &'static str,
    /// Where it is met.
    pub met: Met,
    /// A few words.
    pub title: &'static str,
    /// What it means and where it comes from.
    pub meaning: &'static str,
    /// The way out.
    pub help: &'static str,
    /// The exit code of the command, or of the task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u32>,
    /// The HTTP status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
}

impl Kind for Explained {
    const KIND: &'static str = "Explanation";
}

/// All codes, by where they are met.
pub fn all() -> impl Iterator<Item = Explained> {
    let errors = ErrorCode::ALL.iter().map(|code| of_error(*code));
    // The others have the name of an error, and its meaning.
    let rejections = RejectReason::ALL
        .iter()
        .filter(|reason| ErrorCode::by_code(reason.code()).is_none())
        .map(|reason| of_rejection(*reason));
    let tasks = Outcome::FAILURES.into_iter().map(of_outcome);
    let jobs =
        [EndReason::NodeLost, EndReason::OutOfBudget, EndReason::Cancelled, EndReason::Expired]
            .into_iter()
            .map(of_end);
    // Two causes have obstacles of their own, of the same name.
    let owned = |cause: &Cause| !matches!(cause, Cause::Draining | Cause::Overloaded);
    let causes = Cause::ALL.into_iter().filter(owned).map(Obstacle::Withheld);
    let obstacles = Obstacle::ALL.into_iter().chain(causes).map(of_obstacle);
    let findings = Finding::ALL.iter().map(|finding| of_finding(*finding));
    errors.chain(rejections).chain(tasks).chain(jobs).chain(obstacles).chain(findings)
}

/// What a code means, wherever it is met.
#[must_use]
pub fn explained(code: &str) -> Vec<Explained> {
    all().filter(|explained| explained.code.eq_ignore_ascii_case(code)).collect()
}

/// The way out for a reason with which a task or a job ended.
#[must_use]
pub fn end(code: &str) -> Option<Explained> {
    all().find(|explained| explained.met == Met::End && explained.code == code)
}

fn of_error(code: ErrorCode) -> Explained {
    Explained {
        code: code.code(),
        met: Met::Error,
        title: code.title(),
        meaning: code.meaning(),
        help: code.help(),
        exit_code: Some(code.exit_code().into()),
        http_status: code.status().map(|status| status.as_u16()),
    }
}

/// To a client a rejection is the error that the API makes of it.
fn of_rejection(reason: RejectReason) -> Explained {
    let error = ErrorCode::from(reason);
    Explained {
        code: reason.code(),
        met: Met::Rejection,
        title: error.title(),
        meaning: reason.meaning(),
        help: error.help(),
        exit_code: Some(error.exit_code().into()),
        http_status: error.status().map(|status| status.as_u16()),
    }
}

const fn of_finding(finding: Finding) -> Explained {
    Explained {
        code: finding.code(),
        met: Met::Finding,
        title: finding.title(),
        meaning: finding.meaning(),
        help: finding.help(),
        exit_code: None,
        http_status: None,
    }
}

fn of_outcome(outcome: Outcome) -> Explained {
    let (title, meaning, help) = outcome_words(outcome);
    Explained {
        code: outcome.reason(),
        met: Met::End,
        title,
        meaning,
        help,
        exit_code: Some(outcome.exit_code()),
        http_status: None,
    }
}

const fn outcome_words(outcome: Outcome) -> (&'static str, &'static str, &'static str) {
    match outcome {
        Outcome::Exit(_) => (
            "The program ended with a code other than 0",
            "The program itself said that it failed: by what it returned from `main`, or by `exit`.",
            "`weft job logs JOB` shows what it said. `weft run --exit-code` passes its code on.",
        ),
        Outcome::Trap(_) => (
            "The program did what WebAssembly forbids, or it panicked",
            "It read or wrote beyond its memory, divided by zero, called a function that is none, or gave up with a \
             panic or abort.",
            "`weft job logs JOB` shows what it said. Try it on this machine with `weft exec`.",
        ),
        Outcome::OutOfFuel => (
            "The program used up its fuel",
            "Every instruction uses fuel, the same on every machine; the task's limit was reached. What was used is \
             charged.",
            "Give it more with `--fuel`, or split its input.",
        ),
        Outcome::OutputTooLarge => (
            "The program put out more than it may",
            "Standard output, standard error and the files in `/out` together passed the limit of the task. Nothing is \
             cut: the task has no output.",
            "Give it more with `--output-limit`.",
        ),
        Outcome::DepthExceeded => (
            "The program called itself too deeply",
            "Functions that call functions reached the depth at which every node stops.",
            "Look for a recursion without end.",
        ),
        Outcome::Refused => (
            "The module was not admitted",
            "The worker read the module before running it and refused it: it is no WASI command, imports what is not \
             offered, or passes a limit.",
            "Build it for `wasm32-wasip1` as a command; `weft exec` says what is wrong with it.",
        ),
        Outcome::Indeterminate(interruption) => interruption_words(interruption),
    }
}

const fn interruption_words(
    interruption: Interruption,
) -> (&'static str, &'static str, &'static str) {
    match interruption {
        Interruption::Timeout => (
            "The program ran longer than it may",
            "The task's limit of wall-clock time was reached. How far a program gets in it depends on the machine.",
            "Give it more with `--task-timeout`, or split its input.",
        ),
        Interruption::RunnerCrashed => (
            "The process that ran the program died",
            "The sandbox's process ended without a result: it was killed, or the program found a bug in the engine. \
             The node goes on.",
            "It was tried again elsewhere. If it always ends so, please report the module.",
        ),
        Interruption::HostResources => (
            "The worker ran out of memory or stack",
            "The machine that ran the task had less to give than it had promised.",
            "It is tried again elsewhere. Ask for less with `--memory`, or share less on that node.",
        ),
        Interruption::InputMissing => (
            "The module or an input could not be fetched",
            "No node that the worker reached had the content, or what it sent was not what its hash says.",
            "Keep the node running that submitted the job: it serves the inputs.",
        ),
        Interruption::CompileBudget => (
            "Compiling the module took too long",
            "Compiling is bounded in time and memory, so that a module cannot keep a node busy before it has paid.",
            "Make its functions smaller: a lower optimisation level, or less inlining.",
        ),
        Interruption::Withdrawn => (
            "The task was taken back from its worker",
            "The job was cancelled, or the worker lost its lease and the task was given to another.",
            "Nothing has to be done: the task is tried again unless its job was given up.",
        ),
    }
}

fn of_end(reason: EndReason) -> Explained {
    let (title, meaning, help) = match reason {
        EndReason::Task(outcome) => outcome_words(outcome),
        EndReason::NodeLost => (
            "Its workers went away",
            "A task was given out as often as allowed, and each time its worker was not heard of again.",
            "`weft node list` shows who is there. Submit the job again when the nodes are back.",
        ),
        EndReason::OutOfBudget => (
            "The budget of the job was used up",
            "The tasks that ran cost as much as the job may; the others were not started. What was done is kept.",
            "Give it more with `--max-credits`, and run only the inputs that are left.",
        ),
        EndReason::Cancelled => (
            "The job was cancelled",
            "Its submitter gave it up. What had been done until then was paid; the rest was given back.",
            "Submit it again if that was a mistake: `weft job list` shows who did it when.",
        ),
        EndReason::Expired => (
            "The time of the job was over",
            "A job that has not ended within the time that it was signed for ends there, so that what it holds is free \
             again.",
            "`weft job explain JOB` on a new one says what it waits for.",
        ),
    };
    let exit_code = match reason {
        EndReason::Task(outcome) => Some(outcome.exit_code()),
        EndReason::NodeLost
        | EndReason::OutOfBudget
        | EndReason::Cancelled
        | EndReason::Expired => Some(ErrorCode::JobFailed.exit_code().into()),
    };
    Explained {
        code: reason.code(),
        met: Met::End,
        title,
        meaning,
        help,
        exit_code,
        http_status: None,
    }
}

#[expect(clippy::too_many_lines, reason = "a table of words")]
fn of_obstacle(obstacle: Obstacle) -> Explained {
    let (title, meaning, help) = match obstacle {
        Obstacle::NotApproved => (
            "The node is no member",
            "It waits for approval, was refused, or was removed.",
            "`weft node list --pending`, then `weft node approve NAME`.",
        ),
        Obstacle::NotAWorker => (
            "The node runs no tasks",
            "It was started without the role worker, or shares no slot.",
            "Start it with `weft up --roles worker`, or with more than 0 `--slots`.",
        ),
        Obstacle::OtherOwner => (
            "The node is another owner's",
            "The job was submitted with `--scope mine`: it runs on the submitter's own machines only.",
            "Submit it with `--scope mesh`, or add a machine of your own.",
        ),
        Obstacle::Isolation => (
            "The node isolates guests too weakly",
            "The job asks for a better grade of isolation than the node's kernel and permissions make possible.",
            "`weft doctor` on that node says what is missing; or ask for less with `--isolation`.",
        ),
        Obstacle::Label => (
            "The node lacks a label",
            "The job asks for nodes with certain labels.",
            "Submit it without that label, or give it to a node.",
        ),
        Obstacle::Memory => (
            "The node shares too little memory",
            "One task may use more memory than the node shares in all.",
            "Ask for less with `--memory`, or share more on the node: `weft up --memory SIZE`.",
        ),
        Obstacle::Offline => (
            "The node is not heard from",
            "It has sent no heartbeat for a while: it is off, or cannot be reached.",
            "Start it, or look at `weft doctor` there.",
        ),
        Obstacle::Draining => (
            "The node takes no new work",
            "It is shutting down or being drained. What it runs, it finishes.",
            "Wait, or let it work again: `weft node resume NAME`.",
        ),
        Obstacle::Syncing => (
            "The node has just come back",
            "It has not yet said which tasks it still holds.",
            "Wait a moment.",
        ),
        Obstacle::TaskTooLarge => (
            "The node takes small tasks only",
            "On a low battery it takes tasks of other owners with a short time limit only.",
            "Give tasks less time with `--task-timeout`, or plug the node in.",
        ),
        Obstacle::Withheld(cause) => (
            cause.phrase(),
            "The owner of the node has said when others may use it, and that is not now.",
            "`weft node show NAME` says until when. Its owner changes it with `weft limits set` or `weft resume`.",
        ),
        Obstacle::Overloaded => (
            "The node is overloaded",
            "Its processor or memory is nearly used up by other things; it is asked again when it is not.",
            "Wait, or free the machine.",
        ),
        Obstacle::Busy => (
            "All slots of the node are taken",
            "It runs as many tasks as it may at a time.",
            "Wait; or share more slots with `weft up --slots N`.",
        ),
    };
    Explained {
        code: obstacle.code(),
        met: Met::Obstacle,
        title,
        meaning,
        help,
        exit_code: obstacle.is_permanent().then(|| ErrorCode::NotPlaceable.exit_code().into()),
        http_status: None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_code_is_missing() {
        let known: BTreeSet<_> = all().map(|explained| explained.code).collect();
        let errors = ErrorCode::ALL.iter().map(|code| code.code());
        let rejections = RejectReason::ALL.iter().map(|reason| reason.code());
        let ends = Outcome::FAILURES.iter().map(|outcome| outcome.reason());
        let obstacles = Obstacle::ALL.iter().map(|obstacle| obstacle.code());
        for code in errors.chain(rejections).chain(ends).chain(obstacles) {
            assert!(known.contains(code), "{code}");
        }
    }

    #[test]
    fn every_code_is_explained_once_for_each_place_where_it_is_met() {
        let mut seen = BTreeSet::new();
        for explained in all() {
            assert!(seen.insert((explained.met, explained.code)), "{explained:?}");
            for sentence in [explained.meaning, explained.help] {
                assert!(sentence.ends_with(['.', '`', ')']), "{}: {sentence}", explained.code);
                assert!(!sentence.contains("  "), "{}: {sentence}", explained.code);
            }
            assert!(!explained.title.ends_with('.'), "{}", explained.code);
        }
    }

    /// Every interruption, so that a new one is noticed: [`Outcome::FAILURES`] must have it.
    #[test]
    fn failures_hold_one_of_each() {
        let reasons: BTreeSet<_> = Outcome::FAILURES.iter().map(|it| it.reason()).collect();
        assert_eq!(reasons.len(), Outcome::FAILURES.len());
        assert!(!reasons.contains(Outcome::Exit(0).reason()));
    }
}
