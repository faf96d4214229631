//! Modules from a generator through both compilers: outcome, output, fuel, memory and every byte of it are equal.
//!
//! `fixtures/generated.bin` holds a few of them: what wasm-smith 0.245 makes of seeds 0 and on, each after its length in 4
//! bytes. `WEFT_PAIRS=FILE` names another file of the kind, with as many as you like. `WEFT_PROGRAMS=DIR` names a directory of whole
//! programs: `NAME.wasm`, its arguments in `NAME.args`, one a line, its standard input in `NAME.stdin`, its files in `NAME.in/`.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::print_stdout,
    reason = "a test"
)]

mod assembly;

use assembly::{Parts, body, given, through_both};
use protocol::{
    outcome::Outcome,
    units::{Fuel, Pages},
};
use wasm_encoder::{Instruction as I, MemArg, ValType};
use wasmparser::FuncType;

use sandbox::{
    admission::{Limits, admit},
    engine::Ran,
    wasi::Given,
};

/// What each may use.
const FUEL: Fuel = Fuel(3_000_000);

/// What the generator made.
fn generated() -> Vec<Vec<u8>> {
    let bytes = std::env::var_os("WEFT_PAIRS").map_or_else(
        || include_bytes!("fixtures/generated.bin").to_vec(),
        |path| std::fs::read(path).unwrap(),
    );
    let mut rest = bytes.as_slice();
    let mut modules = Vec::new();
    while let Some((length, tail)) = rest.split_first_chunk() {
        let (module, tail) = tail.split_at(u32::from_le_bytes(*length) as usize);
        modules.push(module.to_vec());
        rest = tail;
    }
    modules
}

/// Numbers that are special to some instruction.
const SPECIAL: [u64; 10] = [
    0,
    1,
    u64::MAX,
    0x7ff0_0000_0000_0000,
    0xfff7_efe6_1234_5678,
    0x7ff8_0000_0000_0001,
    0x8000_0000_7fa0_0001,
    0x4009_21fb_5444_2d18,
    0x0000_0040_3f80_0000,
    0x8000_0000_8000_0000,
];

/// The module with a memory and a `_start` that calls its functions; nothing else is exported.
fn with_start(bytes: &[u8], noise: &[u8]) -> Vec<u8> {
    let parts = Parts::of(bytes);
    let functions: Vec<_> =
        (0..parts.functions.len()).map(|number| parts.type_of(number as u32)).collect();
    parts.with_start(&start_body(&functions, noise), |section| match section {
        5 => Some(b"\x01\x01\x01\x10".to_vec()),
        7 => Some(b"\0".to_vec()),
        _ => None,
    })
}

/// Calls each function with special numbers and stores its results one after the other.
fn start_body(functions: &[&FuncType], noise: &[u8]) -> Vec<u8> {
    let all = [ValType::I32, ValType::I64, ValType::F32, ValType::F64];
    let mut function = wasm_encoder::Function::new(all.map(|ty| (1, ty)));
    let mut noise = noise.iter().copied().cycle();
    let mut address = 0;
    for (number, ty) in (0_u32..).zip(functions) {
        for param in ty.params() {
            let bits = SPECIAL[usize::from(noise.next().unwrap()) % SPECIAL.len()];
            function.instruction(&match param {
                wasmparser::ValType::I32 => I::I32Const(bits as i32),
                wasmparser::ValType::I64 => I::I64Const(bits.cast_signed()),
                wasmparser::ValType::F32 => I::F32Const(wasm_encoder::Ieee32::new(bits as u32)),
                _ => I::F64Const(wasm_encoder::Ieee64::new(bits)),
            });
        }
        function.instruction(&I::Call(number));
        for result in ty.results().iter().rev() {
            let at = MemArg { offset: 0, align: 0, memory_index: 0 };
            let (local, store) = match result {
                wasmparser::ValType::I32 => (0, I::I32Store(at)),
                wasmparser::ValType::I64 => (1, I::I64Store(at)),
                wasmparser::ValType::F32 => (2, I::F32Store(at)),
                _ => (3, I::F64Store(at)),
            };
            for instruction in [I::LocalSet(local), I::I32Const(address), I::LocalGet(local), store]
            {
                function.instruction(&instruction);
            }
            address += 8;
        }
    }
    function.instruction(&I::End);
    body(&function)
}

/// What became of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    /// Not a module that is admitted.
    Refused,
    Ended,
    Trapped,
    OutOfFuel,
    DepthExceeded,
    Indeterminate,
}

fn go(number: usize, generated: &[u8]) -> Fate {
    let wasm = with_start(generated, blake3::hash(generated).as_bytes());
    let admitted = match admit(&wasm, &Limits::default()) {
        Ok(admitted) => admitted,
        Err(refusal) => {
            println!("module {number}: {refusal}");
            return Fate::Refused;
        }
    };
    let [fast, slow] = through_both(&admitted, &given(FUEL), Pages(16));
    let indeterminate = |outcome| matches!(outcome, Outcome::Indeterminate(_));
    if indeterminate(fast.0.outcome) || indeterminate(slow.0.outcome) {
        return Fate::Indeterminate;
    }
    assert_eq!(fast.0, slow.0, "module {number}");
    assert!(fast.1 == slow.1, "module {number}: another memory");
    match fast.0.outcome {
        Outcome::Trap(_) => Fate::Trapped,
        Outcome::OutOfFuel => Fate::OutOfFuel,
        Outcome::DepthExceeded => Fate::DepthExceeded,
        _ => Fate::Ended,
    }
}

#[test]
fn modules_of_a_generator_give_the_same_with_both_compilers() {
    let mut fates = std::collections::BTreeMap::<Fate, u64>::new();
    for (number, module) in generated().iter().enumerate() {
        *fates.entry(go(number, module)).or_default() += 1;
    }
    println!("{fates:?}");
    let compared: u64 = fates
        .iter()
        .filter(|(fate, _)| !matches!(fate, Fate::Refused | Fate::Indeterminate))
        .map(|(_, count)| count)
        .sum();
    assert!(compared * 10 > fates.values().sum::<u64>() * 8, "{fates:?}");
}

/// Runs a whole program: what came of it, the same with both compilers.
fn whole(name: &str, wasm: &[u8], given: &Given) -> Ran {
    let admitted = admit(wasm, &Limits::default()).unwrap();
    let [fast, slow] = through_both(&admitted, given, Pages(16_384));
    assert_eq!(fast.0, slow.0, "{name}");
    assert!(fast.1 == slow.1, "{name}: another memory");
    fast.0
}

#[test]
fn whole_programs_give_the_same_with_both_compilers() {
    for (name, args, stdin) in [
        ("wordfreq", vec![], "to be or not to be"),
        ("primes", vec!["20000"], ""),
        ("mandelbrot", vec!["64", "48"], ""),
    ] {
        let given = Given {
            args: args.into_iter().map(str::to_owned).collect(),
            stdin: stdin.as_bytes().into(),
            ..given(Fuel(1 << 40))
        };
        let ran = whole(name, sandbox::guests::example(name).unwrap(), &given);
        assert_eq!(ran.outcome, Outcome::Exit(0), "{name}");
    }
    if let Some(directory) = std::env::var_os("WEFT_PROGRAMS") {
        programs_from(&directory);
    }
}

/// Programs that nobody here wrote.
fn programs_from(directory: &std::ffi::OsStr) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "wasm") {
            continue;
        }
        let args = std::fs::read_to_string(path.with_extension("args")).unwrap_or_default();
        let stdin = std::fs::read(path.with_extension("stdin")).unwrap_or_default();
        let files = std::fs::read_dir(path.with_extension("in")).into_iter().flatten();
        let files = files.map(|file| {
            let file = file.unwrap();
            let name = file.file_name().into_string().unwrap();
            (name, std::fs::read(file.path()).unwrap().into())
        });
        let given = Given {
            args: args.lines().map(str::to_owned).collect(),
            stdin: stdin.into(),
            files: files.collect(),
            ..given(Fuel(1 << 50))
        };
        let ran = whole(&path.to_string_lossy(), &std::fs::read(&path).unwrap(), &given);
        let put_out = ran.output.stdout.len() + ran.output.stderr.len();
        println!(
            "{}: {}, {} fuel, {} pages, {put_out} bytes on its streams, {} files",
            path.display(),
            ran.outcome,
            ran.fuel.0,
            ran.peak.0,
            ran.output.files.len()
        );
    }
}

#[test]
fn the_code_generator_is_not_one_that_is_known_to_be_broken() {
    // RUSTSEC-2026-0096: fixed in wasmtime 42.0.2, which is cranelift-codegen 0.129.2; ours began with 0.135.
    let lock =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock")).unwrap();
    let mut found = 0;
    for rest in lock.split("name = \"cranelift-codegen\"\n").skip(1) {
        let version = rest.split('"').nth(1).unwrap();
        let minor: u32 = version.split('.').nth(1).unwrap().parse().unwrap();
        assert!(version.starts_with("0.") && minor >= 135, "cranelift-codegen {version}");
        found += 1;
    }
    assert_eq!(found, 1);
}
