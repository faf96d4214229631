//! What a node and its runner processes say to each other over their socket.
//!
//! A frame is the length of its header in 4 bytes, little-endian; the header in the canonical codec; then the bulk,
//! whose parts and lengths the header tells. A node sends an [`Order`], a runner answers each with one [`Reply`].
//! Neither side believes the other: what is longer than it may be ends the conversation.

use protocol::{
    codec::{Canonical, DecodeError, decode, try_encode},
    outcome::Outcome,
    units::{Fuel, Pages},
    wire::job::TaskLimits,
};
use serde::{Deserialize, Serialize};

use crate::{
    admission::{Compiler, Facts, Refusal},
    confinement::Confinement,
    metering::Purpose,
};

/// The longest header, in bytes: a reducing task has one line in it for each of its inputs.
pub const HEADER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The bytes before a header.
pub const LENGTH_BYTES: usize = 4;

/// The longest artifact, in bytes.
pub const ARTIFACT_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// What a node wants from a runner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Admit, instrument and compile the module in the bulk. The only order of a compiling runner.
    Compile {
        /// How long it is.
        module_bytes: u64,
        /// The compiler to use whatever the module looks like.
        compiler: Option<Compiler>,
        /// What the code is for.
        purpose: Purpose,
    },
    /// Load the artifact in the bulk. The first order of an executing runner.
    Load {
        /// How long it is.
        artifact_bytes: u64,
        /// What is known about its module.
        facts: Facts,
        /// The most memory that the process will ever be allowed, in bytes: see [`memory_bytes`].
        memory_bytes_max: u64,
    },
    /// Say how well an executing runner is locked up on this machine, and end. Instead of [`Order::Load`].
    Probe,
    /// Run the loaded module. In the bulk: the standard input, then the files, in this order.
    Run(Box<RunHeader>),
}

/// A task, without its bulk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunHeader {
    /// The arguments after the program's name.
    pub args: Vec<String>,
    /// The environment.
    pub env: Vec<(String, String)>,
    /// How long the standard input is.
    pub stdin_bytes: u64,
    /// The files below `/in` and how long they are.
    pub files: Vec<(String, u64)>,
    /// What it may use.
    pub limits: TaskLimits,
    /// The seed of its randomness.
    pub seed: [u8; 32],
}

/// What a runner answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The module was compiled. The artifact is in the bulk.
    Compiled {
        /// How long it is.
        artifact_bytes: u64,
        /// What is known about its module.
        facts: Facts,
    },
    /// The module is not run.
    Refused(Refusal),
    /// The artifact was loaded.
    Loaded {
        /// How well the process is locked up.
        confinement: Confinement,
    },
    /// The task has ended. In the bulk: stdout, stderr, the files, in this order.
    Done(Box<DoneHeader>),
    /// The order could not be carried out, and why. The runner ends.
    Failed(String),
}

/// A result, without its bulk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoneHeader {
    /// How it ended.
    pub outcome: Outcome,
    /// The fuel that it used.
    pub fuel: Fuel,
    /// The most memory that it had.
    pub peak: Pages,
    /// How long stdout is.
    pub stdout_bytes: u64,
    /// How long stderr is.
    pub stderr_bytes: u64,
    /// The files below `/out` and how long they are.
    pub files: Vec<(String, u64)>,
    /// More for people.
    pub detail: Option<String>,
    /// How long it ran, in microseconds.
    pub ran_us: u64,
    /// From the order being read to the guest's first instruction, in microseconds.
    pub ready_us: u64,
    /// Processor time of the runner since its last task ended, in microseconds.
    pub cpu_us: u64,
    /// What its functions spent, those that spent anything, by their number: only of modules that were compiled to
    /// be explained. The rest was spent before the start and in calls of the host.
    pub spent: Vec<(u32, u64)>,
}

/// Memory of a runner besides the guest's, its input and its output, in bytes: the loaded code's data, two stacks of
/// 32 MiB, buffers.
const OWN_BYTES: u64 = 256 * 1024 * 1024;

/// What a runner needs for a task with so much input, in bytes.
#[must_use]
pub fn memory_bytes(limits: &TaskLimits, input_bytes: u64) -> u64 {
    // Twice: input and output are copied once on their way.
    let bulk = input_bytes.saturating_add(limits.output_bytes).saturating_mul(2);
    OWN_BYTES.saturating_add(limits.memory.bytes()).saturating_add(bulk)
}

impl DoneHeader {
    /// All lengths together; `None` if they do not fit.
    #[must_use]
    pub fn bulk_bytes(&self) -> Option<u64> {
        let streams = self.stdout_bytes.checked_add(self.stderr_bytes)?;
        self.files.iter().try_fold(streams, |sum, (_, bytes)| sum.checked_add(*bytes))
    }
}

impl Canonical for Order {
    const BYTES_MAX: usize = HEADER_BYTES_MAX;
}

impl Canonical for Reply {
    const BYTES_MAX: usize = HEADER_BYTES_MAX;
}

/// The length and the header of a frame.
///
/// # Errors
///
/// [`DecodeError::TooLong`] if the header is longer than [`HEADER_BYTES_MAX`].
pub fn head<T: Canonical>(header: &T) -> Result<Vec<u8>, DecodeError> {
    let header = try_encode(header)?;
    let too_long = |_| DecodeError::TooLong { found: header.len(), limit: HEADER_BYTES_MAX };
    let length = u32::try_from(header.len()).map_err(too_long)?;
    Ok([length.to_le_bytes().as_slice(), &header].concat())
}

/// How long the header is that comes after these bytes.
///
/// # Errors
///
/// [`DecodeError::TooLong`] if it is longer than [`HEADER_BYTES_MAX`].
pub fn header_length(bytes: [u8; LENGTH_BYTES]) -> Result<usize, DecodeError> {
    let found = usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX);
    if found > HEADER_BYTES_MAX {
        Err(DecodeError::TooLong { found, limit: HEADER_BYTES_MAX })
    } else {
        Ok(found)
    }
}

/// The header in these bytes.
///
/// # Errors
///
/// See [`DecodeError`].
pub fn header<T: Canonical>(bytes: &[u8]) -> Result<T, DecodeError> {
    decode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_back() {
        let order = Order::Run(Box::new(RunHeader {
            args: vec!["reduce".to_owned()],
            env: vec![("KEY".to_owned(), "value".to_owned())],
            stdin_bytes: 3,
            files: vec![("a/b".to_owned(), 7)],
            limits: TaskLimits::default(),
            seed: [9; 32],
        }));
        let bytes = head(&order).unwrap();
        let (length, rest) = bytes.split_first_chunk().unwrap();
        assert_eq!(header_length(*length), Ok(rest.len()));
        assert_eq!(header(rest), Ok(order));
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_anything_is_read() {
        assert!(header_length(u32::MAX.to_le_bytes()).is_err());
    }

    #[test]
    fn lengths_that_do_not_add_up_are_noticed() {
        let done = DoneHeader {
            outcome: Outcome::Exit(0),
            fuel: Fuel(1),
            peak: Pages(1),
            stdout_bytes: u64::MAX,
            stderr_bytes: 1,
            files: Vec::new(),
            detail: None,
            ran_us: 0,
            ready_us: 0,
            cpu_us: 0,
            spent: Vec::new(),
        };
        assert_eq!(done.bulk_bytes(), None);
    }
}
