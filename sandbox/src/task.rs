//! One execution of a module: what goes in, what comes out.

use std::{path::PathBuf, sync::Arc, time::Duration};

use protocol::{
    ids::{AccountId, Hash},
    outcome::Outcome,
    units::{Fuel, Pages},
    wire::job::TaskLimits,
};

/// Where the bytes of a module can be read, if its artifact is not in the cache.
#[derive(Debug, Clone)]
pub enum ModuleSource {
    /// A file, for example in the blob store.
    File(PathBuf),
    /// In memory.
    Bytes(Arc<[u8]>),
}

/// What to run. Everything that the result depends on is in here, and nothing else has an influence.
#[derive(Debug, Clone)]
pub struct TaskRun {
    /// The module's hash. It is checked against `source` before anything is compiled.
    pub module: Hash,
    /// Where the module's bytes are.
    pub source: ModuleSource,
    /// Whose task it is. A process never serves two owners.
    pub owner: AccountId,
    /// The arguments after the program's name, which is always `program`.
    pub args: Vec<String>,
    /// The environment of the program; nothing of the host's is added.
    pub env: Vec<(String, String)>,
    /// The standard input.
    pub stdin: Arc<[u8]>,
    /// The files below `/in`: relative paths with `/` between the parts, and their content.
    pub files: Vec<(String, Arc<[u8]>)>,
    /// What it may use.
    pub limits: TaskLimits,
    /// The seed of everything that the program may take for random: a function of job and task.
    pub seed: [u8; 32],
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskDone {
    /// How it ended.
    pub outcome: Outcome,
    /// The standard output, as far as it was written; nothing of it if the process died.
    pub stdout: Vec<u8>,
    /// The standard error, as far as it was written; nothing of it if the process died.
    pub stderr: Vec<u8>,
    /// The files that it left in `/out`, by their paths below it, in the order of the paths' bytes. Empty unless
    /// the program ended by itself.
    pub files: Vec<(String, Vec<u8>)>,
    /// The fuel that was used; exactly the limit if it ran out.
    pub fuel: Fuel,
    /// The most linear memory that it had.
    pub peak: Pages,
    /// More for people, if there is more to say: why a module was refused, how a process died.
    pub detail: Option<String>,
    /// How long it took. Differs from run to run; never part of a result.
    pub timings: Timings,
}

impl TaskDone {
    /// A task that ended without any output.
    #[must_use]
    pub const fn without_output(outcome: Outcome, detail: Option<String>) -> Self {
        Self {
            outcome,
            stdout: Vec::new(),
            stderr: Vec::new(),
            files: Vec::new(),
            fuel: Fuel(0),
            peak: Pages(0),
            detail,
            timings: Timings {
                queued: Duration::ZERO,
                prepared: Duration::ZERO,
                ran: Duration::ZERO,
                ready: Duration::ZERO,
                cpu: Duration::ZERO,
            },
        }
    }
}

/// How long the parts of a task took on this host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// Waiting for a free slot.
    pub queued: Duration,
    /// Admission and compilation or the cache, and the start of a process where none was warm.
    pub prepared: Duration,
    /// From handing over the task to having its result.
    pub ran: Duration,
    /// Of that, inside the runner: from the order being read to the guest's first instruction. By the runner's word.
    pub ready: Duration,
    /// Processor time of the runner for it. By the runner's word.
    pub cpu: Duration,
}
