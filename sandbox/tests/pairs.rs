//! Modules from a generator through both compilers: outcome, output, fuel, memory and every byte of it are equal.
//!
//! `fixtures/generated.bin` holds a few of them: what wasm-smith 0.245 makes of seeds 0 and on, each after its length in 4
//! bytes. `WEFT_PAIRS=FILE` names another file of the kind, with as many as you like.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::print_stdout,
    reason = "a test"
)]

use std::borrow::Cow;

use protocol::{
    outcome::Outcome,
    units::{Fuel, Pages},
};
use wasm_encoder::{Encode, Instruction as I, MemArg, Module, RawSection, ValType};
use wasmparser::{FuncType, Payload};

use sandbox::{
    admission::{Compiler, Limits, admit},
    engine::{Program, Start, compile},
    metering::{Purpose, instrument},
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

fn with_start(bytes: &[u8], noise: &[u8]) -> Vec<u8> {
    let mut types: Vec<FuncType> = Vec::new();
    let mut functions: Vec<u32> = Vec::new();
    let mut sections: Vec<(u8, Cow<'_, [u8]>)> = Vec::new();
    for payload in wasmparser::Parser::new(0).parse_all(bytes) {
        let payload = payload.unwrap();
        if let Some((id, range)) = payload.as_section() {
            sections.push((id, Cow::Borrowed(&bytes[range])));
        }
        match payload {
            Payload::TypeSection(reader) => {
                types = reader.into_iter_err_on_gc_types().map(Result::unwrap).collect();
            }
            Payload::FunctionSection(reader) => {
                functions = reader.into_iter().map(Result::unwrap).collect();
            }
            _ => {}
        }
    }
    let own = u32::try_from(functions.len()).unwrap();
    let ty = u32::try_from(types.len()).unwrap();
    let body =
        start_body(&functions.iter().map(|ty| &types[*ty as usize]).collect::<Vec<_>>(), noise);
    let mut export = b"\x01\x06_start\x00".to_vec();
    own.encode(&mut export);
    let mut entry = Vec::new();
    ty.encode(&mut entry);
    let mut module = Module::new();
    let mut has_exports = false;
    for (id, data) in &sections {
        if *id > 7 && !has_exports {
            module.section(&RawSection { id: 7, data: &export });
            has_exports = true;
        }
        let data = match id {
            1 => longer(data, b"\x60\0\0"),
            3 => longer(data, &entry),
            5 => b"\x01\x01\x01\x10".to_vec(),
            7 => {
                has_exports = true;
                export.clone()
            }
            10 => longer(data, &body),
            _ => data.to_vec(),
        };
        module.section(&RawSection { id: *id, data: &data });
    }
    module.finish()
}

/// A list with one more entry.
fn longer(list: &[u8], entry: &[u8]) -> Vec<u8> {
    let mut reader = wasmparser::BinaryReader::new(list, 0);
    let count = reader.read_var_u32().unwrap() as usize;
    let rest = reader.read_bytes(reader.bytes_remaining()).unwrap();
    let mut bytes = Vec::new();
    (count + 1).encode(&mut bytes);
    bytes.extend_from_slice(rest);
    bytes.extend_from_slice(entry);
    bytes
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
    let mut bytes = Vec::new();
    function.encode(&mut bytes);
    bytes
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

/// Compiles and loads a module.
#[expect(unsafe_code, reason = "loads what was compiled one line before")]
fn compiled(instrumented: &[u8], facts: sandbox::admission::Facts, compiler: Compiler) -> Program {
    let artifact = compile(instrumented, compiler).unwrap();
    // SAFETY: compiled here and now.
    unsafe { Program::load(artifact, facts).unwrap() }
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
    let instrumented = instrument(&admitted, Purpose::Run).unwrap();
    wasmparser::Validator::new_with_features(sandbox::admission::FEATURES)
        .validate_all(&instrumented)
        .unwrap();
    let [fast, slow] = [Compiler::Cranelift, Compiler::Singlepass].map(|compiler| {
        let start = Start {
            given: Given {
                args: Vec::new(),
                env: Vec::new(),
                stdin: [].into(),
                files: Vec::new(),
                seed: [7; 32],
                output_bytes_max: 1 << 20,
                fuel_max: FUEL.0,
            },
            fuel: FUEL,
            memory: Pages(16),
        };
        compiled(&instrumented, admitted.facts(), compiler).run_to_the_last_byte(start).unwrap()
    });
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
