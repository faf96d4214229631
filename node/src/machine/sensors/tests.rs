//! A machine made of files.

use std::time::Duration;

use super::*;

struct Machine {
    dir: tempfile::TempDir,
}

impl Machine {
    fn with(files: &[(&str, &str)]) -> Self {
        let machine = Self { dir: tempfile::tempdir().unwrap() };
        files.iter().for_each(|(path, text)| machine.write(path, text));
        machine
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn sensors(&self) -> Sensors {
        Sensors::new(Roots { root: self.dir.path().to_owned(), real: false }, 2)
    }

    fn power(&self) -> State {
        let mut sensors = self.sensors();
        sensors.look(Timestamp::ORIGIN);
        sensors.power(false)
    }
}

/// `/proc/PID/stat` of a process: its name, ticks in user space and in the kernel, and how nice it is.
fn stat(name: &str, user: u64, system: u64, nice: i64) -> String {
    format!("7 ({name}) S 1 7 7 0 -1 0 0 0 0 0 {user} {system} 0 0 20 {nice} 1 0 4711 0 0\n")
}

#[test]
fn the_kernels_tables_are_read() {
    let text = "MemTotal:       24576 kB\nMemFree:  1 kB\nMemAvailable:   12288 kB\n";
    assert_eq!(memory(text), (24_576 * 1024, 12_288 * 1024));
    let text = "cpu  10 5 20 60 10 0 0 0 0 0\ncpu0 1 2 3\n";
    assert_eq!(processor_time(text), Processor { busy: 35, niced: 5, total: 105 });
    assert_eq!((memory(""), processor_time("")), ((0, 0), Processor::default()));
    let process = |text: &str| process(text, false);
    let (ours, program) = process(&stat("weft", 40, 2, 0)).unwrap();
    assert_eq!((ours, program), (true, Program { started: 4_711, ticks: 42 }));
    assert_eq!(process(&stat("weft-runner", 40, 2, 19)).unwrap().1.ticks, 2);
    assert!(!process(&stat("a (weft) b", 1, 1, 0)).unwrap().0);
    assert_eq!(process("7 (cut off"), None);
}

#[test]
fn a_percentage_never_leaves_its_bounds() {
    assert_eq!((percent(1, 0), percent(5, 2), percent(1, 3)), (0, 100, 33));
}

#[test]
fn what_guests_and_nodes_use_is_no_load_for_others() {
    let machine = Machine::with(&[
        ("proc/stat", "cpu  0 0 0 0 0 0 0 0 0 0\n"),
        ("proc/7/stat", &stat("weft", 0, 0, 0)),
        ("proc/8/stat", &stat("weft-runner", 0, 0, 19)),
        ("proc/9/stat", &stat("make", 0, 0, 0)),
    ]);
    let mut sensors = machine.sensors();
    // 200 ticks: 20 of the node, 100 of a guest and 10 in the kernel for it, 40 of something else, 30 idle.
    machine.write("proc/stat", "cpu  60 100 10 30 0 0 0 0 0 0\n");
    machine.write("proc/7/stat", &stat("weft", 20, 0, 0));
    machine.write("proc/8/stat", &stat("weft-runner", 100, 10, 19));
    machine.write("proc/9/stat", &stat("make", 40, 0, 0));
    let load = sensors.look(Timestamp::ORIGIN);
    assert_eq!((load.cpu_percent, load.cpu_others_percent), (85, 20));
}

#[test]
fn a_container_is_judged_by_its_own_accounts() {
    let machine = Machine::with(&[
        // The machine around it is busy; that is somebody else's business.
        ("proc/stat", "cpu  0 0 0 0 0 0 0 0 0 0\n"),
        ("sys/fs/cgroup/cpu.max", "max 100000\n"),
        ("sys/fs/cgroup/cpu.stat", "usage_usec 5000000\nuser_usec 1\n"),
        ("proc/7/stat", &stat("weft", 0, 0, 0)),
    ]);
    let mut sensors = machine.sensors();
    machine.write("proc/stat", "cpu  100 0 0 0 0 0 0 0 0 0\n");
    // Of the 2 s that two cores have in one second 1.5 s are used, 0.2 s of them by the node.
    machine.write("sys/fs/cgroup/cpu.stat", "usage_usec 6500000\nuser_usec 1\n");
    machine.write("proc/7/stat", &stat("weft", 10, 10, 0));
    machine.write("proc/8/stat", &stat("weft-runner", 0, 0, 19));
    let load = sensors.look(Timestamp::after_origin(Duration::from_secs(1)));
    assert_eq!((load.cpu_percent, load.cpu_others_percent), (75, 65));
    machine.write("proc/8/stat", &stat("weft-runner", 100, 0, 19));
    machine.write("sys/fs/cgroup/cpu.stat", "usage_usec 7500000\nuser_usec 1\n");
    let load = sensors.look(Timestamp::after_origin(Duration::from_secs(2)));
    assert_eq!((load.cpu_percent, load.cpu_others_percent), (50, 0));
}

#[test]
fn a_host_that_others_keep_busy_is_overloaded_after_a_while() {
    let machine = Machine::with(&[("proc/stat", "cpu  0 0 0 0 0 0 0 0 0 0\n")]);
    let mut sensors = machine.sensors();
    let mut overloaded = Vec::new();
    for second in 1..=11_u64 {
        machine.write("proc/stat", &format!("cpu  {} 0 0 {second} 0 0 0 0 0 0\n", 99 * second));
        let load = sensors.look(Timestamp::after_origin(Duration::from_secs(second)));
        overloaded.push(load.overloaded);
    }
    assert_eq!(overloaded.iter().position(|overloaded| *overloaded), Some(10));
}

#[test]
fn a_container_has_what_it_is_given() {
    let machine = Machine::with(&[
        ("proc/meminfo", "MemTotal: 1000000 kB\nMemAvailable: 900000 kB\n"),
        ("sys/fs/cgroup/memory.max", "104857600\n"),
        ("sys/fs/cgroup/memory.current", "99614720\n"),
        ("sys/fs/cgroup/memory.stat", "anon 1\ninactive_file 10485760\n"),
    ]);
    let load = machine.sensors().look(Timestamp::ORIGIN);
    assert_eq!((load.memory_percent, load.memory_free_bytes), (85, 15_728_640));
    machine.write("sys/fs/cgroup/memory.max", "max\n");
    assert_eq!(machine.sensors().look(Timestamp::ORIGIN).memory_percent, 10);
}

#[test]
fn a_machine_without_supplies_is_a_server_on_mains() {
    let power = Machine::with(&[]).power();
    assert_eq!(
        (power.device, power.external_power, power.battery_percent),
        (Device::Server, None, None)
    );
    assert!(power.on_mains());
}

#[test]
fn batteries_and_mains_are_told_apart() {
    let laptop = |online: &str, status: &str| {
        Machine::with(&[
            ("sys/class/power_supply/BAT0/type", "Battery\n"),
            ("sys/class/power_supply/BAT0/capacity", "42\n"),
            ("sys/class/power_supply/BAT0/status", status),
            ("sys/class/power_supply/AC/type", "Mains\n"),
            ("sys/class/power_supply/AC/online", online),
            ("sys/class/power_supply/mouse/type", "Battery\n"),
            ("sys/class/power_supply/mouse/scope", "Device\n"),
            ("sys/class/power_supply/mouse/capacity", "3\n"),
        ])
        .power()
    };
    let plugged = laptop("1\n", "Charging\n");
    assert_eq!((plugged.device, plugged.battery_percent), (Device::Laptop, Some(42)));
    assert!(plugged.on_mains());
    assert!(!laptop("0\n", "Discharging\n").on_mains());
    let alone = Machine::with(&[
        ("sys/class/power_supply/BAT0/type", "Battery\n"),
        ("sys/class/power_supply/BAT0/capacity", "42\n"),
        ("sys/class/power_supply/BAT0/status", "Discharging\n"),
    ]);
    assert!(!alone.power().on_mains());
    alone.write("sys/class/power_supply/BAT0/status", "Full\n");
    assert!(alone.power().on_mains());
}

#[test]
fn heat_is_measured_against_what_a_zone_says_is_critical() {
    let heat = |degrees: &str, critical: &str| {
        let zone = "sys/class/thermal/thermal_zone0";
        Machine::with(&[
            (&format!("{zone}/temp"), degrees),
            (&format!("{zone}/trip_point_0_type"), "passive\n"),
            (&format!("{zone}/trip_point_0_temp"), "60000\n"),
            (&format!("{zone}/trip_point_1_type"), "critical\n"),
            (&format!("{zone}/trip_point_1_temp"), critical),
        ])
        .power()
        .thermal
    };
    assert_eq!(heat("45000\n", "105000\n"), Thermal::Nominal);
    assert_eq!(heat("85000\n", "105000\n"), Thermal::Serious);
    assert_eq!(heat("102000\n", "105000\n"), Thermal::Critical);
    assert_eq!(heat("98000\n", "broken\n"), Thermal::Critical);
    for broken in ["-274000\n", "200000\n", "nonsense"] {
        assert_eq!(heat(broken, "105000\n"), Thermal::Nominal, "{broken}");
    }
}
