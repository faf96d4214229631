//! All sections, rewritten or copied.

use std::collections::BTreeMap;

use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, Encode, ExportKind, ExportSection, GlobalType, Module,
    RawSection, SectionId, ValType,
};
use wasmparser::{
    BinaryReader, ExternalKind, FuncType, FunctionBody, Payload, TypeRef, ValType as ReadType,
};

use super::{Counter, Error, Purpose, body, emit::Counters, values::Types};
use crate::admission::{Admitted, ENTRY, MEMORY, parser};

/// The order of sections in a module (WebAssembly core specification, section 5.5.2).
const ORDER: [SectionId; 11] = [
    SectionId::Type,
    SectionId::Import,
    SectionId::Function,
    SectionId::Table,
    SectionId::Memory,
    SectionId::Global,
    SectionId::Export,
    SectionId::Element,
    SectionId::DataCount,
    SectionId::Code,
    SectionId::Data,
];

/// What a module consists of, as far as it matters here.
#[derive(Default)]
struct Parts<'a> {
    purpose: Purpose,
    /// The content of each section but the code.
    sections: BTreeMap<u8, &'a [u8]>,
    types: Vec<FuncType>,
    /// The type of each function, imported ones first.
    functions: Vec<u32>,
    imported: usize,
    globals: Vec<ReadType>,
    bodies: Vec<FunctionBody<'a>>,
    /// The function that it begins with.
    entry: Option<u32>,
    has_memory: bool,
}

pub(super) fn rewrite(admitted: &Admitted<'_>, purpose: Purpose) -> Result<Vec<u8>, Error> {
    let mut parts = Parts { purpose, ..Parts::default() };
    for payload in parser().parse_all(admitted.bytes()) {
        parts.take(payload?, admitted.bytes())?;
    }
    let mut block_types = BlockTypes::after(&parts.types);
    let code = parts.code(admitted, &mut block_types)?;

    let mut module = Module::new();
    for id in ORDER {
        match id {
            SectionId::Type => {
                let added = block_types.encoded();
                raw(&mut module, id, &parts.extended(id, &added, block_types.added.len())?);
            }
            SectionId::Global => {
                let (added, count) = parts.added_globals();
                raw(&mut module, id, &parts.extended(id, &added, count)?);
            }
            SectionId::Export => {
                module.section(&parts.exports());
            }
            SectionId::Code => {
                module.section(&code);
            }
            SectionId::Custom
            | SectionId::Import
            | SectionId::Function
            | SectionId::Table
            | SectionId::Memory
            | SectionId::Start
            | SectionId::Element
            | SectionId::Data
            | SectionId::DataCount
            | SectionId::Tag => {
                if let Some(data) = parts.sections.get(&u8::from(id)) {
                    raw(&mut module, id, data);
                }
            }
        }
    }
    Ok(module.finish())
}

fn raw(module: &mut Module, id: SectionId, data: &[u8]) {
    module.section(&RawSection { id: id.into(), data });
}

impl<'a> Parts<'a> {
    fn take(&mut self, payload: Payload<'a>, bytes: &'a [u8]) -> Result<(), Error> {
        if let Some((id, range)) = payload.as_section()
            && id != u8::from(SectionId::Custom)
        {
            self.sections.insert(id, bytes.get(range).ok_or(Error::Inconsistent)?);
        }
        #[expect(clippy::wildcard_enum_match_arm, reason = "the others are copied or dropped")]
        match payload {
            Payload::TypeSection(reader) => {
                self.types = reader.into_iter_err_on_gc_types().collect::<Result<_, _>>()?;
            }
            Payload::ImportSection(reader) => {
                for import in reader.into_imports() {
                    if let TypeRef::Func(ty) = import?.ty {
                        self.functions.push(ty);
                    }
                }
                self.imported = self.functions.len();
            }
            Payload::FunctionSection(reader) => {
                for ty in reader {
                    self.functions.push(ty?);
                }
            }
            Payload::MemorySection(reader) => self.has_memory = reader.count() > 0,
            Payload::GlobalSection(reader) => {
                for global in reader {
                    self.globals.push(global?.ty.content_type);
                }
            }
            Payload::ExportSection(reader) => {
                for export in reader {
                    let export = export?;
                    if export.name == ENTRY && export.kind == ExternalKind::Func {
                        self.entry = Some(export.index);
                    }
                    self.has_memory |= export.name == MEMORY && export.kind == ExternalKind::Memory;
                }
            }
            Payload::CodeSectionEntry(body) => self.bodies.push(body),
            _ => {}
        }
        Ok(())
    }

    fn code(
        &self,
        admitted: &Admitted<'_>,
        block_types: &mut BlockTypes,
    ) -> Result<CodeSection, Error> {
        let own = self.functions.get(self.imported..).unwrap_or_default();
        if self.bodies.len() != admitted.functions().len() || self.bodies.len() != own.len() {
            return Err(Error::Inconsistent);
        }
        let types =
            Types { types: &self.types, functions: &self.functions, globals: &self.globals };
        let first = self.first_counter();
        let mut tally = self.first_tally();
        let mut code = CodeSection::new();
        for ((body, ty), facts) in self.bodies.iter().zip(own).zip(admitted.functions()) {
            let ty = usize::try_from(*ty)
                .ok()
                .and_then(|ty| self.types.get(ty))
                .ok_or(Error::Inconsistent)?;
            let context = body::Context {
                module: admitted.bytes(),
                types,
                ty,
                facts: *facts,
                results: if facts.calls { block_types.with_results(ty)? } else { BlockType::Empty },
                counters: Counters { first, tally },
            };
            code.raw(&body::rewrite(context, body)?);
            tally = tally.map(|tally| tally.saturating_add(1));
        }
        Ok(code)
    }

    fn first_counter(&self) -> u32 {
        u32::try_from(self.globals.len()).unwrap_or(u32::MAX)
    }

    /// The global that adds up what the first function spends, where that is asked for.
    fn first_tally(&self) -> Option<u32> {
        let counters = u32::try_from(Counter::ALL.len()).unwrap_or(u32::MAX);
        (self.purpose == Purpose::Explain).then(|| self.first_counter().saturating_add(counters))
    }

    /// What is added to the global section, and how many entries that are.
    fn added_globals(&self) -> (Vec<u8>, usize) {
        let mut bytes = Vec::new();
        let mut add = |val_type, initial: &ConstExpr| {
            GlobalType { val_type, mutable: true, shared: false }.encode(&mut bytes);
            initial.encode(&mut bytes);
        };
        for counter in Counter::ALL {
            add(counter.value_type(), &counter.initial());
        }
        let tallies = if self.purpose == Purpose::Explain { self.bodies.len() } else { 0 };
        for _ in 0..tallies {
            add(ValType::I64, &ConstExpr::i64_const(0));
        }
        (bytes, Counter::ALL.len().saturating_add(tallies))
    }

    /// A section that is a list, with entries added after its own.
    fn extended(&self, id: SectionId, added: &[u8], count: usize) -> Result<Vec<u8>, Error> {
        let own = self.sections.get(&u8::from(id)).copied().unwrap_or(&[0]);
        let mut reader = BinaryReader::new(own, 0);
        let own_count = usize::try_from(reader.read_var_u32()?).map_err(|_| Error::Inconsistent)?;
        let entries = reader.read_bytes(reader.bytes_remaining())?;
        let mut bytes = Vec::with_capacity(own.len().saturating_add(added.len()).saturating_add(5));
        own_count.saturating_add(count).encode(&mut bytes);
        bytes.extend_from_slice(entries);
        bytes.extend_from_slice(added);
        Ok(bytes)
    }

    fn exports(&self) -> ExportSection {
        let mut exports = ExportSection::new();
        if let Some(entry) = self.entry {
            exports.export(ENTRY, ExportKind::Func, entry);
        }
        if self.has_memory {
            exports.export(MEMORY, ExportKind::Memory, 0);
        }
        for counter in Counter::ALL {
            exports.export(
                counter.name(),
                ExportKind::Global,
                self.first_counter().saturating_add(counter.place()),
            );
        }
        let first = self.first_tally();
        for (number, global) in
            (0_u32..).zip(first.into_iter().flat_map(|first| first..)).take(self.bodies.len())
        {
            exports.export(&super::tally_name(number), ExportKind::Global, global);
        }
        exports
    }
}

/// Types of blocks with several results, which need an entry in the type section.
struct BlockTypes {
    first: usize,
    added: Vec<Vec<ValType>>,
}

impl BlockTypes {
    const fn after(types: &[FuncType]) -> Self {
        Self { first: types.len(), added: Vec::new() }
    }

    /// The type of a block that gives what a function of that type gives.
    fn with_results(&mut self, ty: &FuncType) -> Result<BlockType, Error> {
        let results =
            ty.results().iter().map(|ty| body::value_type(*ty)).collect::<Result<Vec<_>, _>>()?;
        match results.as_slice() {
            [] => return Ok(BlockType::Empty),
            [one] => return Ok(BlockType::Result(*one)),
            [..] => {}
        }
        let place = self.added.iter().position(|added| *added == results).unwrap_or_else(|| {
            self.added.push(results);
            self.added.len().saturating_sub(1)
        });
        let index =
            u32::try_from(self.first.saturating_add(place)).map_err(|_| Error::Inconsistent)?;
        Ok(BlockType::FunctionType(index))
    }

    fn encoded(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for results in &self.added {
            bytes.push(0x60); // a function type, core specification section 5.3.6
            0_u32.encode(&mut bytes);
            results.as_slice().encode(&mut bytes);
        }
        bytes
    }
}
