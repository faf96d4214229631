//! Where in a function the bits of a NaN that arithmetic made could be seen.
//!
//! The specification leaves open which NaN an operation gives; processors and compilers differ in its sign and its
//! payload. The value matters only where its bits can be seen: in memory, as an integer, in a global, in another
//! function, or through the sign that `copysign` takes from it. There, and only there, it becomes the canonical one.
//! Bits that are merely moved (loaded, copied, kept in a local, chosen by `select`) never change, whatever they are:
//! programs that keep pointers in NaNs work.
//!
//! Each value is of one of three [classes](super::values::Class). Where values of several origins meet (a local, the result of a
//! block), those of arithmetic are made canonical before they enter if any other is copied bits. Which places these
//! are is found by going through the function until nothing changes; after [`PASSES_MAX`] times all places are taken
//! to be such, which costs time and changes no result.

use std::collections::BTreeMap;

use wasmparser::{FuncType, Operator, ValType};

use super::{
    Error,
    effects::{Effect, effect},
    values::{Class, Frame, Kind, Place, Types, Value, Width, place, width},
};

/// How often a function is gone through before all its places are taken to hold copied bits.
const PASSES_MAX: u32 = 12;

/// The instructions, by their place in the function, after which the float on top of the stack must be made
/// canonical.
pub(super) fn escapes(
    types: Types<'_>,
    ty: &FuncType,
    locals: &[ValType],
    operators: &[Operator<'_>],
) -> Result<BTreeMap<usize, Width>, Error> {
    if !operators.iter().any(|operator| matches!(effect(operator), Effect::Arithmetic(..))) {
        return Ok(BTreeMap::new());
    }
    let params = ty.params().iter().map(|ty| Place { bits: true, ..place(*ty) });
    let mut analysis = Analysis {
        types,
        locals: params.chain(locals.iter().map(|ty| place(*ty))).collect(),
        places: Vec::new(),
        next_place: 0,
        stack: Vec::new(),
        frames: Vec::new(),
        dead_blocks: 0,
        changed: false,
        everywhere: false,
        found: BTreeMap::new(),
    };
    for pass in 0_u32.. {
        analysis.everywhere = pass >= PASSES_MAX;
        analysis.pass(ty, operators)?;
        if !analysis.changed || analysis.everywhere {
            break;
        }
    }
    Ok(analysis.found)
}

struct Analysis<'m> {
    types: Types<'m>,
    locals: Vec<Place>,
    /// What blocks give and loops take, in the order of the blocks.
    places: Vec<Place>,
    next_place: usize,
    stack: Vec<Value>,
    frames: Vec<Frame>,
    /// Blocks that began in code that cannot be reached.
    dead_blocks: usize,
    /// Whether this pass learnt something.
    changed: bool,
    /// Whether all places are taken to hold copied bits.
    everywhere: bool,
    found: BTreeMap<usize, Width>,
}

impl Analysis<'_> {
    fn pass(&mut self, ty: &FuncType, operators: &[Operator<'_>]) -> Result<(), Error> {
        self.changed = false;
        self.found.clear();
        self.next_place = 0;
        self.stack.clear();
        self.dead_blocks = 0;
        self.frames = vec![Frame {
            kind: Kind::Function,
            height: 0,
            params: Vec::new(),
            results: ty.results().len(),
            label: (0, 0),
            dead: false,
        }];
        for (at, operator) in operators.iter().enumerate() {
            if self.frames.last().is_some_and(|frame| frame.dead) {
                self.dead(at, operator)?;
            } else {
                self.live(at, operator)?;
            }
        }
        Ok(())
    }

    /// Code that cannot be reached does nothing; only where it ends matters.
    fn dead(&mut self, at: usize, operator: &Operator<'_>) -> Result<(), Error> {
        #[expect(clippy::wildcard_enum_match_arm, reason = "only the shape of dead code matters")]
        match operator {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => {
                self.dead_blocks = self.dead_blocks.saturating_add(1);
            }
            Operator::End if self.dead_blocks > 0 => {
                self.dead_blocks = self.dead_blocks.saturating_sub(1);
            }
            Operator::Else if self.dead_blocks == 0 => self.otherwise()?,
            Operator::End => self.end(at)?,
            _ => {}
        }
        Ok(())
    }

    fn live(&mut self, at: usize, operator: &Operator<'_>) -> Result<(), Error> {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "all others are in the table of effects"
        )]
        match operator {
            Operator::Block { blockty } => self.begin(at, Kind::Block, *blockty)?,
            Operator::Loop { blockty } => self.begin(at, Kind::Loop, *blockty)?,
            Operator::If { blockty } => {
                self.pop()?;
                self.begin(at, Kind::If, *blockty)?;
            }
            Operator::Else => {
                self.fall_through()?;
                self.otherwise()?;
            }
            Operator::End => {
                self.fall_through()?;
                self.end(at)?;
            }
            Operator::Br { relative_depth } => {
                self.branch(*relative_depth)?;
                self.die();
            }
            Operator::BrIf { relative_depth } => {
                self.pop()?;
                self.branch(*relative_depth)?;
            }
            Operator::BrTable { targets } => {
                self.pop()?;
                for target in targets.targets() {
                    self.branch(target?)?;
                }
                self.branch(targets.default())?;
                self.die();
            }
            Operator::Return => {
                self.branch(u32::try_from(self.frames.len().saturating_sub(1)).unwrap_or(0))?;
                self.die();
            }
            Operator::Unreachable => self.die(),
            Operator::Call { function_index } => {
                self.call(at, self.types.of_function(*function_index)?)?;
            }
            Operator::CallIndirect { type_index, .. } => {
                self.pop()?;
                self.call(at, self.types.ty(*type_index)?)?;
            }
            Operator::LocalGet { local_index } => {
                let place = *self.local(*local_index)?;
                self.push(at, place.width, place.class());
            }
            Operator::LocalSet { local_index } => {
                let value = self.pop()?;
                self.enter_local(value, *local_index)?;
            }
            Operator::LocalTee { local_index } => {
                let value = self.pop()?;
                let class = self.enter_local(value, *local_index)?;
                self.push(at, value.width, class);
            }
            Operator::GlobalGet { global_index } => {
                let ty = usize::try_from(*global_index)
                    .ok()
                    .and_then(|index| self.types.globals.get(index))
                    .ok_or(Error::Inconsistent)?;
                self.push(at, width(*ty), Class::Bits);
            }
            _ => self.plain(at, operator)?,
        }
        Ok(())
    }

    fn plain(&mut self, at: usize, operator: &Operator<'_>) -> Result<(), Error> {
        match effect(operator) {
            Effect::Arithmetic(pops, width) => {
                for _ in 0..pops {
                    self.pop()?;
                }
                self.push(at, Some(width), Class::Arithmetic);
            }
            Effect::Absolute => {
                let value = self.pop()?;
                self.push(at, value.width, value.class);
            }
            Effect::Negate => {
                let value = self.pop()?;
                let class = self.escape(value);
                self.push(at, value.width, class);
            }
            Effect::CopySign => {
                let sign = self.pop()?;
                self.escape(sign);
                let value = self.pop()?;
                let class = self.escape(value);
                self.push(at, value.width, class);
            }
            Effect::Select => {
                self.pop()?;
                let (second, first) = (self.pop()?, self.pop()?);
                let class = self.meet(first, second);
                self.push(at, first.width, class);
            }
            Effect::Seen(pops, gives) => {
                for _ in 0..pops {
                    let value = self.pop()?;
                    self.escape(value);
                }
                if gives {
                    self.push(at, None, Class::Number);
                }
            }
            Effect::Gives(pops, width, class) => {
                for _ in 0..pops {
                    self.pop()?;
                }
                self.push(at, width, class);
            }
            Effect::Takes(pops) => {
                for _ in 0..pops {
                    self.pop()?;
                }
            }
        }
        Ok(())
    }

    fn push(&mut self, from: usize, width: Option<Width>, class: Class) {
        self.stack.push(Value { width, class, from });
    }

    fn pop(&mut self) -> Result<Value, Error> {
        self.stack.pop().ok_or(Error::Inconsistent)
    }

    /// The uppermost values, lowest first.
    fn top(&self, count: usize) -> Result<Vec<Value>, Error> {
        let from = self.stack.len().checked_sub(count).ok_or(Error::Inconsistent)?;
        self.stack.get(from..).map(<[Value]>::to_vec).ok_or(Error::Inconsistent)
    }

    fn local(&mut self, index: u32) -> Result<&mut Place, Error> {
        usize::try_from(index)
            .ok()
            .and_then(|index| self.locals.get_mut(index))
            .ok_or(Error::Inconsistent)
    }

    /// The bits of this value can be seen. Says of which class it is afterwards.
    fn escape(&mut self, value: Value) -> Class {
        match (value.class, value.width) {
            (Class::Arithmetic, Some(width)) => {
                self.found.insert(value.from, width);
                Class::Bits
            }
            (class, _) => class,
        }
    }

    /// One of the two.
    fn meet(&mut self, first: Value, second: Value) -> Class {
        match (first.class, second.class) {
            (Class::Bits, Class::Arithmetic) => self.escape(second),
            (Class::Arithmetic, Class::Bits) => self.escape(first),
            (Class::Bits, _) | (_, Class::Bits) => Class::Bits,
            (Class::Arithmetic, _) | (_, Class::Arithmetic) => Class::Arithmetic,
            (Class::Number, Class::Number) => Class::Number,
        }
    }

    fn enter_local(&mut self, value: Value, index: u32) -> Result<Class, Error> {
        let old = *self.local(index)?;
        let (new, class) = self.enter(value, old);
        *self.local(index)? = new;
        Ok(class)
    }

    /// A value flows into a place. Says what is known about the place, and about the value, afterwards.
    fn enter(&mut self, value: Value, place: Place) -> (Place, Class) {
        let mut new = place;
        let class = match value.class {
            Class::Number => Class::Number,
            Class::Bits => {
                new.bits = true;
                Class::Bits
            }
            Class::Arithmetic if place.bits || self.everywhere => {
                new.bits = true;
                self.escape(value)
            }
            Class::Arithmetic => {
                new.arithmetic = true;
                Class::Arithmetic
            }
        };
        self.changed |= new.bits != place.bits || new.arithmetic != place.arithmetic;
        (new, class)
    }

    /// Values flow into the places from `first` on.
    fn fill(&mut self, first: usize, values: &[Value]) -> Result<(), Error> {
        for (at, value) in (first..).zip(values) {
            let old = *self.places.get(at).ok_or(Error::Inconsistent)?;
            let (new, _) = self.enter(*value, old);
            *self.places.get_mut(at).ok_or(Error::Inconsistent)? = new;
        }
        Ok(())
    }

    /// Places for values of these types. Several values are not on top of the stack one after the other when a block
    /// ends or a loop begins, so that they must be in order before.
    fn new_places(&mut self, types: &[ValType], settled: bool) -> (usize, usize) {
        let first = self.next_place;
        self.next_place = first.saturating_add(types.len());
        let settled = settled || types.len() > 1;
        for ty in types.get(self.places.len().saturating_sub(first)..).unwrap_or_default() {
            self.places.push(Place { bits: settled, ..place(*ty) });
        }
        (first, types.len())
    }

    fn begin(&mut self, at: usize, kind: Kind, ty: wasmparser::BlockType) -> Result<(), Error> {
        let (params, results) = self.types.of_block(ty)?;
        let values = self.top(params.len())?;
        let height = self.stack.len().saturating_sub(params.len());
        let label = if kind == Kind::Loop {
            let label = self.new_places(&params, true);
            self.fill(label.0, &values)?;
            self.stack.truncate(height);
            self.push_places(at, label);
            label
        } else {
            self.new_places(&results, false)
        };
        let results = results.len();
        self.frames.push(Frame { kind, height, params: values, results, label, dead: false });
        Ok(())
    }

    fn push_places(&mut self, at: usize, (first, count): (usize, usize)) {
        for place in self.places.iter().skip(first).take(count) {
            self.stack.push(Value { width: place.width, class: place.class(), from: at });
        }
    }

    fn branch(&mut self, depth: u32) -> Result<(), Error> {
        let depth = usize::try_from(depth).map_err(|_| Error::Inconsistent)?;
        let target = self
            .frames
            .len()
            .checked_sub(1)
            .and_then(|last| last.checked_sub(depth))
            .and_then(|target| self.frames.get(target))
            .ok_or(Error::Inconsistent)?;
        let (kind, results, (first, count)) = (target.kind, target.results, target.label);
        if kind == Kind::Function {
            for value in self.top(results)? {
                self.escape(value);
            }
            return Ok(());
        }
        let values = self.top(count)?;
        self.fill(first, &values)
    }

    fn die(&mut self) {
        if let Some(frame) = self.frames.last_mut() {
            frame.dead = true;
            self.stack.truncate(frame.height);
        }
    }

    /// The end of a block, or of its first half, that is reached.
    fn fall_through(&mut self) -> Result<(), Error> {
        match self.frames.last().map(|frame| frame.kind) {
            Some(Kind::Loop) => Ok(()),
            Some(Kind::Function | Kind::Block | Kind::If) => self.branch(0),
            None => Err(Error::Inconsistent),
        }
    }

    fn otherwise(&mut self) -> Result<(), Error> {
        let frame = self.frames.last_mut().ok_or(Error::Inconsistent)?;
        // From here on it is as good as a block: both its halves are there.
        frame.kind = Kind::Block;
        frame.dead = false;
        self.stack.truncate(frame.height);
        let params = std::mem::take(&mut frame.params);
        self.stack.extend(params);
        Ok(())
    }

    fn end(&mut self, at: usize) -> Result<(), Error> {
        let frame = self.frames.pop().ok_or(Error::Inconsistent)?;
        match frame.kind {
            Kind::Function => self.stack.truncate(frame.height),
            // Nothing branches to the end of a loop: what comes after it is dead as well.
            Kind::Loop if frame.dead => self.die(),
            // What falls out of it is what was on the stack.
            Kind::Loop => {}
            Kind::Block | Kind::If => {
                if frame.kind == Kind::If {
                    self.fill(frame.label.0, &frame.params)?;
                }
                self.stack.truncate(frame.height);
                self.push_places(at, frame.label);
            }
        }
        Ok(())
    }

    fn call(&mut self, at: usize, ty: &FuncType) -> Result<(), Error> {
        for _ in ty.params() {
            let value = self.pop()?;
            self.escape(value);
        }
        for ty in ty.results() {
            self.push(at, width(*ty), Class::Bits);
        }
        Ok(())
    }
}
