use std::sync::Arc;

use protocol::{
    outcome::{Outcome, Trap},
    units::{Fuel, Pages},
};

use super::*;
use crate::{
    admission::{Compiler, Limits, admit},
    guests::{EXAMPLES, HOSTILE, example},
    metering::{Purpose, cost, instrument},
    wasi::Given,
};

const BOTH: [Compiler; 2] = [Compiler::Cranelift, Compiler::Singlepass];

#[expect(unsafe_code, reason = "loads what was compiled one line before")]
pub(super) fn compiled(wasm: &[u8], compiler: Compiler) -> Program {
    let admitted = admit(wasm, &Limits::default()).unwrap();
    let artifact = compile(&instrument(&admitted, Purpose::Run).unwrap(), compiler).unwrap();
    // SAFETY: compiled here and now.
    unsafe { Program::load(artifact, admitted.facts()).unwrap() }
}

pub(super) fn start(args: &[&str], stdin: &[u8]) -> Start {
    let fuel = Fuel(2_000_000_000);
    Start {
        given: Given {
            args: args.iter().map(ToString::to_string).collect(),
            env: Vec::new(),
            stdin: Arc::from(stdin),
            files: Vec::new(),
            seed: [7; 32],
            output_bytes_max: 1 << 20,
            fuel_max: fuel.0,
        },
        fuel,
        memory: Pages(1_024),
    }
}

fn run(wasm: &[u8], compiler: Compiler, start: Start) -> Ran {
    compiled(wasm, compiler).run(start, |_| {}).unwrap()
}

/// Runs on both compilers, which must agree on everything.
pub(super) fn run_both(wasm: &[u8], start: &Start) -> Ran {
    let [fast, slow] = BOTH.map(|compiler| run(wasm, compiler, start.clone()));
    assert_eq!(fast, slow);
    fast
}

fn run_wat(body: &str) -> Ran {
    run_both(&wat::parse_str(format!("(module {body})")).unwrap(), &start(&[], b""))
}

#[test]
fn both_compilers_agree_on_all_guests_in_outcome_output_fuel_and_memory() {
    for guest in EXAMPLES.iter().chain(HOSTILE) {
        let args: &[&str] = if guest.name == "mandelbrot" { &["64", "48"] } else { &[] };
        let mut start = start(args, b"1000");
        start.fuel = Fuel(300_000_000);
        let ran = run_both(guest.wasm, &start);
        assert!(ran.fuel.0 > 0, "{}: {ran:?}", guest.name);
    }
}

#[test]
fn the_examples_do_what_they_say() {
    let ran = run_both(example("primes").unwrap(), &start(&["1000000"], b""));
    assert_eq!(
        (ran.outcome, ran.output.stdout.as_slice()),
        (Outcome::Exit(0), b"78498\n".as_slice())
    );
    let ran = run_both(example("primes").unwrap(), &start(&["many"], b""));
    assert_eq!(ran.outcome, Outcome::Exit(2));
    let ran =
        run_both(example("wordfreq").unwrap(), &start(&[], b"It's \xff A test, a TEST; it's 42."));
    assert_eq!(
        String::from_utf8(ran.output.stdout).unwrap(),
        "{\"42\":1,\"a\":2,\"it's\":2,\"test\":2}\n"
    );
    let ran = run_both(example("mandelbrot").unwrap(), &start(&["32", "24"], b""));
    let [(path, png)] = ran.output.files.as_slice() else { panic!("{ran:?}") };
    assert_eq!(path, "mandelbrot.png");
    assert!(png.starts_with(b"\x89PNG\r\n\x1a\n") && png.ends_with(b"IEND\xae\x42\x60\x82"));
}

#[test]
fn wordfreq_adds_up_what_lies_in_directories() {
    let mut start = start(&["reduce"], b"");
    let file = |path: &str, text: &str| (path.to_owned(), Arc::from(text.as_bytes()));
    start.given.files = vec![
        file("a.out", "{\"x\":1,\"y\":2}\n"),
        file("deep/er/b.out", "{ \"y\" : 40 }"),
        file("deep/empty.out", "{}"),
    ];
    let ran = run_both(example("wordfreq").unwrap(), &start);
    assert_eq!(
        String::from_utf8(ran.output.stdout).unwrap(),
        "{\"x\":1,\"y\":42}\n",
        "{:?}",
        ran.output.stderr
    );
}

#[test]
fn a_program_in_c_finds_what_it_expects() {
    let mut start = start(&["one", "two words"], b"first\nsecond");
    start.given.env = vec![("KEY".to_owned(), "value".to_owned())];
    let file = |path: String| (path, Arc::from(*b"17 -4 2.5"));
    start.given.files = (0..201).map(|number| file(format!("file-{number}"))).collect();
    start.given.files.push(file("sub/numbers.txt".to_owned()));
    let ran = run_both(include_bytes!("../../guests/wasm/checks.wasm"), &start);
    assert_eq!(
        (ran.outcome, String::from_utf8_lossy(&ran.output.stdout).as_ref()),
        (Outcome::Exit(0), "")
    );
    let files: Vec<_> =
        ran.output.files.iter().map(|(path, content)| (path.as_str(), content.len())).collect();
    assert_eq!(files, [("moved", 21)]);
}

#[test]
fn hostile_guests_are_stopped_at_their_limits() {
    let run = |name| run_both(example(name).unwrap(), &start(&[], b""));
    let looped = run("hostile-loop");
    assert_eq!((looped.outcome, looped.fuel), (Outcome::OutOfFuel, Fuel(2_000_000_000)));
    let greedy = run("hostile-memory");
    assert_eq!(greedy.outcome, Outcome::Exit(3));
    assert!((900..=1_024).contains(&greedy.peak.0), "{:?}", greedy.peak);
    let flood = run("hostile-output");
    assert_eq!(flood.outcome, Outcome::OutputTooLarge);
    assert!(flood.output.stdout.len() <= 1 << 20);
    assert_eq!(run("hostile-trap").outcome, Outcome::Trap(Trap::Unreachable));
}

#[test]
fn endless_recursion_ends_at_the_call_depth_limit() {
    for body in [
        r#"(func $f (export "_start") call $f)"#,
        r#"(table 1 funcref) (elem (i32.const 0) $f) (func $f (export "_start") (call_indirect (i32.const 0)))"#,
        r#"(func $f (export "_start") (local i64 i64 i64 i64) (call $g (local.get 0) (local.get 1)) drop)
           (func $g (param i64 i64) (result i64) (call $f) (local.get 1))"#,
    ] {
        assert_eq!(run_wat(body).outcome, Outcome::DepthExceeded, "{body}");
    }
}

#[test]
fn recursion_that_returns_gives_its_stack_back() {
    let ran = run_wat(
        r#"(func $down (param i32) (result i32)
             (if (result i32) (local.get 0) (then (return (call $down (i32.sub (local.get 0) (i32.const 1))))) (else (i32.const 7))))
           (func (export "_start") (local i32)
             (local.set 0 (i32.const 100))
             (loop (drop (call $down (i32.const 5000)))
               (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))"#,
    );
    assert_eq!(ran.outcome, Outcome::Exit(0));
}

#[test]
fn bulk_operations_are_charged_by_length() {
    let fills = r#"(memory 1024) (func (export "_start") (local i32) (local.set 0 (i32.const TIMES))
        (loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 67108864))
          (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))"#;
    let one = run_wat(&fills.replace("TIMES", "1"));
    let two = run_wat(&fills.replace("TIMES", "2"));
    assert_eq!(one.outcome, Outcome::Exit(0));
    assert!(two.fuel.0 - one.fuel.0 >= 67_108_864 / cost::BYTES_PER_FUEL);
    // Ten GiB do not fit in the limit, however few instructions they are.
    let ran = run_wat(&fills.replace("TIMES", "160"));
    assert_eq!((ran.outcome, ran.fuel), (Outcome::OutOfFuel, Fuel(2_000_000_000)));
}

#[test]
fn a_bulk_operation_out_of_bounds_traps_and_one_beyond_the_fuel_does_not_begin() {
    let ran = run_wat(
        r#"(memory 1) (func (export "_start") (memory.fill (i32.const 65535) (i32.const 1) (i32.const 2)))"#,
    );
    assert_eq!(ran.outcome, Outcome::Trap(Trap::MemoryOutOfBounds));
    let wasm = r#"(module (memory 1) (func (export "_start") (memory.copy (i32.const 0) (i32.const 1) (i32.const -1))))"#;
    let mut start = start(&[], b"");
    start.fuel = Fuel(100_000_000);
    let ran = run_both(&wat::parse_str(wasm).unwrap(), &start);
    assert_eq!((ran.outcome, ran.fuel), (Outcome::OutOfFuel, Fuel(100_000_000)));
}

#[test]
fn growth_succeeds_up_to_the_limit_and_not_beyond() {
    let ran = run_wat(
        r#"(memory 1) (func $check (param i32) (if (i32.eqz (local.get 0)) (then unreachable)))
           (func (export "_start")
             (call $check (i32.eq (memory.grow (i32.const 1023)) (i32.const 1)))
             (call $check (i32.eq (memory.size) (i32.const 1024)))
             (call $check (i32.eq (memory.grow (i32.const 0)) (i32.const 1024)))
             (call $check (i32.eq (memory.grow (i32.const 1)) (i32.const -1)))
             (call $check (i32.eq (memory.grow (i32.const -1)) (i32.const -1))))"#,
    );
    assert_eq!((ran.outcome, ran.peak), (Outcome::Exit(0), Pages(1_024)));
    assert!(ran.fuel.0 > 1_024 * cost::PAGE_FUEL);
    let declared = run_wat(
        r#"(memory 1 2) (func (export "_start") (if (i32.ne (memory.grow (i32.const 2)) (i32.const -1)) (then unreachable)))"#,
    );
    assert_eq!(declared.outcome, Outcome::Exit(0));
}

#[test]
fn each_trap_has_its_name() {
    let start = r#"(func (export "_start") "#;
    for (body, trap) in [
        (format!("{start} unreachable)"), Trap::Unreachable),
        (
            format!("(memory 1) {start} (drop (i32.load (i32.const 65533))))"),
            Trap::MemoryOutOfBounds,
        ),
        (
            format!("(memory 1) {start} (i64.store (i32.const -1) (i64.const 0)))"),
            Trap::MemoryOutOfBounds,
        ),
        (
            format!("(memory 1) {start} (drop (i64.load offset=4294967295 (i32.const -1))))"),
            Trap::MemoryOutOfBounds,
        ),
        (format!("(memory 1) (data (i32.const 65536) \"x\") {start})"), Trap::MemoryOutOfBounds),
        (
            format!("(table 1 funcref) {start} (call_indirect (i32.const 1)))"),
            Trap::TableOutOfBounds,
        ),
        (
            format!("(table 1 funcref) {start} (call_indirect (i32.const 0)))"),
            Trap::BadIndirectCall,
        ),
        (
            format!(
                "(table 1 funcref) (elem (i32.const 0) $f) (func $f (param i32)) {start} (call_indirect (i32.const 0)))"
            ),
            Trap::BadIndirectCall,
        ),
        (format!("{start} (drop (i32.div_s (i32.const 1) (i32.const 0))))"), Trap::DivisionByZero),
        (format!("{start} (drop (i64.rem_u (i64.const 1) (i64.const 0))))"), Trap::DivisionByZero),
        (
            format!("{start} (drop (i32.div_s (i32.const 0x80000000) (i32.const -1))))"),
            Trap::IntegerOverflow,
        ),
        (format!("{start} (drop (i32.trunc_f64_s (f64.const 1e10))))"), Trap::IntegerOverflow),
        (format!("{start} (drop (i32.trunc_f64_s (f64.const nan))))"), Trap::BadConversion),
    ] {
        let ran = run_wat(&body);
        assert_eq!(ran.outcome, Outcome::Trap(trap), "{body}");
    }
}

#[test]
fn no_nan_but_the_canonical_one_comes_out_of_a_conversion() {
    let ran = run_wat(
        r#"(func $check (param i64 i64) (if (i64.ne (local.get 0) (local.get 1)) (then unreachable)))
           (func (export "_start")
             (call $check (i64.reinterpret_f64 (f64.promote_f32 (f32.reinterpret_i32 (i32.const 0xffb7efe6)))) (i64.const 0x7ff8000000000000))
             (call $check (i64.extend_i32_u (i32.reinterpret_f32 (f32.demote_f64 (f64.reinterpret_i64 (i64.const 0xfff7efe612345678))))) (i64.const 0x7fc00000))
             (call $check (i64.reinterpret_f64 (f64.promote_f32 (f32.const 1.5))) (i64.const 0x3ff8000000000000)))"#,
    );
    assert_eq!(ran.outcome, Outcome::Exit(0));
}

#[test]
fn whoever_runs_out_of_fuel_is_charged_the_limit_exactly() {
    let wasm = wat::parse_str(r#"(module (func (export "_start") (loop (br 0))))"#).unwrap();
    for fuel in [1, 2, 3, 1_000, 999_983] {
        let mut start = start(&[], b"");
        start.fuel = Fuel(fuel);
        let ran = run_both(&wasm, &start);
        assert_eq!((ran.outcome, ran.fuel), (Outcome::OutOfFuel, Fuel(fuel)));
    }
}

#[test]
fn the_same_run_gives_the_same_result_again_and_another_seed_another_one() {
    let wasm = wat::parse_str(
        r#"(module
          (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
          (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 1)
          (data (i32.const 0) "\10\00\00\00\18\00\00\00")
          (func (export "_start")
            (drop (call $random (i32.const 16) (i32.const 8)))
            (drop (call $clock (i32.const 0) (i64.const 0) (i32.const 24)))
            (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 32)))
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#,
    )
    .unwrap();
    let first = run_both(&wasm, &start(&[], b""));
    assert_eq!(first, run_both(&wasm, &start(&[], b"")));
    assert_eq!(first.output.stdout.len(), 24);
    let mut other = start(&[], b"");
    other.given.seed = [8; 32];
    let other = run_both(&wasm, &other);
    assert_ne!(first.output.stdout[..8], other.output.stdout[..8]);
    assert_eq!(first.output.stdout[8..], other.output.stdout[8..]);
}
