//! What things cost. Frozen for an engine profile: changing one number changes bills.
//!
//! A unit of fuel is about a nanosecond: 0.9 to 1.9 million a millisecond were measured for the example guests, a
//! matrix product and a recursion (two cores of a server, Cranelift). Instructions cost less than that, so they are
//! counted in eighths and a segment's sum is rounded up.

use protocol::units::Fuel;
use wasmparser::Operator;

use crate::admission::Facts;

/// The version of everything in this file. The engine profile names it, and receipts name the profile.
pub const VERSION: u16 = 1;

/// Eighths of a unit.
pub(super) type Eighths = u32;

/// Entry of a function, in eighths, besides its locals.
pub(super) const ENTRY: Eighths = 6;
/// Locals that one eighth sets to zero.
pub(super) const LOCALS_PER_EIGHTH: u32 = 2;
/// Bytes that one unit fills, copies or initialises.
pub const BYTES_PER_FUEL: u64 = 4;
/// Table entries that one unit copies or initialises.
pub const TABLE_ENTRIES_PER_FUEL: u64 = 1;
/// A page of memory when it is added: the host must find and clear it.
pub const PAGE_FUEL: u64 = 4_096;
/// A function, global or table entry that is set up before a start.
pub const ITEM_FUEL: u64 = 8;
/// A call of the host, besides what it moves.
pub const HOST_CALL_FUEL: u64 = 250;

/// Stack that a call takes at least, in slots of 8 bytes; with [`STACK_SLOTS`] it makes 10,000 calls deep.
pub const FRAME_SLOTS_MIN: u32 = 64;
/// All stack that a program has, in slots of 8 bytes.
pub const STACK_SLOTS: u32 = 640_000;
/// Slots of a frame that are not the function's own: return address, saved registers.
const FRAME_SLOTS_OVERHEAD: u32 = 16;

/// The stack that a call of a function with so many parameters, locals and operands takes.
#[must_use]
pub const fn frame_slots(slots: u32) -> u32 {
    let slots = slots.saturating_add(FRAME_SLOTS_OVERHEAD);
    if slots < FRAME_SLOTS_MIN { FRAME_SLOTS_MIN } else { slots }
}

/// What is charged before a program starts: for its memory, its data, and what is in its tables.
#[must_use]
pub fn start(facts: &Facts) -> Fuel {
    let pages = u64::from(facts.memory_min.0).saturating_mul(PAGE_FUEL);
    let data = u64::from(facts.data_bytes).div_ceil(BYTES_PER_FUEL);
    let items = u64::from(facts.items).saturating_mul(ITEM_FUEL);
    Fuel(pages.saturating_add(data).saturating_add(items))
}

/// Whole units for so many eighths, rounded up.
pub(super) const fn units(eighths: u64) -> u64 {
    eighths.div_ceil(8)
}

/// What one instruction costs, in eighths; `None` if it is not one that we run.
#[rustfmt::skip]
#[expect(clippy::wildcard_enum_match_arm, reason = "what is not listed is not run")]
pub(super) fn operator(operator: &Operator<'_>) -> Option<Eighths> {
    use Operator as O;
    Some(match operator {
        // Nothing is left of these after compilation.
        O::Nop | O::Block { .. } | O::Loop { .. } | O::Else | O::End | O::Unreachable => 0,

        // Moves.
        O::Drop | O::LocalGet { .. } | O::LocalSet { .. } | O::LocalTee { .. }
        | O::I32Const { .. } | O::I64Const { .. } | O::F32Const { .. } | O::F64Const { .. }
        | O::I32WrapI64 | O::I64ExtendI32S | O::I64ExtendI32U
        | O::I32ReinterpretF32 | O::I64ReinterpretF64 | O::F32ReinterpretI32 | O::F64ReinterpretI64 => 1,

        // Integer arithmetic.
        O::I32Eqz | O::I32Eq | O::I32Ne | O::I32LtS | O::I32LtU | O::I32GtS | O::I32GtU
        | O::I32LeS | O::I32LeU | O::I32GeS | O::I32GeU
        | O::I64Eqz | O::I64Eq | O::I64Ne | O::I64LtS | O::I64LtU | O::I64GtS | O::I64GtU
        | O::I64LeS | O::I64LeU | O::I64GeS | O::I64GeU
        | O::I32Clz | O::I32Ctz | O::I32Popcnt | O::I32Add | O::I32Sub
        | O::I32And | O::I32Or | O::I32Xor | O::I32Shl | O::I32ShrS | O::I32ShrU | O::I32Rotl | O::I32Rotr
        | O::I64Clz | O::I64Ctz | O::I64Popcnt | O::I64Add | O::I64Sub
        | O::I64And | O::I64Or | O::I64Xor | O::I64Shl | O::I64ShrS | O::I64ShrU | O::I64Rotl | O::I64Rotr
        | O::I32Extend8S | O::I32Extend16S | O::I64Extend8S | O::I64Extend16S | O::I64Extend32S
        | O::GlobalGet { .. } | O::GlobalSet { .. } | O::Select => 1,
        O::I32Mul | O::I64Mul => 3,
        O::I32DivS | O::I32DivU | O::I32RemS | O::I32RemU => 24,
        O::I64DivS | O::I64DivU | O::I64RemS | O::I64RemU => 36,

        // Control.
        O::Br { .. } | O::Return => 2,
        O::If { .. } | O::BrIf { .. } => 3,
        O::BrTable { .. } => 8,
        O::Call { .. } => 8,
        O::CallIndirect { .. } => 16,

        // Memory.
        O::I32Load { .. } | O::I64Load { .. } | O::F32Load { .. } | O::F64Load { .. }
        | O::I32Load8S { .. } | O::I32Load8U { .. } | O::I32Load16S { .. } | O::I32Load16U { .. }
        | O::I64Load8S { .. } | O::I64Load8U { .. } | O::I64Load16S { .. } | O::I64Load16U { .. }
        | O::I64Load32S { .. } | O::I64Load32U { .. }
        | O::I32Store { .. } | O::I64Store { .. } | O::F32Store { .. } | O::F64Store { .. }
        | O::I32Store8 { .. } | O::I32Store16 { .. }
        | O::I64Store8 { .. } | O::I64Store16 { .. } | O::I64Store32 { .. } => 3,
        O::MemorySize { .. } => 8,

        // What is charged by length as well.
        O::MemoryGrow { .. } => 8_000,
        O::MemoryFill { .. } | O::MemoryCopy { .. } | O::MemoryInit { .. }
        | O::TableCopy { .. } | O::TableInit { .. } => 400,
        O::DataDrop { .. } | O::ElemDrop { .. } => 400,

        // Floats, with the canonical NaN.
        O::F32Eq | O::F32Ne | O::F32Lt | O::F32Gt | O::F32Le | O::F32Ge
        | O::F64Eq | O::F64Ne | O::F64Lt | O::F64Gt | O::F64Le | O::F64Ge
        | O::F32Abs | O::F32Neg | O::F32Copysign | O::F64Abs | O::F64Neg | O::F64Copysign => 3,
        O::F32Add | O::F32Sub | O::F32Mul | O::F64Add | O::F64Sub | O::F64Mul => 10,
        O::F32Min | O::F32Max | O::F64Min | O::F64Max
        | O::F32Ceil | O::F32Floor | O::F32Trunc | O::F32Nearest
        | O::F64Ceil | O::F64Floor | O::F64Trunc | O::F64Nearest => 16,
        O::F32Div | O::F64Div | O::F32Sqrt | O::F64Sqrt => 30,
        O::I32TruncF32S | O::I32TruncF32U | O::I32TruncF64S | O::I32TruncF64U
        | O::I64TruncF32S | O::I64TruncF32U | O::I64TruncF64S | O::I64TruncF64U
        | O::I32TruncSatF32S | O::I32TruncSatF32U | O::I32TruncSatF64S | O::I32TruncSatF64U
        | O::I64TruncSatF32S | O::I64TruncSatF32U | O::I64TruncSatF64S | O::I64TruncSatF64U
        | O::F32ConvertI32S | O::F32ConvertI32U | O::F32ConvertI64S | O::F32ConvertI64U
        | O::F64ConvertI32S | O::F64ConvertI32U | O::F64ConvertI64S | O::F64ConvertI64U
        | O::F32DemoteF64 | O::F64PromoteF32 => 12,

        _ => return None,
    })
}
