//! One runner process, seen from the node.

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixStream as StdUnixStream},
    path::Path,
    process::Stdio,
    time::Duration,
};

use protocol::{
    codec::Canonical,
    limits::OUTPUT_FILES_MAX,
    outcome::Interruption,
    wire::{is_relative_path, job::TaskLimits},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    process::{Child, Command},
    time::timeout,
};

use super::artifacts::Artifact;
use crate::{
    admission::{Compiler, Facts, Refusal},
    confinement::Confinement,
    frames::{self, ARTIFACT_BYTES_MAX, DoneHeader, LENGTH_BYTES, Order, Reply, RunHeader},
    metering::Purpose,
    runner::Priority,
    task::{TaskDone, TaskRun, Timings},
};

/// How long a process may take to start and to load a module, however busy the machine is.
const LOAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a compilation may take by the clock. Processor time has a limit of its own, in the jail.
const COMPILE_TIMEOUT: Duration = Duration::from_secs(90);
/// How long the input of a task may take to get to the process, and its output from there.
const BULK_TIMEOUT: Duration = Duration::from_secs(60);
/// What is kept of a process's last words, in bytes.
const LAST_WORDS_BYTES_MAX: u64 = 4 * 1024;
/// Parts up to this size are sent together with what comes before them, in bytes.
const TOGETHER_BYTES_MAX: usize = 64 * 1024;

/// What is reserved for a part before it arrives, in bytes.
const RESERVED_BYTES_MAX: usize = 1024 * 1024;

/// A runner did not do what it was told. It is not used any more.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) interruption: Interruption,
    pub(super) detail: String,
}

impl Broken {
    fn crashed(detail: impl Into<String>) -> Self {
        Self { interruption: Interruption::RunnerCrashed, detail: detail.into() }
    }

    fn resources(detail: impl Into<String>) -> Self {
        Self { interruption: Interruption::HostResources, detail: detail.into() }
    }
}

/// What came of a compilation.
#[derive(Debug)]
pub(super) enum Compiled {
    /// It may be run.
    Artifact(Artifact),
    /// It may not.
    Refused(Refusal),
}

/// A runner process. Killed when dropped.
#[derive(Debug)]
pub(super) struct Runner {
    child: Child,
    stream: UnixStream,
    /// The most memory that it will ever be allowed, in bytes.
    memory_bytes_max: u64,
}

impl Runner {
    /// Starts a process. It inherits a socket as its standard input, a pipe for its last words, and nothing else.
    fn start(program: &Path, kind: &str, priority: Priority) -> Result<Self, Broken> {
        let failed = |error: io::Error| {
            Broken::resources(format!("{} could not be started: {error}", program.display()))
        };
        let (ours, theirs) = StdUnixStream::pair().map_err(failed)?;
        ours.set_nonblocking(true).map_err(failed)?;
        let stream = UnixStream::from_std(ours).map_err(failed)?;
        let child = Command::new(program)
            .args([kind, priority.word()])
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        Ok(Self { child, stream, memory_bytes_max: 0 })
    }

    /// Starts a process that is to run tasks. It waits for the module.
    pub(super) fn exec(program: &Path, priority: Priority) -> Result<Self, Broken> {
        Self::start(program, "exec", priority)
    }

    /// Gives the process its module, of which no task needs more memory than that.
    pub(super) async fn load(
        &mut self,
        artifact: &Artifact,
        memory_bytes_max: u64,
    ) -> Result<(), Broken> {
        self.memory_bytes_max = memory_bytes_max;
        let (artifact_bytes, facts) = (length(&artifact.code), artifact.facts);
        let order = Order::Load { artifact_bytes, facts, memory_bytes_max };
        let loaded = timeout(LOAD_TIMEOUT, self.ask(&order, &[&artifact.code])).await;
        match loaded.unwrap_or_else(|_| Err(Broken::resources("the module was not loaded in time")))
        {
            Ok(Reply::Loaded { .. }) => Ok(()),
            Ok(Reply::Failed(text)) => Err(Broken::resources(text)),
            Ok(Reply::Compiled { .. } | Reply::Refused(_) | Reply::Done(_)) => Err(out_of_turn()),
            Err(broken) => Err(Broken { detail: self.last_words(broken.detail).await, ..broken }),
        }
    }

    /// Asks a process how well it is locked up.
    pub(super) async fn probe(program: &Path) -> Result<Confinement, Broken> {
        let mut runner = Self::start(program, "exec", Priority::Normal)?;
        let asked = timeout(LOAD_TIMEOUT, runner.ask(&Order::Probe, &[])).await;
        match asked.unwrap_or_else(|_| Err(Broken::resources("the runner did not answer in time")))
        {
            Ok(Reply::Loaded { confinement }) => Ok(confinement),
            Ok(Reply::Compiled { .. } | Reply::Refused(_) | Reply::Done(_) | Reply::Failed(_)) => {
                Err(out_of_turn())
            }
            Err(broken) => Err(Broken { detail: runner.last_words(broken.detail).await, ..broken }),
        }
    }

    /// Compiles a module in a process that ends afterwards.
    pub(super) async fn compile(
        program: &Path,
        module: &[u8],
        compiler: Option<Compiler>,
        purpose: Purpose,
    ) -> Result<Compiled, Broken> {
        let mut runner = Self::start(program, "compile", Priority::Normal)?;
        let compiling = runner.compile_module(module, compiler, purpose);
        let compiled = timeout(COMPILE_TIMEOUT, compiling).await;
        let over = |detail| Broken { interruption: Interruption::CompileBudget, detail };
        match compiled {
            Ok(Ok(compiled)) => Ok(compiled),
            // It is killed where it goes over its processor time or its memory.
            Ok(Err(broken)) => Err(over(runner.last_words(broken.detail).await)),
            Err(_) => Err(over("the module was not compiled in time".to_owned())),
        }
    }

    async fn compile_module(
        &mut self,
        module: &[u8],
        compiler: Option<Compiler>,
        purpose: Purpose,
    ) -> Result<Compiled, Broken> {
        let order = Order::Compile { module_bytes: length(module), compiler, purpose };
        match self.ask(&order, &[module]).await? {
            Reply::Compiled { artifact_bytes, facts } if artifact_bytes <= ARTIFACT_BYTES_MAX => {
                self.artifact(artifact_bytes, facts).await.map(Compiled::Artifact)
            }
            Reply::Refused(refusal) => Ok(Compiled::Refused(refusal)),
            Reply::Failed(text) => Err(Broken::resources(text)),
            Reply::Compiled { .. } | Reply::Loaded { .. } | Reply::Done(_) => Err(out_of_turn()),
        }
    }

    async fn artifact(&mut self, bytes: u64, facts: Facts) -> Result<Artifact, Broken> {
        Ok(Artifact { facts, code: self.bulk(bytes).await? })
    }

    /// Runs a task; says as well what each function spent, if the module was compiled to tell. After an error the
    /// process is of no use.
    pub(super) async fn run(
        &mut self,
        task: TaskRun,
        grace: Duration,
    ) -> Result<(TaskDone, Vec<(u32, u64)>), Broken> {
        let limits = task.limits;
        let order = Order::Run(Box::new(RunHeader {
            args: task.args,
            env: task.env,
            stdin_bytes: length(&task.stdin),
            files: task
                .files
                .iter()
                .map(|(path, content)| (path.clone(), length(content)))
                .collect(),
            limits,
            seed: task.seed,
        }));
        let mut bulk: Vec<&[u8]> = vec![&task.stdin];
        bulk.extend(task.files.iter().map(|(_, content)| content.as_ref()));
        let sent = timeout(BULK_TIMEOUT, self.send(&order, &bulk)).await;
        sent.unwrap_or_else(|_| {
            Err(Broken::resources("the input did not reach the runner in time"))
        })?;
        let overdue = || Broken {
            interruption: Interruption::Timeout,
            detail: "the runner did not stop at the time limit and was killed".to_owned(),
        };
        let reply = timeout(limits.timeout().saturating_add(grace), self.reply()).await;
        let Reply::Done(done) = reply.unwrap_or_else(|_| Err(overdue()))? else {
            return Err(out_of_turn());
        };
        // The runner may have been taken over: it cannot make us take more than was agreed.
        if !is_agreed(&done, &limits) {
            return Err(Broken::crashed("the runner sent more than was agreed"));
        }
        let done = timeout(BULK_TIMEOUT, self.done(*done)).await;
        done.unwrap_or_else(|_| Err(Broken::resources("the output did not come back in time")))
    }

    async fn done(&mut self, done: DoneHeader) -> Result<(TaskDone, Vec<(u32, u64)>), Broken> {
        let stdout = self.bulk(done.stdout_bytes).await?;
        let stderr = self.bulk(done.stderr_bytes).await?;
        let mut files = Vec::with_capacity(done.files.len());
        for (path, bytes) in done.files {
            files.push((path, self.bulk(bytes).await?));
        }
        let DoneHeader { outcome, fuel, peak, detail, spent, ready_us, cpu_us, .. } = done;
        let done = TaskDone {
            outcome,
            stdout,
            stderr,
            files,
            fuel,
            peak,
            detail,
            timings: Timings {
                ready: Duration::from_micros(ready_us),
                cpu: Duration::from_micros(cpu_us),
                ..Timings::default()
            },
        };
        Ok((done, spent))
    }

    /// Whether it may have so much memory.
    pub(super) const fn may_have(&self, memory_bytes: u64) -> bool {
        self.memory_bytes_max >= memory_bytes
    }

    /// Whether the process is there.
    pub(super) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The id of the process; `None` once it was seen to have ended.
    pub(super) fn process(&self) -> Option<u32> {
        self.child.id()
    }

    /// Ends the process, and adds what it said last to `detail`.
    pub(super) async fn last_words(&mut self, detail: String) -> String {
        // Before the kill: what it died of must be its own doing.
        let own = self.child.try_wait().ok().flatten();
        let killed = self.child.kill().await;
        let mut said = Vec::new();
        if let (Ok(()), Some(stderr)) = (killed, self.child.stderr.take()) {
            // The pipe has an end now, as the process has.
            if let Err(error) = stderr.take(LAST_WORDS_BYTES_MAX).read_to_end(&mut said).await {
                tracing::debug!(%error, "the last words of a runner were not heard");
            }
        }
        let own = own.map(|status| format!(" ({})", status)).unwrap_or_default();
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        if said.is_empty() { format!("{detail}{own}") } else { format!("{detail}{own}: {said}") }
    }

    async fn ask(&mut self, order: &Order, bulk: &[&[u8]]) -> Result<Reply, Broken> {
        self.send(order, bulk).await?;
        self.reply().await
    }

    async fn send(&mut self, order: &Order, bulk: &[&[u8]]) -> Result<(), Broken> {
        let mut pending = frames::head(order)
            .map_err(|error| Broken::resources(format!("the task is too large: {error}")))?;
        for part in bulk {
            if pending.len().saturating_add(part.len()) > TOGETHER_BYTES_MAX {
                self.stream.write_all(&pending).await.map_err(gone)?;
                pending.clear();
            }
            if part.len() > TOGETHER_BYTES_MAX {
                self.stream.write_all(part).await.map_err(gone)?;
            } else {
                pending.extend_from_slice(part);
            }
        }
        self.stream.write_all(&pending).await.map_err(gone)
    }

    async fn reply(&mut self) -> Result<Reply, Broken> {
        self.header().await
    }

    async fn header<T: Canonical>(&mut self) -> Result<T, Broken> {
        let mut bytes = [0; LENGTH_BYTES];
        self.stream.read_exact(&mut bytes).await.map_err(gone)?;
        let nonsense = |error| {
            Broken::crashed(format!("the runner said something that makes no sense: {error}"))
        };
        let header = self
            .bulk(
                frames::header_length(bytes)
                    .map(|bytes| u64::try_from(bytes).unwrap_or(u64::MAX))
                    .map_err(nonsense)?,
            )
            .await?;
        frames::header(&header).map_err(nonsense)
    }

    async fn bulk(&mut self, bytes: u64) -> Result<Vec<u8>, Broken> {
        // The process cannot make us reserve more than a little for nothing.
        let reserved = usize::try_from(bytes).unwrap_or(usize::MAX).min(RESERVED_BYTES_MAX);
        let mut bulk = Vec::with_capacity(reserved);
        let read = (&mut self.stream).take(bytes).read_to_end(&mut bulk).await.map_err(gone)?;
        if u64::try_from(read).ok() == Some(bytes) {
            Ok(bulk)
        } else {
            Err(gone(io::ErrorKind::UnexpectedEof.into()))
        }
    }
}

/// Whether a result is within what was agreed: lengths, fuel, memory, and files with names that are in order.
fn is_agreed(done: &DoneHeader, limits: &TaskLimits) -> bool {
    done.bulk_bytes().is_some_and(|bytes| bytes <= limits.output_bytes)
        && done.fuel <= limits.fuel
        && done.peak <= limits.memory
        && done.files.len() <= OUTPUT_FILES_MAX
        && done.files.iter().all(|(path, _)| is_relative_path(path))
        && done.files.is_sorted_by(|(left, _), (right, _)| left.as_bytes() < right.as_bytes())
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[expect(clippy::needless_pass_by_value, reason = "used as `map_err(gone)`")]
fn gone(error: io::Error) -> Broken {
    let died =
        [io::ErrorKind::UnexpectedEof, io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset];
    if died.contains(&error.kind()) {
        Broken::crashed("the runner died")
    } else {
        Broken::crashed(format!("the runner cannot be talked to: {error}"))
    }
}

fn out_of_turn() -> Broken {
    Broken::crashed("the runner answered something else")
}

#[cfg(test)]
mod tests {
    use protocol::{
        outcome::Outcome,
        units::{Fuel, Pages},
    };

    use super::*;

    #[test]
    fn a_result_beyond_what_was_agreed_is_not_taken() {
        let limits =
            TaskLimits { fuel: Fuel(10), memory: Pages(2), output_bytes: 10, timeout_ms: 1 };
        let file = |path: &str, bytes| (path.to_owned(), bytes);
        let good = DoneHeader {
            outcome: Outcome::Exit(0),
            fuel: Fuel(10),
            peak: Pages(2),
            stdout_bytes: 3,
            stderr_bytes: 3,
            files: vec![file("a", 2), file("b/c", 2)],
            detail: None,
            ran_us: 1,
            ready_us: 0,
            cpu_us: 0,
            spent: Vec::new(),
        };
        assert!(is_agreed(&good, &limits));
        for bad in [
            DoneHeader { fuel: Fuel(11), ..good.clone() },
            DoneHeader { peak: Pages(3), ..good.clone() },
            DoneHeader { stdout_bytes: 4, ..good.clone() },
            DoneHeader { stdout_bytes: u64::MAX, ..good.clone() },
            DoneHeader { files: vec![file("b", 0), file("a", 0)], ..good.clone() },
            DoneHeader { files: vec![file("a", 0), file("a", 0)], ..good.clone() },
            DoneHeader { files: vec![file("../a", 0)], ..good.clone() },
            DoneHeader { files: (0..2_000).map(|n| file(&format!("{n:04}"), 0)).collect(), ..good },
        ] {
            assert!(!is_agreed(&bad, &limits), "{bad:?}");
        }
    }
}
