//! This machine: what it has, and how busy it is.

use std::{fs, num::NonZero, thread};

use protocol::wire::advert::{Arch, Isolation, Os};

use crate::home::Config;

/// What this machine shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host {
    /// Cores that it shares.
    pub cores: u16,
    /// Tasks that it runs at a time.
    pub slots: u16,
    /// Memory that it shares, in bytes.
    pub memory_shared_bytes: u64,
    /// How well its guests are isolated.
    pub isolation: Isolation,
}

/// How busy this machine is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Load {
    /// Memory that is free, in bytes.
    pub(super) memory_free_bytes: u64,
    /// Processor time in use since the last look, in percent of all cores.
    pub(super) cpu_percent: u8,
    /// Memory in use, in percent.
    pub(super) memory_percent: u8,
}

impl Host {
    /// Memory of the machine that is free now, in bytes.
    #[must_use]
    pub fn memory_free_bytes(&self) -> u64 {
        Meter::default().look().memory_free_bytes
    }

    /// Looks at this machine. What the configuration leaves open is decided here: half of the cores (at least
    /// one), a quarter of the memory.
    #[must_use]
    pub fn look(config: &Config, isolation: Isolation) -> Self {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let cores = u16::try_from(cores).unwrap_or(u16::MAX);
        let slots = config.slots.unwrap_or_else(|| cores.div_ceil(2).max(1));
        let (total, _) = memory(&fs::read_to_string("/proc/meminfo").unwrap_or_default());
        let total = total.min(cgroup_limit().unwrap_or(u64::MAX));
        Self {
            cores,
            slots,
            memory_shared_bytes: config.memory_bytes.unwrap_or(total >> 2),
            isolation,
        }
    }
}

/// The operating system and the instruction set.
#[must_use]
pub(super) fn platform() -> (Os, Arch) {
    let os = match std::env::consts::OS {
        "linux" => Os::Linux,
        "macos" => Os::MacOs,
        "windows" => Os::Windows,
        _ => Os::Other,
    };
    let arch = match std::env::consts::ARCH {
        "x86_64" => Arch::X86_64,
        "aarch64" => Arch::Aarch64,
        _ => Arch::Other,
    };
    (os, arch)
}

/// Looks at how busy this machine is, again and again.
#[derive(Debug, Default)]
pub(super) struct Meter {
    last: (u64, u64),
}

impl Meter {
    pub(super) fn look(&mut self) -> Load {
        let now = processor(&fs::read_to_string("/proc/stat").unwrap_or_default());
        let (busy, total) = (now.0.saturating_sub(self.last.0), now.1.saturating_sub(self.last.1));
        self.last = now;
        let (memory_bytes, memory_free_bytes) =
            memory(&fs::read_to_string("/proc/meminfo").unwrap_or_default());
        let used = memory_bytes.saturating_sub(memory_free_bytes);
        Load {
            memory_free_bytes,
            cpu_percent: percent(busy, total),
            memory_percent: percent(used, memory_bytes),
        }
    }
}

fn percent(part: u64, whole: u64) -> u8 {
    let percent = u128::from(part).saturating_mul(100).checked_div(u128::from(whole)).unwrap_or(0);
    u8::try_from(percent.min(100)).unwrap_or(100)
}

/// Memory in all and available, in bytes, from `/proc/meminfo` (proc(5)).
fn memory(text: &str) -> (u64, u64) {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
        Some(kib.saturating_mul(1024))
    };
    (field("MemTotal:").unwrap_or(0), field("MemAvailable:").unwrap_or(0))
}

/// Time that all cores were busy, and all time, in ticks, from `/proc/stat` (proc(5)).
fn processor(text: &str) -> (u64, u64) {
    let Some(line) = text.lines().find_map(|line| line.strip_prefix("cpu ")) else { return (0, 0) };
    let ticks: Vec<u64> =
        line.split_whitespace().take(8).filter_map(|field| field.parse().ok()).collect();
    let total = ticks.iter().fold(0_u64, |sum, ticks| sum.saturating_add(*ticks));
    // idle and iowait
    let idle = ticks.iter().skip(3).take(2).fold(0_u64, |sum, ticks| sum.saturating_add(*ticks));
    (total.saturating_sub(idle), total)
}

/// What a container may use, if it is limited: cgroup v2, then v1.
fn cgroup_limit() -> Option<u64> {
    ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .find_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_are_read() {
        let text = "MemTotal:       24576 kB\nMemFree:  1 kB\nMemAvailable:   12288 kB\n";
        assert_eq!(memory(text), (24_576 * 1024, 12_288 * 1024));
        let text = "cpu  10 0 20 60 10 0 0 0 0 0\ncpu0 1 2 3\n";
        assert_eq!(processor(text), (30, 100));
        assert_eq!((memory(""), processor("")), ((0, 0), (0, 0)));
    }

    #[test]
    fn a_percentage_never_leaves_its_bounds() {
        assert_eq!((percent(1, 0), percent(5, 2), percent(1, 3)), (0, 100, 33));
    }
}
