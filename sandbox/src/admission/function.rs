//! One function body: valid, within its limits, and how much it needs.

use wasmparser::{FuncValidator, FunctionBody, Operator, WasmModuleResources};

use super::{CRANELIFT, Compiler, Limits, Refusal, RefusalCode};

/// What was learnt about one function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FunctionFacts {
    /// Its locals, parameters not counted.
    pub locals: u32,
    /// Parameters, locals and the most operands that it has at any time: what bounds its native frame.
    pub slots: u32,
    /// Whether it calls anything.
    pub calls: bool,
    /// The compiler that it is for.
    pub compiler: Compiler,
}

/// Counts while a body is read.
#[derive(Debug, Default)]
struct Counts {
    operators: u32,
    branches: u32,
    nesting: u32,
    operands: u32,
    calls: bool,
}

impl Counts {
    fn add(&mut self, operator: &Operator<'_>) {
        self.operators = self.operators.saturating_add(1);
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "only these few count; the enum has hundreds"
        )]
        let branches = match operator {
            Operator::If { .. } | Operator::BrIf { .. } | Operator::Br { .. } => 1,
            Operator::BrTable { targets } => targets.len().saturating_add(1),
            Operator::Call { .. } | Operator::CallIndirect { .. } => {
                self.calls = true;
                0
            }
            _ => 0,
        };
        self.branches = self.branches.saturating_add(branches);
    }

    const fn compiler(&self, body_bytes: u32, locals: u32) -> Compiler {
        let fits = body_bytes <= CRANELIFT.body_bytes
            && self.operators <= CRANELIFT.operators
            && self.branches <= CRANELIFT.branches
            && self.nesting <= CRANELIFT.nesting
            && locals <= CRANELIFT.locals;
        if fits { Compiler::Cranelift } else { Compiler::Singlepass }
    }
}

/// Reads one body.
pub(super) fn read<T: WasmModuleResources>(
    validator: &mut FuncValidator<T>,
    body: &FunctionBody<'_>,
    params: u32,
    limits: &Limits,
) -> Result<FunctionFacts, Refusal> {
    let offset = super::module::offset(body.range().start);
    let body_bytes = u32::try_from(body.range().len()).unwrap_or(u32::MAX);
    let too_large = |what, limit: u32, found: u32| {
        (found > limit)
            .then(|| Refusal::too_large(what, limit.into(), found.into(), offset))
            .map_or(Ok(()), Err)
    };
    too_large("bytes in one function", limits.body_bytes, body_bytes)?;
    let mut reader = body.get_binary_reader();
    validator.read_locals(&mut reader).map_err(invalid)?;
    let locals = validator.len_locals().saturating_sub(params);
    too_large("locals in one function", limits.locals, locals)?;

    let mut counts = Counts::default();
    let mut operators = wasmparser::OperatorsReader::new(reader);
    while !operators.eof() {
        let (operator, at) = operators.read_with_offset().map_err(invalid)?;
        validator.op(at, &operator).map_err(invalid)?;
        counts.add(&operator);
        counts.operands = counts.operands.max(validator.operand_stack_height());
        counts.nesting = counts.nesting.max(validator.control_stack_height());
        too_large("nested blocks in one function", limits.nesting, counts.nesting)?;
        too_large("branches in one function", limits.branch_targets, counts.branches)?;
    }
    operators.finish().map_err(invalid)?;
    Ok(FunctionFacts {
        locals,
        slots: params.saturating_add(locals).saturating_add(counts.operands),
        calls: counts.calls,
        compiler: counts.compiler(body_bytes, locals),
    })
}

/// What the parser or the validator did not like.
#[expect(clippy::needless_pass_by_value, reason = "used as `map_err(invalid)`")]
pub(super) fn invalid(error: wasmparser::BinaryReaderError) -> Refusal {
    let text =
        format!("the module is not valid here: {} (at byte {})", error.message(), error.offset());
    Refusal::new(RefusalCode::Invalid, super::module::offset(error.offset()), text)
}
