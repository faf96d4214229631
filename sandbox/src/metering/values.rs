//! What [`super::nan`] knows about values, and where they are.

use wasmparser::{FuncType, ValType};

use super::Error;

/// How wide a float is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    Single,
    Double,
}

/// What is known about the bits of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// It is no NaN.
    Number,
    /// If it is a NaN, arithmetic made it: any NaN is as good.
    Arithmetic,
    /// Its bits are the same everywhere, and have to stay.
    Bits,
}

/// A value on the stack of operands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value {
    /// None for what is not a float.
    pub(super) width: Option<Width>,
    pub(super) class: Class,
    /// The instruction after which it was on top of the stack.
    pub(super) from: usize,
}

/// Where values of several origins meet.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Place {
    pub(super) width: Option<Width>,
    pub(super) arithmetic: bool,
    pub(super) bits: bool,
}

impl Place {
    pub(super) const fn class(self) -> Class {
        if self.bits {
            Class::Bits
        } else if self.arithmetic {
            Class::Arithmetic
        } else {
            Class::Number
        }
    }
}

/// What must be known of a module.
#[derive(Debug, Clone, Copy)]
pub(super) struct Types<'m> {
    /// Its types.
    pub(super) types: &'m [FuncType],
    /// The type of each function, imported ones first.
    pub(super) functions: &'m [u32],
    /// The types of its globals.
    pub(super) globals: &'m [ValType],
}

impl<'m> Types<'m> {
    pub(super) fn ty(&self, index: u32) -> Result<&'m FuncType, Error> {
        usize::try_from(index)
            .ok()
            .and_then(|index| self.types.get(index))
            .ok_or(Error::Inconsistent)
    }

    pub(super) fn of_function(&self, index: u32) -> Result<&'m FuncType, Error> {
        let index = usize::try_from(index).map_err(|_| Error::Inconsistent)?;
        self.ty(*self.functions.get(index).ok_or(Error::Inconsistent)?)
    }

    /// What a block takes and gives.
    pub(super) fn of_block(
        &self,
        ty: wasmparser::BlockType,
    ) -> Result<(Vec<ValType>, Vec<ValType>), Error> {
        Ok(match ty {
            wasmparser::BlockType::Empty => (Vec::new(), Vec::new()),
            wasmparser::BlockType::Type(ty) => (Vec::new(), vec![ty]),
            wasmparser::BlockType::FuncType(index) => {
                let ty = self.ty(index)?;
                (ty.params().to_vec(), ty.results().to_vec())
            }
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Function,
    Block,
    Loop,
    If,
}

#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    /// What was on the stack below its parameters.
    pub(super) height: usize,
    /// What an `else` begins with, and what an `if` without one ends with.
    pub(super) params: Vec<Value>,
    /// How many values it gives.
    pub(super) results: usize,
    /// The first of the places that a branch to it fills, and how many they are.
    pub(super) label: (usize, usize),
    /// Whether its code cannot be reached from here on.
    pub(super) dead: bool,
}

pub(super) const fn width(ty: ValType) -> Option<Width> {
    match ty {
        ValType::F32 => Some(Width::Single),
        ValType::F64 => Some(Width::Double),
        ValType::I32 | ValType::I64 | ValType::V128 | ValType::Ref(_) => None,
    }
}

pub(super) const fn place(ty: ValType) -> Place {
    Place { width: width(ty), arithmetic: false, bits: false }
}
