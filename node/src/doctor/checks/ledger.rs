//! The copy of the ledger on this disk.

use std::time::Duration;

use ledger::replica::{ExamineError, Examined, examine};

use crate::{
    cli::human,
    doctor::{Diagnosis, Finding, Place, Severity},
};

/// Entries that are looked at, at most: the newest. About a second of reading.
const ENTRIES_MAX: u64 = 100_000;

pub(super) fn look(place: &Place) -> Vec<Diagnosis> {
    let meshes = std::fs::read_dir(place.file("mesh")).into_iter().flatten().flatten();
    let copies = meshes.take(16).map(|mesh| {
        let now = place.now;
        let examined = examine(&mesh.path().join("db"), ENTRIES_MAX);
        judge(examined, |copy| now.saturating_since(copy.time))
    });
    let copies: Vec<_> = copies.collect();
    if copies.is_empty() { vec![Diagnosis::ok("ledger", "no copy on this disk")] } else { copies }
}

fn judge(
    examined: Result<Option<Examined>, ExamineError>,
    age: impl FnOnce(&Examined) -> Duration,
) -> Diagnosis {
    match examined {
        Ok(None) => Diagnosis::ok("ledger", "no copy on this disk: coordinators keep it"),
        Ok(Some(copy)) => {
            let text = format!(
                "{} entries, the newest {} old; the chain of {} holds",
                human::count(copy.height),
                human::duration(age(&copy)),
                human::count(copy.checked)
            );
            Diagnosis::ok("ledger", text)
        }
        Err(error) => {
            let text = "the copy on this disk is not sound";
            Diagnosis::found("ledger", Finding::Ledger, Severity::Problem, text)
                .because(crate::app::chain(&error))
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::time::UnixMillis;

    use super::*;

    #[test]
    fn a_copy_is_judged_by_its_chain() {
        let sound = Examined { height: 18_204, time: UnixMillis(0), checked: 18_204 };
        let found = judge(Ok(Some(sound)), |_| Duration::from_secs(3));
        assert_eq!(found.text, "18 204 entries, the newest 3.0 s old; the chain of 18 204 holds");
        let broken = ExamineError::Broken { seq: 7, how: "it names another one" };
        let found = judge(Err(broken), |_| Duration::ZERO);
        assert_eq!(found.severity, Severity::Problem);
        assert!(found.evidence[0].starts_with("entry 7 "), "{found:?}");
    }
}
