//! What the shape of a function allows the meter to do.

use std::collections::BTreeSet;

use wasmparser::Operator;

use super::cost;

/// Functions that cost no more than this all together, in eighths, do not check at their entry whether fuel is left,
/// if they neither call anything nor contain a loop: whoever calls them checks soon.
const SMALL: u64 = 400;

/// What the meter must know about a function before it goes through it.
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// Loops, by the place of their instruction, that call nothing and lie in none that calls nothing.
    pub(super) quiet_loops: BTreeSet<usize>,
    /// Whether there is a loop at all.
    pub(super) loops: bool,
    /// Whether it uses instructions that are charged by length.
    by_length: bool,
    /// What all instructions cost, each once, in eighths.
    cost: u64,
}

impl Shape {
    /// Goes through a function.
    pub(super) fn of(operators: &[Operator<'_>]) -> Self {
        let mut shape = Self::default();
        // The open blocks: the place of the instruction, whether it is a loop, whether it calls.
        let mut open: Vec<(usize, bool, bool)> = Vec::new();
        let mut quiet = Vec::new();
        for (at, operator) in operators.iter().enumerate() {
            shape.cost =
                shape.cost.saturating_add(cost::operator(operator).unwrap_or_default().into());
            #[expect(clippy::wildcard_enum_match_arm, reason = "only blocks and calls matter")]
            match operator {
                Operator::Block { .. } | Operator::If { .. } => open.push((at, false, false)),
                Operator::Loop { .. } => {
                    shape.loops = true;
                    open.push((at, true, false));
                }
                Operator::Call { .. } | Operator::CallIndirect { .. } => {
                    if let Some((_, _, calls)) = open.last_mut() {
                        *calls = true;
                    }
                }
                Operator::MemoryGrow { .. }
                | Operator::MemoryFill { .. }
                | Operator::MemoryCopy { .. }
                | Operator::MemoryInit { .. }
                | Operator::TableCopy { .. }
                | Operator::TableInit { .. } => shape.by_length = true,
                Operator::End => {
                    if let Some((start, is_loop, calls)) = open.pop() {
                        if let (true, Some((_, _, outer))) = (calls, open.last_mut()) {
                            *outer = true;
                        }
                        if is_loop && !calls {
                            quiet.push((start, at));
                        }
                    }
                }
                _ => {}
            }
        }
        // Inner loops end first: go from the outermost inwards.
        quiet.sort_unstable();
        let mut covered = 0;
        for (start, end) in quiet {
            if start >= covered {
                shape.quiet_loops.insert(start);
                covered = end;
            }
        }
        shape
    }

    /// Whether a function that calls nothing need not check its fuel at its entry.
    pub(super) const fn is_small(&self) -> bool {
        !self.loops && !self.by_length && self.cost <= SMALL
    }
}
