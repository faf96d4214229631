//! Whether a device has the power for other people's work: one table, in a fixed order (capability SCH-11).

use std::time::Duration;

use protocol::wire::availability::Cause;

/// On battery, a phone rests for this long between two tasks.
pub const BATTERY_INTERVAL: Duration = Duration::from_millis(45_000);
/// A phone stops at this level of its battery, in percent.
pub const PHONE_STOPS_AT: u8 = 20;
/// A laptop stops below this level of its battery, in percent.
pub const LAPTOP_STOPS_BELOW: u8 = 15;
/// A laptop takes small tasks only below this level of its battery, in percent.
pub const LAPTOP_SMALL_BELOW: u8 = 50;
/// What a small task is: its time limit in milliseconds.
pub const SMALL_TASK_MS: u32 = 10_000;
/// Processor load above which a laptop or desktop waits, in percent.
pub const BUSY_ABOVE: u8 = 85;
/// How long it waits.
pub const DEFER: Duration = Duration::from_millis(5_000);

/// What kind of device this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// In a pocket.
    Phone,
    /// With a battery and a seat.
    Laptop,
    /// With a seat.
    Desktop,
    /// Without either.
    Server,
}

/// How hot a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Thermal {
    /// As it should be.
    Nominal,
    /// It throttles soon.
    Serious,
    /// It throttles, or switches itself off soon.
    Critical,
}

/// What a device says about its power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// What it is.
    pub device: Device,
    /// Whether it is on mains; `None` if it does not say.
    pub external_power: Option<bool>,
    /// The level of its battery, in percent; `None` without one.
    pub battery_percent: Option<u8>,
    /// Whether it is to save power.
    pub low_power: bool,
    /// How hot it is.
    pub thermal: Thermal,
    /// Processor load by other programs than guests, in percent.
    pub cpu_percent: u8,
    /// How long ago the last task ended.
    pub last_task: Option<Duration>,
}

impl State {
    /// On mains, or without a battery: then nothing is known that speaks against it.
    #[must_use]
    pub fn on_mains(&self) -> bool {
        self.external_power == Some(true) || self.battery_percent.is_none()
    }
}

/// Whether tasks of the mesh may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mesh {
    /// They may.
    Yes,
    /// Those may whose time limit is at most this, in milliseconds.
    Small(u32),
    /// Not before this has passed.
    Defer(Duration),
    /// They may not.
    No,
}

/// What the table says, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Whether tasks of the mesh may run.
    pub mesh: Mesh,
    /// Whether tasks may run that a peer brings directly, without a mesh; `None`: the table does not say.
    pub direct: Option<bool>,
    /// Why.
    pub reason: Reason,
}

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Something speaks against it.
    Against(Cause),
    /// A phone that is plugged in.
    ExternalPower,
    /// A phone with enough left, that has rested.
    BatteryOk,
    /// On mains, or without a battery.
    AcPower,
    /// A laptop with enough left.
    BatteryHigh,
}

impl Reason {
    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Against(cause) => cause.code(),
            Self::ExternalPower => "external_power",
            Self::BatteryOk => "battery_ok",
            Self::AcPower => "ac_power",
            Self::BatteryHigh => "battery_high",
        }
    }
}

/// What the table says. Heat comes first, whatever else holds; then the battery; then what else the processor does.
#[must_use]
pub fn decide(state: &State) -> Decision {
    let hot = state.thermal == Thermal::Critical
        || (state.thermal == Thermal::Serious && state.device != Device::Server);
    if hot {
        return no(Cause::ThermalThrottle, Some(false));
    }
    match state.device {
        Device::Phone => phone(state),
        Device::Laptop | Device::Desktop => desk(state),
        Device::Server => yes(true, Reason::AcPower),
    }
}

const fn no(cause: Cause, direct: Option<bool>) -> Decision {
    Decision { mesh: Mesh::No, direct, reason: Reason::Against(cause) }
}

const fn yes(direct: bool, reason: Reason) -> Decision {
    Decision { mesh: Mesh::Yes, direct: Some(direct), reason }
}

fn phone(state: &State) -> Decision {
    let battery = state.battery_percent.unwrap_or(100);
    if state.low_power {
        no(Cause::LowPowerMode, Some(false))
    } else if state.external_power == Some(true) {
        yes(true, Reason::ExternalPower)
    } else if battery <= PHONE_STOPS_AT {
        no(Cause::BatteryCritical, Some(false))
    } else if state.last_task.is_some_and(|ago| ago < BATTERY_INTERVAL) {
        no(Cause::BatteryThrottled, None)
    } else {
        yes(true, Reason::BatteryOk)
    }
}

fn desk(state: &State) -> Decision {
    let battery = state.battery_percent.filter(|_| !state.on_mains());
    if battery.is_some_and(|battery| battery < LAPTOP_STOPS_BELOW) {
        return no(Cause::BatteryCritical, Some(false));
    }
    if state.cpu_percent > BUSY_ABOVE {
        let reason = Reason::Against(Cause::HighCpuDefer);
        return Decision { mesh: Mesh::Defer(DEFER), direct: None, reason };
    }
    match battery {
        None => yes(true, Reason::AcPower),
        Some(battery) if battery < LAPTOP_SMALL_BELOW => Decision {
            mesh: Mesh::Small(SMALL_TASK_MS),
            direct: Some(false),
            reason: Reason::Against(Cause::BatteryLow),
        },
        Some(_) => yes(false, Reason::BatteryHigh),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn state(device: Device) -> State {
        State {
            device,
            external_power: Some(false),
            battery_percent: None,
            low_power: false,
            thermal: Thermal::Nominal,
            cpu_percent: 0,
            last_task: None,
        }
    }

    fn battery(device: Device, percent: u8) -> State {
        State { battery_percent: Some(percent), ..state(device) }
    }

    /// The table of the acceptance cases, row for row.
    #[test]
    fn the_power_table_holds_row_for_row() {
        use Device::{Desktop, Laptop, Phone, Server};
        let small = Mesh::Small(10_000);
        let defer = Mesh::Defer(Duration::from_millis(5_000));
        let plugged = |state: State| State { external_power: Some(true), ..state };
        let hot = |state: State, thermal| State { thermal, ..state };
        let busy = |state: State, cpu_percent| State { cpu_percent, ..state };
        let just_now = Some(Duration::from_millis(200));
        let rows = [
            (
                State { low_power: true, ..battery(Phone, 80) },
                Mesh::No,
                Some(false),
                "low_power_mode",
            ),
            (plugged(battery(Phone, 50)), Mesh::Yes, Some(true), "external_power"),
            (battery(Phone, 15), Mesh::No, Some(false), "battery_critical"),
            (battery(Phone, 20), Mesh::No, Some(false), "battery_critical"),
            (
                State { last_task: just_now, ..battery(Phone, 65) },
                Mesh::No,
                None,
                "battery_throttled",
            ),
            (
                busy(hot(state(Server), Thermal::Critical), 99),
                Mesh::No,
                Some(false),
                "thermal_throttle",
            ),
            (plugged(state(Desktop)), Mesh::Yes, Some(true), "ac_power"),
            (plugged(battery(Laptop, 3)), Mesh::Yes, Some(true), "ac_power"),
            (state(Laptop), Mesh::Yes, Some(true), "ac_power"),
            (battery(Laptop, 65), Mesh::Yes, Some(false), "battery_high"),
            (battery(Laptop, 40), small, Some(false), "battery_low"),
            (battery(Laptop, 10), Mesh::No, Some(false), "battery_critical"),
            (
                hot(plugged(state(Desktop)), Thermal::Serious),
                Mesh::No,
                Some(false),
                "thermal_throttle",
            ),
            (
                hot(plugged(battery(Phone, 90)), Thermal::Critical),
                Mesh::No,
                Some(false),
                "thermal_throttle",
            ),
            (busy(plugged(state(Laptop)), 86), defer, None, "high_cpu_defer"),
            (busy(plugged(state(Desktop)), 86), defer, None, "high_cpu_defer"),
            (busy(plugged(state(Desktop)), 85), Mesh::Yes, Some(true), "ac_power"),
            (hot(state(Server), Thermal::Serious), Mesh::Yes, Some(true), "ac_power"),
            (busy(state(Server), 99), Mesh::Yes, Some(true), "ac_power"),
        ];
        for (number, (state, mesh, direct, reason)) in (1..).zip(rows) {
            let decision = decide(&state);
            let found = (decision.mesh, decision.direct, decision.reason.code());
            assert_eq!(found, (mesh, direct, reason), "row {number}: {state:?}");
        }
    }

    fn any_state() -> impl Strategy<Value = State> {
        let device = prop::sample::select(vec![
            Device::Phone,
            Device::Laptop,
            Device::Desktop,
            Device::Server,
        ]);
        let thermal =
            prop::sample::select(vec![Thermal::Nominal, Thermal::Serious, Thermal::Critical]);
        let battery = prop::option::of(0_u8..=100);
        let last = prop::option::of((0_u64..100).prop_map(Duration::from_secs));
        (device, any::<Option<bool>>(), battery, any::<bool>(), thermal, 0_u8..=100, last).prop_map(
            |(
                device,
                external_power,
                battery_percent,
                low_power,
                thermal,
                cpu_percent,
                last_task,
            )| {
                State {
                    device,
                    external_power,
                    battery_percent,
                    low_power,
                    thermal,
                    cpu_percent,
                    last_task,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn critical_heat_beats_everything(state in any_state()) {
            let state = State { thermal: Thermal::Critical, ..state };
            prop_assert_eq!(decide(&state), no(Cause::ThermalThrottle, Some(false)));
        }

        #[test]
        fn plugging_in_never_makes_it_worse(state in any_state()) {
            let rank = |state: &State| match decide(state).mesh {
                Mesh::No => 0,
                Mesh::Defer(_) => 1,
                Mesh::Small(_) => 2,
                Mesh::Yes => 3,
            };
            let plugged = State { external_power: Some(true), ..state };
            prop_assert!(rank(&plugged) >= rank(&state));
        }
    }
}
