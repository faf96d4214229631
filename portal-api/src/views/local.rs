//! This machine: what its owner allows others, and what holds for a while.

use protocol::{
    time::UnixMillis,
    wire::availability::{self, Openness},
};
use serde::{Deserialize, Serialize};

use super::Kind;
use crate::rfc3339;

/// Why a node takes less work than it could.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// A stable code: `paused`, `on_battery`, …
    pub code: String,
    /// For people.
    pub detail: String,
    /// When it ends, if that is known.
    #[serde(with = "rfc3339::option", default)]
    pub until: Option<UnixMillis>,
}

impl From<&availability::Reason> for Reason {
    fn from(reason: &availability::Reason) -> Self {
        let until = match reason.until {
            Some(_) => String::new(),
            None => format!(" until {}", reason.cause.remedy()),
        };
        Self {
            code: reason.cause.code().to_owned(),
            detail: format!("{}{until}", reason.what()),
            until: reason.until,
        }
    }
}

/// What a node has for other owners.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sharing {
    /// `OPEN`, `SMALL`: only tasks with a short time limit, or `CLOSED`.
    pub others: String,
    /// For `SMALL`: the longest time limit of a task, in seconds.
    pub task_seconds_max: Option<u32>,
    /// Slots that they may have at a time.
    pub slots: u16,
    /// Memory of one task at most.
    pub memory_bytes: u64,
}

impl From<&availability::Availability> for Sharing {
    fn from(availability: &availability::Availability) -> Self {
        let (others, task_ms_max) = match availability.others {
            Openness::Open => ("OPEN", None),
            Openness::Small { task_ms_max } => ("SMALL", Some(task_ms_max)),
            Openness::Closed => ("CLOSED", None),
        };
        Self {
            others: others.to_owned(),
            task_seconds_max: task_ms_max.map(|millis| millis.div_euclid(1_000)),
            slots: availability.slots_others,
            memory_bytes: availability.memory_bytes,
        }
    }
}

/// The reasons of an availability.
#[must_use]
pub fn reasons(availability: &availability::Availability) -> Vec<Reason> {
    availability.reasons.iter().map(Reason::from).collect()
}

/// Whether this machine takes work of others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Whether it is paused.
    pub paused: bool,
    /// When that ends by itself.
    #[serde(with = "rfc3339::option", default)]
    pub until: Option<UnixMillis>,
    /// What was said about it.
    pub message: String,
    /// Everything that keeps others' work away now, a pause or not.
    pub reasons: Vec<Reason>,
}

impl Kind for Pause {
    const KIND: &'static str = "Pause";
}

/// Asks for a pause. All of it may be left out, and so may the whole body.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PauseRequest {
    /// For how long; until it is resumed, if left out. At most a year.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<u64>,
    /// Why, for people.
    pub message: String,
}

/// Asks for a drain. All of it may be left out, and so may the whole body.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DrainRequest {
    /// After how long what is left is handed back; it ends in its own time, if left out. At most a year.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_seconds: Option<u64>,
    /// Why, for people.
    pub message: String,
}

/// What the owner of this machine allows others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerLimits {
    /// Tasks at a time, each on a core.
    pub cores: u16,
    /// Cores of the machine.
    pub cores_total: u16,
    /// Memory of one task at most.
    pub memory_bytes: u64,
    /// What is shared where cores or memory are not said, in percent.
    pub share_percent: u8,
    /// Also on battery.
    pub on_battery: bool,
    /// On battery: not below this level.
    pub min_battery_percent: u8,
    /// Not before nobody has used the machine for this long.
    pub idle_seconds: u64,
    /// At these hours only, in local time; at all hours, if `null`.
    pub hours: Option<String>,
    /// Not while other programs use more of the processor; by the kind of machine, if `null`.
    pub max_cpu_others_percent: Option<u8>,
    /// What others can have now.
    pub now: Sharing,
    /// Why not more.
    pub reasons: Vec<Reason>,
}

impl Kind for OwnerLimits {
    const KIND: &'static str = "Limits";
}

/// Changes what the owner allows others: what is left out stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsChange {
    /// Tasks at a time, each on a core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cores: Option<u16>,
    /// Memory of one task at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// What is shared, in percent: cores and memory follow, unless they are said too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share_percent: Option<u8>,
    /// Also on battery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_battery: Option<bool>,
    /// On battery: not below this level.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_battery_percent: Option<u8>,
    /// Not before nobody has used the machine for this long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_seconds: Option<u64>,
    /// At these hours only, such as `22:00-07:00`; empty: always.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hours: Option<String>,
    /// Not while other programs use more of the processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_cpu_others_percent: Option<u8>,
}
