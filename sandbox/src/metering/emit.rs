//! The code that is added.

use wasm_encoder::{BlockType, Encode, Ieee32, Ieee64, Instruction as I, ValType};

use super::{Counter, cost, values::Width};

/// The canonical NaN of each width.
const NAN_32: Ieee32 = Ieee32::new(0x7fc0_0000);
const NAN_64: Ieee64 = Ieee64::new(0x7ff8_0000_0000_0000);

/// Where the fuel is held at some place of the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    /// In the counter.
    Global,
    /// In that local. The counter is behind by what was spent since it was last written: at the head of each loop, and
    /// before everything that could see it.
    Local(u32),
}

/// Where the counters are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counters {
    /// The index of the first.
    pub(super) first: u32,
    /// The global that adds up what this function spends, where that is asked for.
    pub(super) tally: Option<u32>,
}

impl Counters {
    const fn of(self, counter: Counter) -> u32 {
        self.first.saturating_add(counter.place())
    }
}

fn write(code: &mut Vec<u8>, instructions: &[I<'_>]) {
    for instruction in instructions {
        instruction.encode(code);
    }
}

fn get_fuel(counters: Counters, held: Held) -> I<'static> {
    match held {
        Held::Global => I::GlobalGet(counters.of(Counter::Fuel)),
        Held::Local(local) => I::LocalGet(local),
    }
}

fn set_fuel(counters: Counters, held: Held) -> I<'static> {
    match held {
        Held::Global => I::GlobalSet(counters.of(Counter::Fuel)),
        Held::Local(local) => I::LocalSet(local),
    }
}

/// Takes the fuel into a local.
pub(super) fn load_fuel(code: &mut Vec<u8>, counters: Counters, local: u32) {
    write(code, &[I::GlobalGet(counters.of(Counter::Fuel)), I::LocalSet(local)]);
}

/// Writes what is left to the counter.
pub(super) fn store_fuel(code: &mut Vec<u8>, counters: Counters, local: u32) {
    write(code, &[I::LocalGet(local), I::GlobalSet(counters.of(Counter::Fuel))]);
}

/// Charges so many units.
pub(super) fn charge(code: &mut Vec<u8>, counters: Counters, held: Held, units: i64) {
    write(
        code,
        &[get_fuel(counters, held), I::I64Const(units), I::I64Sub, set_fuel(counters, held)],
    );
    if let Some(tally) = counters.tally {
        write(code, &[I::GlobalGet(tally), I::I64Const(units), I::I64Add, I::GlobalSet(tally)]);
    }
}

/// Stops the program if fuel is below zero. The counter must be up to date.
pub(super) fn check_fuel(code: &mut Vec<u8>, counters: Counters, held: Held) {
    write(
        code,
        &[
            get_fuel(counters, held),
            I::I64Const(0),
            I::I64LtS,
            I::If(BlockType::Empty),
            I::Unreachable,
            I::End,
        ],
    );
}

/// Takes the frame of a call.
pub(super) fn take_frame(code: &mut Vec<u8>, counters: Counters, slots: i32) {
    let stack = counters.of(Counter::Stack);
    write(
        code,
        &[
            I::GlobalGet(stack),
            I::I32Const(slots),
            I::I32Sub,
            I::GlobalSet(stack),
            I::GlobalGet(stack),
            I::I32Const(0),
            I::I32LtS,
            I::If(BlockType::Empty),
            I::Unreachable,
            I::End,
        ],
    );
}

/// Gives the frame of a call back.
pub(super) fn give_frame_back(code: &mut Vec<u8>, counters: Counters, slots: i32) {
    let stack = counters.of(Counter::Stack);
    write(code, &[I::GlobalGet(stack), I::I32Const(slots), I::I32Add, I::GlobalSet(stack)]);
}

/// Charges `amount`, 64 bits that these instructions leave on the stack, and checks.
fn charge_amount(code: &mut Vec<u8>, counters: Counters, held: Held, amount: &[I<'_>]) {
    get_fuel(counters, held).encode(code);
    write(code, amount);
    write(code, &[I::I64Sub, set_fuel(counters, held)]);
    if let Some(tally) = counters.tally {
        I::GlobalGet(tally).encode(code);
        write(code, amount);
        write(code, &[I::I64Add, I::GlobalSet(tally)]);
    }
    if let Held::Local(local) = held {
        store_fuel(code, counters, local);
    }
    check_fuel(code, counters, held);
}

/// Charges the 32-bit length on top of the stack, divided by `per_fuel`, and leaves it there.
pub(super) fn charge_length(
    code: &mut Vec<u8>,
    counters: Counters,
    held: Held,
    length: u32,
    per_fuel: u64,
) {
    let per_fuel = I::I64Const(i64::try_from(per_fuel).unwrap_or(1));
    let amount = [I::LocalGet(length), I::I64ExtendI32U, per_fuel, I::I64DivU];
    I::LocalSet(length).encode(code);
    charge_amount(code, counters, held, &amount);
    I::LocalGet(length).encode(code);
}

/// `memory.grow` by the number of pages on top of the stack.
pub(super) fn grow(code: &mut Vec<u8>, counters: Counters, held: Held, delta: u32) {
    write(
        code,
        &[
            I::LocalSet(delta),
            I::LocalGet(delta),
            I::I64ExtendI32U,
            I::MemorySize(0),
            I::I64ExtendI32U,
            I::I64Add,
            I::GlobalGet(counters.of(Counter::Pages)),
            I::I64LeU,
            I::If(BlockType::Result(ValType::I32)),
        ],
    );
    let per_page = I::I64Const(i64::try_from(cost::PAGE_FUEL).unwrap_or(i64::MAX));
    let amount = [I::LocalGet(delta), I::I64ExtendI32U, per_page, I::I64Mul];
    charge_amount(code, counters, held, &amount);
    write(
        code,
        &[
            I::LocalGet(delta),
            I::MemoryGrow(0),
            I::LocalTee(delta),
            I::I32Const(-1),
            I::I32Eq,
            I::If(BlockType::Empty),
            I::I32Const(1),
            I::GlobalSet(counters.of(Counter::Fault)),
            I::Unreachable,
            I::End,
            I::LocalGet(delta),
            I::Else,
            I::I32Const(-1),
            I::End,
        ],
    );
}

/// The canonical NaN instead of the float on top of the stack if that is none.
pub(super) fn canonical(code: &mut Vec<u8>, width: Width, local: u32) {
    let (nan, equal) = match width {
        Width::Single => (I::F32Const(NAN_32), I::F32Eq),
        Width::Double => (I::F64Const(NAN_64), I::F64Eq),
    };
    write(
        code,
        &[I::LocalTee(local), nan, I::LocalGet(local), I::LocalGet(local), equal, I::Select],
    );
}
