//! What a descriptor may be used for.
//!
//! A descriptor has what its kind allows, without what its directory gave up for what is opened in it. A program can give up
//! more (`fd_fdstat_set_rights`), and never gets it back.

use super::{abi::Errno, calls::Call};

pub(super) const DATASYNC: u64 = 1;
pub(super) const READ: u64 = 1 << 1;
pub(super) const SEEK: u64 = 1 << 2;
pub(super) const SET_FLAGS: u64 = 1 << 3;
pub(super) const SYNC: u64 = 1 << 4;
pub(super) const TELL: u64 = 1 << 5;
pub(super) const WRITE: u64 = 1 << 6;
pub(super) const ADVISE: u64 = 1 << 7;
pub(super) const ALLOCATE: u64 = 1 << 8;
pub(super) const CREATE_DIRECTORY: u64 = 1 << 9;
pub(super) const CREATE_FILE: u64 = 1 << 10;
pub(super) const LINK_SOURCE: u64 = 1 << 11;
pub(super) const LINK_TARGET: u64 = 1 << 12;
pub(super) const OPEN: u64 = 1 << 13;
pub(super) const READDIR: u64 = 1 << 14;
pub(super) const READLINK: u64 = 1 << 15;
pub(super) const RENAME_SOURCE: u64 = 1 << 16;
pub(super) const RENAME_TARGET: u64 = 1 << 17;
pub(super) const PATH_STAT: u64 = 1 << 18;
pub(super) const PATH_SET_SIZE: u64 = 1 << 19;
pub(super) const PATH_SET_TIMES: u64 = 1 << 20;
pub(super) const STAT: u64 = 1 << 21;
pub(super) const SET_SIZE: u64 = 1 << 22;
pub(super) const SET_TIMES: u64 = 1 << 23;
pub(super) const SYMLINK: u64 = 1 << 24;
pub(super) const REMOVE_DIRECTORY: u64 = 1 << 25;
pub(super) const UNLINK: u64 = 1 << 26;
pub(super) const POLL: u64 = 1 << 27;
pub(super) const ALL: u64 = (1 << 30) - 1;

/// What changes a file.
pub(super) const CHANGES: u64 = WRITE | ALLOCATE | SET_SIZE;

/// What a file can be used for.
pub(super) const FILE: u64 =
    DATASYNC | READ | SEEK | SET_FLAGS | SYNC | TELL | ADVISE | STAT | SET_TIMES | POLL | CHANGES;

/// What a directory can be used for.
pub(super) const DIRECTORY: u64 = SET_FLAGS
    | SYNC
    | ADVISE
    | CREATE_DIRECTORY
    | CREATE_FILE
    | LINK_SOURCE
    | LINK_TARGET
    | OPEN
    | READDIR
    | READLINK
    | RENAME_SOURCE
    | RENAME_TARGET
    | PATH_STAT
    | PATH_SET_SIZE
    | PATH_SET_TIMES
    | STAT
    | SET_TIMES
    | SYMLINK
    | REMOVE_DIRECTORY
    | UNLINK
    | POLL;

/// What a descriptor may be used for, and what is opened from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rights {
    /// The descriptor itself.
    pub(super) own: u64,
    /// What is opened in the directory.
    pub(super) inheriting: u64,
}

impl Rights {
    /// Those of a directory that is open from the start.
    pub(super) const ROOT: Self = Self { own: DIRECTORY, inheriting: FILE | DIRECTORY };
    /// Those of a standard stream, without what it is not for. It has no position.
    pub(super) const fn stream(without: u64) -> Self {
        Self { own: ALL & !(SEEK | TELL | without), inheriting: ALL }
    }

    /// Gives up all others.
    pub(super) const fn limited(self, to: Self) -> Result<Self, Errno> {
        let has_more = to.own & !self.own != 0 || to.inheriting & !self.inheriting != 0;
        if has_more { Err(Errno::NotCapable) } else { Ok(to) }
    }
}

/// What a call needs: the places of its descriptors among the arguments, and the right.
pub(super) const fn needed(call: Call) -> &'static [(usize, u64)] {
    match call {
        Call::FdAdvise => &[(0, ADVISE)],
        Call::FdAllocate => &[(0, ALLOCATE)],
        Call::FdDatasync => &[(0, DATASYNC)],
        Call::FdFdstatSetFlags => &[(0, SET_FLAGS)],
        Call::FdFilestatGet => &[(0, STAT)],
        Call::FdFilestatSetSize => &[(0, SET_SIZE)],
        Call::FdFilestatSetTimes => &[(0, SET_TIMES)],
        Call::FdRead | Call::FdPread => &[(0, READ)],
        Call::FdReaddir => &[(0, READDIR)],
        Call::FdSeek => &[(0, SEEK)],
        Call::FdSync => &[(0, SYNC)],
        Call::FdTell => &[(0, TELL)],
        Call::FdWrite | Call::FdPwrite => &[(0, WRITE)],
        Call::PathCreateDirectory => &[(0, CREATE_DIRECTORY)],
        Call::PathFilestatGet => &[(0, PATH_STAT)],
        Call::PathFilestatSetTimes => &[(0, PATH_SET_TIMES)],
        Call::PathLink => &[(0, LINK_SOURCE), (4, LINK_TARGET)],
        Call::PathOpen => &[(0, OPEN)],
        Call::PathReadlink => &[(0, READLINK)],
        Call::PathRemoveDirectory => &[(0, REMOVE_DIRECTORY)],
        Call::PathRename => &[(0, RENAME_SOURCE), (3, RENAME_TARGET)],
        Call::PathSymlink => &[(2, SYMLINK)],
        Call::PathUnlinkFile => &[(0, UNLINK)],
        Call::ArgsGet
        | Call::ArgsSizesGet
        | Call::EnvironGet
        | Call::EnvironSizesGet
        | Call::ClockResGet
        | Call::ClockTimeGet
        | Call::FdClose
        | Call::FdFdstatGet
        | Call::FdFdstatSetRights
        | Call::FdPrestatGet
        | Call::FdPrestatDirName
        | Call::FdRenumber
        | Call::PollOneoff
        | Call::ProcExit
        | Call::ProcRaise
        | Call::RandomGet
        | Call::SchedYield
        | Call::SockAccept
        | Call::SockRecv
        | Call::SockSend
        | Call::SockShutdown => &[],
    }
}
