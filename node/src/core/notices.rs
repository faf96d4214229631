//! When a person is told that somebody asks to join.
//!
//! A node that waits shows its code a moment after it has asked, so the notice waits for it, and goes without it
//! where none comes.
//!
//! # Invariants
//!
//! 1. Every node that waits is told about within [`PATIENCE`].
//! 2. A node that goes on waiting is told about again only with another code, and not within [`AGAIN_AFTER`].
//! 3. As many nodes are remembered as wait: nobody else.

use std::{collections::BTreeMap, time::Duration};

use protocol::{code::Code, ids::NodeId, time::Timestamp};

/// How long a code is waited for.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// How long after a notice about a node there may be another.
pub const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Who waits, and what people were told of them.
#[derive(Debug, Default)]
pub struct Notices(BTreeMap<NodeId, Told>);

#[derive(Debug, Clone, Copy)]
struct Told {
    /// Since when it is known to wait.
    since: Timestamp,
    code: Option<Code>,
    said: Option<(Timestamp, Option<Code>)>,
}

impl Told {
    /// When there is something to say about it; nothing if everything was said.
    fn due(&self) -> Option<Timestamp> {
        match self.said {
            None if self.code.is_some() => Some(self.since),
            None => Some(self.since.saturating_add(PATIENCE)),
            // The code that came late is worth a word at once: without it nothing can be compared.
            Some((at, None)) if self.code.is_some() => Some(at),
            Some((at, said)) if self.code.is_some() && self.code != said => {
                Some(at.saturating_add(AGAIN_AFTER))
            }
            Some(_) => None,
        }
    }
}

impl Notices {
    /// Looks at everybody who waits now. Returns whom to tell about.
    pub fn look(
        &mut self,
        now: Timestamp,
        waiting: impl IntoIterator<Item = (NodeId, Option<Code>)>,
    ) -> Vec<NodeId> {
        let mut before = std::mem::take(&mut self.0);
        for (node, code) in waiting {
            let known = before.remove(&node);
            let known = known.unwrap_or(Told { since: now, code: None, said: None });
            // A code that is not shown at the moment was not taken back.
            self.0.insert(node, Told { code: code.or(known.code), ..known });
        }
        let mut due = Vec::new();
        for (node, told) in &mut self.0 {
            if told.due().is_some_and(|at| at <= now) {
                told.said = Some((now, told.code));
                due.push(*node);
            }
        }
        due
    }

    /// When to look again although nothing has changed.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        self.0.values().filter_map(Told::due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId([1; 32]);

    fn at(ms: u64) -> Timestamp {
        Timestamp::after_origin(Duration::from_millis(ms))
    }

    fn code(text: &str) -> Option<Code> {
        text.parse().ok()
    }

    #[test]
    fn a_person_is_told_once_and_with_the_code() {
        let mut notices = Notices::default();
        assert!(notices.look(at(0), [(NODE, None)]).is_empty());
        assert_eq!(notices.deadline(), Some(at(2_000)));
        assert_eq!(notices.look(at(60), [(NODE, code("417208"))]), [NODE]);
        assert!(notices.look(at(70), [(NODE, code("417208"))]).is_empty());
        assert_eq!(notices.deadline(), None);
    }

    #[test]
    fn who_shows_no_code_is_told_about_all_the_same_and_again_with_a_late_one() {
        let mut notices = Notices::default();
        assert!(notices.look(at(0), [(NODE, None)]).is_empty());
        assert_eq!(notices.look(at(2_000), [(NODE, None)]), [NODE]);
        assert!(notices.look(at(9_000), [(NODE, None)]).is_empty());
        assert_eq!(notices.look(at(9_500), [(NODE, code("000001"))]), [NODE]);
    }

    #[test]
    fn whoever_asks_anew_all_the_time_is_told_about_once_a_minute() {
        let mut notices = Notices::default();
        assert_eq!(notices.look(at(0), [(NODE, code("000001"))]), [NODE]);
        assert!(notices.look(at(10_000), [(NODE, code("000002"))]).is_empty());
        assert!(notices.look(at(20_000), [(NODE, None)]).is_empty());
        assert_eq!(notices.deadline(), Some(at(60_000)));
        assert_eq!(notices.look(at(60_000), [(NODE, code("000003"))]), [NODE]);
    }

    #[test]
    fn who_no_longer_waits_is_forgotten() {
        let mut notices = Notices::default();
        assert_eq!(notices.look(at(0), [(NODE, code("000001"))]), [NODE]);
        assert!(notices.look(at(1), []).is_empty());
        assert!(notices.0.is_empty());
        assert_eq!(notices.look(at(2), [(NODE, code("000001"))]), [NODE]);
    }
}
