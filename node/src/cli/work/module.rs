//! The program: found, read, and checked before anybody is bothered with it.

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
};

use bytes::Bytes;
use portal_api::ErrorCode;
use protocol::{ids::Hash, limits::MODULE_BYTES_MAX};
use sandbox::{
    admission::{self, RefusalCode},
    guests,
};

use super::naming::job_name;
use crate::{cli::error::CliError, home::nearest};

/// A program that may run.
#[derive(Debug, Clone)]
pub struct Module {
    /// The module itself.
    pub bytes: Bytes,
    /// Its hash.
    pub hash: Hash,
    /// What a job with it is called.
    pub name: String,
}

impl Module {
    /// The program that is meant: a file, or one that is built in.
    ///
    /// # Errors
    ///
    /// As [`Self::read`] and [`Self::example`].
    pub fn load(file: Option<&str>, example: Option<&str>) -> Result<Self, CliError> {
        match (file, example) {
            (Some(file), _) => Self::read(Path::new(file)),
            (None, Some(example)) => Self::example(example),
            (None, None) => Err(CliError::new(ErrorCode::Usage, "no module was named")),
        }
    }

    /// Reads a module from a file.
    ///
    /// # Errors
    ///
    /// `file-unreadable` if it is not there or not a file; `module-invalid` or `module-import-denied` if it cannot
    /// run.
    pub fn read(path: &Path) -> Result<Self, CliError> {
        let unreadable = |error: io::Error| {
            if error.kind() == io::ErrorKind::NotFound {
                missing(path)
            } else {
                CliError::unreadable(path, &error)
            }
        };
        let metadata = fs::metadata(path).map_err(unreadable)?;
        if metadata.is_dir() {
            return Err(CliError::new(
                ErrorCode::FileUnreadable,
                format!("{} is a directory, not a module", path.display()),
            )
            .help("name the .wasm file itself"));
        }
        let mut bytes = Vec::new();
        let limit = MODULE_BYTES_MAX.saturating_add(1);
        fs::File::open(path)
            .and_then(|file| file.take(limit).read_to_end(&mut bytes))
            .map_err(unreadable)?;
        Self::check(bytes.into(), &path.display().to_string())
    }

    /// A module that is built in.
    ///
    /// # Errors
    ///
    /// `not-found`, with the nearest name, if there is none of that name.
    pub fn example(name: &str) -> Result<Self, CliError> {
        let Some(bytes) = guests::example(name) else {
            let names: Vec<_> = guests::EXAMPLES.iter().map(|example| example.name).collect();
            let detail = match nearest(name, names.iter().copied()) {
                Some(near) => format!("there is no example `{name}`; did you mean `{near}`?"),
                None => format!("there is no example `{name}`"),
            };
            let mut error = CliError::new(ErrorCode::NotFound, detail);
            for example in guests::EXAMPLES {
                error = error.help(format!("{:<12} {}", example.name, example.about));
            }
            return Err(error);
        };
        Self::check(Bytes::from_static(bytes), name)
    }

    fn check(bytes: Bytes, shown: &str) -> Result<Self, CliError> {
        if let Err(refusal) = admission::admit(&bytes, &admission::Limits::default()) {
            let code = match refusal.code {
                RefusalCode::UnknownImport | RefusalCode::ImportType => {
                    ErrorCode::ModuleImportDenied
                }
                RefusalCode::NotWasm
                | RefusalCode::Component
                | RefusalCode::Invalid
                | RefusalCode::TooLarge
                | RefusalCode::NoEntry
                | RefusalCode::StartSection
                | RefusalCode::NoMemory
                | RefusalCode::ReservedName
                | RefusalCode::Memory => ErrorCode::ModuleInvalid,
            };
            return Err(CliError::new(code, format!("{shown}: {refusal}")));
        }
        Ok(Self { hash: Hash::of(&bytes), name: job_name(shown), bytes })
    }
}

/// A module that is not there may be the name of one that is built in.
fn missing(path: &Path) -> CliError {
    let error = CliError::new(
        ErrorCode::FileUnreadable,
        format!("{}: there is no such file", path.display()),
    );
    let name = job_name(&path.to_string_lossy());
    match guests::EXAMPLES.iter().find(|example| example.name == name) {
        Some(example) => {
            error.help(format!("the example of that name:  weft run --example {}", example.name))
        }
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(bytes: &[u8]) -> ErrorCode {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.wasm");
        fs::write(&path, bytes).unwrap();
        Module::read(&path).unwrap_err().code()
    }

    #[test]
    fn what_is_no_module_is_refused_before_anything_is_sent() {
        assert_eq!(refused(b""), ErrorCode::ModuleInvalid);
        assert_eq!(refused(b"#!/bin/sh\n"), ErrorCode::ModuleInvalid);
        assert_eq!(refused(b"\0asm\x01\0\0\0"), ErrorCode::ModuleInvalid);
        let dir = tempfile::tempdir().unwrap();
        for path in [dir.path().join("none.wasm"), dir.path().to_owned()] {
            assert_eq!(Module::read(&path).unwrap_err().code(), ErrorCode::FileUnreadable);
        }
    }

    #[test]
    fn a_misspelt_example_gets_a_suggestion() {
        let error = Module::example("prims").unwrap_err();
        assert!(error.render().contains("did you mean `primes`?"), "{}", error.render());
        assert!(error.render().contains("wordfreq"));
    }

    #[test]
    fn the_examples_may_run() {
        for example in guests::EXAMPLES {
            assert_eq!(Module::example(example.name).unwrap().name, example.name);
        }
    }
}
