//! What keeps a node from being as useful as it could be: looked at, not guessed.
//!
//! A check looks at one thing of a [`Place`] (a thin shell: it reads files, asks the kernel, runs a guest) and hands
//! what it saw to a pure function that says what follows from it, with the evidence. What was found has a code
//! ([`Finding`], `weft explain WD-014`) and a severity; what can be mended at once and harms nothing has a
//! [`Treatment`].
//!
//! # Invariants
//!
//! 1. Looking changes nothing on the machine, and sends nothing to others.
//! 2. Every check ends: what takes longer than [`LOOK_WITHIN`] is itself a finding.
//! 3. No diagnosis holds a secret.

mod bundle;
mod checks;
mod diagnosis;
mod finding;
mod place;

use std::time::Duration;

pub use bundle::{Bundle, BundleError};
pub use checks::{Area, CHECKS, Check};
pub use diagnosis::{Diagnosis, Severity, Treatment};
pub use finding::Finding;
pub use place::{Answers, Place};
use tokio::task::JoinSet;

/// How long a check may look.
pub const LOOK_WITHIN: Duration = Duration::from_secs(10);
/// Checks that look at a time.
const LOOKING_MAX: usize = 8;

/// Looks at everything, or at everything of one area. The answers are in the order of [`CHECKS`]. Must be called within a
/// tokio runtime.
///
/// Cancel safe: dropping it leaves checks that hang to themselves.
pub async fn examine(place: &Place, area: Option<Area>) -> Vec<Diagnosis> {
    let mut found = Vec::new();
    let wanted: Vec<_> =
        CHECKS.iter().filter(|check| area.is_none_or(|area| check.area == area)).collect();
    for group in wanted.chunks(LOOKING_MAX) {
        let mut looking = JoinSet::new();
        for (at, check) in group.iter().copied().enumerate() {
            let place = place.clone();
            looking.spawn(async move { (at, look(check, place).await) });
        }
        let mut answers = looking.join_all().await;
        answers.sort_by_key(|(at, _)| *at);
        found.extend(answers.into_iter().flat_map(|(_, diagnoses)| diagnoses));
    }
    found
}

async fn look(check: &'static Check, place: Place) -> Vec<Diagnosis> {
    let looking = tokio::task::spawn_blocking(move || (check.look)(&place));
    match tokio::time::timeout(LOOK_WITHIN, looking).await {
        Ok(Ok(diagnoses)) => diagnoses,
        Ok(Err(_)) => vec![hung(check, "the check itself broke")],
        Err(_) => vec![hung(check, "it did not end in time")],
    }
}

fn hung(check: &Check, how: &str) -> Diagnosis {
    Diagnosis::found(check.name, Finding::Hung, Severity::Problem, how)
        .because(format!("limit: {} s", LOOK_WITHIN.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nowhere() -> Place {
        Place {
            root: "/nonexistent".into(),
            dir: "/nonexistent/data".into(),
            variables: std::collections::BTreeMap::new(),
            answers: Answers::default(),
            now: protocol::time::UnixMillis(0),
        }
    }

    #[tokio::test]
    async fn a_check_that_breaks_is_a_finding() {
        static BROKEN: Check =
            Check { name: "broken", area: Area::Machine, look: |_| panic!("at work") };
        let found = look(&BROKEN, nowhere()).await;
        assert_eq!(found[0].code, Some(Finding::Hung));
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_hangs_is_a_finding() {
        let hangs = tokio::time::timeout(LOOK_WITHIN, std::future::pending::<()>()).await;
        assert!(hangs.is_err());
        assert!(LOOK_WITHIN < Duration::from_secs(60));
    }
}
