//! One function body, rewritten.

use std::ops::Range;

use wasm_encoder::{BlockType, Encode, Ieee32, Ieee64, Instruction as I, ValType};
use wasmparser::{FunctionBody, Operator};

use super::{Counter, Error, cost};
use crate::admission::FunctionFacts;

/// The canonical NaN of each width.
const NAN_32: Ieee32 = Ieee32::new(0x7fc0_0000);
const NAN_64: Ieee64 = Ieee64::new(0x7ff8_0000_0000_0000);

/// What must be known about a function besides its body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'m> {
    /// The module, of which the body is a part.
    pub module: &'m [u8],
    /// What admission learnt.
    pub facts: FunctionFacts,
    /// How many parameters it takes.
    pub params: u32,
    /// The type of a block that gives the function's results.
    pub results: BlockType,
    /// The index of the first counter.
    pub counters: u32,
}

impl Context<'_> {
    const fn counter(&self, counter: Counter) -> u32 {
        self.counters.saturating_add(counter.place())
    }
}

/// A part of the new body.
enum Piece {
    /// As it was: a range of the module.
    Copy(Range<usize>),
    /// Instructions that we add.
    Code(Vec<u8>),
    /// The charge for the segment that begins here.
    Charge { eighths: u64, check: Check },
}

/// Whether it is checked that fuel is left after a charge.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Check {
    /// Code can come here again.
    Yes,
    /// It cannot, other than through a place that checks.
    No,
}

/// What a block on the control stack began with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Opened {
    Block,
    Loop,
}

/// Locals that we add, as they are needed.
#[derive(Default)]
struct Scratch {
    length: Option<u32>,
    single: Option<u32>,
    double: Option<u32>,
    types: Vec<ValType>,
}

/// Rewrites one body: locals and code, without the size before it.
pub(super) fn rewrite(context: Context<'_>, body: &FunctionBody<'_>) -> Result<Vec<u8>, Error> {
    let mut writer = Writer {
        context,
        scratch: Scratch::default(),
        pieces: Vec::new(),
        segment: None,
        opened: Vec::new(),
        wrapped: context.facts.calls,
    };
    writer.enter();
    let mut operators = body.get_operators_reader()?;
    while !operators.eof() {
        let (operator, start) = operators.read_with_offset()?;
        writer.operator(&operator, start..operators.original_position())?;
    }
    writer.assemble(body)
}

struct Writer<'m> {
    context: Context<'m>,
    scratch: Scratch,
    pieces: Vec<Piece>,
    /// The charge of the open segment; none where code cannot be reached.
    segment: Option<usize>,
    opened: Vec<Opened>,
    /// Whether the body lies in a block of its own, so that its end is one place.
    wrapped: bool,
}

impl Writer<'_> {
    fn enter(&mut self) {
        if self.wrapped {
            let mut code = Vec::new();
            self.take_frame(&mut code);
            I::Block(self.context.results).encode(&mut code);
            self.pieces.push(Piece::Code(code));
        }
        self.open_segment(Check::Yes);
        let locals = self.context.facts.locals.div_ceil(cost::LOCALS_PER_EIGHTH);
        self.charge(cost::ENTRY.saturating_add(locals));
    }

    fn operator(&mut self, operator: &Operator<'_>, range: Range<usize>) -> Result<(), Error> {
        let eighths =
            cost::operator(operator).ok_or_else(|| Error::NoCost(format!("{operator:?}")))?;
        self.charge(eighths);
        #[expect(clippy::wildcard_enum_match_arm, reason = "all others are copied and end nothing")]
        match operator {
            Operator::Block { .. } => {
                self.opened.push(Opened::Block);
                self.copy(range);
            }
            Operator::Loop { .. } => {
                self.opened.push(Opened::Loop);
                self.copy(range);
                self.open_segment(Check::Yes);
            }
            Operator::If { .. } => {
                self.opened.push(Opened::Block);
                self.copy(range);
                self.open_segment(Check::No);
            }
            Operator::Else | Operator::BrIf { .. } => {
                self.copy(range);
                self.open_segment(Check::No);
            }
            Operator::End => self.end(range),
            Operator::Br { .. } | Operator::BrTable { .. } | Operator::Unreachable => {
                self.copy(range);
                self.segment = None;
            }
            Operator::Return => {
                self.return_();
                self.segment = None;
            }
            Operator::MemoryGrow { .. } => self.grow(),
            Operator::MemoryFill { .. }
            | Operator::MemoryCopy { .. }
            | Operator::MemoryInit { .. } => {
                self.charge_length(cost::BYTES_PER_FUEL, range);
            }
            Operator::TableCopy { .. } | Operator::TableInit { .. } => {
                self.charge_length(cost::TABLE_ENTRIES_PER_FUEL, range);
            }
            Operator::F32DemoteF64 => self.canonical_single(range),
            Operator::F64PromoteF32 => self.canonical_double(range),
            _ => self.copy(range),
        }
        Ok(())
    }

    fn charge(&mut self, eighths: cost::Eighths) {
        if let Some(Piece::Charge { eighths: sum, .. }) =
            self.segment.and_then(|at| self.pieces.get_mut(at))
        {
            *sum = sum.saturating_add(eighths.into());
        }
    }

    fn open_segment(&mut self, check: Check) {
        self.segment = Some(self.pieces.len());
        self.pieces.push(Piece::Charge { eighths: 0, check });
    }

    fn copy(&mut self, range: Range<usize>) {
        match self.pieces.last_mut() {
            Some(Piece::Copy(last)) if last.end == range.start => last.end = range.end,
            _ => self.pieces.push(Piece::Copy(range)),
        }
    }

    fn end(&mut self, range: Range<usize>) {
        match self.opened.pop() {
            // Nothing branches to the end of a loop: what falls out of it was charged on the way there.
            Some(Opened::Loop) if self.segment.is_some() => self.copy(range),
            Some(Opened::Loop | Opened::Block) => {
                self.copy(range);
                self.open_segment(Check::No);
            }
            None => self.leave(),
        }
    }

    /// The end of the function.
    fn leave(&mut self) {
        let mut code = Vec::new();
        if self.wrapped {
            I::End.encode(&mut code);
            self.give_frame_back(&mut code);
        }
        I::End.encode(&mut code);
        self.pieces.push(Piece::Code(code));
    }

    /// `return` goes to the end of the block around the body.
    fn return_(&mut self) {
        let mut code = Vec::new();
        if self.wrapped {
            I::Br(u32::try_from(self.opened.len()).unwrap_or(u32::MAX)).encode(&mut code);
        } else {
            I::Return.encode(&mut code);
        }
        self.pieces.push(Piece::Code(code));
    }

    fn frame_slots(&self) -> i32 {
        i32::try_from(cost::frame_slots(self.context.facts.slots)).unwrap_or(i32::MAX)
    }

    fn take_frame(&self, code: &mut Vec<u8>) {
        let stack = self.context.counter(Counter::Stack);
        for instruction in [
            I::GlobalGet(stack),
            I::I32Const(self.frame_slots()),
            I::I32Sub,
            I::GlobalSet(stack),
            I::GlobalGet(stack),
            I::I32Const(0),
            I::I32LtS,
            I::If(BlockType::Empty),
            I::Unreachable,
            I::End,
        ] {
            instruction.encode(code);
        }
    }

    fn give_frame_back(&self, code: &mut Vec<u8>) {
        let stack = self.context.counter(Counter::Stack);
        for instruction in
            [I::GlobalGet(stack), I::I32Const(self.frame_slots()), I::I32Add, I::GlobalSet(stack)]
        {
            instruction.encode(code);
        }
    }

    /// Stops the program if fuel is below zero.
    fn check_fuel(&self, code: &mut Vec<u8>) {
        for instruction in [
            I::GlobalGet(self.context.counter(Counter::Fuel)),
            I::I64Const(0),
            I::I64LtS,
            I::If(BlockType::Empty),
            I::Unreachable,
            I::End,
        ] {
            instruction.encode(code);
        }
    }

    /// Charges the 32-bit length on top of the stack, divided by `per_fuel`, and leaves it there. Then the
    /// instruction itself.
    fn charge_length(&mut self, per_fuel: u64, range: Range<usize>) {
        let length = self.scratch_length();
        let fuel = self.context.counter(Counter::Fuel);
        let mut code = Vec::new();
        for instruction in [
            I::LocalSet(length),
            I::GlobalGet(fuel),
            I::LocalGet(length),
            I::I64ExtendI32U,
            I::I64Const(i64::try_from(per_fuel).unwrap_or(1)),
            I::I64DivU,
            I::I64Sub,
            I::GlobalSet(fuel),
        ] {
            instruction.encode(&mut code);
        }
        self.check_fuel(&mut code);
        I::LocalGet(length).encode(&mut code);
        self.pieces.push(Piece::Code(code));
        self.copy(range);
    }

    /// `memory.grow`: within the limit it is charged and must succeed; above it is -1 and the host is not asked.
    fn grow(&mut self) {
        let delta = self.scratch_length();
        let fuel = self.context.counter(Counter::Fuel);
        let mut code = Vec::new();
        for instruction in [
            I::LocalSet(delta),
            I::LocalGet(delta),
            I::I64ExtendI32U,
            I::MemorySize(0),
            I::I64ExtendI32U,
            I::I64Add,
            I::GlobalGet(self.context.counter(Counter::Pages)),
            I::I64LeU,
            I::If(BlockType::Result(ValType::I32)),
            I::GlobalGet(fuel),
            I::LocalGet(delta),
            I::I64ExtendI32U,
            I::I64Const(i64::try_from(cost::PAGE_FUEL).unwrap_or(i64::MAX)),
            I::I64Mul,
            I::I64Sub,
            I::GlobalSet(fuel),
        ] {
            instruction.encode(&mut code);
        }
        self.check_fuel(&mut code);
        for instruction in [
            I::LocalGet(delta),
            I::MemoryGrow(0),
            I::LocalTee(delta),
            I::I32Const(-1),
            I::I32Eq,
            I::If(BlockType::Empty),
            I::I32Const(1),
            I::GlobalSet(self.context.counter(Counter::Fault)),
            I::Unreachable,
            I::End,
            I::LocalGet(delta),
            I::Else,
            I::I32Const(-1),
            I::End,
        ] {
            instruction.encode(&mut code);
        }
        self.pieces.push(Piece::Code(code));
    }

    fn canonical_single(&mut self, range: Range<usize>) {
        let next = self.next_local();
        let local = *self.scratch.single.get_or_insert_with(|| {
            self.scratch.types.push(ValType::F32);
            next
        });
        self.canonical(range, local, &I::F32Const(NAN_32), &I::F32Eq);
    }

    fn canonical_double(&mut self, range: Range<usize>) {
        let next = self.next_local();
        let local = *self.scratch.double.get_or_insert_with(|| {
            self.scratch.types.push(ValType::F64);
            next
        });
        self.canonical(range, local, &I::F64Const(NAN_64), &I::F64Eq);
    }

    /// The instruction, and the canonical NaN instead of its result if that is none.
    fn canonical(&mut self, range: Range<usize>, local: u32, nan: &I<'_>, equal: &I<'_>) {
        self.copy(range);
        let mut code = Vec::new();
        for instruction in
            [&I::LocalTee(local), nan, &I::LocalGet(local), &I::LocalGet(local), equal, &I::Select]
        {
            instruction.encode(&mut code);
        }
        self.pieces.push(Piece::Code(code));
    }

    fn scratch_length(&mut self) -> u32 {
        let next = self.next_local();
        *self.scratch.length.get_or_insert_with(|| {
            self.scratch.types.push(ValType::I32);
            next
        })
    }

    fn next_local(&self) -> u32 {
        let own = self.context.params.saturating_add(self.context.facts.locals);
        own.saturating_add(u32::try_from(self.scratch.types.len()).unwrap_or(u32::MAX))
    }

    /// Puts it all together.
    fn assemble(self, body: &FunctionBody<'_>) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::with_capacity(body.range().len().saturating_mul(2));
        self.locals(body, &mut bytes)?;
        for piece in &self.pieces {
            match piece {
                Piece::Copy(range) => {
                    bytes.extend_from_slice(
                        self.context.module.get(range.clone()).ok_or(Error::Inconsistent)?,
                    );
                }
                Piece::Code(code) => bytes.extend_from_slice(code),
                Piece::Charge { eighths: 0, check: Check::No } => {}
                Piece::Charge { eighths, check } => {
                    let fuel = self.context.counter(Counter::Fuel);
                    let units =
                        i64::try_from(cost::units(*eighths)).map_err(|_| Error::Inconsistent)?;
                    for instruction in
                        [I::GlobalGet(fuel), I::I64Const(units), I::I64Sub, I::GlobalSet(fuel)]
                    {
                        instruction.encode(&mut bytes);
                    }
                    if *check == Check::Yes {
                        self.check_fuel(&mut bytes);
                    }
                }
            }
        }
        Ok(bytes)
    }

    fn locals(&self, body: &FunctionBody<'_>, bytes: &mut Vec<u8>) -> Result<(), Error> {
        let groups = body.get_locals_reader()?.into_iter().collect::<Result<Vec<_>, _>>()?;
        groups.len().saturating_add(self.scratch.types.len()).encode(bytes);
        for (count, ty) in groups {
            count.encode(bytes);
            value_type(ty)?.encode(bytes);
        }
        for ty in &self.scratch.types {
            1_u32.encode(bytes);
            ty.encode(bytes);
        }
        Ok(())
    }
}

/// The same type in the encoder's words.
pub(super) const fn value_type(ty: wasmparser::ValType) -> Result<ValType, Error> {
    match ty {
        wasmparser::ValType::I32 => Ok(ValType::I32),
        wasmparser::ValType::I64 => Ok(ValType::I64),
        wasmparser::ValType::F32 => Ok(ValType::F32),
        wasmparser::ValType::F64 => Ok(ValType::F64),
        wasmparser::ValType::V128 | wasmparser::ValType::Ref(_) => Err(Error::Inconsistent),
    }
}
