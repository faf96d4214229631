//! Stories and properties of the owner's limits.

use proptest::prelude::*;

use super::*;
use crate::core::power::{SMALL_TASK_MS, State, Thermal};

const NOON: Now = Now { wall: UnixMillis(999_960_000), minute: 720 };

fn limits() -> Limits {
    Limits {
        slots: 4,
        memory_bytes: 1 << 30,
        on_battery: false,
        min_battery: 0,
        idle: Duration::from_secs(180),
        hours: None,
        max_cpu_others: None,
    }
}

/// A server on mains with nothing to do.
fn server() -> Telemetry {
    let power = State {
        device: Device::Server,
        external_power: None,
        battery_percent: None,
        low_power: false,
        thermal: Thermal::Nominal,
        cpu_percent: 0,
        last_task: None,
    };
    Telemetry { power, idle: None, overloaded: false }
}

/// A laptop that nobody has used for an hour.
fn laptop(on_mains: bool, battery: u8) -> Telemetry {
    let power = State {
        device: Device::Laptop,
        external_power: Some(on_mains),
        battery_percent: Some(battery),
        ..server().power
    };
    Telemetry { power, idle: Some(Duration::from_secs(3_600)), ..server() }
}

fn causes(verdict: &Verdict) -> Vec<Cause> {
    verdict.availability.reasons.iter().map(|reason| reason.cause).collect()
}

fn closed(limits: &Limits, telemetry: &Telemetry, holds: &Holds) -> (Vec<Cause>, TakeBack) {
    let verdict = decide(limits, telemetry, holds, NOON);
    assert_eq!(verdict.availability.others, Openness::Closed);
    (causes(&verdict), verdict.take_back)
}

fn open(limits: &Limits, telemetry: &Telemetry) {
    let verdict = decide(limits, telemetry, &Holds::default(), NOON);
    assert_eq!(verdict.availability, Availability::open(4, 1 << 30));
    assert_eq!(verdict.take_back, TakeBack::Nothing);
}

#[test]
fn a_server_without_a_seat_is_open_however_busy_it_is() {
    open(&limits(), &server());
    let mut busy = server();
    busy.power.cpu_percent = 90;
    open(&limits(), &busy);
}

#[test]
fn a_laptop_is_shared_on_mains_only_unless_its_owner_says_otherwise() {
    open(&limits(), &laptop(true, 30));
    let none = Holds::default();
    assert_eq!(
        closed(&limits(), &laptop(false, 80), &none),
        (vec![Cause::OnBattery], TakeBack::Soon)
    );
    let shared = Limits { on_battery: true, min_battery: 40, ..limits() };
    open(&shared, &laptop(false, 80));
    let below = closed(&shared, &laptop(false, 39), &none);
    assert_eq!(below.0.first(), Some(&Cause::BatteryBelowLimit));
    let small = decide(&shared, &laptop(false, 40), &none, NOON).availability;
    assert_eq!(small.others, Openness::Small { task_ms_max: SMALL_TASK_MS });
    assert_eq!(small.reasons, [Reason::of(Cause::BatteryLow)]);
}

#[test]
fn a_machine_that_somebody_uses_is_theirs_until_they_have_been_away_for_long_enough() {
    let away = |seconds| Telemetry { idle: Some(Duration::from_secs(seconds)), ..laptop(true, 90) };
    let none = Holds::default();
    assert_eq!(closed(&limits(), &away(179), &none), (vec![Cause::NotIdle], TakeBack::Soon));
    open(&limits(), &away(180));
    open(&Limits { idle: Duration::ZERO, ..limits() }, &away(0));
}

#[test]
fn other_programs_come_first_where_somebody_sits_or_the_owner_says_so() {
    let none = Holds::default();
    let mut busy = laptop(true, 90);
    busy.power.cpu_percent = 26;
    assert_eq!(closed(&limits(), &busy, &none), (vec![Cause::OthersBusy], TakeBack::Soon));
    busy.power.cpu_percent = 25;
    open(&limits(), &busy);
    let mut server = server();
    server.power.cpu_percent = 26;
    let strict = Limits { max_cpu_others: Some(25), ..limits() };
    assert_eq!(closed(&strict, &server, &none).0, [Cause::OthersBusy]);
}

#[test]
fn hours_go_over_midnight_and_say_when_they_begin() {
    let night = Limits { hours: Hours::parse("22:00-07:00"), ..limits() };
    let at = |minute| decide(&night, &server(), &Holds::default(), Now { minute, ..NOON });
    for minute in [22 * 60, 23 * 60 + 59, 0, 6 * 60 + 59] {
        assert_eq!(at(minute).availability.others, Openness::Open, "{minute}");
    }
    for minute in [7 * 60, 720, 21 * 60 + 59] {
        assert_eq!(causes(&at(minute)), [Cause::OutsideHours], "{minute}");
    }
    let reason = at(720).availability.reasons.remove(0);
    assert_eq!(reason.note, "22:00-07:00");
    assert_eq!(reason.until, Some(NOON.wall.saturating_add(Duration::from_secs(10 * 3_600))));
}

#[test]
fn hours_are_two_times_of_day() {
    for good in ["00:00-23:59", "22:00-07:00", "09:30 - 17:00"] {
        assert!(Hours::parse(good).is_some(), "{good}");
    }
    for bad in ["", "22-7", "24:00-07:00", "22:60-07:00", "22:00", "2:00-07:00", "ab:cd-ef:gh"] {
        assert_eq!(Hours::parse(bad), None, "{bad}");
    }
}

#[test]
fn a_pause_takes_the_machine_back_at_once_and_ends_by_itself() {
    let until = NOON.wall.saturating_add(Duration::from_secs(3_600));
    let mut holds =
        Holds { pause: Some(Hold { until: Some(until), note: "gaming".into() }), drain: None };
    assert_eq!(closed(&limits(), &server(), &holds), (vec![Cause::Paused], TakeBack::Now));
    let reason = decide(&limits(), &server(), &holds, NOON).availability.reasons.remove(0);
    assert_eq!((reason.what().as_str(), reason.until), ("gaming", Some(until)));
    assert!(!holds.expire(NOON.wall));
    assert!(holds.expire(until) && holds.pause.is_none());
}

#[test]
fn heat_and_an_empty_battery_come_before_everything_and_at_once() {
    let paused = Holds { pause: Some(Hold { until: None, note: String::new() }), drain: None };
    let mut hot = laptop(false, 80);
    hot.power.thermal = Thermal::Critical;
    let (causes, take_back) = closed(&limits(), &hot, &paused);
    assert_eq!(causes, [Cause::ThermalThrottle, Cause::Paused, Cause::OnBattery]);
    assert_eq!(take_back, TakeBack::Now);
    let empty = closed(&limits(), &laptop(false, 10), &Holds::default());
    assert_eq!(empty, (vec![Cause::BatteryCritical, Cause::OnBattery], TakeBack::Now));
}

#[test]
fn an_overloaded_machine_gets_nothing_new_and_keeps_what_it_has() {
    let overloaded = Telemetry { overloaded: true, ..server() };
    let none = Holds::default();
    assert_eq!(closed(&limits(), &overloaded, &none), (vec![Cause::Overloaded], TakeBack::Nothing));
}

fn any_telemetry() -> impl Strategy<Value = Telemetry> {
    let device =
        prop::sample::select(vec![Device::Phone, Device::Laptop, Device::Desktop, Device::Server]);
    let thermal = prop::sample::select(vec![Thermal::Nominal, Thermal::Serious, Thermal::Critical]);
    let power = (
        device,
        any::<Option<bool>>(),
        prop::option::of(0_u8..=100),
        any::<bool>(),
        thermal,
        0_u8..=100,
    )
        .prop_map(
            |(device, external_power, battery_percent, low_power, thermal, cpu_percent)| State {
                device,
                external_power,
                battery_percent,
                low_power,
                thermal,
                cpu_percent,
                last_task: None,
            },
        );
    let idle = prop::option::of((0_u64..400).prop_map(Duration::from_secs));
    (power, idle, any::<bool>()).prop_map(|(power, idle, overloaded)| Telemetry {
        power,
        idle,
        overloaded,
    })
}

fn any_limits() -> impl Strategy<Value = Limits> {
    let hours = prop::option::of((0_u16..1_440, 0_u16..1_440))
        .prop_map(|hours| hours.map(|(from, until)| Hours { from, until }));
    (any::<bool>(), 0_u8..=100, 0_u64..400, hours, prop::option::of(0_u8..=100)).prop_map(
        |(on_battery, min_battery, idle, hours, max_cpu_others)| Limits {
            on_battery,
            min_battery,
            idle: Duration::from_secs(idle),
            hours,
            max_cpu_others,
            ..limits()
        },
    )
}

proptest! {
    #[test]
    fn whatever_holds_it_is_said_and_what_is_said_is_valid(
        limits in any_limits(), telemetry in any_telemetry(), minute in 0_u16..1_440, paused in any::<bool>(),
    ) {
        let pause = paused.then(|| Hold { until: None, note: "x".repeat(500) });
        let holds = Holds { pause, drain: None };
        let verdict = decide(&limits, &telemetry, &holds, Now { minute, ..NOON });
        prop_assert!(verdict.availability.is_valid());
        let free = verdict.availability.others == Openness::Open;
        prop_assert_eq!(free, verdict.availability.reasons.is_empty());
        prop_assert!(!free || verdict.take_back == TakeBack::Nothing);
        prop_assert!(!paused || verdict.take_back == TakeBack::Now);
    }

    #[test]
    fn hours_begin_when_they_say(from in 0_u16..1_440, until in 0_u16..1_440, now in 0_u16..1_440) {
        let hours = Hours { from, until };
        prop_assert_eq!(Hours::parse(&hours.to_string()), Some(hours));
        match hours.begin_in(now) {
            Some(ahead) => {
                prop_assert!(ahead > 0 && ahead < DAY_MINUTES);
                prop_assert_eq!(now.saturating_add(ahead).rem_euclid(DAY_MINUTES), from);
                prop_assert_eq!(hours.begin_in(from), None);
            }
            None => prop_assert!(from != now || hours.begin_in(from).is_none()),
        }
    }
}
