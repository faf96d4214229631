//! Guests that try to get what they do not pay for, or what is not theirs, through real runner processes.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod pooled;

use pooled::{bench, task, wat};
use protocol::{
    outcome::Outcome,
    units::{Fuel, Pages},
    wire::job::TaskLimits,
};
use sandbox::task::{ModuleSource, TaskRun};

/// A module with a memory, a table, data, an element segment, and that body.
fn program(body: &str) -> Vec<u8> {
    wat(&format!(
        r#"(module
            (memory (export "memory") 256) (table 1000 funcref)
            (data $data "{}") (elem $functions func {})
            (func $f) (func (export "_start") (local i32) {body}))"#,
        "x".repeat(4_096),
        "$f ".repeat(1_000),
    ))
}

fn limited(wasm: &[u8], fuel: u64) -> TaskRun {
    let limits = TaskLimits { fuel: Fuel(fuel), memory: Pages(512), ..TaskLimits::default() };
    TaskRun { limits, ..task(wasm, &[], b"") }
}

#[tokio::test]
async fn nothing_moves_many_bytes_for_little_fuel() {
    let bench = bench(1);
    // What is done a hundred times, and how many bytes or entries that moves.
    for (once, moved) in [
        ("(memory.fill (i32.const 0) (i32.const 7) (i32.const 16777216))", 16 << 20),
        ("(memory.copy (i32.const 0) (i32.const 8388608) (i32.const 8388608))", 8 << 20),
        ("(memory.init $data (i32.const 0) (i32.const 0) (i32.const 4096))", 4_096),
        ("(table.copy (i32.const 0) (i32.const 0) (i32.const 1000))", 8_000),
        ("(table.init $functions (i32.const 0) (i32.const 0) (i32.const 1000))", 8_000),
    ] {
        let again = "(br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 100)))";
        let wasm = program(&format!("(loop {once} {again})"));
        let done = bench.pool.run(limited(&wasm, 1 << 40)).await;
        assert_eq!(done.outcome, Outcome::Exit(0), "{once} {:?}", done.detail);
        assert!(done.fuel.0 >= 100 * moved / 8, "{once}: {:?}", done.fuel);
        // Without end it is stopped as soon, and the last one is not begun.
        let wasm = program(&format!("(loop {once} (br 0))"));
        let done = bench.pool.run(limited(&wasm, 20_000_000)).await;
        assert_eq!((done.outcome, done.fuel), (Outcome::OutOfFuel, Fuel(20_000_000)), "{once}");
    }
}

#[tokio::test]
async fn one_operation_that_costs_more_than_there_is_is_not_begun() {
    let bench = bench(1);
    let wasm = program("(memory.fill (i32.const 0) (i32.const 7) (i32.const 16777216))");
    let done = bench.pool.run(limited(&wasm, 100_000)).await;
    assert_eq!((done.outcome, done.fuel), (Outcome::OutOfFuel, Fuel(100_000)));
    // Also where it would trap: a length of 4 GiB is paid for before it is found to be too long.
    let wasm = program("(memory.fill (i32.const 0) (i32.const 7) (i32.const -1))");
    let done = bench.pool.run(limited(&wasm, 100_000)).await;
    assert_eq!((done.outcome, done.fuel), (Outcome::OutOfFuel, Fuel(100_000)));
}

#[tokio::test]
async fn memory_grows_to_the_limit_and_pages_are_paid_for() {
    let bench = bench(1);
    let wasm = program("(loop (drop (memory.grow (i32.const 1))) (br 0))");
    let done = bench.pool.run(limited(&wasm, 10_000_000)).await;
    assert_eq!((done.outcome, done.peak), (Outcome::OutOfFuel, Pages(512)));
    let wasm = program("(drop (memory.grow (i32.const 256)))");
    let done = bench.pool.run(limited(&wasm, 10_000_000)).await;
    assert_eq!((done.outcome, done.peak), (Outcome::Exit(0), Pages(512)));
    assert!(done.fuel.0 >= 256 * 4_096, "{:?}", done.fuel);
    // More than may be had at the start is no program of this job.
    let wasm = wat(r#"(module (memory (export "memory") 513) (func (export "_start")))"#);
    let done = bench.pool.run(limited(&wasm, 1_000)).await;
    assert_eq!(done.outcome, Outcome::Refused, "{:?}", done.detail);
}

#[tokio::test]
async fn calls_that_are_too_deep_end_the_program_and_not_the_process() {
    let bench = bench(1);
    for wasm in [
        wat(r#"(module (func $f (export "_start") (call $f)))"#),
        wat(r#"(module (func $f (export "_start") (call $g)) (func $g (call $f) (call $f)))"#),
        wat(r#"(module (table 1 funcref) (elem (i32.const 0) $f) (type $t (func))
            (func $f (export "_start") (call_indirect (type $t) (i32.const 0))))"#),
        // Large frames.
        wat(&format!(
            r#"(module (func $f (param i64) (result i64) (local {}) (i64.add (call $f (local.get 0)) (local.get 9)))
                (func (export "_start") (drop (call $f (i64.const 1)))))"#,
            "i64 ".repeat(2_000)
        )),
    ] {
        let done = bench.pool.run(limited(&wasm, 1_000_000_000)).await;
        assert_eq!(done.outcome, Outcome::DepthExceeded, "{:?}", done.detail);
    }
}

#[tokio::test]
async fn what_would_need_a_host_is_refused_by_name() {
    let bench = bench(1);
    for (module, name) in [
        ("env", "system"),
        ("wasi_snapshot_preview1", "sock_open"),
        ("wasi_snapshot_preview1", "thread-spawn"),
        ("wasi", "thread-spawn"),
        ("wasi_unstable", "fd_write"),
        ("wasix_32v1", "proc_fork"),
        ("", ""),
    ] {
        let wasm = wat(&format!(
            r#"(module (import "{module}" "{name}" (func)) (memory (export "memory") 1) (func (export "_start")))"#
        ));
        let done = bench.pool.run(task(&wasm, &[], b"")).await;
        assert_eq!(done.outcome, Outcome::Refused, "{module}.{name}");
        let detail = done.detail.unwrap();
        assert!(detail.contains(&format!("`{module}.{name}`")), "{detail}");
    }
    for (body, what) in [
        ("(drop (table.grow (ref.null func) (i32.const 1000000)))", "table.grow"),
        ("(drop (v128.const i64x2 0 0))", "SIMD"),
        ("(return_call $f)", "tail calls"),
        ("(throw 0)", "exceptions"),
    ] {
        let text = format!(
            r#"(module (tag) (table 1 funcref) (func $f) (func (export "_start") {body}))"#
        );
        let done = bench.pool.run(task(&wat(&text), &[], b"")).await;
        assert_eq!(done.outcome, Outcome::Refused, "{what}");
    }
}

/// A program that makes one call and ends with its error number.
fn asks(import: &str, call: &str, data: &str) -> Vec<u8> {
    wat(&format!(
        r#"(module
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (import "wasi_snapshot_preview1" {import})
            (memory (export "memory") 1) (data (i32.const 1024) "{data}")
            (func (export "_start") (call $exit (call $f {call}))))"#
    ))
}

#[tokio::test]
async fn no_file_of_the_hosts_can_be_named() {
    let bench = bench(1);
    let import =
        r#""path_open" (func $f (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32))"#;
    for (path, errno) in [
        ("etc/passwd", 44),
        ("proc/self/environ", 44),
        ("proc/self/mem", 44),
        ("proc/1/cwd/etc/passwd", 44),
        ("dev/mem", 44),
        ("/etc/passwd", 76),
        ("/proc/self/fd/0", 76),
        ("../../../../etc/passwd", 76),
        ("in/../../etc/passwd", 76),
        ("out/../../proc/self/exe", 76),
    ] {
        let call = format!(
            "(i32.const 3) (i32.const 1) (i32.const 1024) (i32.const {}) (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 512)",
            path.len()
        );
        let done = bench.pool.run(task(&asks(import, &call, path), &[], b"")).await;
        assert_eq!(done.outcome, Outcome::Exit(errno), "{path} {:?}", done.detail);
    }
    // No descriptor is open but the three streams and the root, whatever the process has open.
    let import = r#""fd_fdstat_get" (func $f (param i32 i32) (result i32))"#;
    for fd in [4, 5, 10, 100, 1_000, u32::MAX] {
        let call = format!("(i32.const {}) (i32.const 512)", fd.cast_signed());
        let done = bench.pool.run(task(&asks(import, &call, ""), &[], b"")).await;
        assert_eq!(done.outcome, Outcome::Exit(8), "{fd}");
    }
}

#[tokio::test]
async fn there_is_nobody_to_talk_to() {
    let bench = bench(1);
    for (name, arguments, errno) in [
        ("sock_accept", 3, 57),
        ("sock_recv", 6, 57),
        ("sock_send", 5, 57),
        ("sock_shutdown", 2, 57),
        ("proc_raise", 1, 58),
    ] {
        let import =
            format!(r#""{name}" (func $f (param {}) (result i32))"#, "i32 ".repeat(arguments));
        let call = "(i32.const 1) ".repeat(arguments);
        let done = bench.pool.run(task(&asks(&import, &call, ""), &[], b"")).await;
        assert_eq!(done.outcome, Outcome::Exit(errno), "{name} {:?}", done.detail);
    }
}

#[tokio::test]
async fn what_no_compiler_should_see_is_refused_and_not_looked_at_again() {
    let bench = bench(1);
    let start = r#"(func (export "_start"))"#;
    for (what, text) in [
        (
            "branches",
            format!(
                "(module {start} (func (param i32) (br_table {} (local.get 0))))",
                "0 ".repeat(100_001)
            ),
        ),
        (
            "nested blocks",
            format!(
                "(module {start} (func {} {}))",
                "block ".repeat(40_000),
                "end ".repeat(40_000)
            ),
        ),
        ("locals", format!("(module {start} (func (local {})))", "i32 ".repeat(50_000))),
        ("table entries", format!("(module {start} (table 10000000 funcref))")),
        ("functions", format!("(module {start} {})", "(func)".repeat(100_000))),
    ] {
        let wasm = wat(&text);
        let run = task(&wasm, &[], b"");
        let done = bench.pool.run(run.clone()).await;
        assert_eq!(done.outcome, Outcome::Refused, "{what}");
        let detail = done.detail.unwrap();
        assert!(detail.contains(what) && detail.contains("is the limit"), "{detail}");
        // The second time nobody reads the module.
        let source = ModuleSource::File("/nowhere".into());
        let again = bench.pool.run(TaskRun { source, ..run }).await;
        assert_eq!((again.outcome, again.detail), (Outcome::Refused, Some(detail)));
    }
}

#[tokio::test]
async fn code_that_is_slow_to_compile_is_compiled_in_linear_time() {
    let bench = bench(1);
    let arms = |count: usize| {
        "(if (local.get 0) (then (local.set 0 (i32.add (local.get 0) (local.get 1)))) (else (local.set 1 (i32.mul (local.get 0) (local.get 1)))))".repeat(count)
    };
    let live: String = (0..5_000)
        .map(|n| format!("(local.set {n} (i32.mul (local.get {n}) (local.get 0)))"))
        .collect();
    for text in [
        format!(r#"(module (func (param i32 i32) {}) (func (export "_start")))"#, arms(5_000)),
        format!(
            r#"(module (func (param i32) {} {}) (func (export "_start")))"#,
            "block ".repeat(1_900),
            "(br_if 0 (local.get 0)) end ".repeat(1_900)
        ),
        format!(
            r#"(module (func (local {}) {live}) (func (export "_start")))"#,
            "i32 ".repeat(5_000)
        ),
    ] {
        let done = bench.pool.run(task(&wat(&text), &[], b"")).await;
        assert_eq!(done.outcome, Outcome::Exit(0), "{:?}", done.detail);
    }
}
