//! The mesh, as the running node sees it.

use std::collections::BTreeMap;

use protocol::wire::view::Admission;

use crate::doctor::{Diagnosis, Finding, Place, Severity};

pub(super) fn membership(place: &Place) -> Vec<Diagnosis> {
    let Some(status) = &place.answers.status else { return Vec::new() };
    vec![judge_membership(status.admission, status.mesh_name.as_deref())]
}

fn judge_membership(admission: Admission, mesh: Option<&str>) -> Diagnosis {
    let found = |severity, text: &str| {
        Diagnosis::found("membership", Finding::Membership, severity, text)
            .because(format!("admission {}", admission.name()))
    };
    match admission {
        Admission::Approved => {
            Diagnosis::ok("membership", format!("in the mesh \"{}\"", mesh.unwrap_or_default()))
        }
        Admission::Pending => found(Severity::Warn, "waits to be approved"),
        Admission::Suspended => found(Severity::Problem, "is suspended: it gets no work for now")
            .fix("ask an operator of the mesh"),
        Admission::Blacklisted => found(Severity::Problem, "was refused or removed")
            .fix("ask an operator of the mesh, or start with a new --data-dir"),
    }
}

pub(super) fn coordinator(place: &Place) -> Vec<Diagnosis> {
    let Some(status) = &place.answers.status else { return Vec::new() };
    if status.admission != Admission::Approved {
        return Vec::new();
    }
    let leader = status.leader.map(|leader| {
        let name = place.answers.nodes.iter().find(|node| node.peer == leader);
        name.map_or_else(|| leader.to_string(), |node| node.name.clone())
    });
    let mut seen = judge_coordinator(leader.as_deref(), status.work.as_ref().map(|it| it.term));
    let checks = place.answers.health.iter().flat_map(|health| &health.checks);
    for check in checks.filter(|check| !check.good) {
        seen = seen.because(format!("{}: {}", check.name, check.detail));
    }
    vec![seen]
}

fn judge_coordinator(leader: Option<&str>, term: Option<u64>) -> Diagnosis {
    match (leader, term) {
        (Some(leader), Some(term)) => {
            Diagnosis::ok("coordinator", format!("{leader} leads in term {term}"))
        }
        (_, None) => Diagnosis::found(
            "coordinator",
            Finding::Coordinator,
            Severity::Problem,
            "no coordinator answers",
        ),
        (None, Some(_)) => Diagnosis::found(
            "coordinator",
            Finding::Coordinator,
            Severity::Warn,
            "nobody leads at the moment",
        ),
    }
}

pub(super) fn versions(place: &Place) -> Vec<Diagnosis> {
    if place.answers.status.is_none() {
        return Vec::new();
    }
    let members = place.answers.nodes.iter().filter_map(|node| node.software.clone());
    let peers = place
        .answers
        .peers
        .iter()
        .filter_map(|peer| peer.agent.as_deref()?.strip_prefix("weft/").map(str::to_owned));
    vec![judge_versions(env!("CARGO_PKG_VERSION"), members.chain(peers))]
}

fn judge_versions(own: &str, others: impl Iterator<Item = String>) -> Diagnosis {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for version in others.filter(|version| version.trim_start_matches("weft/") != own) {
        let count = counts.entry(version).or_default();
        *count = count.saturating_add(1);
    }
    if counts.is_empty() {
        return Diagnosis::ok("versions", format!("all that are seen run {own}"));
    }
    let text = format!("this node runs {own}, and others run another version");
    let found = Diagnosis::found("versions", Finding::Versions, Severity::Note, text);
    counts
        .iter()
        .fold(found, |found, (version, count)| found.because(format!("{count} run {version}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_waits_is_told_what_to_do() {
        assert_eq!(judge_membership(Admission::Approved, Some("home")).severity, Severity::Ok);
        assert_eq!(judge_membership(Admission::Pending, None).severity, Severity::Warn);
        assert_eq!(judge_membership(Admission::Blacklisted, None).severity, Severity::Problem);
        assert!(Finding::Membership.help().contains("weft node approve"));
    }

    #[test]
    fn a_mesh_needs_a_coordinator() {
        assert_eq!(judge_coordinator(Some("otter"), Some(3)).text, "otter leads in term 3");
        assert_eq!(judge_coordinator(None, Some(3)).severity, Severity::Warn);
        assert_eq!(judge_coordinator(Some("otter"), None).severity, Severity::Problem);
    }

    #[test]
    fn other_versions_are_counted() {
        let others =
            |versions: &[&str]| versions.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let same = judge_versions("0.1.0", others(&["0.1.0", "weft/0.1.0"]).into_iter());
        assert_eq!(same.severity, Severity::Ok);
        let found = judge_versions("0.1.0", others(&["0.2.0", "0.1.0", "0.2.0"]).into_iter());
        assert_eq!(found.evidence, ["2 run 0.2.0"]);
    }
}
