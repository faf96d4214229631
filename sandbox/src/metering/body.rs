//! One function body, rewritten.

use std::{collections::BTreeMap, ops::Range};

use wasm_encoder::{BlockType, Encode, Instruction as I, ValType};
use wasmparser::{FuncType, FunctionBody, Operator};

use super::{
    Error, cost,
    emit::{self, Counters, Held},
    nan,
    shape::Shape,
    values::{Types, Width},
};
use crate::admission::FunctionFacts;

/// The longest body that a validator accepts, in bytes.
const BODY_BYTES_MAX: usize = 7_654_321;

/// What must be known about a function besides its body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'m> {
    /// The module, of which the body is a part.
    pub module: &'m [u8],
    /// Its types.
    pub types: Types<'m>,
    /// The type of the function.
    pub ty: &'m FuncType,
    /// What admission learnt.
    pub facts: FunctionFacts,
    /// The type of a block that gives the function's results.
    pub results: BlockType,
    /// Where the counters are.
    pub counters: Counters,
}

/// A part of the new body.
enum Piece {
    /// As it was: a range of the module.
    Copy(Range<usize>),
    /// Instructions that we add.
    Code(Vec<u8>),
    /// The charge for the segment that begins here.
    Charge(Charge),
}

/// The charge for a segment.
#[derive(Clone, Copy)]
struct Charge {
    eighths: u64,
    /// Where the fuel is held there.
    held: Held,
    at: At,
}

/// Where a segment begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// At the entry of the function. Whether it is checked that fuel is left.
    Entry { check: bool },
    /// At the head of a loop: code can come here again.
    Head,
    /// After a branch.
    Branch,
}

/// What a block on the control stack began with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Opened {
    Block,
    Loop,
}

/// Code between whose entry and exits the fuel is held in a local.
#[derive(Clone, Copy)]
struct Region {
    /// How many blocks are open around it.
    outside: usize,
}

/// Locals that we add, as they are needed.
#[derive(Default)]
struct Scratch {
    length: Option<u32>,
    single: Option<u32>,
    double: Option<u32>,
    fuel: Option<u32>,
    types: Vec<ValType>,
}

/// Rewrites one body: locals and code, without the size before it.
pub(super) fn rewrite(context: Context<'_>, body: &FunctionBody<'_>) -> Result<Vec<u8>, Error> {
    let mut operators = Vec::new();
    let mut ranges = Vec::new();
    let mut reader = body.get_operators_reader()?;
    while !reader.eof() {
        let (operator, start) = reader.read_with_offset()?;
        ranges.push(start..reader.original_position());
        operators.push(operator);
    }
    let mut locals = Vec::new();
    for group in body.get_locals_reader()? {
        let (count, ty) = group?;
        locals.extend(std::iter::repeat_n(ty, usize::try_from(count).unwrap_or(usize::MAX)));
    }
    let mut writer = Writer {
        canonical: nan::escapes(context.types, context.ty, &locals, &operators)?,
        shape: Shape::of(&operators),
        context,
        scratch: Scratch::default(),
        pieces: Vec::new(),
        segment: None,
        opened: Vec::new(),
        region: None,
        wrapped: context.facts.calls,
    };
    writer.enter();
    for (at, (operator, range)) in operators.iter().zip(ranges).enumerate() {
        writer.operator(at, operator, range)?;
        if let Some(width) = writer.canonical.get(&at).copied() {
            writer.canonical(width);
        }
    }
    let bytes = writer.assemble(body)?;
    if bytes.len() > BODY_BYTES_MAX {
        return Err(Error::TooLarge {
            found: bytes.len(),
            limit: BODY_BYTES_MAX,
            at: body.range().start,
        });
    }
    Ok(bytes)
}

struct Writer<'m> {
    context: Context<'m>,
    /// After which instructions a float is made canonical.
    canonical: BTreeMap<usize, Width>,
    shape: Shape,
    scratch: Scratch,
    pieces: Vec<Piece>,
    /// The charge of the open segment; none where code cannot be reached.
    segment: Option<usize>,
    opened: Vec<Opened>,
    /// Where the fuel is held in a local, if it is.
    region: Option<Region>,
    /// Whether the body lies in a block of its own, so that its end is one place.
    wrapped: bool,
}

impl Writer<'_> {
    fn enter(&mut self) {
        let mut check = true;
        if self.wrapped {
            let mut code = Vec::new();
            emit::take_frame(&mut code, self.context.counters, self.frame_slots());
            I::Block(self.context.results).encode(&mut code);
            self.pieces.push(Piece::Code(code));
        } else {
            // It calls nothing: nobody else needs the fuel before it ends.
            self.region = Some(Region { outside: 0 });
            self.fuel_local();
            check = !self.shape.is_small();
        }
        self.open_segment(At::Entry { check });
        let locals = self.context.facts.locals.div_ceil(cost::LOCALS_PER_EIGHTH);
        self.charge(cost::ENTRY.saturating_add(locals));
    }

    fn operator(
        &mut self,
        at: usize,
        operator: &Operator<'_>,
        range: Range<usize>,
    ) -> Result<(), Error> {
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
                self.enter_region(at);
                self.opened.push(Opened::Loop);
                self.copy(range);
                self.open_segment(At::Head);
            }
            Operator::If { .. } => {
                self.opened.push(Opened::Block);
                self.copy(range);
                self.open_segment(At::Branch);
            }
            Operator::Else => {
                self.copy(range);
                self.open_segment(At::Branch);
            }
            Operator::BrIf { relative_depth } => {
                self.leave_region_by(std::iter::once(*relative_depth));
                self.copy(range);
                self.open_segment(At::Branch);
            }
            Operator::Br { relative_depth } => {
                self.leave_region_by(std::iter::once(*relative_depth));
                self.copy(range);
                self.segment = None;
            }
            Operator::BrTable { targets } => {
                let others = targets.targets().collect::<Result<Vec<_>, _>>()?;
                self.leave_region_by(others.into_iter().chain([targets.default()]));
                self.copy(range);
                self.segment = None;
            }
            Operator::Unreachable => {
                self.store_fuel();
                self.copy(range);
                self.segment = None;
            }
            Operator::Return => {
                self.return_();
                self.segment = None;
            }
            Operator::End => self.end(range),
            Operator::MemoryGrow { .. } => self.grow(),
            Operator::MemoryFill { .. }
            | Operator::MemoryCopy { .. }
            | Operator::MemoryInit { .. } => {
                self.charge_length(cost::BYTES_PER_FUEL, range);
            }
            Operator::TableCopy { .. } | Operator::TableInit { .. } => {
                self.charge_length(cost::TABLE_ENTRIES_PER_FUEL, range);
            }
            _ => self.copy(range),
        }
        Ok(())
    }

    fn charge(&mut self, eighths: cost::Eighths) {
        if let Some(Piece::Charge(charge)) = self.segment.and_then(|at| self.pieces.get_mut(at)) {
            charge.eighths = charge.eighths.saturating_add(eighths.into());
        }
    }

    fn open_segment(&mut self, at: At) {
        self.segment = Some(self.pieces.len());
        let held = self.held();
        self.pieces.push(Piece::Charge(Charge { eighths: 0, held, at }));
    }

    fn copy(&mut self, range: Range<usize>) {
        match self.pieces.last_mut() {
            Some(Piece::Copy(last)) if last.end == range.start => last.end = range.end,
            _ => self.pieces.push(Piece::Copy(range)),
        }
    }

    fn code(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut code = Vec::new();
        write(&mut code);
        self.pieces.push(Piece::Code(code));
    }

    /// Where the fuel is held here.
    fn held(&self) -> Held {
        match (self.region, self.scratch.fuel) {
            (Some(_), Some(local)) => Held::Local(local),
            _ => Held::Global,
        }
    }

    /// Takes the fuel into a local where a loop begins that calls nothing.
    fn enter_region(&mut self, at: usize) {
        if self.region.is_none() && self.shape.quiet_loops.contains(&at) {
            let local = self.fuel_local();
            let counters = self.context.counters;
            self.code(|code| emit::load_fuel(code, counters, local));
            self.region = Some(Region { outside: self.opened.len() });
        }
    }

    /// Gives the fuel back if one of these branches leaves the region.
    fn leave_region_by(&mut self, mut depths: impl Iterator<Item = u32>) {
        let Some(region) = self.region else { return };
        let inside = self.opened.len().saturating_sub(region.outside);
        if depths.any(|depth| usize::try_from(depth).is_ok_and(|depth| depth >= inside)) {
            self.store_fuel();
        }
    }

    /// Where the fuel is held in a local, writes it to where everybody sees it.
    fn store_fuel(&mut self) {
        if let Held::Local(local) = self.held() {
            let counters = self.context.counters;
            self.code(|code| emit::store_fuel(code, counters, local));
        }
    }

    fn end(&mut self, range: Range<usize>) {
        let Some(opened) = self.opened.pop() else {
            self.leave();
            return;
        };
        self.copy(range);
        // Nothing branches to the end of a loop: what falls out of it was charged on the way there.
        let falls_out = opened == Opened::Loop && self.segment.is_some();
        let ends_region = opened == Opened::Loop
            && self.region.is_some_and(|region| region.outside == self.opened.len())
            && !self.is_leaf();
        if ends_region {
            self.store_fuel();
            self.region = None;
        }
        if !falls_out {
            self.open_segment(At::Branch);
        }
    }

    /// Whether all of the function is one region.
    const fn is_leaf(&self) -> bool {
        !self.wrapped
    }

    /// The end of the function.
    fn leave(&mut self) {
        self.store_fuel();
        let (wrapped, counters, slots) = (self.wrapped, self.context.counters, self.frame_slots());
        self.code(|code| {
            if wrapped {
                I::End.encode(code);
                emit::give_frame_back(code, counters, slots);
            }
            I::End.encode(code);
        });
    }

    /// `return` goes to the end of the block around the body.
    fn return_(&mut self) {
        self.store_fuel();
        let outermost = u32::try_from(self.opened.len()).unwrap_or(u32::MAX);
        let wrapped = self.wrapped;
        self.code(
            |code| {
                if wrapped { I::Br(outermost).encode(code) } else { I::Return.encode(code) }
            },
        );
    }

    fn frame_slots(&self) -> i32 {
        i32::try_from(cost::frame_slots(self.context.facts.slots)).unwrap_or(i32::MAX)
    }

    /// Charges the 32-bit length on top of the stack, divided by `per_fuel`, and leaves it there. Then the
    /// instruction itself.
    fn charge_length(&mut self, per_fuel: u64, range: Range<usize>) {
        let (length, held, counters) = (self.length_local(), self.held(), self.context.counters);
        self.code(|code| emit::charge_length(code, counters, held, length, per_fuel));
        self.copy(range);
    }

    /// `memory.grow`: within the limit it is charged and must succeed; above it is -1 and the host is not asked.
    fn grow(&mut self) {
        let (delta, held, counters) = (self.length_local(), self.held(), self.context.counters);
        self.code(|code| emit::grow(code, counters, held, delta));
    }

    /// The canonical NaN instead of the float on top of the stack if that is none.
    fn canonical(&mut self, width: Width) {
        let local = match width {
            Width::Single => self.scratch_local(ValType::F32, |scratch| &mut scratch.single),
            Width::Double => self.scratch_local(ValType::F64, |scratch| &mut scratch.double),
        };
        self.code(|code| emit::canonical(code, width, local));
    }

    fn length_local(&mut self) -> u32 {
        self.scratch_local(ValType::I32, |scratch| &mut scratch.length)
    }

    fn fuel_local(&mut self) -> u32 {
        self.scratch_local(ValType::I64, |scratch| &mut scratch.fuel)
    }

    fn scratch_local(
        &mut self,
        ty: ValType,
        slot: impl Fn(&mut Scratch) -> &mut Option<u32>,
    ) -> u32 {
        if let Some(local) = *slot(&mut self.scratch) {
            return local;
        }
        let params = u32::try_from(self.context.ty.params().len()).unwrap_or(u32::MAX);
        let own = params.saturating_add(self.context.facts.locals);
        let local = own.saturating_add(u32::try_from(self.scratch.types.len()).unwrap_or(u32::MAX));
        self.scratch.types.push(ty);
        *slot(&mut self.scratch) = Some(local);
        local
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
                Piece::Charge(charge) => self.write_charge(*charge, &mut bytes)?,
            }
        }
        Ok(bytes)
    }

    fn write_charge(&self, charge: Charge, bytes: &mut Vec<u8>) -> Result<(), Error> {
        let counters = self.context.counters;
        let Charge { eighths, held, at } = charge;
        if eighths == 0 && at == At::Branch {
            return Ok(());
        }
        let units = i64::try_from(cost::units(eighths)).map_err(|_| Error::Inconsistent)?;
        if let (At::Entry { .. }, Held::Local(local)) = (at, held) {
            emit::load_fuel(bytes, counters, local);
        }
        emit::charge(bytes, counters, held, units);
        if at == At::Head || at == (At::Entry { check: true }) {
            if let Held::Local(local) = held {
                emit::store_fuel(bytes, counters, local);
            }
            emit::check_fuel(bytes, counters, held);
        }
        Ok(())
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
