//! What this machine has for other owners' work, now: its owner's limits, its power, and what its owner said last.
//!
//! The owner's own work is not bound by any of it (decision 28 of the design): it runs at low priority at once. Only a
//! drain, which comes before a stop, keeps everything away.
//!
//! Reasons come in a fixed order, the weightiest first: heat, the battery, a pause, a drain, the owner's limits, what
//! else the processor does. All that hold are named, up to the protocol's bound.

use std::time::Duration;

use protocol::{
    time::UnixMillis,
    wire::availability::{Availability, Cause, Openness, REASONS_MAX, Reason},
};

use super::power::{self, Device, Mesh};

/// How long work that is taken back, and not at once, may go on.
pub const FINISH_WITHIN: Duration = Duration::from_secs(60);
/// What other programs may use of the processor where somebody sits, unless the owner says otherwise, in percent.
pub const OTHERS_CPU_AT_A_SEAT: u8 = 25;
/// Minutes of a day.
pub const DAY_MINUTES: u16 = 1_440;

/// Hours of the day, in local time, as minutes since midnight: from the first, until the second. Over midnight if the
/// second is not later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    from: u16,
    until: u16,
}

impl Hours {
    /// `22:00-07:00`. `None` if it is not of that form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (from, until) = text.split_once('-')?;
        Some(Self { from: minute(from)?, until: minute(until)? })
    }

    /// Minutes until they begin; `None` while they last.
    #[must_use]
    pub fn begin_in(self, now: u16) -> Option<u16> {
        let inside = if self.from < self.until {
            (self.from..self.until).contains(&now)
        } else {
            now >= self.from || now < self.until
        };
        let ahead = self.from.saturating_add(DAY_MINUTES).saturating_sub(now);
        (!inside).then(|| ahead.checked_rem(DAY_MINUTES).unwrap_or(0))
    }
}

impl std::fmt::Display for Hours {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let clock = |minute: u16| (minute.div_euclid(60), minute.rem_euclid(60));
        let ((from, from_minute), (until, until_minute)) = (clock(self.from), clock(self.until));
        write!(f, "{from:02}:{from_minute:02}-{until:02}:{until_minute:02}")
    }
}

fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.trim().split_once(':')?;
    let two = |text: &str| (text.len() == 2).then(|| text.parse::<u16>().ok()).flatten();
    let (hour, minute) = (two(hour)?, two(minute)?);
    (hour < 24 && minute < 60).then(|| hour.saturating_mul(60).saturating_add(minute))
}

/// What the owner allows others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Tasks at a time. At least 1.
    pub slots: u16,
    /// Memory of one task at most, in bytes.
    pub memory_bytes: u64,
    /// Also on battery.
    pub on_battery: bool,
    /// On battery: not below this level, in percent.
    pub min_battery: u8,
    /// Not before nobody has used the machine for this long; zero: always. Where nobody can sit, nobody does.
    pub idle: Duration,
    /// At these hours only.
    pub hours: Option<Hours>,
    /// Not while other programs use more of the processor, in percent; 100: always. `None`:
    /// [`OTHERS_CPU_AT_A_SEAT`] where somebody can sit, and always elsewhere.
    pub max_cpu_others: Option<u8>,
}

/// What is the matter with the machine, now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Telemetry {
    /// Its power.
    pub power: power::State,
    /// How long nobody has used it; `None`: nobody can sit there.
    pub idle: Option<Duration>,
    /// Whether it is overloaded; see [`Overload`](super::health::Overload).
    pub overloaded: bool,
}

/// The time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// For what is said to others.
    pub wall: UnixMillis,
    /// Minutes since midnight, in local time.
    pub minute: u16,
}

/// Somebody said something that holds until they take it back, or for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// When it ends by itself.
    pub until: Option<UnixMillis>,
    /// Why, in their words.
    pub note: String,
}

/// What was said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holds {
    /// No work of others.
    pub pause: Option<Hold>,
    /// No work at all, and at its end what is left is handed back.
    pub drain: Option<Hold>,
}

impl Holds {
    /// Drops a pause that is over. Says whether anything changed.
    pub fn expire(&mut self, now: UnixMillis) -> bool {
        let over = self.pause.as_ref().and_then(|pause| pause.until).is_some_and(|at| at <= now);
        if over {
            self.pause = None;
        }
        over
    }
}

/// What happens to work of others that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TakeBack {
    /// It goes on.
    Nothing,
    /// It is handed back unless it ends within [`FINISH_WITHIN`].
    Soon,
    /// It is handed back at once.
    Now,
}

/// What this machine has for others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What is said about it.
    pub availability: Availability,
    /// What happens to work of others that runs.
    pub take_back: TakeBack,
}

/// One thing that speaks against other people's work.
struct Against {
    reason: Reason,
    others: Openness,
    take_back: TakeBack,
}

impl Against {
    const fn closed(reason: Reason, take_back: TakeBack) -> Option<Self> {
        Some(Self { reason, others: Openness::Closed, take_back })
    }
}

/// Decides.
#[must_use]
pub fn decide(limits: &Limits, telemetry: &Telemetry, holds: &Holds, now: Now) -> Verdict {
    let against = [
        by_power(&telemetry.power, now, true),
        holds.pause.as_ref().and_then(|hold| held(Cause::Paused, hold, TakeBack::Now)),
        // What runs during a drain is the drain's own business: it has a deadline.
        holds.drain.as_ref().and_then(|hold| held(Cause::Draining, hold, TakeBack::Nothing)),
        by_battery_limit(limits, &telemetry.power),
        by_hours(limits, now),
        by_idleness(limits, telemetry.idle),
        by_others(limits, telemetry),
        by_power(&telemetry.power, now, false),
        telemetry
            .overloaded
            .then(|| Against::closed(Reason::of(Cause::Overloaded), TakeBack::Nothing))
            .flatten(),
    ];
    let mut availability = Availability::open(limits.slots, limits.memory_bytes);
    availability.overloaded = telemetry.overloaded;
    let mut take_back = TakeBack::Nothing;
    for Against { reason, others, take_back: then } in against.into_iter().flatten() {
        availability.others = availability.others.min(others);
        take_back = take_back.max(then);
        if availability.reasons.len() < REASONS_MAX {
            availability.reasons.push(reason);
        }
    }
    Verdict { availability, take_back }
}

fn held(cause: Cause, hold: &Hold, take_back: TakeBack) -> Option<Against> {
    Against::closed(Reason::of(cause).noting(&hold.note).ending(hold.until), take_back)
}

/// What the power table says: the part that forbids comes before what people said, the rest after it.
fn by_power(state: &power::State, now: Now, forbids: bool) -> Option<Against> {
    let decision = power::decide(state);
    let power::Reason::Against(cause) = decision.reason else { return None };
    match decision.mesh {
        Mesh::No if forbids => {
            let critical = matches!(cause, Cause::ThermalThrottle | Cause::BatteryCritical);
            let take_back = if critical { TakeBack::Now } else { TakeBack::Soon };
            Against::closed(Reason::of(cause), take_back)
        }
        Mesh::Small(task_ms_max) if !forbids => Some(Against {
            reason: Reason::of(cause),
            others: Openness::Small { task_ms_max },
            take_back: TakeBack::Nothing,
        }),
        Mesh::Defer(by) if !forbids => {
            let reason = Reason::of(cause).ending(Some(now.wall.saturating_add(by)));
            Against::closed(reason, TakeBack::Nothing)
        }
        Mesh::No | Mesh::Small(_) | Mesh::Defer(_) | Mesh::Yes => None,
    }
}

fn by_battery_limit(limits: &Limits, power: &power::State) -> Option<Against> {
    if power.on_mains() {
        return None;
    }
    let level = power.battery_percent.unwrap_or(100);
    let cause = if !limits.on_battery {
        Cause::OnBattery
    } else if level < limits.min_battery {
        Cause::BatteryBelowLimit
    } else {
        return None;
    };
    Against::closed(Reason::of(cause).noting(&format!("{level} %")), TakeBack::Soon)
}

fn by_hours(limits: &Limits, now: Now) -> Option<Against> {
    let hours = limits.hours?;
    let begin = hours.begin_in(now.minute)?;
    let ahead = Duration::from_secs(u64::from(begin).saturating_mul(60));
    // To the minute, so that the same is said until then.
    let minute = UnixMillis(now.wall.0.saturating_sub(now.wall.0.rem_euclid(60_000)));
    let reason = Reason::of(Cause::OutsideHours).noting(&hours.to_string());
    Against::closed(reason.ending(Some(minute.saturating_add(ahead))), TakeBack::Soon)
}

fn by_idleness(limits: &Limits, idle: Option<Duration>) -> Option<Against> {
    let idle = idle?;
    if idle >= limits.idle {
        return None;
    }
    Against::closed(Reason::of(Cause::NotIdle), TakeBack::Soon)
}

fn by_others(limits: &Limits, telemetry: &Telemetry) -> Option<Against> {
    let at_a_seat = telemetry.idle.is_some() && telemetry.power.device != Device::Server;
    let most = match limits.max_cpu_others {
        Some(most) => most,
        None if at_a_seat => OTHERS_CPU_AT_A_SEAT,
        None => 100,
    };
    if telemetry.power.cpu_percent <= most {
        return None;
    }
    let note = format!("more than {most} % of it");
    Against::closed(Reason::of(Cause::OthersBusy).noting(&note), TakeBack::Soon)
}

#[cfg(test)]
mod tests;
