//! `weft-runner exec`: native code in, then tasks of it until the node hangs up.

use std::{sync::Arc, time::Instant};

use protocol::outcome::{Interruption, Outcome};

use super::{Error, Priority, chain, socket::Socket, watchdog::Watchdog};
use crate::{
    admission::Facts,
    engine::{Program, Ran, Start},
    frames::{DoneHeader, Order, Reply, RunHeader},
    jail::{self, Jail},
    wasi::{Given, Output},
};

/// Memory of the process besides the guest's, its input and its output, in bytes: the loaded code's data, two stacks
/// of 32 MiB, buffers.
const OWN_BYTES: u64 = 256 * 1024 * 1024;

/// Loads the module, then runs tasks.
pub(super) fn serve(mut socket: Socket, jail: Jail, priority: Priority) -> Result<(), Error> {
    let Some(order) = socket.order()? else { return Ok(()) };
    let (artifact_bytes, facts) = match order {
        Order::Load { artifact_bytes, facts } => (artifact_bytes, facts),
        Order::Probe => {
            let grade = jail.lock().map_err(Error::Jail)?;
            return socket.reply(&Reply::Loaded { grade }, &[]);
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
    // The code is loaded: nothing else will ever be executed here.
    let grade = jail.lock().map_err(Error::Jail)?;
    let executor = Executor { program, facts, watchdog };
    socket.reply(&Reply::Loaded { grade }, &[])?;
    while let Some(order) = socket.order()? {
        let Order::Run(header) = order else { return Err(Error::WrongOrder) };
        let stdin = socket.bulk(header.stdin_bytes)?;
        let mut files = Vec::with_capacity(header.files.len());
        for (_, bytes) in &header.files {
            files.push(socket.bulk(*bytes)?);
        }
        let (done, output) = executor.run(*header, stdin, files)?;
        let mut bulk = vec![output.stdout.as_slice(), output.stderr.as_slice()];
        bulk.extend(output.files.iter().map(|(_, content)| content.as_slice()));
        socket.reply(&Reply::Done(Box::new(done)), &bulk)?;
    }
    Ok(())
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
}

impl Executor {
    fn run(
        &self,
        header: RunHeader,
        stdin: Vec<u8>,
        contents: Vec<Vec<u8>>,
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
        // Twice: input and output are copied once on their way.
        let bulk = input_bytes.saturating_add(limits.output_bytes).saturating_mul(2);
        let bound = [limits.memory.bytes(), bulk];
        jail::limit_memory(bound.into_iter().fold(OWN_BYTES, u64::saturating_add))
            .map_err(Error::Jail)?;

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
        #[expect(
            clippy::disallowed_methods,
            reason = "the runner's shell is where time comes from"
        )]
        let began = Instant::now();
        let ran = self
            .program
            .run(start, |interrupter| self.watchdog.arm(began, limits.timeout(), interrupter));
        self.watchdog.disarm();
        Ok(match ran {
            Ok(ran) => {
                finished(ran, u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX))
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
    };
    (done, ran.output)
}

/// A task that ended before it ran.
fn ended(outcome: Outcome, text: String) -> (DoneHeader, Output) {
    let ran = Ran {
        outcome,
        fuel: Default::default(),
        peak: Default::default(),
        output: Output::default(),
    };
    let (done, output) = finished(ran, 0);
    (DoneHeader { detail: Some(text), ..done }, output)
}
