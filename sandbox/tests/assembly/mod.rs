//! Modules that tests put together: one that exists, with a `_start` of the test's making, through both compilers.

use std::borrow::Cow;

use protocol::units::{Fuel, Pages};
use sandbox::{
    admission::{Admitted, Compiler},
    engine::{Program, Ran, Start, compile},
    metering::{Purpose, instrument},
    wasi::Given,
};
use wasm_encoder::{Encode, Module, RawSection};
use wasmparser::{ExternalKind, FuncType, GlobalType, Payload};

/// A module without imports, taken apart.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    /// Its function types.
    pub(crate) types: Vec<FuncType>,
    /// The type of each function.
    pub(crate) functions: Vec<u32>,
    /// Its globals.
    pub(crate) globals: Vec<GlobalType>,
    /// Its exports.
    pub(crate) exports: Vec<(String, ExternalKind, u32)>,
    sections: Vec<(u8, &'a [u8])>,
}

impl<'a> Parts<'a> {
    /// Takes a valid module apart.
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        let mut parts = Self {
            types: Vec::new(),
            functions: Vec::new(),
            globals: Vec::new(),
            exports: Vec::new(),
            sections: Vec::new(),
        };
        for payload in wasmparser::Parser::new(0).parse_all(bytes) {
            let payload = payload.unwrap();
            if let Some((id, range)) = payload.as_section() {
                parts.sections.push((id, &bytes[range]));
            }
            match payload {
                Payload::TypeSection(reader) => {
                    parts.types = reader.into_iter_err_on_gc_types().map(Result::unwrap).collect();
                }
                Payload::FunctionSection(reader) => {
                    parts.functions = reader.into_iter().map(Result::unwrap).collect();
                }
                Payload::GlobalSection(reader) => {
                    parts.globals = reader.into_iter().map(|global| global.unwrap().ty).collect();
                }
                Payload::ExportSection(reader) => {
                    let exports = reader.into_iter().map(Result::unwrap);
                    parts.exports =
                        exports.map(|it| (it.name.to_owned(), it.kind, it.index)).collect();
                }
                _ => {}
            }
        }
        parts
    }

    /// The type of a function.
    pub(crate) fn type_of(&self, function: u32) -> &FuncType {
        &self.types[self.functions[function as usize] as usize]
    }

    /// The module with a function `_start` of that body. `replace` says what a section is to be instead.
    pub(crate) fn with_start(
        &self,
        body: &[u8],
        replace: impl Fn(u8) -> Option<Vec<u8>>,
    ) -> Vec<u8> {
        let mut entry = Vec::new();
        u32::try_from(self.types.len()).unwrap().encode(&mut entry);
        let mut export = b"\x06_start\x00".to_vec();
        u32::try_from(self.functions.len()).unwrap().encode(&mut export);
        // In the order of the format, which is not that of the numbers, and those that `_start` needs also if they are not there.
        let mut module = Module::new();
        for id in [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 10, 11] {
            let present =
                self.sections.iter().find(|(other, _)| *other == id).map(|(_, data)| *data);
            let own: Option<&[u8]> = match id {
                1 => Some(b"\x60\0\0"),
                3 => Some(&entry),
                7 => Some(&export),
                10 => Some(body),
                _ => None,
            };
            let data = match (replace(id).map(Cow::from).or_else(|| present.map(Cow::from)), own) {
                (Some(data), Some(own)) => longer(&data, own),
                (None, Some(own)) => longer(b"\0", own),
                (Some(data), None) => data.into_owned(),
                (None, None) => continue,
            };
            module.section(&RawSection { id, data: &data });
        }
        module.finish()
    }
}

/// A list with one more entry.
fn longer(list: &[u8], entry: &[u8]) -> Vec<u8> {
    let mut reader = wasmparser::BinaryReader::new(list, 0);
    let count = reader.read_var_u32().unwrap() as usize;
    let rest = reader.read_bytes(reader.bytes_remaining()).unwrap();
    let mut bytes = Vec::new();
    (count + 1).encode(&mut bytes);
    bytes.extend_from_slice(rest);
    bytes.extend_from_slice(entry);
    bytes
}

/// The body of a function.
pub(crate) fn body(function: &wasm_encoder::Function) -> Vec<u8> {
    let mut bytes = Vec::new();
    function.encode(&mut bytes);
    bytes
}

/// Nothing but fuel.
pub(crate) fn given(fuel: Fuel) -> Given {
    Given {
        args: Vec::new(),
        env: Vec::new(),
        stdin: [].into(),
        files: Vec::new(),
        seed: [7; 32],
        output_bytes_max: 64 << 20,
        fuel_max: fuel.0,
    }
}

/// Instruments a module, compiles it with Cranelift and with Singlepass, and runs both: what came of it, and the memory.
#[expect(unsafe_code, reason = "loads what was compiled one line before")]
pub(crate) fn through_both(
    admitted: &Admitted<'_>,
    given: &Given,
    memory: Pages,
) -> [(Ran, Vec<u8>); 2] {
    let instrumented = instrument(admitted, Purpose::Run).unwrap();
    wasmparser::Validator::new_with_features(sandbox::admission::FEATURES)
        .validate_all(&instrumented)
        .unwrap();
    [Compiler::Cranelift, Compiler::Singlepass].map(|compiler| {
        let start = Start { given: given.clone(), fuel: Fuel(given.fuel_max), memory };
        let artifact = compile(&instrumented, compiler).unwrap();
        // SAFETY: compiled here and now.
        let program = unsafe { Program::load(artifact, admitted.facts()).unwrap() };
        program.run_to_the_last_byte(start).unwrap()
    })
}
