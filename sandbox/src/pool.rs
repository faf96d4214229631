//! What a node sees of the sandbox: a task goes in, its result comes out.
//!
//! Runner processes are kept warm between tasks of the same owner and module, at most two for each slot, and one that has no
//! module yet, if [`Config::spare`] says so; the one that waited longest goes first. A process never serves two owners or two modules.
//!
//! Nothing that a guest or a runner does is an error of the node: it is an outcome.

mod artifacts;
mod compiling;
mod idle;
mod process;
mod refused;

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use protocol::{
    ids::{AccountId, Hash},
    limits::MODULE_BYTES_MAX,
    outcome::{Interruption, Outcome},
    wire::advert::Isolation,
};
use tokio::{sync::Semaphore, time::Instant};

use self::{
    artifacts::Artifacts,
    compiling::Compiling,
    idle::Idle,
    process::{Broken, Runner},
};
pub use crate::runner::Priority;
use crate::{
    confinement::Confinement,
    frames,
    task::{ModuleSource, TaskDone, TaskRun, Timings},
};

/// The environment variable that names the runner's program.
pub const RUNNER_VARIABLE: &str = "WEFT_RUNNER";
/// The name of the runner's program.
pub const RUNNER_NAME: &str = "weft-runner";

/// How long after its time limit a task's runner may take to say so, before it is killed.
const GRACE: Duration = Duration::from_millis(250);

/// What a pool needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// The program `weft-runner`; see [`find_runner`].
    pub runner: PathBuf,
    /// The directory of compiled modules. Created with mode 0700; nobody else may write to it.
    pub artifacts: PathBuf,
    /// How much may lie there, in bytes. What was not used for longest goes first.
    pub artifact_bytes_max: u64,
    /// Tasks that run at once.
    pub slots: u16,
    /// Whether guests give way to everything else on the machine.
    pub priority: Priority,
    /// Whether a process without a module is kept ready for the next one, so that its start does not have to be waited
    /// for. For nodes: a command that runs one task would start it for nothing.
    pub spare: bool,
}

impl Config {
    /// A pool that gives way, with 2 GiB for compiled modules.
    #[must_use]
    pub const fn new(runner: PathBuf, artifacts: PathBuf, slots: u16) -> Self {
        Self {
            runner,
            artifacts,
            artifact_bytes_max: 2 * 1024 * 1024 * 1024,
            slots,
            priority: Priority::Idle,
            spare: false,
        }
    }
}

/// A pool could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no runner.
    #[error(
        "the program `weft-runner` was not found: it belongs beside `weft`, or set WEFT_RUNNER to its path (looked for {})",
        tried.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    NoRunner {
        /// Where it was looked for.
        tried: Vec<PathBuf>,
    },
    /// The directory of compiled modules cannot be used.
    #[error("the directory of compiled modules, {}, cannot be used", path.display())]
    Artifacts {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Looks for the program `weft-runner`: where `WEFT_RUNNER` says, beside the running program, and in the directory
/// above that, where test programs find it.
///
/// # Errors
///
/// [`Error::NoRunner`] with all places that were tried.
pub fn find_runner() -> Result<PathBuf, Error> {
    runner_for(std::env::var_os(RUNNER_VARIABLE), &std::env::current_exe().unwrap_or_default())
}

fn runner_for(variable: Option<OsString>, program: &Path) -> Result<PathBuf, Error> {
    if let Some(path) = variable.filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        return if path.is_file() { Ok(path) } else { Err(Error::NoRunner { tried: vec![path] }) };
    }
    let directories = program.ancestors().skip(1).take(2);
    let tried: Vec<_> = directories.map(|directory| directory.join(RUNNER_NAME)).collect();
    tried.iter().find(|path| path.is_file()).cloned().ok_or(Error::NoRunner { tried })
}

/// Whose process it is: it serves nobody and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    owner: AccountId,
    module: Hash,
}

/// Runs tasks. Cheap to clone; all clones are the same pool.
#[derive(Debug, Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: Config,
    slots: Semaphore,
    idle: Idle,
    compiling: Compiling,
}

impl Pool {
    /// Makes a pool. Starts no process yet. Blocks on the file system for a moment.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub fn new(config: Config) -> Result<Self, Error> {
        if !config.runner.is_file() {
            return Err(Error::NoRunner { tried: vec![config.runner] });
        }
        let failed = |source| Error::Artifacts { path: config.artifacts.clone(), source };
        let artifacts =
            Artifacts::open(&config.artifacts, config.artifact_bytes_max, &config.runner)
                .map_err(failed)?;
        let slots = usize::from(config.slots.max(1));
        Ok(Self {
            shared: Arc::new(Shared {
                slots: Semaphore::new(slots),
                idle: Idle::new(slots.saturating_mul(2).saturating_add(config.spare.into())),
                compiling: Compiling::new(config.runner.clone(), artifacts),
                config,
            }),
        })
    }

    /// Tasks that could start now.
    #[must_use]
    pub fn free_slots(&self) -> usize {
        self.shared.slots.available_permits()
    }

    /// Runs a task; waits for a free slot first. Must be called within a tokio runtime with I/O and time.
    ///
    /// Cancel safe: dropping the future kills the process that runs the task, and the slot is free again.
    pub async fn run(&self, task: TaskRun) -> TaskDone {
        let arrived = Instant::now();
        let Ok(_slot) = self.shared.slots.acquire().await else {
            return interrupted(Interruption::Withdrawn, "the pool is closed".to_owned());
        };
        let started = Instant::now();
        let mut runner = match self.shared.runner(&task).await {
            Ok(runner) => runner,
            Err(done) => return *done,
        };
        let prepared = Instant::now();
        let key = Key { owner: task.owner, module: task.module };
        let mut done = match runner.run(task, GRACE).await {
            Ok((done, _)) => {
                self.shared.idle.put(Some(key), runner, Instant::now());
                self.shared.replace_spare();
                done
            }
            Err(broken) => {
                tracing::debug!(%key.module, detail = %broken.detail, "a runner is gone");
                let detail = runner.last_words(broken.detail).await;
                interrupted(broken.interruption, detail)
            }
        };
        done.timings = Timings {
            queued: started.saturating_duration_since(arrived),
            prepared: prepared.saturating_duration_since(started),
            ran: prepared.elapsed(),
            ..done.timings
        };
        done
    }

    /// Runs a task and says what each of the module's own functions spent on it, by their number, most first; their
    /// names are in [`crate::metering::function_names`]. Compiled for this alone and slower; fuel, output and outcome
    /// are those of [`Self::run`]. What is missing to the fuel was spent before the start and in calls of the host.
    ///
    /// Cancel safe: dropping the future kills the process.
    pub async fn explain(&self, task: TaskRun) -> (TaskDone, Vec<(u32, u64)>) {
        let Ok(_slot) = self.shared.slots.acquire().await else {
            let closed = "the pool is closed".to_owned();
            return (interrupted(Interruption::Withdrawn, closed), Vec::new());
        };
        let artifact = match self.shared.compiling.explained(task.module, &task.source).await {
            Ok(artifact) => artifact,
            Err(done) => return (*done, Vec::new()),
        };
        let memory = memory_bytes(&task);
        let ran = async {
            let mut runner = self.shared.exec()?;
            runner.load(&artifact, memory).await?;
            runner.run(task, GRACE).await
        };
        let ran = ran.await;
        match ran {
            Ok((done, mut spent)) => {
                spent.sort_by_key(|(number, spent)| (std::cmp::Reverse(*spent), *number));
                (done, spent)
            }
            Err(broken) => (interrupted(broken.interruption, broken.detail), Vec::new()),
        }
    }

    /// Compiles a module ahead of its first task, so that a refusal is known early.
    ///
    /// Cancel safe: dropping the future stops the compilation.
    ///
    /// # Errors
    ///
    /// The result that every task of this module would have.
    pub async fn prepare(&self, module: Hash, source: &ModuleSource) -> Result<(), Box<TaskDone>> {
        self.shared.compiling.artifact(module, source).await.map(|_| ())
    }

    /// How well guests are kept from this host: measured, by asking a process that locked itself up.
    ///
    /// Cancel safe: dropping the future ends the process.
    ///
    /// # Errors
    ///
    /// The process's own words, if it could not lock itself up or not even start: then no task would run here.
    pub async fn isolation(&self) -> Result<Isolation, String> {
        self.confinement().await.map(|confinement| confinement.grade)
    }

    /// The same as [`Self::isolation`], with what keeps this host from a better grade.
    ///
    /// Cancel safe: dropping the future ends the process.
    ///
    /// # Errors
    ///
    /// The process's own words, if it could not lock itself up or not even start.
    pub async fn confinement(&self) -> Result<Confinement, String> {
        Runner::probe(&self.shared.config.runner).await.map_err(|broken| broken.detail)
    }

    /// The ids of the processes that wait for work.
    #[must_use]
    pub fn idle_processes(&self) -> Vec<u32> {
        self.shared.idle.processes()
    }

    /// Ends processes that have waited for work longer than `longest`, so that a host that is not used gets its memory
    /// back. For a node's timer.
    pub fn retire(&self, longest: Duration) {
        if let Some(since) = Instant::now().checked_sub(longest) {
            self.shared.idle.retire(since);
        }
    }

    /// Ends all processes that wait for work.
    pub fn clear(&self) {
        self.shared.idle.clear();
    }
}

impl Shared {
    /// Starts a process without a module.
    fn exec(&self) -> Result<Runner, Broken> {
        Runner::exec(&self.config.runner, self.config.priority)
    }

    /// Starts a process for the next module, if none waits for it.
    fn replace_spare(&self) {
        if !self.config.spare || self.idle.has_spare() {
            return;
        }
        match self.exec() {
            Ok(runner) => self.idle.put(None, runner, Instant::now()),
            Err(broken) => tracing::debug!(detail = %broken.detail, "no spare runner was started"),
        }
    }

    /// A warm runner, or a new one.
    async fn runner(&self, task: &TaskRun) -> Result<Runner, Box<TaskDone>> {
        let memory = memory_bytes(task);
        if let Some(runner) = self.idle.take(Key { owner: task.owner, module: task.module }, memory)
        {
            return Ok(runner);
        }
        self.compiling.known_refusal(task.module).map_or(Ok(()), Err)?;
        // It has started, or it starts while the code is read.
        let started = self.idle.take_spare().map_or_else(|| self.exec(), Ok);
        let artifact = self.compiling.artifact(task.module, &task.source).await?;
        let loaded = match started {
            Ok(mut runner) => runner.load(&artifact, memory).await.map(|()| runner),
            Err(broken) => Err(broken),
        };
        loaded.map_err(|broken| Box::new(interrupted(broken.interruption, broken.detail)))
    }
}

/// What a runner needs for a task, in bytes. Input is counted by the whole 64 MiB, so that tasks of one job, whose
/// inputs differ, find each other's runners.
fn memory_bytes(task: &TaskRun) -> u64 {
    const STEP: u64 = 64 * 1024 * 1024;
    let wide = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
    let files = task.files.iter().map(|(_, content)| wide(content.len()));
    let input = files.fold(wide(task.stdin.len()), u64::saturating_add);
    frames::memory_bytes(&task.limits, input.checked_next_multiple_of(STEP).unwrap_or(u64::MAX))
}

/// A task that the host ended, and why.
const fn interrupted(interruption: Interruption, detail: String) -> TaskDone {
    TaskDone::without_output(Outcome::Indeterminate(interruption), Some(detail))
}

/// Reads a module and checks that it is the one.
async fn read_module(module: Hash, source: &ModuleSource) -> Result<Arc<[u8]>, Box<TaskDone>> {
    let missing = |text: String| Box::new(interrupted(Interruption::InputMissing, text));
    let bytes = match source {
        ModuleSource::Bytes(bytes) => Arc::clone(bytes),
        ModuleSource::File(path) => read_file(path)
            .await
            .map_err(|error| missing(format!("{}: {error}", path.display())))?,
    };
    let check = Arc::clone(&bytes);
    let found = tokio::task::spawn_blocking(move || Hash::of(&check)).await;
    match found {
        Ok(found) if found == module => Ok(bytes),
        _ => Err(missing(format!("the module is not the one with hash {module}"))),
    }
}

async fn read_file(path: &Path) -> io::Result<Arc<[u8]>> {
    if tokio::fs::metadata(path).await?.len() > MODULE_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("a module has at most {MODULE_BYTES_MAX} bytes"),
        ));
    }
    Ok(Arc::from(tokio::fs::read(path).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runner_is_where_the_variable_says_or_beside_the_program() {
        let directory = tempfile::tempdir().unwrap();
        let runner = directory.path().join(RUNNER_NAME);
        let (beside, below) =
            (directory.path().join("weft"), directory.path().join("deps/test-1234"));
        assert_eq!(
            runner_for(None, &below).unwrap_err().to_string().matches("weft-runner,").count(),
            1
        );
        std::fs::write(&runner, "").unwrap();
        assert_eq!(runner_for(None, &beside).unwrap(), runner);
        assert_eq!(runner_for(None, &below).unwrap(), runner);
        assert_eq!(runner_for(Some(OsString::new()), &beside).unwrap(), runner);
        assert_eq!(runner_for(Some(runner.clone().into()), Path::new("/x")).unwrap(), runner);
        // What was asked for and is not there is not replaced by something else.
        assert!(runner_for(Some("/no/such/runner".into()), &beside).is_err());
    }
}
