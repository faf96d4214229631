//! All sections of a module, in their order.

use protocol::units::Pages;
use wasmparser::{
    CompositeInnerType, ElementItems, Export, ExternalKind, FuncType, FuncValidatorAllocations,
    Import, Payload, SubType, TypeRef, ValType, ValidPayload, Validator,
};

use super::{
    Admitted, Compiler, ENTRY, FEATURES, Facts, FunctionFacts, Limits, MEMORY, RESERVED_PREFIX,
    Refusal, RefusalCode,
    function::{self, invalid},
};
use crate::wasi::calls::{self, Call, ValueType};

/// Memory that a module without a maximum may grow to, in pages: all that 32 bits can address.
const MEMORY_MAX: u32 = 65_536;

/// A place in a module.
pub(super) fn offset(at: usize) -> u64 {
    u64::try_from(at).unwrap_or(u64::MAX)
}

/// Reads the sections and gathers what must be known about them.
pub(super) struct Reader<'l> {
    limits: &'l Limits,
    /// The function types, by index.
    types: Vec<FuncType>,
    /// The type of each function, imported ones first.
    functions: Vec<u32>,
    imported: u32,
    has_memory: bool,
    exports_memory: bool,
    entry: Option<(u32, u64)>,
    bodies: Vec<FunctionFacts>,
    facts: Facts,
}

impl<'l> Reader<'l> {
    pub(super) fn new(limits: &'l Limits) -> Self {
        Self {
            limits,
            types: Vec::new(),
            functions: Vec::new(),
            imported: 0,
            has_memory: false,
            exports_memory: false,
            entry: None,
            bodies: Vec::new(),
            facts: Facts {
                memory_min: Pages(0),
                memory_max: Pages(0),
                items: 0,
                data_bytes: 0,
                compiler: Compiler::Cranelift,
            },
        }
    }

    /// Reads the whole module.
    pub(super) fn read<'a>(mut self, bytes: &'a [u8]) -> Result<Admitted<'a>, Refusal> {
        let mut validator = Validator::new_with_features(FEATURES);
        let mut allocations = FuncValidatorAllocations::default();
        for payload in super::parser().parse_all(bytes) {
            let payload = payload.map_err(invalid)?;
            // Before validation: a limit gives the clearer sentence, and bounds what validation costs.
            self.check_count(&payload)?;
            if let ValidPayload::Func(function, body) =
                validator.payload(&payload).map_err(invalid)?
            {
                let mut validator = function.into_validator(allocations);
                let params = self.params_of_body(self.bodies.len());
                let facts = function::read(&mut validator, &body, params, self.limits)?;
                if facts.compiler == Compiler::Singlepass {
                    self.facts.compiler = Compiler::Singlepass;
                }
                self.bodies.push(facts);
                allocations = validator.into_allocations();
            }
            self.section(payload)?;
        }
        self.finish(bytes)
    }

    /// Bounds the sections that are lists.
    fn check_count(&self, payload: &Payload<'_>) -> Result<(), Refusal> {
        let limits = self.limits;
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "other sections are bounded elsewhere or refused"
        )]
        let (what, limit, found, range) = match payload {
            Payload::TypeSection(reader) => ("types", limits.types, reader.count(), reader.range()),
            Payload::ImportSection(reader) => {
                ("imports", limits.imports, reader.count(), reader.range())
            }
            Payload::FunctionSection(reader) => {
                ("functions", limits.functions, reader.count(), reader.range())
            }
            Payload::GlobalSection(reader) => {
                ("globals", limits.globals, reader.count(), reader.range())
            }
            Payload::ExportSection(reader) => {
                ("exports", limits.exports, reader.count(), reader.range())
            }
            Payload::ElementSection(reader) => {
                ("element segments", limits.segments, reader.count(), reader.range())
            }
            Payload::DataSection(reader) => {
                ("data segments", limits.segments, reader.count(), reader.range())
            }
            Payload::StartSection { range, .. } => {
                let text =
                    "the module has a start section: its code must begin at `_start`".to_owned();
                return Err(Refusal::new(RefusalCode::StartSection, offset(range.start), text));
            }
            _ => return Ok(()),
        };
        if found > limit {
            return Err(Refusal::too_large(what, limit.into(), found.into(), offset(range.start)));
        }
        Ok(())
    }

    /// Takes what must be known from a section that is valid.
    fn section(&mut self, payload: Payload<'_>) -> Result<(), Refusal> {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "nothing is to be learnt from the others"
        )]
        match payload {
            Payload::TypeSection(reader) => {
                for group in reader.into_iter_with_offsets() {
                    let (at, group) = group.map_err(invalid)?;
                    for ty in group.into_types() {
                        self.function_type(&ty, offset(at))?;
                    }
                }
            }
            Payload::ImportSection(reader) => {
                for import in reader.into_imports_with_offsets() {
                    let (at, import) = import.map_err(invalid)?;
                    self.import(&import, offset(at))?;
                }
            }
            Payload::GlobalSection(reader) => self.add_items(reader.count().into()),
            Payload::ElementSection(reader) => {
                for element in reader {
                    self.add_items(match element.map_err(invalid)?.items {
                        ElementItems::Functions(items) => items.count().into(),
                        ElementItems::Expressions(_, items) => items.count().into(),
                    });
                }
            }
            Payload::FunctionSection(reader) => {
                self.add_items(reader.count().into());
                for function in reader {
                    self.functions.push(function.map_err(invalid)?);
                }
            }
            Payload::TableSection(reader) => {
                for table in reader.into_iter_with_offsets() {
                    let (at, table) = table.map_err(invalid)?;
                    let (entries, limit) = (table.ty.initial, u64::from(self.limits.table_entries));
                    if entries > limit {
                        let what = "table entries";
                        return Err(Refusal::too_large(what, limit, entries, offset(at)));
                    }
                    self.add_items(entries);
                }
            }
            Payload::MemorySection(reader) => {
                for memory in reader.into_iter_with_offsets() {
                    let (at, memory) = memory.map_err(invalid)?;
                    self.memory(memory, offset(at))?;
                }
            }
            Payload::ExportSection(reader) => {
                for export in reader.into_iter_with_offsets() {
                    let (at, export) = export.map_err(invalid)?;
                    self.export(&export, offset(at))?;
                }
            }
            Payload::DataSection(reader) => {
                self.facts.data_bytes = u32::try_from(reader.range().len()).unwrap_or(u32::MAX);
            }
            _ => {}
        }
        Ok(())
    }

    fn add_items(&mut self, items: u64) {
        self.facts.items =
            self.facts.items.saturating_add(u32::try_from(items).unwrap_or(u32::MAX));
    }

    fn function_type(&mut self, ty: &SubType, at: u64) -> Result<(), Refusal> {
        let CompositeInnerType::Func(ty) = &ty.composite_type.inner else {
            let text = "the module has a type that is not a function's".to_owned();
            return Err(Refusal::new(RefusalCode::Invalid, at, text));
        };
        for (what, limit, found) in [
            ("parameters of one function", self.limits.params, ty.params().len()),
            ("results of one function", self.limits.results, ty.results().len()),
        ] {
            if offset(found) > u64::from(limit) {
                return Err(Refusal::too_large(what, limit.into(), offset(found), at));
            }
        }
        self.types.push(ty.clone());
        Ok(())
    }

    fn import(&mut self, import: &Import<'_>, at: u64) -> Result<(), Refusal> {
        let unknown = || {
            let hint = match import.module {
                "wasi_unstable" => " (an early form of WASI: use a current compiler)",
                "env" => " (was a library missing when it was linked?)",
                "wasix_32v1" | "wasix_64v1" => " (WASIX is not supported)",
                _ => "",
            };
            let text = format!(
                "the module imports `{}.{}`, which does not exist here{hint}",
                import.module, import.name
            );
            Refusal::new(RefusalCode::UnknownImport, at, text)
        };
        let TypeRef::Func(ty) = import.ty else { return Err(unknown()) };
        let call = Call::named(import.name)
            .filter(|_| import.module == calls::MODULE)
            .ok_or_else(unknown)?;
        let same = self.type_at(ty).is_some_and(|ty| {
            same(ty.params(), call.params()) && same(ty.results(), call.results())
        });
        if !same {
            let text = format!(
                "the module imports `{}.{}` with another type than it has",
                import.module, import.name
            );
            return Err(Refusal::new(RefusalCode::ImportType, at, text));
        }
        self.functions.push(ty);
        self.imported = self.imported.saturating_add(1);
        Ok(())
    }

    fn memory(&mut self, memory: wasmparser::MemoryType, at: u64) -> Result<(), Refusal> {
        let limit = u64::from(self.limits.memory_min.0);
        if memory.initial > limit {
            let what = "pages of memory at its start";
            return Err(Refusal::too_large(what, limit, memory.initial, at));
        }
        self.has_memory = true;
        self.facts.memory_min = Pages(u32::try_from(memory.initial).unwrap_or(MEMORY_MAX));
        let max = memory.maximum.and_then(|max| u32::try_from(max).ok()).unwrap_or(MEMORY_MAX);
        self.facts.memory_max = Pages(max.min(MEMORY_MAX));
        Ok(())
    }

    fn export(&mut self, export: &Export<'_>, at: u64) -> Result<(), Refusal> {
        if export.name.starts_with(RESERVED_PREFIX) {
            let text = format!(
                "the module exports `{}`, but names that begin with `{RESERVED_PREFIX}` are reserved",
                export.name
            );
            return Err(Refusal::new(RefusalCode::ReservedName, at, text));
        }
        if export.name == ENTRY && export.kind == ExternalKind::Func {
            self.entry = Some((export.index, at));
        }
        self.exports_memory |= export.name == MEMORY && export.kind == ExternalKind::Memory;
        Ok(())
    }

    fn finish(self, bytes: &[u8]) -> Result<Admitted<'_>, Refusal> {
        let Some((entry, at)) = self.entry else {
            let text = "the module exports no `_start`: build a program with a main function, not a library".to_owned();
            return Err(Refusal::new(RefusalCode::NoEntry, 0, text));
        };
        let ty = usize::try_from(entry)
            .ok()
            .and_then(|entry| self.functions.get(entry))
            .and_then(|ty| self.type_at(*ty));
        if !ty.is_some_and(|ty| ty.params().is_empty() && ty.results().is_empty()) {
            let text =
                "the module's `_start` takes parameters or has results, which a program's does not"
                    .to_owned();
            return Err(Refusal::new(RefusalCode::NoEntry, at, text));
        }
        if self.imported > 0 && !(self.has_memory && self.exports_memory) {
            let text =
                "the module imports WASI functions but does not export its memory as `memory`"
                    .to_owned();
            return Err(Refusal::new(RefusalCode::NoMemory, 0, text));
        }
        Ok(Admitted { bytes, facts: self.facts, functions: self.bodies })
    }

    fn type_at(&self, index: u32) -> Option<&FuncType> {
        usize::try_from(index).ok().and_then(|index| self.types.get(index))
    }

    /// How many parameters the function with the body of that place takes.
    fn params_of_body(&self, body: usize) -> u32 {
        let imported = usize::try_from(self.imported).unwrap_or(usize::MAX);
        let ty = self.functions.get(imported.saturating_add(body)).and_then(|ty| self.type_at(*ty));
        ty.map_or(0, |ty| u32::try_from(ty.params().len()).unwrap_or(u32::MAX))
    }
}

fn same(found: &[ValType], wanted: &[ValueType]) -> bool {
    found.len() == wanted.len()
        && found.iter().zip(wanted).all(|(found, wanted)| {
            matches!(
                (found, wanted),
                (ValType::I32, ValueType::I32) | (ValType::I64, ValueType::I64)
            )
        })
}
