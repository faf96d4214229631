//! What instructions do to the bits of floats.

use wasmparser::Operator;

use super::values::{Class, Width};

/// What an instruction other than those of control, calls, locals and globals does to the stack.
pub(super) enum Effect {
    /// Takes so many, gives a float that may be any NaN.
    Arithmetic(u32, Width),
    /// Clears the sign.
    Absolute,
    /// Turns the sign over: a sign that arithmetic made must be known before.
    Negate,
    /// Takes the sign from the second.
    CopySign,
    /// One of two.
    Select,
    /// Takes so many, whose bits can be seen; whether it gives an integer.
    Seen(u32, bool),
    /// Takes so many whose bits cannot be seen, gives one.
    Gives(u32, Option<Width>, Class),
    /// Takes so many whose bits cannot be seen.
    Takes(u32),
}

#[rustfmt::skip]
#[expect(clippy::wildcard_enum_match_arm, reason = "the rest take two and give an integer; all are in the cost table")]
pub(super) fn effect(operator: &Operator<'_>) -> Effect {
    use Operator as O;
    let constant = |width, nan| {
        Effect::Gives(0, Some(width), if nan { Class::Bits } else { Class::Number })
    };
    match operator {
        O::F32Add | O::F32Sub | O::F32Mul | O::F32Div | O::F32Min | O::F32Max => Effect::Arithmetic(2, Width::Single),
        O::F64Add | O::F64Sub | O::F64Mul | O::F64Div | O::F64Min | O::F64Max => Effect::Arithmetic(2, Width::Double),
        O::F32Ceil | O::F32Floor | O::F32Trunc | O::F32Nearest | O::F32Sqrt | O::F32DemoteF64 => Effect::Arithmetic(1, Width::Single),
        O::F64Ceil | O::F64Floor | O::F64Trunc | O::F64Nearest | O::F64Sqrt | O::F64PromoteF32 => Effect::Arithmetic(1, Width::Double),
        O::F32Abs | O::F64Abs => Effect::Absolute,
        O::F32Neg | O::F64Neg => Effect::Negate,
        O::F32Copysign | O::F64Copysign => Effect::CopySign,
        O::Select => Effect::Select,

        O::I32ReinterpretF32 | O::I64ReinterpretF64 => Effect::Seen(1, true),
        O::F32Store { .. } | O::F64Store { .. } => Effect::Seen(2, false),
        O::GlobalSet { .. } => Effect::Seen(1, false),

        O::F32Const { value } => constant(Width::Single, f32::from_bits(value.bits()).is_nan()),
        O::F64Const { value } => constant(Width::Double, f64::from_bits(value.bits()).is_nan()),
        O::F32ConvertI32S | O::F32ConvertI32U | O::F32ConvertI64S | O::F32ConvertI64U => Effect::Gives(1, Some(Width::Single), Class::Number),
        O::F64ConvertI32S | O::F64ConvertI32U | O::F64ConvertI64S | O::F64ConvertI64U => Effect::Gives(1, Some(Width::Double), Class::Number),
        O::F32ReinterpretI32 | O::F32Load { .. } => Effect::Gives(1, Some(Width::Single), Class::Bits),
        O::F64ReinterpretI64 | O::F64Load { .. } => Effect::Gives(1, Some(Width::Double), Class::Bits),

        O::I32Const { .. } | O::I64Const { .. } | O::MemorySize { .. } => Effect::Gives(0, None, Class::Number),
        O::I32Eqz | O::I64Eqz | O::I32Clz | O::I32Ctz | O::I32Popcnt | O::I64Clz | O::I64Ctz | O::I64Popcnt
        | O::I32WrapI64 | O::I64ExtendI32S | O::I64ExtendI32U
        | O::I32Extend8S | O::I32Extend16S | O::I64Extend8S | O::I64Extend16S | O::I64Extend32S
        | O::I32TruncF32S | O::I32TruncF32U | O::I32TruncF64S | O::I32TruncF64U
        | O::I64TruncF32S | O::I64TruncF32U | O::I64TruncF64S | O::I64TruncF64U
        | O::I32TruncSatF32S | O::I32TruncSatF32U | O::I32TruncSatF64S | O::I32TruncSatF64U
        | O::I64TruncSatF32S | O::I64TruncSatF32U | O::I64TruncSatF64S | O::I64TruncSatF64U
        | O::I32Load { .. } | O::I64Load { .. }
        | O::I32Load8S { .. } | O::I32Load8U { .. } | O::I32Load16S { .. } | O::I32Load16U { .. }
        | O::I64Load8S { .. } | O::I64Load8U { .. } | O::I64Load16S { .. } | O::I64Load16U { .. }
        | O::I64Load32S { .. } | O::I64Load32U { .. } | O::MemoryGrow { .. } => Effect::Gives(1, None, Class::Number),

        O::Nop | O::DataDrop { .. } | O::ElemDrop { .. } => Effect::Takes(0),
        O::Drop => Effect::Takes(1),
        O::I32Store { .. } | O::I64Store { .. } | O::I32Store8 { .. } | O::I32Store16 { .. }
        | O::I64Store8 { .. } | O::I64Store16 { .. } | O::I64Store32 { .. } => Effect::Takes(2),
        O::MemoryFill { .. } | O::MemoryCopy { .. } | O::MemoryInit { .. }
        | O::TableCopy { .. } | O::TableInit { .. } => Effect::Takes(3),

        _ => Effect::Gives(2, None, Class::Number),
    }
}
