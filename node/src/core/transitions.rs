//! What may become of a task: one table, and nothing beside it.

use protocol::wire::view::TaskState::{
    self, Assigned, Cancelled, Completed, Expired, Failed, Held, Queued, Retrying, Running,
};

/// Every legal step. Ended tasks have none: their states are immutable.
const LEGAL: &[(TaskState, TaskState)] = &[
    // A task that waits for others, or for a worker.
    (Held, Queued),
    (Queued, Assigned),
    // Its worker starts on it, or never gets to it.
    (Assigned, Running),
    (Assigned, Queued),
    (Assigned, Retrying),
    // A lease's tasks are reported without each start being told.
    (Assigned, Completed),
    (Assigned, Failed),
    (Running, Completed),
    (Running, Failed),
    (Running, Retrying),
    (Running, Queued),
    // After the back-off.
    (Retrying, Queued),
    // Given up from outside, at any time before the end.
    (Held, Cancelled),
    (Queued, Cancelled),
    (Assigned, Cancelled),
    (Running, Cancelled),
    (Retrying, Cancelled),
    (Held, Expired),
    (Queued, Expired),
    (Assigned, Expired),
    (Running, Expired),
    (Retrying, Expired),
    // Nobody could finish it, or the budget was used up.
    (Held, Failed),
    (Queued, Failed),
    (Retrying, Failed),
];

/// Whether a task may go from one state to the other.
#[must_use]
pub fn is_legal(from: TaskState, to: TaskState) -> bool {
    LEGAL.contains(&(from, to))
}

/// Whether a task that was seen in one state may be seen in the other later, by any number of legal steps.
///
/// What is replicated and what the leader knows besides are read one after the other; this decides whether the
/// second can be shown over the first.
#[must_use]
pub fn leads_to(from: TaskState, to: TaskState) -> bool {
    let mut reached = vec![from];
    let mut at = 0;
    while let Some(state) = reached.get(at).copied() {
        if state == to {
            return true;
        }
        for (_, next) in LEGAL.iter().filter(|(before, _)| *before == state) {
            if !reached.contains(next) {
                reached.push(*next);
            }
        }
        at = at.saturating_add(1);
    }
    false
}

/// The table as text, for the documentation: one line per state.
#[must_use]
pub fn diagram() -> String {
    let mut text = String::new();
    for from in TaskState::ALL {
        let to: Vec<_> = TaskState::ALL
            .into_iter()
            .filter(|to| is_legal(from, *to))
            .map(TaskState::name)
            .collect();
        let to = if to.is_empty() { "(end)".to_owned() } else { to.join(" ") };
        text.push_str(&format!("{:<10} -> {to}\n", from.name()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_never_changes() {
        for from in TaskState::ALL.into_iter().filter(|state| state.is_terminal()) {
            for to in TaskState::ALL {
                assert!(!is_legal(from, to), "{from:?} -> {to:?}");
            }
        }
    }

    #[test]
    fn every_task_can_end() {
        for from in TaskState::ALL.into_iter().filter(|state| !state.is_terminal()) {
            assert!(is_legal(from, Cancelled), "{from:?}");
        }
    }

    #[test]
    fn what_has_ended_is_never_shown_as_going_on() {
        for from in TaskState::ALL.into_iter().filter(|state| state.is_terminal()) {
            for to in TaskState::ALL.into_iter().filter(|to| *to != from) {
                assert!(!leads_to(from, to), "{from:?} -> {to:?}");
            }
        }
        assert!(leads_to(Queued, Running) && leads_to(Held, Completed) && !leads_to(Queued, Held));
    }

    #[test]
    fn nothing_completes_without_a_worker() {
        assert!(!is_legal(Queued, Completed));
        assert!(!is_legal(Held, Completed));
        assert!(!is_legal(Retrying, Completed));
    }
}
