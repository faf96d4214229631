//! Tasks through real runner processes.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod pooled;

use std::{path::Path, sync::Arc, time::Duration};

use pooled::{bench, guest, spared, task, wat};
use protocol::{
    ids::{AccountId, Hash},
    outcome::{Interruption, Outcome, Trap},
    units::{Fuel, Pages},
    wire::{advert::Isolation, job::TaskLimits},
};
use sandbox::{
    guests::example,
    pool::{Config, Pool},
    task::{ModuleSource, TaskDone, TaskRun},
};

/// Everything of a result that must be the same everywhere.
fn verifiable(done: TaskDone) -> TaskDone {
    TaskDone { timings: Default::default(), ..done }
}

#[tokio::test]
async fn a_program_runs_with_arguments_input_files_and_output() {
    let bench = bench(1);
    let done = bench.pool.run(guest("wordfreq", &[], b"to be or not to be")).await;
    assert_eq!(done.outcome, Outcome::Exit(0), "{done:?}");
    assert_eq!(done.stdout, b"{\"be\":2,\"not\":1,\"or\":1,\"to\":2}\n");
    assert!(done.fuel.0 > 0 && done.peak.0 > 0);

    let mut reduce = guest("wordfreq", &["reduce"], b"");
    reduce.files = vec![
        ("a/b.out".to_owned(), Arc::from(done.stdout)),
        ("c.out".to_owned(), Arc::from(*b"{\"be\":40}")),
    ];
    let done = bench.pool.run(reduce).await;
    assert_eq!(
        String::from_utf8(done.stdout).unwrap(),
        "{\"be\":42,\"not\":1,\"or\":1,\"to\":2}\n"
    );

    let done = bench.pool.run(guest("mandelbrot", &["40", "30"], b"")).await;
    assert_eq!(done.outcome, Outcome::Exit(0));
    assert_eq!(done.files.len(), 1);
    assert_eq!(done.files[0].0, "mandelbrot.png");
}

#[tokio::test]
async fn the_same_task_has_the_same_result_again_in_any_process() {
    let first = bench(1).pool.run(guest("primes", &["50000"], b"")).await;
    let bench = bench(1);
    let second = bench.pool.run(guest("primes", &["50000"], b"")).await;
    let warm = bench.pool.run(guest("primes", &["50000"], b"")).await;
    assert_eq!(first.stdout, b"5133\n");
    assert_eq!(verifiable(first), verifiable(second.clone()));
    assert_eq!(verifiable(second), verifiable(warm));
}

#[tokio::test]
async fn hostile_guests_are_stopped_at_their_limits() {
    let bench = bench(1);
    let limits = TaskLimits {
        fuel: Fuel(400_000_000),
        memory: Pages(512),
        output_bytes: 1 << 20,
        ..TaskLimits::default()
    };
    for (name, outcome) in [
        ("hostile-loop", Outcome::OutOfFuel),
        ("hostile-memory", Outcome::Exit(3)),
        ("hostile-output", Outcome::OutputTooLarge),
        ("hostile-trap", Outcome::Trap(Trap::Unreachable)),
    ] {
        let done = bench.pool.run(TaskRun { limits, ..guest(name, &[], b"") }).await;
        assert_eq!(done.outcome, outcome, "{name}: {:?}", done.detail);
        assert!(
            done.fuel <= limits.fuel && done.peak <= limits.memory && done.stdout.len() <= 1 << 20
        );
        assert_eq!(done.fuel == limits.fuel, outcome == Outcome::OutOfFuel);
    }
}

#[tokio::test]
async fn a_task_over_its_time_is_stopped_within_three_tenths_of_a_second() {
    let bench = bench(1);
    bench
        .pool
        .prepare(
            Hash::of(example("hostile-loop").unwrap()),
            &guest("hostile-loop", &[], b"").source,
        )
        .await
        .unwrap();
    let limits = TaskLimits { fuel: Fuel(1 << 40), timeout_ms: 500, ..TaskLimits::default() };
    let done = bench.pool.run(TaskRun { limits, ..guest("hostile-loop", &[], b"") }).await;
    assert_eq!(done.outcome, Outcome::Indeterminate(Interruption::Timeout));
    assert!(done.timings.ran >= Duration::from_millis(500), "{:?}", done.timings);
    assert!(done.timings.ran < Duration::from_millis(800), "{:?}", done.timings);
    assert!(done.fuel.0 > 0, "what it used is known: {done:?}");
    // The process is still good.
    let limits = TaskLimits { fuel: Fuel(1_000), ..TaskLimits::default() };
    let done = bench.pool.run(TaskRun { limits, ..guest("hostile-loop", &[], b"") }).await;
    assert_eq!(done.outcome, Outcome::OutOfFuel);
}

#[tokio::test]
async fn a_module_that_is_not_admitted_is_refused_with_the_reason() {
    let bench = bench(1);
    for again in [false, true] {
        let done = bench.pool.run(task(b"not a module", &[], b"")).await;
        assert_eq!(done.outcome, Outcome::Refused, "{again}");
        assert!(done.detail.unwrap().contains("not a WebAssembly module"));
    }
    let big = wat(r#"(module (memory 3000) (func (export "_start")))"#);
    let done = bench.pool.run(task(&big, &[], b"")).await;
    assert_eq!(done.outcome, Outcome::Refused);
    assert!(done.detail.unwrap().contains("3000 pages"));
}

#[tokio::test]
async fn a_module_that_is_not_there_or_another_one_is_a_missing_input() {
    let bench = bench(1);
    let missing = Outcome::Indeterminate(Interruption::InputMissing);
    let source = ModuleSource::File(Path::new("/no/such/module.wasm").to_owned());
    let done = bench.pool.run(TaskRun { source, ..guest("primes", &[], b"") }).await;
    assert_eq!(done.outcome, missing);
    assert!(done.detail.unwrap().contains("/no/such/module.wasm"));
    let done = bench.pool.run(TaskRun { module: Hash([0; 32]), ..guest("primes", &[], b"") }).await;
    assert_eq!(done.outcome, missing);
    let mut task = guest("primes", &[], b"");
    task.files = vec![("../escape".to_owned(), Arc::from(*b"x"))];
    let done = bench.pool.run(task).await;
    assert_eq!(done.outcome, missing);
    assert!(done.detail.unwrap().contains("../escape"));
}

/// Prints its arguments and its environment, with zeros between them.
const ENVIRONMENT: &str = r#"(module
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (drop (call $sizes (i32.const 0) (i32.const 4)))
    (drop (call $get (i32.const 1024) (i32.const 8192)))
    (i32.store (i32.const 16) (i32.const 8192))
    (i32.store (i32.const 20) (i32.load (i32.const 4)))
    (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 24)))))"#;

#[tokio::test]
async fn nothing_of_the_hosts_environment_reaches_a_guest_or_its_process() {
    let bench = bench(1);
    assert!(std::env::vars_os().count() > 0);
    let mut task = task(&wat(ENVIRONMENT), &[], b"");
    task.env = vec![("GREETING".to_owned(), "hello".to_owned())];
    let done = bench.pool.run(task).await;
    assert_eq!(done.stdout, b"GREETING=hello\0");
    // Where it may be read at all (not by ordinary users), it is empty.
    let [pid] = bench.pool.idle_processes()[..] else { panic!("one warm runner") };
    if let Ok(environment) = std::fs::read(format!("/proc/{pid}/environ")) {
        assert_eq!(String::from_utf8_lossy(&environment), "");
    }
}

/// The process that runs guests, of the one that the pool started: its child, where it has namespaces of its own.
fn inner(pid: u32) -> u32 {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    children.ok().and_then(|text| text.split(' ').next()?.parse().ok()).unwrap_or(pid)
}

#[tokio::test]
async fn a_runner_that_is_killed_is_no_error_of_the_node_and_the_next_task_works() {
    let bench = bench(1);
    let limits = TaskLimits { fuel: Fuel(1 << 40), ..TaskLimits::default() };
    let pool = bench.pool.clone();
    let started = pool.run(TaskRun {
        limits: TaskLimits { fuel: Fuel(1_000), ..limits },
        ..guest("hostile-loop", &[], b"")
    });
    assert_eq!(started.await.outcome, Outcome::OutOfFuel);
    let [pid] = pool.idle_processes()[..] else { panic!("one warm runner") };
    let kill = async {
        // Once the guest is at work, its process uses processor time.
        let ticks = |pid: u32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            stat.rsplit(") ").next().unwrap().split(' ').nth(11).unwrap().parse::<u64>().unwrap()
        };
        let before = ticks(inner(pid));
        while ticks(inner(pid)) < before + 5 {
            tokio::task::yield_now().await;
        }
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    };
    let (done, ()) =
        tokio::join!(pool.run(TaskRun { limits, ..guest("hostile-loop", &[], b"") }), kill);
    assert_eq!(
        done.outcome,
        Outcome::Indeterminate(Interruption::RunnerCrashed),
        "{:?}",
        done.detail
    );
    let done = pool.run(guest("primes", &["10"], b"")).await;
    assert_eq!(done.stdout, b"4\n");
}

#[tokio::test]
async fn a_task_that_is_withdrawn_is_killed_and_its_slot_is_free() {
    let bench = bench(1);
    let limits = TaskLimits { fuel: Fuel(1 << 40), ..TaskLimits::default() };
    let endless = bench.pool.run(TaskRun { limits, ..guest("hostile-loop", &[], b"") });
    assert!(tokio::time::timeout(Duration::from_millis(300), endless).await.is_err());
    assert_eq!(bench.pool.free_slots(), 1);
    let done = bench.pool.run(guest("primes", &["100"], b"")).await;
    assert_eq!(done.stdout, b"25\n");
}

#[tokio::test]
async fn two_owners_never_share_a_process() {
    let bench = bench(2);
    bench.pool.run(guest("primes", &["10"], b"")).await;
    let first = bench.pool.idle_processes();
    bench.pool.run(TaskRun { owner: AccountId([2; 32]), ..guest("primes", &["10"], b"") }).await;
    let both = bench.pool.idle_processes();
    assert_eq!((first.len(), both.len()), (1, 2));
    bench.pool.run(guest("primes", &["10"], b"")).await;
    assert_eq!(bench.pool.idle_processes().len(), 2);
}

#[tokio::test]
async fn code_that_one_compiler_takes_too_long_over_runs_with_the_other() {
    let branches = "local.get 0 if else end ".repeat(3_000);
    let wasm = wat(&format!(
        r#"(module (func $large (param i32) {branches}) (func (export "_start") i32.const 1 call $large))"#
    ));
    let done = bench(1).pool.run(task(&wasm, &[], b"")).await;
    assert_eq!(done.outcome, Outcome::Exit(0), "{:?}", done.detail);
}

#[tokio::test]
async fn a_spare_process_serves_the_next_module_and_is_replaced() {
    let bench = spared(1);
    bench.pool.run(guest("primes", &["10"], b"")).await;
    let before = bench.pool.idle_processes();
    // One with the module, one without.
    assert_eq!(before.len(), 2);
    let done = bench.pool.run(guest("wordfreq", &[], b"one two")).await;
    assert_eq!(done.outcome, Outcome::Exit(0), "{:?}", done.detail);
    let after = bench.pool.idle_processes();
    assert_eq!(after.len(), 3);
    assert!(before.iter().all(|pid| after.contains(pid)), "{before:?} {after:?}");
    // It goes as all others do.
    bench.pool.clear();
    assert!(bench.pool.idle_processes().is_empty());
}

#[tokio::test]
async fn processes_that_wait_too_long_are_let_go() {
    let bench = bench(1);
    bench.pool.run(guest("primes", &["10"], b"")).await;
    bench.pool.retire(Duration::from_secs(3_600));
    assert_eq!(bench.pool.idle_processes().len(), 1);
    bench.pool.retire(Duration::ZERO);
    assert_eq!(bench.pool.idle_processes().len(), 0);
    assert_eq!(bench.pool.run(guest("primes", &["10"], b"")).await.stdout, b"4\n");
}

#[tokio::test]
async fn a_damaged_artifact_is_compiled_again() {
    let bench = bench(1);
    bench.pool.run(guest("primes", &["10"], b"")).await;
    bench.pool.clear();
    for entry in std::fs::read_dir(bench.directory.path().join("artifacts")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some() {
            std::fs::write(path, vec![0x90; 4_096]).unwrap();
        }
    }
    let done = bench.pool.run(guest("primes", &["10"], b"")).await;
    assert_eq!(done.stdout, b"4\n", "{:?}", done.detail);
}

#[tokio::test]
async fn a_runner_says_how_well_it_is_locked_up_and_is_no_worse_than_it_says() {
    let bench = bench(1);
    let confinement = bench.pool.confinement().await.unwrap();
    println!("{confinement}");
    let grade = confinement.grade;
    assert_eq!(grade == Isolation::A, confinement.lacks.is_empty());
    bench.pool.run(guest("primes", &["10"], b"")).await;
    let [pid] = bench.pool.idle_processes()[..] else { panic!("one warm runner") };
    let status = std::fs::read_to_string(format!("/proc/{}/status", inner(pid))).unwrap();
    let field = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim()
    };
    assert_eq!(field("NoNewPrivs:"), "1");
    // 2: a filter.
    assert_eq!(grade >= Isolation::B, field("Seccomp:") == "2", "{grade:?}");
    if grade == Isolation::A {
        // Process 1 of a namespace inside ours, nobody there and here, and able to nothing in either.
        let ids = field("NSpid:").split('\t').collect::<Vec<_>>();
        assert_eq!(ids.last(), Some(&"1"), "{status}");
        assert!(ids.len() >= 2, "{status}");
        assert_ne!(field("Uid:").split('\t').next(), Some("0"), "{status}");
        for capabilities in ["CapInh:", "CapPrm:", "CapEff:"] {
            assert_eq!(field(capabilities).trim_start_matches('0'), "", "{status}");
        }
        for namespace in ["user", "pid", "net", "mnt", "ipc", "uts"] {
            let of = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/{namespace}"));
            if let (Ok(own), Ok(theirs)) = (of("self"), of(&inner(pid).to_string())) {
                assert_ne!(own, theirs, "{namespace}");
            }
        }
    }
}

#[tokio::test]
async fn a_runner_that_is_not_there_is_one_clear_error() {
    let directory = tempfile::tempdir().unwrap();
    let config =
        Config::new(directory.path().join("weft-runner"), directory.path().join("artifacts"), 1);
    let error = Pool::new(config).unwrap_err().to_string();
    assert!(error.contains("WEFT_RUNNER") && error.contains("weft-runner"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tiny_tasks_are_cheap() {
    const TASKS: u32 = 1_000;
    let bench = bench(2);
    let noop = wat(r#"(module (memory (export "memory") 1) (func (export "_start")))"#);
    bench.pool.run(task(&noop, &[], b"")).await;
    let began = tokio::time::Instant::now();
    let lane = |pool: Pool, noop: Vec<u8>| async move {
        for _ in 0..TASKS / 2 {
            assert_eq!(pool.run(task(&noop, &[], b"")).await.outcome, Outcome::Exit(0));
        }
    };
    tokio::join!(lane(bench.pool.clone(), noop.clone()), lane(bench.pool.clone(), noop.clone()));
    let all = began.elapsed();
    println!("{TASKS} tasks on two slots: {all:?}");
    assert!(all < Duration::from_secs(20), "{all:?}");
}
