//! What the functions of a module are called.

use std::collections::BTreeMap;

use wasmparser::{KnownCustom, Name, Payload, TypeRef};

use crate::admission::parser;

/// The longest name that is given back, in bytes.
const NAME_BYTES_MAX: usize = 512;

/// The names of a module's own functions, by their number without the imported ones, as far as its `name` section
/// tells them. Whatever cannot be read has no name.
#[must_use]
pub fn function_names(module: &[u8]) -> BTreeMap<u32, String> {
    let mut imported = 0_u32;
    let mut names = BTreeMap::new();
    for payload in parser().parse_all(module) {
        match payload {
            Ok(Payload::ImportSection(reader)) => {
                let functions = reader
                    .into_imports()
                    .filter(|import| {
                        import.as_ref().is_ok_and(|import| matches!(import.ty, TypeRef::Func(_)))
                    })
                    .count();
                imported = u32::try_from(functions).unwrap_or(u32::MAX);
            }
            Ok(Payload::CustomSection(section)) => {
                if let KnownCustom::Name(reader) = section.as_known() {
                    for name in reader.into_iter().flatten() {
                        if let Name::Function(map) = name {
                            names.extend(map.into_iter().flatten().map(|naming| {
                                let short = naming.name.chars().take(NAME_BYTES_MAX / 4).collect();
                                (naming.index, short)
                            }));
                        }
                    }
                }
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    names
        .into_iter()
        .filter_map(|(index, name): (u32, String)| Some((index.checked_sub(imported)?, name)))
        .collect()
}
