//! What a worker has for whom, and why not more (`docs/protocol.md`, "Availability").

use serde::{Deserialize, Serialize};

use crate::{time::UnixMillis, wire::canonical};

/// Reasons in one [`Availability`].
pub const REASONS_MAX: usize = 8;
/// A reason's note, in bytes.
pub const NOTE_BYTES_MAX: usize = 160;

/// Why a worker takes less than it could. Numbers are part of the protocol; new ones come at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Cause {
    /// Its owner wants the machine for a while.
    Paused,
    /// It is about to be stopped, or somebody wants to work on it.
    Draining,
    /// It is too hot.
    ThermalThrottle,
    /// It saves power.
    LowPowerMode,
    /// Its battery is nearly empty.
    BatteryCritical,
    /// On battery, it rests between two tasks.
    BatteryThrottled,
    /// On battery, it takes small tasks only.
    BatteryLow,
    /// Its owner shares it on mains only.
    OnBattery,
    /// Its battery is lower than its owner allows.
    BatteryBelowLimit,
    /// Its processor is busy; it looks again in a moment.
    HighCpuDefer,
    /// Other programs need more of the processor than its owner allows.
    OthersBusy,
    /// Somebody uses it.
    NotIdle,
    /// Its owner shares it at other hours.
    OutsideHours,
    /// It is overloaded.
    Overloaded,
}

impl Cause {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 14] = [
        Self::Paused,
        Self::Draining,
        Self::ThermalThrottle,
        Self::LowPowerMode,
        Self::BatteryCritical,
        Self::BatteryThrottled,
        Self::BatteryLow,
        Self::OnBattery,
        Self::BatteryBelowLimit,
        Self::HighCpuDefer,
        Self::OthersBusy,
        Self::NotIdle,
        Self::OutsideHours,
        Self::Overloaded,
    ];

    /// The stable code, in the API and the scheduler's explanations.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::Draining => "draining",
            Self::ThermalThrottle => "thermal_throttle",
            Self::LowPowerMode => "low_power_mode",
            Self::BatteryCritical => "battery_critical",
            Self::BatteryThrottled => "battery_throttled",
            Self::BatteryLow => "battery_low",
            Self::OnBattery => "on_battery",
            Self::BatteryBelowLimit => "battery_below_limit",
            Self::HighCpuDefer => "high_cpu_defer",
            Self::OthersBusy => "others_busy",
            Self::NotIdle => "not_idle",
            Self::OutsideHours => "outside_hours",
            Self::Overloaded => "overloaded",
        }
    }

    /// In words: what is the matter.
    #[must_use]
    pub const fn phrase(self) -> &'static str {
        match self {
            Self::Paused => "by its owner",
            Self::Draining => "draining",
            Self::ThermalThrottle => "too hot",
            Self::LowPowerMode => "saving power",
            Self::BatteryCritical => "battery nearly empty",
            Self::BatteryThrottled => "resting between tasks, on battery",
            Self::BatteryLow => "low battery, small tasks only",
            Self::OnBattery => "on battery",
            Self::BatteryBelowLimit => "battery below its limit",
            Self::HighCpuDefer => "processor busy",
            Self::OthersBusy => "other programs need the processor",
            Self::NotIdle => "somebody uses it",
            Self::OutsideHours => "outside its hours",
            Self::Overloaded => "overloaded",
        }
    }

    /// In words: what ends it, where that is no point in time.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Paused | Self::Draining => "resumed",
            Self::ThermalThrottle => "cooler",
            Self::LowPowerMode => "power saving ends",
            Self::BatteryCritical | Self::BatteryBelowLimit => "charged",
            Self::BatteryThrottled => "it has rested",
            Self::BatteryLow | Self::OnBattery => "plugged in",
            Self::HighCpuDefer | Self::OthersBusy => "other programs need less",
            Self::NotIdle => "nobody uses it",
            Self::OutsideHours => "its hours begin",
            Self::Overloaded => "its load falls",
        }
    }
}

/// One reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Which.
    pub cause: Cause,
    /// What a person said to it, or a figure. At most [`NOTE_BYTES_MAX`] bytes.
    pub note: String,
    /// When it ends, if that is known.
    pub until: Option<UnixMillis>,
}

impl Reason {
    /// A reason that nothing more is to be said about.
    #[must_use]
    pub const fn of(cause: Cause) -> Self {
        Self { cause, note: String::new(), until: None }
    }

    /// With a note, cut where it is too long.
    #[must_use]
    pub fn noting(mut self, note: &str) -> Self {
        self.note = note.chars().filter(|c| !c.is_control()).collect();
        while self.note.len() > NOTE_BYTES_MAX {
            self.note.pop();
        }
        self
    }

    /// With an end.
    #[must_use]
    pub const fn ending(mut self, until: Option<UnixMillis>) -> Self {
        self.until = until;
        self
    }

    /// In words, without the end: `on battery`, `kernel update`.
    #[must_use]
    pub fn what(&self) -> String {
        match (self.cause, self.note.as_str()) {
            (cause, "") => cause.phrase().to_owned(),
            (Cause::Paused, note) => note.to_owned(),
            (cause, note) => format!("{}: {note}", cause.phrase()),
        }
    }
}

/// Whether a worker takes work of other owners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Openness {
    /// It does not.
    Closed,
    /// Only tasks whose time limit is at most this.
    Small {
        /// In milliseconds.
        task_ms_max: u32,
    },
    /// It does.
    Open,
}

/// What a worker has for other owners' work, and why not more. Its own owner's work is not bound by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Availability {
    /// Whether it takes work of other owners.
    pub others: Openness,
    /// Slots that other owners' work may have at a time.
    pub slots_others: u16,
    /// Memory of one task at most, in bytes.
    pub memory_bytes: u64,
    /// Its host is overloaded, by other programs than guests.
    pub overloaded: bool,
    /// Why it takes less than it could, the weightiest first. At most [`REASONS_MAX`].
    pub reasons: Vec<Reason>,
}

impl Availability {
    /// Open to everybody.
    #[must_use]
    pub const fn open(slots: u16, memory_bytes: u64) -> Self {
        Self {
            others: Openness::Open,
            slots_others: slots,
            memory_bytes,
            overloaded: false,
            reasons: Vec::new(),
        }
    }

    /// Whether it keeps its own bounds.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.reasons.len() <= REASONS_MAX
            && self.reasons.iter().all(|reason| {
                reason.note.len() <= NOTE_BYTES_MAX && !reason.note.chars().any(char::is_control)
            })
    }
}

/// What to do about a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Advice {
    /// It comes and goes.
    Reboot,
    /// It has been offline for more than an hour.
    Decommission,
}

impl Advice {
    /// The name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reboot => "REBOOT",
            Self::Decommission => "DECOMMISSION",
        }
    }
}

canonical! {
    // Eight reasons with the longest notes, and room.
    Availability: 2 * 1024;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique() {
        let mut codes: Vec<_> = Cause::ALL.iter().map(|cause| cause.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Cause::ALL.len());
    }

    #[test]
    fn a_note_is_one_line_and_never_too_long() {
        let reason = Reason::of(Cause::Paused).noting(&format!("a\n\u{1b}[1m{}", "ä".repeat(200)));
        assert!(reason.note.len() <= NOTE_BYTES_MAX);
        assert!(!reason.note.contains(['\n', '\u{1b}']));
        let open = Availability { reasons: vec![reason; 9], ..Availability::open(1, 1) };
        assert!(!open.is_valid());
    }

    #[test]
    fn the_longest_fits() {
        let reason = Reason {
            cause: Cause::Paused,
            note: "x".repeat(NOTE_BYTES_MAX),
            until: Some(UnixMillis(1)),
        };
        let most = Availability { reasons: vec![reason; REASONS_MAX], ..Availability::open(1, 1) };
        assert!(most.is_valid() && crate::codec::try_encode(&most).is_ok());
    }
}
