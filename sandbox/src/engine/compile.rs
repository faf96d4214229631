//! From an instrumented module to native code.

use std::num::NonZero;

use wasmer::{
    Engine, Module,
    sys::{Cranelift, EngineBuilder, Features, Singlepass, Target},
};

use crate::admission::Compiler;

/// A module could not be compiled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// The compiler refused it.
    #[error("the module could not be compiled")]
    Compile(#[from] wasmer::CompileError),
    /// The result could not be written down.
    #[error("the compiled module could not be serialised")]
    Serialize(#[from] wasmer::SerializeError),
}

/// Compiles an instrumented module and serialises it for [`Program::load`](super::Program::load) on this machine.
///
/// The time that it takes is bounded by the process that it runs in, not here.
///
/// # Errors
///
/// See [`CompileError`]: what was admitted and instrumented is refused only by a bug.
pub fn compile(instrumented: &[u8], compiler: Compiler) -> Result<Vec<u8>, CompileError> {
    let module = Module::new(&engine(compiler), instrumented)?;
    Ok(module.serialize()?.to_vec())
}

/// What native code depends on besides the module: compiled code is only loaded where this is the same.
#[must_use]
pub fn identity() -> String {
    let target = Target::default();
    let features: Vec<_> =
        target.cpu_features().iter().map(|feature| feature.to_string()).collect();
    let engine = engine(Compiler::Cranelift);
    format!(
        "{} {} {} {}",
        engine.deterministic_id(),
        engine.artifact_format(),
        target.triple(),
        features.join(",")
    )
}

fn engine(compiler: Compiler) -> Engine {
    let builder = match compiler {
        Compiler::Cranelift => {
            let mut config = Cranelift::default();
            config.num_threads(NonZero::<usize>::MIN);
            EngineBuilder::new(config)
        }
        Compiler::Singlepass => {
            let mut config = Singlepass::default();
            config.num_threads(NonZero::<usize>::MIN);
            EngineBuilder::new(config)
        }
    };
    builder.set_features(Some(features())).engine().into()
}

/// The same as [`crate::admission::FEATURES`], in the engine's words.
fn features() -> Features {
    let mut features = Features::none();
    features.bulk_memory(true).multi_value(true);
    features
}
