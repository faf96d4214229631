//! This machine: what its owner allows others, what was said about it, how it is, and what follows from that.
//!
//! One task looks at the machine every [`LOOK_EVERY`]; what it sees, and what people say, goes through
//! [`core::limits`](crate::core::limits), and the verdict is watched by the worker, the adverts and the API.

mod holds;
mod seat;
mod sensors;

use std::{io, num::NonZero, path::PathBuf, sync::Arc, thread, time::Duration};

use chrono::{TimeZone as _, Timelike as _};
use protocol::{
    time::{Clock as _, Timestamp, UnixMillis},
    wire::availability::{Cause, Reason},
};
use tokio::sync::watch;

use self::{
    holds::Kept,
    sensors::{Roots, Sensors},
};
use crate::{
    core::limits::{self, Hold, Holds, Limits, Now, Telemetry, Verdict},
    home::{Config, ConfigError, Home, Key, Value},
    roles::clock::NodeClock,
};

/// How often the machine is looked at.
pub const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often it is asked whether somebody sits there.
const SEAT_EVERY: Duration = Duration::from_secs(10);

/// How busy this machine is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Memory that is free, in bytes.
    pub memory_free_bytes: u64,
    /// Processor time in use since the last look, in percent of all cores.
    pub cpu_percent: u8,
    /// Of that, by other programs than guests and nodes.
    pub cpu_others_percent: u8,
    /// Memory in use, in percent.
    pub memory_percent: u8,
    /// Whether it has been overloaded for a while, by other programs.
    pub overloaded: bool,
}

/// What the owner shares: from the settings, and what follows from them on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shared {
    /// Cores of the machine.
    pub cores: u16,
    /// The most slots that it can have while this node runs.
    pub slots_max: u16,
    /// What of it is shared where nothing more exact is said, in percent.
    pub share_percent: u8,
    /// What others may have.
    pub limits: Limits,
}

/// What follows from everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlook {
    /// What is shared.
    pub shared: Shared,
    /// What was said.
    pub holds: Holds,
    /// How busy it is.
    pub load: Load,
    /// What others can have now.
    pub verdict: Verdict,
}

/// A change of the limits: what is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// Cores.
    pub cores: Option<u16>,
    /// Memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// Also on battery.
    pub on_battery: Option<bool>,
    /// Not below this level, in percent.
    pub min_battery: Option<u8>,
    /// Not before nobody has used the machine for this long.
    pub idle: Option<Duration>,
    /// Hours; `Some(None)`: always.
    pub hours: Option<Option<limits::Hours>>,
    /// What other programs may use, in percent.
    pub max_cpu_others: Option<u8>,
    /// What is shared where nothing more exact is said, in percent: cores and memory follow.
    pub share_percent: Option<u8>,
}

/// What was said could not be kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MachineError {
    /// The file of what was said.
    #[error("what was said about this machine cannot be kept in {}", path.display())]
    Holds {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The settings.
    #[error("the settings cannot be changed")]
    Settings(#[source] ConfigError),
    /// An order that is older than one that was obeyed.
    #[error("a later order was obeyed already")]
    Outdated,
}

#[derive(Debug)]
struct Inner {
    home: Home,
    kept: watch::Sender<Kept>,
    outlook: watch::Sender<Outlook>,
    seen: watch::Sender<(Load, Telemetry)>,
}

/// This machine. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Machine {
    inner: Arc<Inner>,
}

impl Shared {
    /// What the settings mean here. `slots_max` is what the pool of runners is made for.
    #[must_use]
    pub fn here(config: &Config) -> Self {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let cores = u16::try_from(cores).unwrap_or(u16::MAX);
        let memory_total = memory_total();
        let share = config.share_percent;
        let slots = config.slots.unwrap_or_else(|| slots_of(cores, share));
        let limits = Limits {
            slots,
            memory_bytes: config.memory_bytes.unwrap_or_else(|| memory_of(memory_total, share)),
            on_battery: config.on_battery,
            min_battery: config.min_battery,
            idle: config.idle,
            hours: config.hours,
            max_cpu_others: config.max_cpu_others,
        };
        Self { cores, slots_max: cores.max(slots), share_percent: share, limits }
    }

    fn change(&mut self, change: &Change) {
        if let Some(share) = change.share_percent {
            self.share_percent = share;
            self.limits.slots = slots_of(self.cores, share);
            self.limits.memory_bytes = memory_of(memory_total(), share);
        }
        let limits = &mut self.limits;
        limits.slots = change.cores.unwrap_or(limits.slots).clamp(1, self.slots_max);
        limits.memory_bytes = change.memory_bytes.unwrap_or(limits.memory_bytes);
        limits.on_battery = change.on_battery.unwrap_or(limits.on_battery);
        limits.min_battery = change.min_battery.unwrap_or(limits.min_battery);
        limits.idle = change.idle.unwrap_or(limits.idle);
        limits.hours = change.hours.unwrap_or(limits.hours);
        limits.max_cpu_others = change.max_cpu_others.or(limits.max_cpu_others);
    }
}

/// That part of the cores, rounded up, at least one.
fn slots_of(cores: u16, share_percent: u8) -> u16 {
    let part = u32::from(cores).saturating_mul(u32::from(share_percent)).div_ceil(100);
    u16::try_from(part).unwrap_or(u16::MAX).max(1)
}

/// Half of that part of the memory: guests must not push everything else out of it.
fn memory_of(bytes: u64, share_percent: u8) -> u64 {
    let part = u128::from(bytes).saturating_mul(u128::from(share_percent)).div_euclid(200);
    u64::try_from(part).unwrap_or(u64::MAX)
}

fn memory_total() -> u64 {
    let roots = Roots::of_this_machine();
    let (total, _) = sensors::memory(&roots.read("proc/meminfo"));
    total.min(sensors::memory_limit(&roots).unwrap_or(u64::MAX))
}

impl Machine {
    /// This machine, with what was said before. Nothing looks at it yet: see [`watch_over`](Self::watch_over).
    #[must_use]
    pub fn new(home: &Home, shared: Shared) -> Self {
        let kept = holds::load(&home.holds_file()).unwrap_or_else(|error| {
            let path = home.holds_file().display().to_string();
            tracing::error!(path, %error, "what was said about this machine cannot be read; it stays paused until it is resumed");
            let note = "holds.json cannot be read".to_owned();
            let holds = Holds { pause: Some(Hold { until: None, note }), drain: None };
            Kept { holds, ordered: UnixMillis(0) }
        });
        let mut sensors = Sensors::new(Roots::of_this_machine(), shared.cores);
        let load =
            Load { cpu_percent: 0, cpu_others_percent: 0, ..sensors.look(Timestamp::ORIGIN) };
        let telemetry = Telemetry { power: sensors.power(false), idle: None, overloaded: false };
        let verdict = limits::decide(&shared.limits, &telemetry, &kept.holds, now());
        let outlook = Outlook { shared, holds: kept.holds.clone(), load, verdict };
        let (outlook, _) = watch::channel(outlook);
        let (seen, _) = watch::channel((load, telemetry));
        let (kept, _) = watch::channel(kept);
        Self { inner: Arc::new(Inner { home: home.clone(), kept, outlook, seen }) }
    }

    /// Looks at the machine, again and again. Runs until it is dropped. Cancel safe.
    pub async fn watch_over(self, clock: NodeClock) {
        let roots = Roots::of_this_machine();
        let cores = self.inner.outlook.borrow().shared.cores;
        let mut sensors = Sensors::new(roots.clone(), cores);
        let (mut idle, mut asked) = (None, None::<Timestamp>);
        loop {
            let due = |asked| clock.now().saturating_since(asked) >= SEAT_EVERY;
            if asked.is_none_or(due) {
                idle = seat::idle(&roots, NodeClock::wall()).await;
                asked = Some(clock.now());
            }
            tokio::time::sleep(LOOK_EVERY).await;
            let load = sensors.look(clock.now());
            let power = sensors.power(idle.is_some());
            let telemetry = Telemetry { power, idle, overloaded: load.overloaded };
            self.inner.seen.send_replace((load, telemetry));
            self.expire();
            self.decide(|_| {});
        }
    }

    /// What follows from everything, now and from now on.
    #[must_use]
    pub fn outlook(&self) -> watch::Receiver<Outlook> {
        self.inner.outlook.subscribe()
    }

    /// Decides anew, after a change of what is shared.
    fn decide(&self, change: impl FnOnce(&mut Shared)) {
        let (load, telemetry) = *self.inner.seen.borrow();
        let holds = self.inner.kept.borrow().holds.clone();
        self.inner.outlook.send_if_modified(|outlook| {
            let mut shared = outlook.shared;
            change(&mut shared);
            let verdict = limits::decide(&shared.limits, &telemetry, &holds, now());
            let next = Outlook { shared, holds, load, verdict };
            let changed = *outlook != next;
            *outlook = next;
            changed
        });
    }

    /// Changes what is kept, on disk first.
    fn keep(
        &self,
        change: impl FnOnce(&mut Kept) -> Result<(), MachineError>,
    ) -> Result<(), MachineError> {
        let path = self.inner.home.holds_file();
        let mut done = Ok(());
        self.inner.kept.send_if_modified(|kept| {
            let mut next = kept.clone();
            done = change(&mut next).and_then(|()| {
                holds::save(&path, &next).map_err(|source| MachineError::Holds { path, source })
            });
            if done.is_ok() {
                *kept = next;
            }
            done.is_ok()
        });
        done?;
        self.decide(|_| {});
        Ok(())
    }

    fn expire(&self) {
        let mut holds = self.inner.kept.borrow().holds.clone();
        if holds.expire(NodeClock::wall())
            && let Err(error) = self.resume()
        {
            tracing::warn!(error = %crate::app::chain(&error), "the end of a pause cannot be kept");
        }
    }

    /// Takes no work of others from now on, for a while or until it is resumed. Blocks on the disk for a moment.
    ///
    /// # Errors
    ///
    /// If it cannot be kept: then nothing changes.
    pub fn pause(&self, within: Option<Duration>, note: &str) -> Result<(), MachineError> {
        let hold = hold(within, note);
        self.keep(|kept| {
            kept.holds.pause = Some(hold);
            Ok(())
        })
    }

    /// Takes work of others again.
    ///
    /// # Errors
    ///
    /// See [`pause`](Self::pause).
    pub fn resume(&self) -> Result<(), MachineError> {
        self.keep(|kept| {
            kept.holds.pause = None;
            Ok(())
        })
    }

    /// Takes no work at all from now on; what runs is handed back at the deadline.
    ///
    /// # Errors
    ///
    /// See [`pause`](Self::pause).
    pub fn drain(&self, within: Option<Duration>, note: &str) -> Result<(), MachineError> {
        let hold = hold(within, note);
        self.keep(|kept| {
            kept.holds.drain = Some(hold);
            Ok(())
        })
    }

    /// Takes work again.
    ///
    /// # Errors
    ///
    /// See [`pause`](Self::pause).
    pub fn undrain(&self) -> Result<(), MachineError> {
        self.keep(|kept| {
            kept.holds.drain = None;
            Ok(())
        })
    }

    /// Does what somebody else ordered, whose right to do so was checked.
    ///
    /// # Errors
    ///
    /// If a later order was obeyed already, or see [`pause`](Self::pause).
    pub fn obey(&self, drain: Option<Hold>, at: UnixMillis) -> Result<(), MachineError> {
        self.keep(|kept| {
            if at <= kept.ordered {
                return Err(MachineError::Outdated);
            }
            kept.holds.drain = drain;
            kept.ordered = at;
            Ok(())
        })
    }

    /// Changes the limits, in the settings and at once. Blocks on the disk for a moment.
    ///
    /// # Errors
    ///
    /// If the settings cannot be written: then nothing changes.
    pub fn set_limits(&self, change: &Change) -> Result<(), MachineError> {
        let settings = settings(change);
        self.inner.home.write_settings(&settings).map_err(MachineError::Settings)?;
        self.decide(|shared| shared.change(change));
        Ok(())
    }
}

/// A change as it stands in the settings. What share follows from is not kept beside it.
fn settings(change: &Change) -> Vec<(&'static Key, Value)> {
    let number = |value: u64| Value::Number(value);
    let text = |value: String| Value::Text(value);
    let share = change.share_percent.is_some();
    let entries = [
        ("limits.share", change.share_percent.map(|share| number(share.into()))),
        ("limits.slots", change.cores.map(u64::from).or_else(|| share.then_some(0)).map(number)),
        (
            "limits.memory",
            change
                .memory_bytes
                .map(|bytes| format!("{bytes}B"))
                .or_else(|| share.then(String::new))
                .map(text),
        ),
        ("limits.on_battery", change.on_battery.map(Value::Flag)),
        ("limits.min_battery", change.min_battery.map(|level| number(level.into()))),
        ("limits.idle", change.idle.map(|idle| text(format!("{}s", idle.as_secs())))),
        (
            "limits.hours",
            change
                .hours
                .map(|hours| text(hours.map(|hours| hours.to_string()).unwrap_or_default())),
        ),
        ("limits.max_cpu_others", change.max_cpu_others.map(|most| number(most.into()))),
    ];
    let named =
        entries.into_iter().filter_map(|(name, value)| Some((Key::named(name).ok()?, value?)));
    named.collect()
}

fn hold(within: Option<Duration>, note: &str) -> Hold {
    let until = within.map(|within| NodeClock::wall().saturating_add(within));
    // What is kept is what is said.
    Hold { until, note: Reason::of(Cause::Paused).noting(note).note }
}

fn now() -> Now {
    let wall = NodeClock::wall();
    let millis = i64::try_from(wall.0).unwrap_or(i64::MAX);
    let local = chrono::Local.timestamp_millis_opt(millis).single();
    let minute =
        local.map_or(0, |local| local.hour().saturating_mul(60).saturating_add(local.minute()));
    Now { wall, minute: u16::try_from(minute).unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_at_least_one_core_and_half_as_much_memory() {
        assert_eq!((slots_of(8, 50), slots_of(1, 1), slots_of(3, 50)), (4, 1, 2));
        assert_eq!((memory_of(16 << 30, 50), memory_of(16 << 30, 100)), (4 << 30, 8 << 30));
    }

    #[test]
    fn a_change_of_the_share_forgets_what_was_said_exactly() {
        let change = Change { share_percent: Some(25), ..Change::default() };
        let settings = settings(&change);
        let values: Vec<_> =
            settings.iter().map(|(key, value)| (key.name, value.to_string())).collect();
        assert_eq!(
            values,
            [
                ("limits.share", "25".to_owned()),
                ("limits.slots", "0".to_owned()),
                ("limits.memory", "\"\"".to_owned()),
            ]
        );
    }

    #[test]
    fn only_what_is_changed_is_written() {
        let change = Change { on_battery: Some(true), hours: Some(None), ..Change::default() };
        let names: Vec<_> = settings(&change).iter().map(|(key, _)| key.name).collect();
        assert_eq!(names, ["limits.on_battery", "limits.hours"]);
    }
}
