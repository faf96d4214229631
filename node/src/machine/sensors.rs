//! What Linux says about this machine: load, battery, heat.
//!
//! **Whose load counts.** Guests run at the lowest priority and give way to everything, so what they use is no load for
//! others: the processor time of niced processes, and that of every `weft` program on this machine, is taken out. What
//! is left is what other programs use. Memory cannot give way: it counts whoever has it.
//!
//! **In a container** the kernel's tables are those of the whole machine, which is not this node's to judge: there it is the
//! container's own accounts that count, against the cores that it may use.

use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    path::{Path, PathBuf},
};

use protocol::time::Timestamp;

use super::Load;
use crate::core::{
    health::Overload,
    power::{Device, State, Thermal},
};

/// The environment variable that names a directory to look for `proc`, `sys`, `run` and `dev` in, for tests.
const ROOT_VARIABLE: &str = "WEFT_HOST_ROOT";
/// Programs of ours are looked for again after this many looks.
const LOOKS_BETWEEN_SEARCHES: u32 = 5;
/// Looks over which the load of others is averaged, for their owners' limits.
const LOOKS_REMEMBERED: usize = 5;
/// Programs of ours on one machine that are followed.
const PROGRAMS_MAX: usize = 1_024;
/// Processes on one machine that are looked at.
const PROCESSES_MAX: usize = 65_536;
/// This hot a machine throttles soon, in thousandths of a degree.
const SERIOUS: i64 = 85_000;
/// This hot it is critical where it does not say itself what that is, in thousandths of a degree.
const CRITICAL: i64 = 97_000;
/// This close to what it says is critical it is critical, in thousandths of a degree.
const CRITICAL_MARGIN: i64 = 3_000;
/// What a sensor says that is broken, in thousandths of a degree.
const BROKEN_ABOVE: i64 = 150_000;

/// Where the system's files are.
#[derive(Debug, Clone)]
pub(super) struct Roots {
    root: PathBuf,
    /// Whether they are this machine's own.
    pub(super) real: bool,
}

impl Roots {
    /// Those of this machine, unless `WEFT_HOST_ROOT` says otherwise.
    pub(super) fn of_this_machine() -> Self {
        match std::env::var_os(ROOT_VARIABLE).filter(|root| !root.is_empty()) {
            Some(root) => Self { root: root.into(), real: false },
            None => Self { root: "/".into(), real: true },
        }
    }

    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    pub(super) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap_or_default()
    }
}

/// Processor time of one of our programs that is not niced, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Program {
    started: u64,
    ticks: u64,
}

/// Looks at this machine, again and again.
#[derive(Debug)]
pub(super) struct Sensors {
    roots: Roots,
    /// Cores that may be used.
    cores: u16,
    processor: Processor,
    programs: BTreeMap<u32, Program>,
    looks: u32,
    overload: Overload,
    /// What others used, and what there was, at the last looks, in ticks.
    recent: VecDeque<(u64, u64)>,
}

impl Sensors {
    pub(super) fn new(roots: Roots, cores: u16) -> Self {
        let mut sensors = Self {
            roots,
            cores,
            processor: Processor::default(),
            programs: BTreeMap::new(),
            looks: 0,
            overload: Overload::default(),
            recent: VecDeque::new(),
        };
        // What was used before is nobody's load now.
        sensors.processor = sensors.processor_time(Timestamp::ORIGIN);
        sensors.ours();
        sensors
    }

    /// What there is to see now. Blocks on the kernel's tables for a moment.
    pub(super) fn look(&mut self, now: Timestamp) -> Load {
        let processor = self.processor_time(now);
        let spent = processor.since(self.processor);
        self.processor = processor;
        let others = spent.busy.saturating_sub(spent.niced).saturating_sub(self.ours());
        self.recent.truncate(LOOKS_REMEMBERED.saturating_sub(1));
        self.recent.push_front((others, spent.total));
        let (memory_bytes, memory_free_bytes) = self.memory();
        let used = memory_bytes.saturating_sub(memory_free_bytes);
        let cpu_others_percent = percent(others, spent.total);
        let memory_percent = percent(used, memory_bytes);
        Load {
            memory_free_bytes,
            cpu_percent: percent(spent.busy, spent.total),
            cpu_others_percent,
            memory_percent,
            overloaded: self.overload.look(now, cpu_others_percent, memory_percent),
        }
    }

    /// Processor time: of the machine, or of the container that this is.
    fn processor_time(&self, now: Timestamp) -> Processor {
        match container_time(&self.roots) {
            Some(busy) => {
                let wall = now.saturating_since(Timestamp::ORIGIN).as_millis().div_euclid(10);
                let total = u64::try_from(wall).unwrap_or(u64::MAX);
                Processor { busy, niced: 0, total: total.saturating_mul(u64::from(self.cores)) }
            }
            None => processor_time(&self.roots.read("proc/stat")),
        }
    }

    /// Memory in all and free, in bytes: of the machine, or of what a container may use.
    fn memory(&self) -> (u64, u64) {
        let (total, free) = memory(&self.roots.read("proc/meminfo"));
        match memory_limit(&self.roots).filter(|limit| *limit < total) {
            Some(limit) => {
                let used = memory_used(&self.roots).unwrap_or(0);
                (limit, limit.saturating_sub(used).min(free))
            }
            None => (total, free),
        }
    }

    /// Processor time that programs of ours have used since the last look, without what is niced.
    fn ours(&mut self) -> u64 {
        let contained = container_time(&self.roots).is_some();
        // A container is small, and what its guests use is not told apart by being niced: a new one must be seen at once.
        if contained || self.looks.checked_rem(LOOKS_BETWEEN_SEARCHES) == Some(0) {
            self.search(contained);
        }
        self.looks = self.looks.wrapping_add(1);
        let mut spent = 0_u64;
        let roots = &self.roots;
        self.programs.retain(|id, program| {
            let seen = process(&roots.read(&format!("proc/{id}/stat")), contained);
            let Some((_, seen)) = seen.filter(|(_, seen)| seen.started == program.started) else {
                return false;
            };
            spent = spent.saturating_add(seen.ticks.saturating_sub(program.ticks));
            *program = seen;
            true
        });
        spent
    }

    /// Finds programs of ours that were not there before. What they used until now does not count.
    fn search(&mut self, contained: bool) {
        let Ok(entries) = fs::read_dir(self.roots.at("proc")) else { return };
        for entry in entries.flatten().take(PROCESSES_MAX) {
            let id = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
            let Some(id) = id.filter(|id| !self.programs.contains_key(id)) else { continue };
            if self.programs.len() >= PROGRAMS_MAX {
                return;
            }
            let stat = self.roots.read(&format!("proc/{id}/stat"));
            if let Some((true, program)) = process(&stat, contained) {
                self.programs.insert(id, program);
            }
        }
    }

    /// What others have used of the processor lately: a moment is no reason to send guests away.
    fn others_percent(&self) -> u8 {
        let sum = |part: fn(&(u64, u64)) -> u64| {
            self.recent.iter().map(part).fold(0_u64, u64::saturating_add)
        };
        percent(sum(|look| look.0), sum(|look| look.1))
    }

    /// Battery, mains and heat. `seat`: whether somebody can sit here.
    pub(super) fn power(&self, seat: bool) -> State {
        let (external_power, battery_percent) = supplies(&self.roots.at("sys/class/power_supply"));
        State {
            device: match (battery_percent, seat) {
                (Some(_), _) => Device::Laptop,
                (None, true) => Device::Desktop,
                (None, false) => Device::Server,
            },
            external_power,
            battery_percent,
            low_power: false,
            thermal: thermal(&self.roots.at("sys/class/thermal")),
            cpu_percent: self.others_percent(),
            last_task: None,
        }
    }
}

fn percent(part: u64, whole: u64) -> u8 {
    let percent = u128::from(part).saturating_mul(100).checked_div(u128::from(whole)).unwrap_or(0);
    u8::try_from(percent.min(100)).unwrap_or(100)
}

/// Memory in all and available, in bytes, from `/proc/meminfo` (proc(5)).
pub(super) fn memory(text: &str) -> (u64, u64) {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
        Some(kib.saturating_mul(1024))
    };
    (field("MemTotal:").unwrap_or(0), field("MemAvailable:").unwrap_or(0))
}

/// What a container may use, if it is limited: cgroup v2, then v1.
pub(super) fn memory_limit(roots: &Roots) -> Option<u64> {
    ["sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .find_map(|path| roots.read(path).trim().parse().ok())
}

/// What a container uses, without the cache that it would give up.
fn memory_used(roots: &Roots) -> Option<u64> {
    let files = [
        ("sys/fs/cgroup/memory.current", "sys/fs/cgroup/memory.stat", "inactive_file "),
        (
            "sys/fs/cgroup/memory/memory.usage_in_bytes",
            "sys/fs/cgroup/memory/memory.stat",
            "total_inactive_file ",
        ),
    ];
    files.iter().find_map(|(used, stat, field)| {
        let used: u64 = roots.read(used).trim().parse().ok()?;
        let stat = roots.read(stat);
        let cache = stat.lines().find_map(|line| line.strip_prefix(field)?.trim().parse().ok());
        Some(used.saturating_sub(cache.unwrap_or(0)))
    })
}

/// Processor time, over all cores, in ticks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Processor {
    busy: u64,
    niced: u64,
    total: u64,
}

impl Processor {
    const fn since(self, earlier: Self) -> Self {
        Self {
            busy: self.busy.saturating_sub(earlier.busy),
            niced: self.niced.saturating_sub(earlier.niced),
            total: self.total.saturating_sub(earlier.total),
        }
    }
}

/// Processor time of the container that this is, in ticks; `None` on a machine of its own. A container sees its own
/// group as the root, and only there the root has a limit (cgroup v2) or no release agent (v1).
fn container_time(roots: &Roots) -> Option<u64> {
    const TICK_MICROS: u64 = 10_000;
    if roots.at("sys/fs/cgroup/cpu.max").exists() {
        let stat = roots.read("sys/fs/cgroup/cpu.stat");
        let micros = stat.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
        return Some(micros.trim().parse::<u64>().ok()?.div_euclid(TICK_MICROS));
    }
    if roots.at("sys/fs/cgroup/cpuacct/release_agent").exists() {
        return None;
    }
    let nanos: u64 = roots.read("sys/fs/cgroup/cpuacct/cpuacct.usage").trim().parse().ok()?;
    Some(nanos.div_euclid(TICK_MICROS.saturating_mul(1_000)))
}

/// From `/proc/stat` (proc(5)): user, nice, system, idle, iowait, irq, softirq, steal.
fn processor_time(text: &str) -> Processor {
    let Some(line) = text.lines().find_map(|line| line.strip_prefix("cpu ")) else {
        return Processor::default();
    };
    let ticks: Vec<u64> =
        line.split_whitespace().take(8).filter_map(|field| field.parse().ok()).collect();
    let sum = |ticks: &[u64]| ticks.iter().fold(0_u64, |sum, ticks| sum.saturating_add(*ticks));
    let total = sum(&ticks);
    let idle = sum(ticks.get(3..5).unwrap_or_default());
    let niced = ticks.get(1).copied().unwrap_or(0);
    Processor { busy: total.saturating_sub(idle), niced, total }
}

/// From `/proc/PID/stat` (proc(5)): whether it is a program of ours, when it was started, and what it used. Of a niced
/// process the time in user space is among the niced of the whole machine already, unless this is a container.
fn process(text: &str, contained: bool) -> Option<(bool, Program)> {
    let (name, rest) = text.split_once('(')?.1.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    let nice: i64 = fields.get(16)?.parse().ok()?;
    let user = if nice > 0 && !contained { 0 } else { number(11)? };
    let ours = name.starts_with("weft");
    Some((ours, Program { started: number(19)?, ticks: user.saturating_add(number(12)?) }))
}

/// Whether there is power from outside, and the level of the lowest battery, from `power_supply` (the kernel's
/// Documentation/ABI/testing/sysfs-class-power). Batteries of mice and the like do not count.
fn supplies(dir: &Path) -> (Option<bool>, Option<u8>) {
    let (mut external, mut battery) = (None::<bool>, None::<u8>);
    for entry in fs::read_dir(dir).into_iter().flatten().flatten().take(64) {
        let read = |name: &str| {
            let text = fs::read_to_string(entry.path().join(name)).unwrap_or_default();
            text.trim().to_owned()
        };
        if read("scope") == "Device" {
            continue;
        }
        match read("type").as_str() {
            "Battery" => {
                let Ok(level) = read("capacity").parse::<u8>() else { continue };
                battery = Some(battery.map_or(level, |lowest| lowest.min(level)));
                // Where no mains says anything, a battery that is not emptied does.
                if external.is_none() && read("status") != "Discharging" {
                    external = Some(true);
                }
            }
            "Mains" | "USB" | "UPS" => {
                let online = read("online") == "1";
                external = Some(online || (external == Some(true) && battery.is_none()));
            }
            _ => {}
        }
    }
    (external.or_else(|| battery.map(|_| false)), battery)
}

/// How hot it is: the hottest of its zones, each against what it says is critical.
fn thermal(dir: &Path) -> Thermal {
    let zones = fs::read_dir(dir).into_iter().flatten().flatten().take(256);
    let zones = zones.filter(|zone| zone.file_name().to_string_lossy().starts_with("thermal_zone"));
    zones.map(|zone| zone_heat(&zone.path())).max().unwrap_or(Thermal::Nominal)
}

fn zone_heat(zone: &Path) -> Thermal {
    let number = |name: &str| -> Option<i64> {
        fs::read_to_string(zone.join(name)).ok()?.trim().parse().ok()
    };
    let Some(degrees) = number("temp").filter(|degrees| (1..=BROKEN_ABOVE).contains(degrees))
    else {
        return Thermal::Nominal;
    };
    let critical = (0..12).find_map(|trip| {
        let kind = fs::read_to_string(zone.join(format!("trip_point_{trip}_type"))).ok()?;
        (kind.trim() == "critical").then(|| number(&format!("trip_point_{trip}_temp")))?
    });
    let critical = critical
        .filter(|degrees| (SERIOUS..=BROKEN_ABOVE).contains(degrees))
        .map_or(CRITICAL, |degrees| degrees.saturating_sub(CRITICAL_MARGIN));
    if degrees >= critical {
        Thermal::Critical
    } else if degrees >= SERIOUS {
        Thermal::Serious
    } else {
        Thermal::Nominal
    }
}

#[cfg(test)]
mod tests;
