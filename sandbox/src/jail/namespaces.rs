//! A machine of its own: namespaces of users, processes, network, mounts, IPC and host name, where the kernel permits
//! them to those who are not root.
//!
//! The process splits. The first half stays outside, holds nothing, waits, and ends as the other does. The second is
//! process 1 of its namespace: it sees no other process, no network device that is up, and an empty read-only root.
//! When the first is killed, the kernel kills the second, and with process 1 everything in its namespace.
//!
//! Source: `namespaces(7)`, `user_namespaces(7)`, `pid_namespaces(7)`.

use std::{ffi::CStr, fs, io, ptr};

use rustix::thread::{CapabilitySet, CapabilitySets};

/// Whom the process is inside, and outside if it was root: nobody.
const NOBODY: u32 = 65_534;

/// All namespaces but that of time, which wasmer's clock needs, and that of cgroups, which hides only a name.
const ALL: libc::c_int = libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS;

/// Enters new namespaces; returns in the inner process only. `Err` says in words why there are none, and the process
/// is as it was.
///
/// Call it while there is one thread.
pub(super) fn enter() -> Result<(), String> {
    become_nobody().map_err(|error| format!("root could not be given up: {error}"))?;
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    // SAFETY: takes flags; there is one thread, and nothing else relies on what it gives up.
    #[expect(unsafe_code, reason = "no safe wrapper that takes all of these flags at once")]
    if unsafe { libc::unshare(ALL) } != 0 {
        return Err(refused(&io::Error::last_os_error()));
    }
    // From here on an error leaves a process in namespaces that are not complete: safe, but not what A promises.
    let map = |file: &str, text: String| {
        fs::write(file, text).map_err(|error| format!("{file} could not be written: {error}"))
    };
    map("/proc/self/setgroups", "deny".to_owned())?;
    map("/proc/self/uid_map", format!("{NOBODY} {} 1", user.as_raw()))?;
    map("/proc/self/gid_map", format!("{NOBODY} {} 1", group.as_raw()))?;
    empty_root().map_err(|error| format!("an empty root could not be mounted: {error}"))?;
    split().map_err(|error| format!("the process could not be split: {error}"))?;
    drop_capabilities().map_err(|error| format!("capabilities could not be dropped: {error}"))
}

/// Why a kernel says no, and what would have to change.
fn refused(error: &io::Error) -> String {
    let hint = match error.raw_os_error() {
        Some(libc::EPERM) => {
            "the kernel, its security module or this container does not let unprivileged users have namespaces \
             (kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns, or the container's \
             seccomp profile)"
        }
        Some(libc::ENOSPC) => "no more namespaces are permitted (user.max_user_namespaces)",
        Some(libc::EINVAL) => {
            "this kernel does not have all namespaces, or the process has several threads"
        }
        _ => "namespaces could not be made",
    };
    format!("{hint}: {error}")
}

/// Root outside is root again if anything goes wrong: it is given up first.
#[expect(unsafe_code, reason = "no safe wrappers that change all ids of the process at once")]
fn become_nobody() -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let checked = |result| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    // SAFETY: takes a length of 0 and no list.
    checked(unsafe { libc::setgroups(0, ptr::null()) })?;
    // SAFETY: take numbers; there is one thread.
    checked(unsafe { libc::setresgid(NOBODY, NOBODY, NOBODY) })?;
    // SAFETY: as above.
    checked(unsafe { libc::setresuid(NOBODY, NOBODY, NOBODY) })?;
    // Changing ids takes the process's own files below /proc away from it.
    Ok(rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable)?)
}

/// Nothing is left of the file system but an empty directory that cannot be written to.
#[expect(unsafe_code, reason = "no safe wrapper for mount")]
fn empty_root() -> io::Result<()> {
    let mount = |from: &CStr, to: &CStr, kind: &CStr, flags, data: &CStr| {
        // SAFETY: all texts end with a zero and live until the call returns.
        match unsafe {
            libc::mount(from.as_ptr(), to.as_ptr(), kind.as_ptr(), flags, data.as_ptr().cast())
        } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    mount(c"none", c"/", c"none", libc::MS_REC | libc::MS_PRIVATE, c"")?;
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC | libc::MS_RDONLY;
    // Any directory will do; this one is there, since it was just used.
    mount(c"none", c"/proc", c"tmpfs", flags, c"size=4k,nr_inodes=2,mode=0555")?;
    rustix::process::chroot("/proc")?;
    rustix::process::chdir("/")?;
    Ok(())
}

/// Goes on as process 1 of the new namespace. The first process never returns from here.
#[expect(unsafe_code, reason = "no safe wrapper for fork")]
fn split() -> io::Result<()> {
    // SAFETY: there is one thread, so that the child has all of the process.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(rustix::process::set_parent_process_death_signal(Some(
            rustix::process::Signal::KILL,
        ))?),
        child => wait_for(child),
    }
}

/// Waits for the inner process and ends as it did.
#[expect(
    unsafe_code,
    reason = "no safe wrappers to close what others own, and to end without running destructors"
)]
fn wait_for(child: libc::pid_t) -> ! {
    // SAFETY: this half of the process uses nothing of it any more; it must not keep the inner one's socket open.
    unsafe { libc::close_range(0, u32::MAX, 0) };
    let mut status = 0;
    loop {
        // SAFETY: the status lives until the call returns.
        let ended = unsafe { libc::waitpid(child, &raw mut status, 0) };
        if ended == child || io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
            break;
        }
    }
    if libc::WIFSIGNALED(status) {
        // SAFETY: takes two numbers. The node sees what ended the inner process.
        unsafe { libc::raise(libc::WTERMSIG(status)) };
    }
    let code = if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 1 };
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

/// Root inside could do nothing outside, but why should it be root.
fn drop_capabilities() -> io::Result<()> {
    let none = CapabilitySet::empty();
    let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
    Ok(rustix::thread::set_capabilities(None, none)?)
}
