//! `weft-runner exec`: native code in, then tasks of it until the node hangs up.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use protocol::{
    outcome::{Interruption, Outcome},
    units::Fuel,
};

use super::{Error, Priority, chain, socket::Socket, watchdog::Watchdog};
use crate::{
    admission::Facts,
    engine::{Prepared, Program, Ran, Start},
    frames::{self, DoneHeader, Order, Reply, RunHeader},
    jail::{self, Jail},
    wasi::{Given, Output},
};

/// Loads the module, then runs tasks.
pub(super) fn serve(mut socket: Socket, jail: Jail, priority: Priority) -> Result<(), Error> {
    let Some(order) = socket.order()? else { return Ok(()) };
    let (artifact_bytes, facts, memory_bytes_max) = match order {
        Order::Load { artifact_bytes, facts, memory_bytes_max } => {
            (artifact_bytes, facts, memory_bytes_max)
        }
        Order::Probe => {
            let confinement = jail.lock().map_err(Error::Jail)?;
            return socket.reply(&Reply::Loaded { confinement }, &[]);
        }
        Order::Compile { .. } | Order::Run(_) => return Err(Error::WrongOrder),
    };
    let artifact = socket.bulk(artifact_bytes)?;
    let program = match load(artifact, facts) {
        Ok(program) => program,
        Err(text) => return socket.reply(&Reply::Failed(text), &[]),
    };
    // Before this thread gives way, so that the watchdog does not.
    let watchdog =
        Watchdog::start(socket.try_clone().map_err(Error::Socket)?).map_err(Error::Watchdog)?;
    if priority == Priority::Idle {
        jail::give_way().map_err(Error::Jail)?;
    }
    jail::limit_memory_for_good(memory_bytes_max).map_err(Error::Jail)?;
    // The code is loaded: nothing else will ever be executed here.
    let confinement = jail.lock().map_err(Error::Jail)?;
    let mut executor = Executor { program, facts, watchdog, prepared: None };
    socket.reply(&Reply::Loaded { confinement }, &[])?;
    let mut cpu_before = jail::processor_time();
    loop {
        // While the node thinks about the next task.
        executor.prepare();
        let Some(order) = socket.order()? else { return Ok(()) };
        let read = now();
        let Order::Run(header) = order else { return Err(Error::WrongOrder) };
        let stdin = socket.bulk(header.stdin_bytes)?;
        let mut files = Vec::with_capacity(header.files.len());
        for (_, bytes) in &header.files {
            files.push(socket.bulk(*bytes)?);
        }
        let (mut done, output) = executor.run(*header, stdin, files, read)?;
        let cpu = jail::processor_time();
        done.cpu_us = micros(cpu.saturating_sub(cpu_before));
        cpu_before = cpu;
        let mut bulk = vec![output.stdout.as_slice(), output.stderr.as_slice()];
        bulk.extend(output.files.iter().map(|(_, content)| content.as_slice()));
        socket.reply(&Reply::Done(Box::new(done)), &bulk)?;
    }
}

#[expect(clippy::disallowed_methods, reason = "the runner's shell is where time comes from")]
fn now() -> Instant {
    Instant::now()
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[expect(unsafe_code, reason = "loads what the node's cache vouches for")]
fn load(artifact: Vec<u8>, facts: Facts) -> Result<Program, String> {
    // SAFETY: the node sends only what `weft-runner compile` gave it on this machine, under a MAC of its own.
    unsafe { Program::load(artifact, facts) }.map_err(|error| chain(&error))
}

/// A loaded module and who watches it.
struct Executor {
    program: Program,
    facts: Facts,
    watchdog: Watchdog,
    /// An instance for the next task.
    prepared: Option<Prepared>,
}

impl Executor {
    fn prepare(&mut self) {
        if self.prepared.is_none() {
            self.prepared = Some(self.program.prepare()).filter(|prepared| !prepared.is_unlucky());
        }
    }

    /// Runs a task whose order was `read` then.
    fn run(
        &mut self,
        header: RunHeader,
        stdin: Vec<u8>,
        contents: Vec<Vec<u8>>,
        read: Instant,
    ) -> Result<(DoneHeader, Output), Error> {
        let limits = header.limits;
        if self.facts.memory_min > limits.memory {
            let text = format!(
                "the module needs {} pages of memory at its start, but the task may have {}",
                self.facts.memory_min.0, limits.memory.0
            );
            return Ok(ended(Outcome::Refused, text));
        }
        let input_bytes = header
            .files
            .iter()
            .fold(header.stdin_bytes, |sum, (_, bytes)| sum.saturating_add(*bytes));
        jail::limit_memory(frames::memory_bytes(&limits, input_bytes)).map_err(Error::Jail)?;

        let paths = header.files.into_iter().map(|(path, _)| path);
        let start = Start {
            given: Given {
                args: header.args,
                env: header.env,
                stdin: Arc::from(stdin),
                files: paths.zip(contents.into_iter().map(Arc::from)).collect(),
                seed: header.seed,
                output_bytes_max: limits.output_bytes,
                fuel_max: limits.fuel.0,
            },
            fuel: limits.fuel,
            memory: limits.memory,
        };
        let prepared = self.prepared.take().unwrap_or_else(|| self.program.prepare());
        let (mut ready, watchdog) = (read, &self.watchdog);
        let ran = self.program.run_prepared(prepared, start, |interrupter| {
            ready = now();
            watchdog.arm(ready, limits.timeout(), interrupter);
        });
        watchdog.disarm();
        Ok(match ran {
            Ok(ran) => {
                let (mut done, output) = finished(ran, micros(ready.elapsed()));
                done.ready_us = micros(ready.saturating_duration_since(read));
                (done, output)
            }
            Err(error) => {
                ended(Outcome::Indeterminate(Interruption::InputMissing), error.to_string())
            }
        })
    }
}

fn finished(mut ran: Ran, ran_us: u64) -> (DoneHeader, Output) {
    // Half-written files are nobody's result.
    if !matches!(ran.outcome, Outcome::Exit(_)) {
        ran.output.files.clear();
    }
    let length = |bytes: &[u8]| u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let done = DoneHeader {
        outcome: ran.outcome,
        fuel: ran.fuel,
        peak: ran.peak,
        stdout_bytes: length(&ran.output.stdout),
        stderr_bytes: length(&ran.output.stderr),
        files: ran
            .output
            .files
            .iter()
            .map(|(path, content)| (path.clone(), length(content)))
            .collect(),
        detail: None,
        ran_us,
        ready_us: 0,
        cpu_us: 0,
        spent: std::mem::take(&mut ran.spent),
    };
    (done, ran.output)
}

/// A task that ended before it ran.
fn ended(outcome: Outcome, text: String) -> (DoneHeader, Output) {
    let ran = Ran::early(outcome, Fuel(0));
    let (done, output) = finished(ran, 0);
    (DoneHeader { detail: Some(text), ..done }, output)
}
