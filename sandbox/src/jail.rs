//! What a runner process gives up before it touches anything that a stranger made.
//!
//! Written for Linux. What a kernel does not have or does not permit is done without, and said: see [`Confinement`].

mod landlock;
mod namespaces;
mod seccomp;

use std::{io, os::fd::RawFd, time::Duration};

use protocol::wire::advert::Isolation;
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, setrlimit};

use crate::confinement::{Confinement, MemoryBound};

/// What a runner is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Compiles one module and ends.
    Compile,
    /// Runs tasks of one module.
    Exec,
}

/// The lowest descriptor that is not ours: 0 is the socket, 1 and 2 lead nowhere or to the node's log.
const FIRST_FOREIGN: RawFd = 3;

/// Descriptors that a runner may have open.
const DESCRIPTORS_MAX: u64 = 16;
/// Processor time for one module, in seconds. Twice what the slowest admitted module took.
const COMPILE_CPU_SECONDS: u64 = 20;
/// Memory for one module, in bytes.
const COMPILE_DATA_BYTES: u64 = 1024 * 1024 * 1024;

/// A process that has given up what no runner needs, on its way to giving up the rest.
#[derive(Debug)]
pub struct Jail {
    kind: Kind,
    /// Why it has no namespaces of its own, if it has none.
    namespaces: Result<(), String>,
    /// The version of Landlock that keeps it from files and connections.
    landlock: u32,
}

impl Jail {
    /// Gives up inherited descriptors, the sight of other processes, networks and files, new privileges, core dumps.
    /// Call it first, while there is one thread: those that it starts inherit all of it. Where the kernel permits
    /// namespaces, this returns in a child of the process that called, which stays behind and ends as the child does.
    ///
    /// # Errors
    ///
    /// An error of the system: the process must end then, and not run anything.
    pub fn enter(kind: Kind) -> io::Result<Self> {
        close_from(FIRST_FOREIGN)?;
        rustix::thread::set_no_new_privs(true)?;
        let namespaces = namespaces::enter();
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        limit(Resource::Core, 0)?;
        limit(Resource::Fsize, 0)?;
        limit(Resource::Nofile, DESCRIPTORS_MAX)?;
        if kind == Kind::Compile {
            limit(Resource::Cpu, COMPILE_CPU_SECONDS)?;
            limit(Resource::Data, COMPILE_DATA_BYTES)?;
        }
        Ok(Self { kind, namespaces, landlock: landlock::restrict()? })
    }

    /// Gives up all system calls that are not needed from now on, in all threads; and, but for compilers, new code and
    /// new threads. Says how well the process is locked up then: as well as this kernel can, and no better.
    ///
    /// # Errors
    ///
    /// An error of the system: the process must end then, and not run anything.
    pub fn lock(self) -> io::Result<Confinement> {
        let calls = seccomp::restrict(self.kind)?;
        let mut lacks = Vec::new();
        if self.landlock == 0 {
            lacks.push(
                "the kernel has no Landlock, or was started without it (lsm=landlock,...)"
                    .to_owned(),
            );
        }
        if !calls {
            lacks.push("the kernel has no seccomp filters for this processor".to_owned());
        }
        let is_filtered = lacks.is_empty();
        let grade = match &self.namespaces {
            Ok(()) if is_filtered => Isolation::A,
            _ if is_filtered => Isolation::B,
            _ => Isolation::C,
        };
        lacks.extend(self.namespaces.err());
        Ok(Confinement { grade, lacks, memory: MemoryBound::Process, landlock: self.landlock })
    }
}

/// Makes this thread give way to everything else on the machine: `SCHED_IDLE`, nice 19. Other threads of the
/// process stay as they are.
///
/// # Errors
///
/// An error of the system.
pub fn give_way() -> io::Result<()> {
    rustix::process::setpriority_process(None, 19)?;
    schedule_idle()
}

/// Bounds the memory that the process may write to, in bytes. The kernel counts every private writable page as soon
/// as it is mapped, so that this is a hard bound; reserved addresses do not count.
///
/// # Errors
///
/// An error of the system.
pub(crate) fn limit_memory(bytes: u64) -> io::Result<()> {
    let maximum = getrlimit(Resource::Data).maximum;
    let current = Some(maximum.map_or(bytes, |maximum| bytes.min(maximum)));
    Ok(setrlimit(Resource::Data, Rlimit { current, maximum })?)
}

/// Bounds the memory that the process may ever write to, in bytes: [`limit_memory`] stays below it.
///
/// # Errors
///
/// An error of the system.
pub(crate) fn limit_memory_for_good(bytes: u64) -> io::Result<()> {
    limit(Resource::Data, bytes)
}

fn limit(resource: Resource, most: u64) -> io::Result<()> {
    let most = getrlimit(resource).maximum.map_or(most, |maximum| maximum.min(most));
    Ok(setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?)
}

/// Closes what was inherited by mistake.
#[expect(
    unsafe_code,
    reason = "no safe wrapper: descriptors are closed that nothing in this process owns"
)]
fn close_from(first: RawFd) -> io::Result<()> {
    // SAFETY: nothing was opened yet in this process, so that no owner is left with a closed descriptor.
    let result = unsafe { libc::close_range(first.cast_unsigned(), u32::MAX, 0) };
    match (result, io::Error::last_os_error()) {
        (0, _) => Ok(()),
        // Before Linux 5.9. Everything that we open is closed on exec anyway.
        (_, error) if error.raw_os_error() == Some(libc::ENOSYS) => Ok(()),
        (_, error) => Err(error),
    }
}

/// Processor time of this thread so far.
#[must_use]
#[expect(unsafe_code, reason = "no safe wrapper for clock_gettime")]
pub fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure lives until the call returns, which fills it or leaves it as it is.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::from_secs(seconds)
        .saturating_add(Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or_default()))
}

#[expect(unsafe_code, reason = "no safe wrapper for sched_setscheduler")]
fn schedule_idle() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the parameters live until the call returns; 0 is the calling thread.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
