//! A compiled module, loaded, that can be run again and again. Every run is an instance of its own.

use protocol::{
    limits::PATH_BYTES_MAX,
    outcome::{Interruption, Outcome},
    units::{Fuel, Pages},
};
use wasmer::{
    AsStoreMut, Engine, Extern, Function, FunctionEnv, FunctionEnvMut, FunctionType, Global,
    Imports, Instance, InstantiationError, Interrupter, Memory, Module, RuntimeError, Store, Type,
    Value,
    sys::{EngineBuilder, vm},
};

use super::ending::{Counters, outcome};
use crate::{
    admission::{ENTRY, Facts, MEMORY},
    metering::{
        Counter,
        cost::{self, STACK_SLOTS},
        tally_name,
    },
    wasi::{BadInput, Call, Given, Host, Output, Stop, ValueType, calls},
};

/// The native stack of a program. [`STACK_SLOTS`] of 8 bytes are 5 MiB; both compilers stay far below six times
/// that, so that the counter is reached first.
const NATIVE_STACK_BYTES: usize = 32 * 1024 * 1024;

/// Compiled code could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// It is not what this engine compiles.
    #[error("the compiled module could not be loaded")]
    Deserialize(#[from] wasmer::DeserializeError),
}

/// What a run starts with.
#[derive(Debug, Clone)]
pub struct Start {
    /// What the program is given.
    pub given: Given,
    /// The fuel that it may use.
    pub fuel: Fuel,
    /// The memory that it may have.
    pub memory: Pages,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// How it ended.
    pub outcome: Outcome,
    /// The fuel that it used; exactly the limit if it ran out.
    pub fuel: Fuel,
    /// The most memory that it had.
    pub peak: Pages,
    /// What it put out.
    pub output: Output,
    /// What its functions spent, by their number, where the module was rewritten to [tell](crate::metering::Purpose::Explain).
    pub spent: Vec<(u32, u64)>,
}

impl Ran {
    /// A run that ended before its program began.
    pub(crate) fn early(outcome: Outcome, fuel: Fuel) -> Self {
        Self { outcome, fuel, peak: Pages(0), output: Output::default(), spent: Vec::new() }
    }
}

/// A compiled module, loaded.
#[derive(Debug)]
pub struct Program {
    engine: Engine,
    module: Module,
    facts: Facts,
}

/// An instance that waits for its task.
#[derive(Debug)]
pub struct Prepared {
    store: Store,
    env: FunctionEnv<Shared>,
    /// Or how every run ends, because it cannot even be set up.
    instance: Result<Instance, Outcome>,
}

impl Prepared {
    /// Whether setting it up again might end better: the host lacked something.
    #[must_use]
    pub fn is_unlucky(&self) -> bool {
        matches!(self.instance, Err(Outcome::Indeterminate(_)))
    }
}

/// What the host functions of one run share.
#[derive(Debug)]
struct Shared {
    /// None before the start.
    host: Option<Host>,
    memory: Option<Memory>,
    fuel: Option<Global>,
}

impl Program {
    /// Loads compiled code.
    ///
    /// # Errors
    ///
    /// [`LoadError`] if it is damaged or of another version.
    ///
    /// # Safety
    ///
    /// `artifact` becomes native code: it must be what [`super::compile()`] gave on this machine for a module with
    /// these facts, unchanged.
    #[expect(unsafe_code, reason = "loads native code; the caller vouches for it")]
    pub unsafe fn load(artifact: Vec<u8>, facts: Facts) -> Result<Self, LoadError> {
        vm::set_stack_size(NATIVE_STACK_BYTES);
        let engine: Engine = EngineBuilder::headless().engine().into();
        // SAFETY: the same promise that our caller made.
        let module = unsafe { Module::deserialize(&engine, artifact)? };
        Ok(Self { engine, module, facts })
    }

    /// Sets up everything that does not depend on the task: an instance of its own for the next run. Can be done
    /// while nobody waits.
    #[must_use]
    pub fn prepare(&self) -> Prepared {
        let mut store = Store::new(self.engine.clone());
        let shared = Shared { host: None, memory: None, fuel: None };
        let env = FunctionEnv::new(&mut store, shared);
        let imports = self.imports(&mut store, &env);
        let instance = Instance::new(&mut store, &self.module, &imports).map_err(refused_start);
        Prepared { store, env, instance }
    }

    /// Runs the program once. `armed` gets the means to interrupt it right before it starts.
    ///
    /// # Errors
    ///
    /// [`BadInput`] if an input cannot be a file. Everything else is an outcome.
    pub fn run(&self, start: Start, armed: impl FnOnce(Interrupter)) -> Result<Ran, BadInput> {
        self.run_prepared(self.prepare(), start, armed)
    }

    /// Runs the program once, in what was prepared for it.
    ///
    /// # Errors
    ///
    /// See [`Self::run`].
    pub fn run_prepared(
        &self,
        prepared: Prepared,
        start: Start,
        armed: impl FnOnce(Interrupter),
    ) -> Result<Ran, BadInput> {
        self.run_and(prepared, start, armed, |_, _| {})
    }

    /// Runs the program once and gives its memory at the end as well: for those who compare engines.
    ///
    /// # Errors
    ///
    /// See [`Self::run`].
    pub fn run_to_the_last_byte(&self, start: Start) -> Result<(Ran, Vec<u8>), BadInput> {
        let mut memory = Vec::new();
        let look = |run: &Run, store: &Store| memory = run.memory(store);
        let ran = self.run_and(self.prepare(), start, |_| {}, look)?;
        Ok((ran, memory))
    }

    fn run_and(
        &self,
        prepared: Prepared,
        start: Start,
        armed: impl FnOnce(Interrupter),
        look: impl FnOnce(&Run, &Store),
    ) -> Result<Ran, BadInput> {
        let limit = start.fuel;
        let started = cost::start(&self.facts);
        let Some(left) = limit.0.checked_sub(started.0) else {
            return Ok(Ran::early(Outcome::OutOfFuel, limit));
        };
        let host = Host::new(start.given)?;
        let Prepared { mut store, env, instance } = prepared;
        let instance = match instance {
            Ok(instance) => instance,
            Err(outcome) => return Ok(Ran::early(outcome, started)),
        };
        env.as_mut(&mut store).host = Some(host);
        let run = Run { instance, env };
        run.set_counters(&mut store, left, start.memory.0.min(self.facts.memory_max.0));
        armed(store.interrupter());
        let error = run.call_entry(&mut store);
        let counters = run.counters(&mut store);
        let outcome = outcome(error, counters);
        let fuel = match (outcome, u64::try_from(counters.fuel)) {
            (Outcome::OutOfFuel, _) | (_, Err(_)) => limit,
            (_, Ok(left)) => Fuel(limit.0.saturating_sub(left)),
        };
        let peak = run.pages(&store);
        let spent = run.spent(&mut store);
        look(&run, &store);
        let output = run.output(&mut store);
        let outcome = if has_overlong_path(&output) { Outcome::OutputTooLarge } else { outcome };
        Ok(Ran { outcome, fuel, peak, output, spent })
    }

    /// The host functions that the module imports.
    fn imports(&self, store: &mut Store, env: &FunctionEnv<Shared>) -> Imports {
        let mut imports = Imports::new();
        for import in self.module.imports() {
            let Some(call) = Call::named(import.name()) else { continue };
            let ty = FunctionType::new(types(call.params()), types(call.results()));
            let function = Function::new_with_env(store, env, ty, move |env, values| {
                answer(env, call, values)
            });
            imports.define(calls::MODULE, call.name(), Extern::Function(function));
        }
        imports
    }
}

/// One instance and its host.
struct Run {
    instance: Instance,
    env: FunctionEnv<Shared>,
}

impl Run {
    fn global(&self, counter: Counter) -> Option<&Global> {
        self.instance.exports.get_global(counter.name()).ok()
    }

    fn set(&self, store: &mut Store, counter: Counter, value: Value) {
        if let Some(Err(error)) = self.global(counter).map(|global| global.set(store, value)) {
            tracing::error!(%error, counter = counter.name(), "a counter could not be set");
        }
    }

    /// Gives the program its fuel, stack and memory, and the host its view of them.
    fn set_counters(&self, store: &mut Store, fuel: u64, pages: u32) {
        self.set(store, Counter::Fuel, Value::I64(i64::try_from(fuel).unwrap_or(i64::MAX)));
        self.set(store, Counter::Stack, Value::I32(STACK_SLOTS.cast_signed()));
        self.set(store, Counter::Pages, Value::I64(pages.into()));
        let memory = self.instance.exports.get_memory(MEMORY).ok().cloned();
        let fuel = self.global(Counter::Fuel).cloned();
        let shared = self.env.as_mut(store);
        shared.memory = memory;
        shared.fuel = fuel;
    }

    fn counters(&self, store: &mut Store) -> Counters {
        let mut get = |counter| self.global(counter).map(|global| global.get(store));
        let fuel = get(Counter::Fuel).and_then(|value| value.i64()).unwrap_or_default();
        let stack = get(Counter::Stack).and_then(|value| value.i32()).unwrap_or_default();
        // A module without its counters was not ours: nothing that it does proves anything.
        let fault = get(Counter::Fault).and_then(|value| value.i32()).unwrap_or(1);
        Counters { fuel, stack, fault }
    }

    fn call_entry(&self, store: &mut Store) -> Option<RuntimeError> {
        match self.instance.exports.get_typed_function::<(), ()>(store, ENTRY) {
            Ok(entry) => entry.call(store).err(),
            Err(error) => Some(RuntimeError::new(error.to_string())),
        }
    }

    fn pages(&self, store: &Store) -> Pages {
        self.instance
            .exports
            .get_memory(MEMORY)
            .map_or(Pages(0), |memory| Pages(memory.view(store).size().0))
    }

    /// What each function spent, of those that spent anything.
    fn spent(&self, store: &mut Store) -> Vec<(u32, u64)> {
        let mut tally = |number| {
            let global = self.instance.exports.get_global(&tally_name(number)).ok()?;
            global.get(store).i64().map(|spent| (number, spent.cast_unsigned()))
        };
        (0..).map_while(&mut tally).filter(|(_, spent)| *spent > 0).collect()
    }

    /// All of its memory.
    fn memory(&self, store: &Store) -> Vec<u8> {
        let memory = self.instance.exports.get_memory(MEMORY).ok();
        memory.and_then(|memory| memory.view(store).copy_to_vec().ok()).unwrap_or_default()
    }

    fn output(self, store: &mut Store) -> Output {
        self.env.as_mut(store).host.as_mut().map(Host::take_output).unwrap_or_default()
    }
}

/// Whether a file could not be named in a result: directories in directories make long paths out of short names.
fn has_overlong_path(output: &Output) -> bool {
    output.files.iter().any(|(path, _)| path.len() > PATH_BYTES_MAX)
}

/// A program that could not even be set up.
fn refused_start(error: InstantiationError) -> Outcome {
    match error {
        // A segment that does not fit into its memory or table.
        InstantiationError::Start(error) => {
            outcome(Some(error), Counters { fuel: 0, stack: 0, fault: 0 })
        }
        InstantiationError::Link(_)
        | InstantiationError::CpuFeature(_)
        | InstantiationError::DifferentStores
        | InstantiationError::DifferentArchOS => {
            Outcome::Indeterminate(Interruption::HostResources)
        }
    }
}

fn types(types: &[ValueType]) -> Vec<Type> {
    let same = |ty: &ValueType| match ty {
        ValueType::I32 => Type::I32,
        ValueType::I64 => Type::I64,
    };
    types.iter().map(same).collect()
}

/// Answers one call of the host.
#[expect(unsafe_code, reason = "the host needs the guest's memory as one slice")]
fn answer(
    mut env: FunctionEnvMut<'_, Shared>,
    call: Call,
    values: &[Value],
) -> Result<Vec<Value>, RuntimeError> {
    let stop = |stop: Stop| RuntimeError::user(Box::new(stop));
    let (shared, mut store) = env.data_and_store_mut();
    let Shared { host, memory, fuel } = shared;
    let early = || RuntimeError::new("a host call before the start");
    let (fuel, host) = (fuel.as_ref().ok_or_else(early)?, host.as_mut().ok_or_else(early)?);
    let args = arguments(values);
    let mut left = fuel.get(&mut store).i64().unwrap_or_default();
    let answered = match memory {
        Some(memory) => {
            let view = memory.view(&store);
            // SAFETY: this thread is the only one that has the store, the guest does not run while the host answers,
            // and nothing else touches its memory before the slice is gone.
            host.call(call, &args, unsafe { view.data_unchecked_mut() }, &mut left)
        }
        None => host.call(call, &args, &mut [], &mut left),
    };
    fuel.set(&mut store.as_store_mut(), Value::I64(left))?;
    let errno = answered.map_err(stop)?;
    Ok(call.results().iter().map(|_| Value::I32(errno.cast_signed())).collect())
}

/// The arguments as bare bits. No call has more than nine.
fn arguments(values: &[Value]) -> [u64; 9] {
    let mut args = [0; 9];
    let bits = |value: &Value| match value.i32() {
        Some(word) => u64::from(word.cast_unsigned()),
        None => value.i64().unwrap_or_default().cast_unsigned(),
    };
    for (arg, value) in args.iter_mut().zip(values) {
        *arg = bits(value);
    }
    args
}
