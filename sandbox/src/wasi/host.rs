//! The host that a program talks to.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    abi::{Args, Errno, Failure, Memory, Meter, Stop, fdflags},
    calls::Call,
    rights::{self, Rights},
    tree::{BadInput, NodeId, ROOT, Tree},
};
use crate::metering::cost::HOST_CALL_FUEL;

/// Descriptors that may be open at once.
const DESCRIPTORS_MAX: usize = 1_024;

/// What a program is called by `argv[0]`.
const PROGRAM: &str = "program";

/// What a program is given.
#[derive(Debug, Clone)]
pub struct Given {
    /// The arguments after the program's name.
    pub args: Vec<String>,
    /// The environment.
    pub env: Vec<(String, String)>,
    /// The standard input.
    pub stdin: Arc<[u8]>,
    /// The files below `/in`.
    pub files: Vec<(String, Arc<[u8]>)>,
    /// The seed of its randomness.
    pub seed: [u8; 32],
    /// The most that it may put out, in bytes: stdout, stderr and all files together.
    pub output_bytes_max: u64,
    /// Its fuel limit: the clock begins there.
    pub fuel_max: u64,
}

/// What a program put out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// The standard output.
    pub stdout: Vec<u8>,
    /// The standard error.
    pub stderr: Vec<u8>,
    /// The files below `/out`, in the order of their paths' bytes.
    pub files: Vec<(String, Vec<u8>)>,
}

/// An open file.
#[derive(Debug, Clone, Copy)]
pub(super) struct OpenFile {
    pub(super) node: NodeId,
    pub(super) position: u64,
    pub(super) flags: u16,
}

/// What a descriptor stands for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Descriptor {
    Stdin { position: usize },
    Stdout,
    Stderr,
    Directory { node: NodeId, preopened: bool },
    File(OpenFile),
}

/// An open descriptor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Open {
    pub(super) what: Descriptor,
    pub(super) rights: Rights,
}

/// The host that a program talks to: all that it can see and change.
#[derive(Debug)]
pub struct Host {
    /// Arguments with the program's name, each with its final zero.
    pub(super) args: Vec<Vec<u8>>,
    /// The environment as `KEY=value`, each with its final zero.
    pub(super) env: Vec<Vec<u8>>,
    pub(super) stdin: Arc<[u8]>,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    pub(super) tree: Tree,
    pub(super) descriptors: BTreeMap<u32, Open>,
    pub(super) random: blake3::OutputReader,
    /// How long it slept, in nanoseconds.
    pub(super) slept: u64,
    pub(super) fuel_max: u64,
    output_bytes_max: u64,
}

impl Host {
    /// The host for one program.
    ///
    /// # Errors
    ///
    /// [`BadInput`] if an input cannot be a file.
    pub fn new(given: Given) -> Result<Self, BadInput> {
        let zero_ended = |text: String| [text.as_bytes(), &[0]].concat();
        let program = std::iter::once(PROGRAM.to_owned());
        let descriptors = [
            (Descriptor::Stdin { position: 0 }, Rights::stream(rights::WRITE)),
            (Descriptor::Stdout, Rights::stream(rights::READ)),
            (Descriptor::Stderr, Rights::stream(rights::READ)),
            (Descriptor::Directory { node: ROOT, preopened: true }, Rights::ROOT),
        ]
        .map(|(what, rights)| Open { what, rights });
        let random = blake3::Hasher::new_derive_key("weft 2026-11 randomness of a task")
            .update(&given.seed)
            .finalize_xof();
        Ok(Self {
            args: program.chain(given.args).map(zero_ended).collect(),
            env: given
                .env
                .into_iter()
                .map(|(key, value)| zero_ended(format!("{key}={value}")))
                .collect(),
            stdin: given.stdin,
            stdout: Vec::new(),
            stderr: Vec::new(),
            tree: Tree::new(given.files)?,
            descriptors: (0..).zip(descriptors).collect(),
            random,
            slept: 0,
            fuel_max: given.fuel_max,
            output_bytes_max: given.output_bytes_max,
        })
    }

    /// Answers a call. `fuel` is what is left; it is charged, and below zero if it ran out. Gives the error number,
    /// 0 for success.
    ///
    /// # Errors
    ///
    /// [`Stop`] if the program does not go on.
    pub fn call(
        &mut self,
        call: Call,
        args: &[u64],
        memory: &mut [u8],
        fuel: &mut i64,
    ) -> Result<u32, Stop> {
        let mut meter = Meter { left: fuel };
        meter.charge(HOST_CALL_FUEL)?;
        match self.answer(call, Args(args), &mut Memory(memory), &mut meter) {
            Ok(()) => Ok(0),
            Err(Failure::Errno(errno)) => Ok(errno as u32),
            Err(Failure::Stop(stop)) => Err(stop),
        }
    }

    /// Takes what the program put out, once it has ended.
    #[must_use]
    pub fn take_output(&mut self) -> Output {
        Output {
            stdout: std::mem::take(&mut self.stdout),
            stderr: std::mem::take(&mut self.stderr),
            files: self.tree.take_outputs(),
        }
    }

    fn answer(
        &mut self,
        call: Call,
        args: Args<'_>,
        memory: &mut Memory<'_>,
        meter: &mut Meter<'_>,
    ) -> Result<(), Failure> {
        self.check_rights(call, args)?;
        match call {
            Call::ArgsGet => self.args_get(args, memory, meter),
            Call::ArgsSizesGet => self.args_sizes_get(args, memory),
            Call::EnvironGet => self.environ_get(args, memory, meter),
            Call::EnvironSizesGet => self.environ_sizes_get(args, memory),
            Call::ClockResGet => Self::clock_res_get(args, memory),
            Call::ClockTimeGet => self.clock_time_get(args, memory, meter),
            Call::FdAdvise | Call::FdDatasync | Call::FdSync => self.fd_exists(args),
            Call::FdAllocate => self.fd_allocate(args, meter),
            Call::FdClose => self.fd_close(args),
            Call::FdFdstatGet => self.fd_fdstat_get(args, memory),
            Call::FdFdstatSetFlags => self.fd_fdstat_set_flags(args),
            Call::FdFdstatSetRights => self.fd_fdstat_set_rights(args),
            Call::FdFilestatGet => self.fd_filestat_get(args, memory),
            Call::FdFilestatSetSize => self.fd_filestat_set_size(args, meter),
            Call::FdFilestatSetTimes => self.fd_filestat_set_times(args, meter),
            Call::FdPread => self.fd_pread(args, memory, meter),
            Call::FdPrestatGet => self.fd_prestat_get(args, memory),
            Call::FdPrestatDirName => self.fd_prestat_dir_name(args, memory),
            Call::FdPwrite => self.fd_pwrite(args, memory, meter),
            Call::FdRead => self.fd_read(args, memory, meter),
            Call::FdReaddir => self.fd_readdir(args, memory, meter),
            Call::FdRenumber => self.fd_renumber(args),
            Call::FdSeek => self.fd_seek(args, memory),
            Call::FdTell => self.fd_tell(args, memory),
            Call::FdWrite => self.fd_write(args, memory, meter),
            Call::PathCreateDirectory => self.path_create_directory(args, memory, meter),
            Call::PathFilestatGet => self.path_filestat_get(args, memory, meter),
            Call::PathFilestatSetTimes => self.path_filestat_set_times(args, memory, meter),
            Call::PathOpen => self.path_open(args, memory, meter),
            Call::PathReadlink => self.path_readlink(args, memory, meter),
            Call::PathRemoveDirectory => self.path_remove_directory(args, memory, meter),
            Call::PathRename => self.path_rename(args, memory, meter),
            Call::PathUnlinkFile => self.path_unlink_file(args, memory, meter),
            Call::PathLink => self.path_link(args, memory, meter),
            Call::PathSymlink => self.path_symlink(args, memory, meter),
            Call::PollOneoff => self.poll_oneoff(args, memory, meter),
            Call::ProcExit => Err(Stop::Exit(args.word(0)).into()),
            Call::ProcRaise => Err(Errno::NotSupported.into()),
            Call::RandomGet => self.random_get(args, memory, meter),
            Call::SchedYield => Ok(()),
            Call::SockAccept | Call::SockRecv | Call::SockSend | Call::SockShutdown => {
                self.socket(args)
            }
        }
    }

    /// Whether the descriptors among the arguments may be used so. What a descriptor's kind is never for is left to the
    /// call, which knows the better error number.
    fn check_rights(&self, call: Call, args: Args<'_>) -> Result<(), Errno> {
        for (place, needed) in rights::needed(call) {
            let open = self.opened(args.word(*place))?;
            let sensible = match open.what {
                Descriptor::File(_) => rights::FILE,
                Descriptor::Directory { .. } => rights::DIRECTORY,
                Descriptor::Stdin { .. } | Descriptor::Stdout | Descriptor::Stderr => {
                    rights::ALL & !(rights::SEEK | rights::TELL)
                }
            };
            if needed & sensible & !open.rights.own != 0 {
                return Err(if needed & (rights::READ | rights::WRITE) != 0 {
                    Errno::BadDescriptor
                } else {
                    Errno::NotCapable
                });
            }
        }
        Ok(())
    }

    /// The open descriptor of that number.
    pub(super) fn opened(&self, number: u32) -> Result<Open, Errno> {
        self.descriptors.get(&number).copied().ok_or(Errno::BadDescriptor)
    }

    /// What the descriptor of that number stands for.
    pub(super) fn descriptor(&self, number: u32) -> Result<Descriptor, Errno> {
        self.opened(number).map(|open| open.what)
    }

    /// The open file of that number.
    pub(super) fn file_mut(&mut self, number: u32) -> Result<&mut OpenFile, Errno> {
        match self.descriptors.get_mut(&number).map(|open| &mut open.what) {
            Some(Descriptor::File(file)) => Ok(file),
            Some(Descriptor::Directory { .. }) => Err(Errno::IsDirectory),
            Some(Descriptor::Stdin { .. } | Descriptor::Stdout | Descriptor::Stderr) => {
                Err(Errno::NotSeekable)
            }
            None => Err(Errno::BadDescriptor),
        }
    }

    /// The directory of that number.
    pub(super) fn directory(&self, number: u32) -> Result<NodeId, Errno> {
        match self.descriptor(number)? {
            Descriptor::Directory { node, .. } => Ok(node),
            Descriptor::Stdin { .. }
            | Descriptor::Stdout
            | Descriptor::Stderr
            | Descriptor::File(_) => Err(Errno::NotDirectory),
        }
    }

    /// Opens a descriptor with the lowest free number.
    pub(super) fn open(&mut self, what: Descriptor, rights: Rights) -> Result<u32, Errno> {
        if self.descriptors.len() >= DESCRIPTORS_MAX {
            return Err(Errno::TooManyOpen);
        }
        // The first gap in the sorted numbers, or the one after them.
        let used =
            self.descriptors.keys().zip(0..).take_while(|(used, place)| *used == place).count();
        let number = u32::try_from(used).map_err(|_| Errno::TooManyOpen)?;
        if let Some(node) = node_of(what) {
            self.tree.opened(node);
        }
        self.descriptors.insert(number, Open { what, rights });
        Ok(number)
    }

    /// Closes a descriptor.
    pub(super) fn close(&mut self, number: u32) -> Result<(), Errno> {
        let descriptor = self.descriptors.remove(&number).ok_or(Errno::BadDescriptor)?;
        if let Some(node) = node_of(descriptor.what) {
            self.tree.closed(node);
        }
        Ok(())
    }

    /// Ends the program if it would have put out more than it may with `more` bytes.
    pub(super) fn check_output(&self, more: u64) -> Result<(), Stop> {
        let streams = self.stdout.len().saturating_add(self.stderr.len());
        let streams = u64::try_from(streams).unwrap_or(u64::MAX);
        let all = streams.saturating_add(self.tree.written()).saturating_add(more);
        if all > self.output_bytes_max { Err(Stop::OutputTooLarge) } else { Ok(()) }
    }
}

fn node_of(descriptor: Descriptor) -> Option<NodeId> {
    match descriptor {
        Descriptor::Directory { node, .. } => Some(node),
        Descriptor::File(file) => Some(file.node),
        Descriptor::Stdin { .. } | Descriptor::Stdout | Descriptor::Stderr => None,
    }
}

impl OpenFile {
    /// Whether all writing goes to the end.
    pub(super) const fn appends(&self) -> bool {
        self.flags & fdflags::APPEND != 0
    }
}
