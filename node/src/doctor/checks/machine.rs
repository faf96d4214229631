//! Time and power.

use std::time::Duration;

use protocol::time::UnixMillis;

use crate::{
    cli::human,
    doctor::{Diagnosis, Finding, Place, Severity},
};

/// Signed statements that are off by more are refused.
const SKEW_MAX: Duration = Duration::from_secs(120);
/// Off by this much it is time to look.
const SKEW_LOW: Duration = Duration::from_secs(5);

pub(super) fn clock(place: &Place) -> Vec<Diagnosis> {
    let status = place.answers.status.as_ref();
    let newest = status.and_then(|status| status.work.as_ref()).map(|work| work.ledger.as_of);
    vec![judge_clock(place.now, newest)]
}

fn judge_clock(now: UnixMillis, newest: Option<UnixMillis>) -> Diagnosis {
    let Some(newest) = newest else {
        return Diagnosis::ok("clock", "nothing to compare it with: no ledger is reached")
            .because(portal_api::rfc3339::format(now));
    };
    let ahead = newest.saturating_since(now);
    let evidence = format!(
        "here {}, newest entry of the ledger {}",
        portal_api::rfc3339::format(now),
        portal_api::rfc3339::format(newest)
    );
    let found = |severity| {
        let text = format!("{} behind the coordinator's", human::duration(ahead));
        Diagnosis::found("clock", Finding::Clock, severity, text).because(evidence.clone())
    };
    if ahead > SKEW_MAX {
        found(Severity::Problem)
    } else if ahead > SKEW_LOW {
        found(Severity::Warn)
    } else {
        Diagnosis::ok("clock", "not behind the newest entry of the ledger").because(evidence)
    }
}

pub(super) fn time_service(place: &Place) -> Vec<Diagnosis> {
    let services = [
        ("/run/systemd/timesync/synchronized", "systemd-timesyncd"),
        ("/run/chrony/chronyd.pid", "chrony"),
        ("/run/chronyd.pid", "chrony"),
        ("/run/ntpd.pid", "ntpd"),
        ("/run/ntpsec/ntpd.pid", "ntpsec"),
        ("/run/openntpd.sock", "openntpd"),
    ];
    let service = services.iter().find(|(path, _)| place.path(path).exists());
    let contained = is_contained(place);
    vec![judge_time_service(service.map(|(_, name)| *name), contained)]
}

/// Whether this is a container: it has the clock of its host.
fn is_contained(place: &Place) -> bool {
    place.path("/.dockerenv").exists()
        || place.path("/run/.containerenv").exists()
        || place.read("/proc/1/environ").is_some_and(|it| it.contains("container="))
}

fn judge_time_service(service: Option<&str>, contained: bool) -> Diagnosis {
    match service {
        Some(service) => Diagnosis::ok("time-service", format!("{service} keeps the clock")),
        None if contained => Diagnosis::ok("time-service", "a container: its host keeps the clock"),
        None => Diagnosis::found(
            "time-service",
            Finding::TimeService,
            Severity::Note,
            "no time service is seen at work",
        )
        .because("neither systemd-timesyncd, chrony nor ntpd"),
    }
}

pub(super) fn time_zone(place: &Place) -> Vec<Diagnosis> {
    let zone = place.variables.get("TZ").filter(|zone| !zone.is_empty());
    let known = zone.is_none_or(|zone| {
        let name = zone.trim_start_matches(':');
        // What is no name of a file is a rule, such as `CET-1CEST`.
        name.contains(|c: char| c.is_ascii_digit() || c == ',')
            || place.path(&format!("/usr/share/zoneinfo/{name}")).exists()
            || name == "UTC"
    });
    vec![match zone {
        Some(zone) if !known => {
            Diagnosis::found("time-zone", Finding::TimeZone, Severity::Note, "TZ names no zone")
                .because(format!("TZ={zone}"))
        }
        Some(zone) => Diagnosis::ok("time-zone", zone.clone()),
        None => Diagnosis::ok("time-zone", "the machine's; weft itself counts in UTC"),
    }]
}

/// What is seen of the power supply.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Supply {
    mains: Option<bool>,
    battery_percent: Option<u8>,
    discharging: bool,
}

pub(super) fn power(place: &Place) -> Vec<Diagnosis> {
    let mut seen = Supply::default();
    for name in place.names("/sys/class/power_supply") {
        let field = |field: &str| place.read(&format!("/sys/class/power_supply/{name}/{field}"));
        match field("type").as_deref() {
            Some("Mains" | "USB") => {
                let online = field("online").as_deref() == Some("1");
                seen.mains = Some(seen.mains.unwrap_or(false) || online);
            }
            Some("Battery") if field("scope").as_deref() != Some("Device") => {
                seen.battery_percent = field("capacity").and_then(|it| it.parse().ok());
                seen.discharging |= field("status").as_deref() == Some("Discharging");
            }
            Some(_) | None => {}
        }
    }
    let limits = place
        .config()
        .ok()
        .map(|config| Battery { allowed: config.on_battery, least_percent: config.min_battery });
    vec![judge_power(seen, limits)]
}

/// What the owner allows on battery: `limits.on_battery`, `limits.min_battery`.
#[derive(Debug, Clone, Copy)]
struct Battery {
    allowed: bool,
    least_percent: u8,
}

impl Battery {
    /// What that comes to at a charge, and whether work of others stops.
    fn verdict(self, percent: u8) -> (bool, String) {
        let Self { allowed, least_percent } = self;
        if !allowed {
            (true, "sharing is paused (limits.on_battery = false)".to_owned())
        } else if percent < least_percent {
            (true, format!("sharing is paused below {least_percent} % (limits.min_battery)"))
        } else {
            (false, format!("shared down to {least_percent} % (limits.min_battery)"))
        }
    }
}

fn judge_power(seen: Supply, limits: Option<Battery>) -> Diagnosis {
    match seen {
        Supply { battery_percent: None, .. } => Diagnosis::ok("power", "no battery"),
        Supply { battery_percent: Some(percent), discharging, mains }
            if discharging || mains == Some(false) =>
        {
            let found = |severity, text| {
                Diagnosis::found("power", Finding::Power, severity, text)
                    .because(format!("the battery is at {percent} %"))
            };
            match limits.map(|limits| limits.verdict(percent)) {
                Some((true, why)) => found(Severity::Warn, format!("on battery: {why}")),
                Some((false, why)) => found(Severity::Note, format!("on battery: {why}")),
                None => found(Severity::Note, "on battery".to_owned()),
            }
        }
        Supply { battery_percent: Some(percent), .. } => {
            Diagnosis::ok("power", format!("on mains, battery at {percent} %"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::checks::testing::Machine;

    #[test]
    fn a_clock_is_judged_by_the_ledger() {
        let now = UnixMillis(1_000_000_000);
        for (newest, severity) in [
            (None, Severity::Ok),
            (Some(900_000_000), Severity::Ok),
            (Some(1_000_004_000), Severity::Ok),
            (Some(1_000_060_000), Severity::Warn),
            (Some(1_000_600_000), Severity::Problem),
        ] {
            assert_eq!(judge_clock(now, newest.map(UnixMillis)).severity, severity, "{newest:?}");
        }
    }

    #[test]
    fn a_time_service_is_known_by_its_traces() {
        let machine = Machine::new(&[]);
        assert_eq!(time_service(&machine.place)[0].severity, Severity::Note);
        machine.file("/run/chrony/chronyd.pid", "7");
        assert_eq!(time_service(&machine.place)[0].text, "chrony keeps the clock");
        assert_eq!(judge_time_service(None, true).severity, Severity::Ok);
    }

    #[test]
    fn a_zone_that_is_none_is_noted() {
        let mut machine = Machine::new(&[("/usr/share/zoneinfo/Europe/Madrid", "TZif")]);
        for (zone, severity) in [
            ("Europe/Madrid", Severity::Ok),
            ("CET-1CEST,M3.5.0,M10.5.0/3", Severity::Ok),
            ("Europe/Madird", Severity::Note),
            ("", Severity::Ok),
        ] {
            machine.place.variables.insert("TZ".to_owned(), zone.to_owned());
            assert_eq!(time_zone(&machine.place)[0].severity, severity, "{zone}");
        }
    }

    #[test]
    fn power_is_what_the_kernel_says() {
        let machine = Machine::new(&[]);
        assert_eq!(power(&machine.place)[0].text, "no battery");
        for (file, text) in [
            ("AC/type", "Mains"),
            ("AC/online", "0"),
            ("BAT0/type", "Battery"),
            ("BAT0/capacity", "17"),
            ("BAT0/status", "Discharging"),
        ] {
            machine.file(&format!("/sys/class/power_supply/{file}"), text);
        }
        let found = power(&machine.place).remove(0);
        let paused = "on battery: sharing is paused (limits.on_battery = false)";
        assert_eq!((found.severity, found.text.as_str()), (Severity::Warn, paused));
        assert_eq!(found.evidence, ["the battery is at 17 %"]);
        for (least, severity, text) in [
            (20, Severity::Warn, "on battery: sharing is paused below 20 % (limits.min_battery)"),
            (10, Severity::Note, "on battery: shared down to 10 % (limits.min_battery)"),
        ] {
            let limits = format!("[limits]\non_battery = true\nmin_battery = {least}\n");
            std::fs::create_dir_all(&machine.place.dir).unwrap();
            std::fs::write(machine.place.file("config.toml"), limits).unwrap();
            let found = power(&machine.place).remove(0);
            assert_eq!((found.severity, found.text.as_str()), (severity, text));
        }
        machine.file("/sys/class/power_supply/AC/online", "1");
        machine.file("/sys/class/power_supply/BAT0/status", "Charging");
        assert_eq!(power(&machine.place)[0].severity, Severity::Ok);
    }
}
