//! What the kernel gives the node: files, memory, a processor, random numbers.

use crate::{
    cli::human::bytes,
    doctor::{Diagnosis, Finding, Place, Severity},
};

/// Below this a node with a few peers and a ledger refuses connections.
const DESCRIPTORS_MIN: u64 = 1_024;
/// Comfortable.
const DESCRIPTORS_LOW: u64 = 4_096;
/// What a node needs for itself: database, swarm, API.
const NODE_BYTES: u64 = 256 * 1024 * 1024;

pub(super) fn descriptors(place: &Place) -> Vec<Diagnosis> {
    // The limits of the running node are those that count; without one, those that it would inherit.
    let of = |process: &str| place.read(&format!("/proc/{process}/limits"));
    let running = super::daemon::process(place).and_then(|pid| of(&pid.to_string()));
    let limits = running.or_else(|| of("self")).unwrap_or_default();
    open_files(&limits).map(judge_descriptors).into_iter().collect()
}

/// `Max open files            1024                 1048576              files` (proc(5)): the soft and the hard limit.
fn open_files(limits: &str) -> Option<(u64, u64)> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let mut fields = line.split_whitespace().map(|field| match field {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    });
    Some((fields.next()??, fields.next()??))
}

fn judge_descriptors((soft, hard): (u64, u64)) -> Diagnosis {
    let text = format!("{soft} files may be open");
    let found = |severity| {
        Diagnosis::found("descriptors", Finding::Descriptors, severity, text.clone())
            .because(format!("soft limit {soft}, hard limit {hard}"))
            .fix(format!("ulimit -n {}", hard.min(65_536)))
    };
    match soft {
        0..DESCRIPTORS_MIN => found(Severity::Problem),
        DESCRIPTORS_MIN..DESCRIPTORS_LOW => found(Severity::Note),
        _ => Diagnosis::ok("descriptors", text),
    }
}

pub(super) fn memory(place: &Place) -> Vec<Diagnosis> {
    let table = place.read("/proc/meminfo").unwrap_or_default();
    let field = |name: &str| {
        let line = table.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
        Some(kib.saturating_mul(1_024))
    };
    let (Some(total), Some(free)) = (field("MemTotal:"), field("MemAvailable:")) else {
        return Vec::new();
    };
    let limit = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .find_map(|path| place.read(path)?.parse::<u64>().ok())
        .filter(|limit| *limit < total);
    let shared = place.config().ok().and_then(|config| config.memory_bytes);
    vec![judge_memory(total, free, limit, shared)]
}

fn judge_memory(total: u64, free: u64, limit: Option<u64>, shared: Option<u64>) -> Diagnosis {
    let whole = limit.map_or(total, |limit| limit.min(total));
    let shared = shared.unwrap_or(whole >> 2);
    let container =
        limit.map(|limit| format!(", this container may use {}", bytes(limit))).unwrap_or_default();
    let text = format!("{} of {} free{container}", bytes(free), bytes(total));
    let found = |severity, text: String| {
        Diagnosis::found("memory", Finding::Memory, severity, text)
            .because(format!("shared with tasks: {}", bytes(shared)))
            .because(format!("available: {} of {}", bytes(free), bytes(whole)))
    };
    if shared.saturating_add(NODE_BYTES) > whole {
        found(
            Severity::Problem,
            format!("{} are shared, and there are {}", bytes(shared), bytes(whole)),
        )
    } else if free < NODE_BYTES || shared > free {
        found(Severity::Warn, text)
    } else {
        Diagnosis::ok("memory", text)
    }
}

pub(super) fn processor(place: &Place) -> Vec<Diagnosis> {
    let table = place.read("/proc/cpuinfo").unwrap_or_default();
    let quota = place.read("/sys/fs/cgroup/cpu.max");
    let cores = table.lines().filter(|line| line.starts_with("processor")).count();
    let flags = table.lines().find_map(|line| line.strip_prefix("flags")).unwrap_or_default();
    vec![judge_processor(std::env::consts::ARCH, cores, flags, quota.as_deref())]
}

fn judge_processor(arch: &str, cores: usize, flags: &str, quota: Option<&str>) -> Diagnosis {
    let found = |severity, text: String| {
        Diagnosis::found("processor", Finding::Processor, severity, text)
            .because(format!("{cores} cores of {arch}"))
    };
    let has = |flag: &str| flags.split_whitespace().any(|it| it == flag);
    match arch {
        "x86_64" if !flags.is_empty() && !has("sse4_1") => {
            found(Severity::Problem, "it has no SSE4.1: no guest can run here".to_owned())
        }
        "x86_64" | "aarch64" => match quota.and_then(share) {
            // Hundredths of a core.
            Some(share) if share < 100 => {
                found(Severity::Warn, format!("this container may use {share} % of one core"))
            }
            Some(_) | None => Diagnosis::ok("processor", format!("{cores} cores, {arch}")),
        },
        _ => found(Severity::Problem, format!("guests cannot be compiled for {arch}")),
    }
}

/// `MAX PERIOD` of `cpu.max` (cgroup v2), in hundredths of a core.
fn share(quota: &str) -> Option<u64> {
    let (max, period) = quota.split_once(' ')?;
    let (max, period): (u64, u64) = (max.parse().ok()?, period.trim().parse().ok()?);
    max.saturating_mul(100).checked_div(period)
}

pub(super) fn entropy(place: &Place) -> Vec<Diagnosis> {
    let pool = place.read("/proc/sys/kernel/random/entropy_avail").and_then(|it| it.parse().ok());
    let mut seed = [0; 32];
    vec![judge_entropy(getrandom::fill(&mut seed).is_ok(), pool)]
}

fn judge_entropy(given: bool, pool: Option<u32>) -> Diagnosis {
    let seen = pool.map(|pool| format!("{pool} bits in the pool"));
    if given {
        Diagnosis::ok(
            "entropy",
            seen.unwrap_or_else(|| "the kernel gives random numbers".to_owned()),
        )
    } else {
        let text = "the kernel gives no random numbers";
        Diagnosis::found("entropy", Finding::Entropy, Severity::Problem, text)
            .because(seen.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::checks::testing::Machine;

    #[test]
    fn limits_are_read_and_judged() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            1024                 unlimited            files\n";
        assert_eq!(open_files(limits), Some((1_024, u64::MAX)));
        assert_eq!(open_files("Max open files\n"), None);
        for (soft, severity) in
            [(256, Severity::Problem), (1_024, Severity::Note), (65_536, Severity::Ok)]
        {
            assert_eq!(judge_descriptors((soft, 65_536)).severity, severity, "{soft}");
        }
    }

    #[test]
    fn memory_is_judged_by_what_is_shared() {
        let gib = 1 << 30;
        for (total, free, limit, shared, severity) in [
            (16 * gib, 12 * gib, None, None, Severity::Ok),
            (16 * gib, 12 * gib, Some(gib), Some(2 * gib), Severity::Problem),
            (16 * gib, gib, None, Some(2 * gib), Severity::Warn),
            (gib, gib / 8, None, Some(0), Severity::Warn),
        ] {
            let found = judge_memory(total, free, limit, shared);
            assert_eq!(found.severity, severity, "{found:?}");
        }
        let machine = Machine::new(&[
            ("/proc/meminfo", "MemTotal: 16777216 kB\nMemAvailable: 8388608 kB\n"),
            ("/sys/fs/cgroup/memory.max", "max"),
        ]);
        assert_eq!(memory(&machine.place)[0].text, "8.0 GiB of 16 GiB free");
    }

    #[test]
    fn a_processor_is_judged_by_what_guests_need() {
        for (arch, flags, quota, severity) in [
            ("x86_64", ": fpu sse2 sse4_1 avx", None, Severity::Ok),
            ("x86_64", ": fpu sse2", None, Severity::Problem),
            ("x86_64", "", Some("max 100000"), Severity::Ok),
            ("aarch64", "", Some("50000 100000"), Severity::Warn),
            ("riscv64", "", None, Severity::Problem),
        ] {
            assert_eq!(judge_processor(arch, 4, flags, quota).severity, severity, "{arch} {flags}");
        }
        assert_eq!(judge_entropy(false, Some(3)).severity, Severity::Problem);
    }
}
