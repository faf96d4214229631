//! What the sandbox is measured against: the same module in plain wasmer, the same with the canonical NaNs and the metering
//! that come with wasmer, and the same source compiled for this machine.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use sandbox::wasi::{Call, Given, Host, Output, ValueType, calls};
use tokio::time::Instant;
use wasmer::{
    Engine, Extern, Function, FunctionEnv, FunctionEnvMut, FunctionType, Imports, Instance, Memory,
    Module, RuntimeError, Store, Type, Value,
    sys::{CompilerConfig, Cranelift, EngineBuilder},
    wasmparser::Operator,
};
use wasmer_middlewares::Metering;

use super::KERNELS;

/// Fuel that is not going to run out.
const PLENTY: u64 = 1 << 60;

/// wasmer, with Cranelift.
pub(super) struct Peer {
    engine: Engine,
    module: Module,
}

struct Shared {
    host: Host,
    memory: Option<Memory>,
}

impl Peer {
    /// Without metering, and without anything that makes floats the same everywhere.
    pub(super) fn plain() -> anyhow::Result<Self> {
        Self::with(Cranelift::default())
    }

    /// With its canonical NaNs, and without metering.
    pub(super) fn canonical() -> anyhow::Result<Self> {
        let mut config = Cranelift::default();
        CompilerConfig::canonicalize_nans(&mut config, true);
        Self::with(config)
    }

    /// With its canonical NaNs, and with its metering, which counts instructions.
    pub(super) fn stock() -> anyhow::Result<Self> {
        let mut config = Cranelift::default();
        CompilerConfig::canonicalize_nans(&mut config, true);
        let count = Metering::new(PLENTY, |_: &Operator<'_>| 1);
        CompilerConfig::push_middleware(&mut config, Arc::new(count));
        Self::with(config)
    }

    fn with(config: Cranelift) -> anyhow::Result<Self> {
        let engine: Engine = EngineBuilder::new(config).engine().into();
        let module = Module::new(&engine, KERNELS)?;
        Ok(Self { engine, module })
    }

    /// Runs a kernel; the time from its first instruction to its last, and what it printed.
    pub(super) fn run(&self, name: &str, rounds: u32) -> anyhow::Result<(Duration, Vec<u8>)> {
        let mut store = Store::new(self.engine.clone());
        let host = Host::new(Given {
            args: vec![name.to_owned(), rounds.to_string()],
            env: Vec::new(),
            stdin: Arc::from([]),
            files: Vec::new(),
            seed: [0; 32],
            output_bytes_max: 1 << 20,
            fuel_max: PLENTY,
        })?;
        let env = FunctionEnv::new(&mut store, Shared { host, memory: None });
        let mut imports = Imports::new();
        for import in self.module.imports() {
            let call = Call::named(import.name()).context("an unknown import")?;
            let ty = FunctionType::new(types(call.params()), types(call.results()));
            let function = Function::new_with_env(&mut store, &env, ty, move |env, values| {
                answer(env, call, values)
            });
            imports.define(calls::MODULE, call.name(), Extern::Function(function));
        }
        let instance = Instance::new(&mut store, &self.module, &imports)?;
        env.as_mut(&mut store).memory = instance.exports.get_memory("memory").ok().cloned();
        let start = instance.exports.get_typed_function::<(), ()>(&store, "_start")?;
        let began = Instant::now();
        let ended = start.call(&mut store);
        let time = began.elapsed();
        if let Err(error) = ended {
            ensure!(error.message().contains("exit code 0"), "{name}: {}", error.message());
        }
        let Output { stdout, .. } = env.as_mut(&mut store).host.take_output();
        Ok((time, stdout))
    }
}

fn types(types: &[ValueType]) -> Vec<Type> {
    let same = |ty: &ValueType| match ty {
        ValueType::I32 => Type::I32,
        ValueType::I64 => Type::I64,
    };
    types.iter().map(same).collect()
}

/// Answers one call of the host. Copies the whole memory there and back: kernels call the host a few times only, and as
/// often in one round as in many.
fn answer(
    mut env: FunctionEnvMut<'_, Shared>,
    call: Call,
    values: &[Value],
) -> Result<Vec<Value>, RuntimeError> {
    let (shared, store) = env.data_and_store_mut();
    let memory = shared.memory.as_ref().ok_or_else(|| RuntimeError::new("no memory"))?;
    let view = memory.view(&store);
    let mut bytes = view.copy_to_vec()?;
    let args: Vec<u64> = values
        .iter()
        .map(|value| match value.i32() {
            Some(word) => u64::from(word.cast_unsigned()),
            None => value.i64().unwrap_or_default().cast_unsigned(),
        })
        .collect();
    let mut left = i64::MAX;
    let errno = shared
        .host
        .call(call, &args, &mut bytes, &mut left)
        .map_err(|stop| RuntimeError::new(stop.to_string()))?;
    view.write(0, &bytes)?;
    Ok(call.results().iter().map(|_| Value::I32(errno.cast_signed())).collect())
}

/// The kernels compiled for this machine.
pub(super) struct Native {
    program: PathBuf,
}

impl Native {
    /// Compiles them, if there is a compiler.
    pub(super) fn compile(directory: &Path) -> anyhow::Result<Option<Self>> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sandbox/guests/kernels.c");
        let program = directory.join("kernels");
        let compiled = Command::new("cc")
            .args(["-O2", "-w", "-o"])
            .arg(&program)
            .arg(source)
            .arg("-lm")
            .stdin(Stdio::null())
            .status();
        match compiled {
            Ok(status) => {
                ensure!(status.success(), "the kernels could not be compiled");
                Ok(Some(Self { program }))
            }
            Err(_) => Ok(None),
        }
    }

    /// Runs a kernel; the time of the whole process.
    pub(super) fn run(&self, name: &str, rounds: u32) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let status = Command::new(&self.program)
            .args([name, &rounds.to_string()])
            .stdout(Stdio::null())
            .status()?;
        ensure!(status.success(), "{name}: {status}");
        Ok(began.elapsed())
    }
}
