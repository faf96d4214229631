//! The systemd unit, if there is one.

use crate::doctor::{Diagnosis, Finding, Place, Severity};

/// Where units lie.
const DIRECTORIES: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/etc/systemd/user",
];

pub(super) fn look(place: &Place) -> Vec<Diagnosis> {
    let own = place.variables.get("HOME").map(|home| format!("{home}/.config/systemd/user"));
    let directories = DIRECTORIES.iter().map(|it| (*it).to_owned()).chain(own);
    let mut lines = Vec::new();
    for directory in directories {
        let dropins = format!("{directory}/weft.service.d");
        let files = place.names(&dropins).into_iter().map(|name| format!("{dropins}/{name}"));
        for file in [format!("{directory}/weft.service")].into_iter().chain(files) {
            let text = place.read(&file).unwrap_or_default();
            lines.extend(settings(&text).map(|(key, value)| (file.clone(), key, value)));
        }
    }
    judge(&lines)
}

/// `Key=Value` lines; comments begin with `#` or `;` (systemd.syntax(7)).
fn settings(text: &str) -> impl Iterator<Item = (String, String)> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with(['#', ';']))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
}

fn judge(lines: &[(String, String, String)]) -> Vec<Diagnosis> {
    if lines.is_empty() {
        return vec![Diagnosis::ok("unit", "no systemd unit")];
    }
    let yes =
        |value: &str| ["yes", "true", "1", "on"].contains(&value.to_ascii_lowercase().as_str());
    let mut found = Vec::new();
    for (file, key, value) in lines {
        let (severity, text) = match key.as_str() {
            "MemoryDenyWriteExecute" if yes(value) => {
                (Severity::Problem, "forbids compiling guests: MemoryDenyWriteExecute".to_owned())
            }
            "RestrictNamespaces" if yes(value) => (
                Severity::Warn,
                "keeps guests below isolation grade A: RestrictNamespaces".to_owned(),
            ),
            "ProtectControlGroups" if yes(value) => {
                (Severity::Warn, "keeps guests without a cgroup: ProtectControlGroups".to_owned())
            }
            "SystemCallFilter" if value.contains("~@privileged") => (
                Severity::Warn,
                "keeps guests below isolation grade A: SystemCallFilter".to_owned(),
            ),
            "RestrictAddressFamilies"
                if !value.contains("AF_NETLINK") && !value.starts_with('~') =>
            {
                (
                    Severity::Problem,
                    "the node cannot see the interfaces: AF_NETLINK is missing".to_owned(),
                )
            }
            "LimitNOFILE" if value.parse::<u64>().is_ok_and(|files| files < 4_096) => {
                (Severity::Warn, format!("few files may be open: LimitNOFILE={value}"))
            }
            _ => continue,
        };
        found.push(
            Diagnosis::found("unit", Finding::Unit, severity, text)
                .because(format!("{file}: {key}={value}")),
        );
    }
    if found.is_empty() {
        let file = lines.first().map(|(file, _, _)| file.clone()).unwrap_or_default();
        found.push(Diagnosis::ok("unit", file));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::checks::testing::Machine;

    #[test]
    fn a_unit_that_forbids_compiling_is_found() {
        let machine = Machine::new(&[]);
        assert_eq!(look(&machine.place)[0].text, "no systemd unit");
        let unit = "[Service]\nLimitNOFILE=65536\n# MemoryDenyWriteExecute=true\n";
        machine.file("/etc/systemd/system/weft.service", unit);
        assert_eq!(look(&machine.place)[0].severity, Severity::Ok);
        let dropin = "[Service]\nMemoryDenyWriteExecute=true\nRestrictAddressFamilies=AF_INET\n";
        machine.file("/etc/systemd/system/weft.service.d/harder.conf", dropin);
        let found = look(&machine.place);
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|it| it.severity == Severity::Problem), "{found:?}");
        assert!(found[0].evidence[0].ends_with("harder.conf: MemoryDenyWriteExecute=true"));
    }
}
