//! What an execution of a task is made of, and how its output is described.
//!
//! The same for the worker that runs it, and for whoever runs it again to check a receipt: only so are the two
//! comparable.

use std::sync::Arc;

use protocol::{
    codec::{encode, try_encode},
    ids::{AccountId, Hash, JobId, TaskIndex},
    limits::RPC_BYTES_MAX,
    outcome::Outcome,
    reject::RejectReason,
    wire::{
        job::JobSpec,
        manifest::{BlobRef, OutputFile, OutputManifest, TaskInput},
    },
};
use sandbox::{
    PROFILE,
    task::{ModuleSource, TaskDone, TaskRun},
};

/// The longest description of an output, in bytes: so that its manifest and some content fit in one message.
const DESCRIPTION_BYTES_MAX: usize = RPC_BYTES_MAX >> 2;

/// A task and the content of its inputs.
#[derive(Debug)]
pub struct Execution<'a> {
    /// The job.
    pub job: JobId,
    /// The task.
    pub task: TaskIndex,
    /// What was asked for.
    pub spec: &'a JobSpec,
    /// What the task reads.
    pub input: &'a TaskInput,
    /// The content of the standard input.
    pub stdin: Arc<[u8]>,
    /// The content of the files, in the order of `input`.
    pub files: Vec<Arc<[u8]>>,
}

impl Execution<'_> {
    /// The module that the task runs: the reducing task has its own.
    #[must_use]
    pub const fn module(spec: &JobSpec, task: TaskIndex) -> Hash {
        match spec.reduce_task() {
            Some((reduce, module)) if reduce.0 == task.0 => module,
            Some(_) | None => spec.module,
        }
    }

    /// As the sandbox takes it. `owner` decides only which tasks may share a process.
    #[must_use]
    pub fn run(self, source: ModuleSource, owner: AccountId) -> TaskRun {
        let paths = self.input.files.iter().map(|file| file.path.clone());
        let mut files: Vec<_> = paths.zip(self.files).collect();
        if let Some(path) = &self.input.stdin_as {
            files.push((path.clone(), Arc::clone(&self.stdin)));
        }
        TaskRun {
            module: Self::module(self.spec, self.task),
            source,
            owner,
            args: arguments(self.spec, self.task, self.input),
            env: self.spec.env.clone(),
            stdin: self.stdin,
            files,
            limits: self.spec.limits,
            seed: seed(self.job, self.task),
        }
    }
}

/// Whether a job can be run by this build: under another profile its results would be those of this one, and its
/// receipts would name the other.
///
/// # Errors
///
/// [`RejectReason::Version`] if the job asks for another profile.
pub const fn check_profile(spec: &JobSpec) -> Result<(), RejectReason> {
    if spec.profile == PROFILE { Ok(()) } else { Err(RejectReason::Version) }
}

/// The arguments after the program's name.
fn arguments(spec: &JobSpec, task: TaskIndex, input: &TaskInput) -> Vec<String> {
    if task.0 >= spec.tasks {
        return vec!["reduce".to_owned()];
    }
    let path = input.path().unwrap_or_default();
    let put = |arg: &String| if arg == "{}" { path.clone() } else { arg.replace("{}", &path) };
    spec.args.iter().map(put).collect()
}

/// What a guest may take for random: a function of job and task, so that anybody gets the same.
fn seed(job: JobId, task: TaskIndex) -> [u8; 32] {
    Hash::of(&[b"weft/seed/1".as_slice(), &job.0, &task.0.to_le_bytes()].concat()).0
}

/// The hash that a receipt names an input by.
#[must_use]
pub fn input_hash(input: &TaskInput) -> Hash {
    Hash::of(&encode(input))
}

/// How a task ended, and the description of what it put out. What cannot be described in a message counts as too
/// large, and is left out.
#[must_use]
pub fn described(done: &TaskDone) -> (Outcome, OutputManifest) {
    let files = done
        .files
        .iter()
        .map(|(path, content)| OutputFile { path: path.clone(), blob: BlobRef::to(content) });
    let output = OutputManifest {
        stdout: BlobRef::to(&done.stdout),
        stderr: BlobRef::to(&done.stderr),
        files: files.collect(),
    };
    if try_encode(&output).is_ok_and(|bytes| bytes.len() <= DESCRIPTION_BYTES_MAX) {
        return (done.outcome, output);
    }
    let none = BlobRef::to(&[]);
    (Outcome::OutputTooLarge, OutputManifest { stdout: none, stderr: none, files: Vec::new() })
}

/// The hash that a receipt names an output by.
#[must_use]
pub fn output_hash(output: &OutputManifest) -> Hash {
    Hash::of(&encode(output))
}

#[cfg(test)]
mod tests {
    use protocol::wire::{
        advert::Isolation,
        job::{EndPolicy, Scope, TaskLimits},
        manifest::InputSource,
    };

    use super::*;

    #[test]
    fn an_output_of_too_many_files_counts_as_too_large() {
        let mut done = TaskDone::without_output(Outcome::Exit(0), None);
        done.stdout = b"text".to_vec();
        let (outcome, output) = described(&done);
        assert_eq!((outcome, output.stdout), (Outcome::Exit(0), BlobRef::to(b"text")));

        let file = |at: usize| (format!("{at:0>1000}"), Vec::new());
        done.files = (0..DESCRIPTION_BYTES_MAX / 1_000).map(file).collect();
        let (outcome, output) = described(&done);
        assert_eq!((outcome, output.len()), (Outcome::OutputTooLarge, 0));
        assert!(output.files.is_empty());
    }

    #[test]
    fn a_job_of_another_profile_is_not_run_under_this_one() {
        let spec = |profile| JobSpec {
            name: "job".to_owned(),
            module: Hash([1; 32]),
            profile,
            args: Vec::new(),
            env: Vec::new(),
            manifest: Hash([2; 32]),
            tasks: 1,
            reduce: None,
            limits: TaskLimits::default(),
            end: EndPolicy::AllOrNothing,
            scope: Scope::Mesh,
            isolation: Isolation::C,
            tags: Vec::new(),
        };
        assert_eq!(check_profile(&spec(PROFILE)), Ok(()));
        for other in [0, PROFILE + 1] {
            assert_eq!(check_profile(&spec(other)), Err(RejectReason::Version));
        }
    }

    #[test]
    fn every_task_of_every_job_has_a_seed_of_its_own() {
        let (one, two) = (JobId([1; 16]), JobId([2; 16]));
        assert_ne!(seed(one, TaskIndex(0)), seed(one, TaskIndex(1)));
        assert_ne!(seed(one, TaskIndex(0)), seed(two, TaskIndex(0)));
    }

    #[test]
    fn an_input_is_named_by_its_description() {
        let named = TaskInput { stdin: InputSource::Inline(vec![1]), ..TaskInput::none() };
        assert_ne!(input_hash(&named), input_hash(&TaskInput::none()));
    }
}
