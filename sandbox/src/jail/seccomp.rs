//! The system calls that are left: seccomp, on the architectures that we know.
//!
//! A call that is not on the list fails with `EPERM`, so that a library that tries something and can do without
//! goes on. Source: `Documentation/userspace-api/seccomp_filter.rst`.

use std::{ffi::c_long, io};

use libc::{sock_filter, sock_fprog};

use super::Kind;

/// `AUDIT_ARCH_X86_64` or `AUDIT_ARCH_AARCH64`: the architecture that system calls are numbered for.
const ARCHITECTURE: Option<u32> = if cfg!(target_arch = "x86_64") {
    Some(0xc000_003e)
} else if cfg!(target_arch = "aarch64") {
    Some(0xc000_00b7)
} else {
    None
};

/// What a runner needs: its socket, memory that is not executable, its own threads' signals, the time, its end.
const ALLOWED: &[c_long] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_ppoll,
    libc::SYS_close,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_restart_syscall,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_getrandom,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_membarrier,
    libc::SYS_exit,
    libc::SYS_exit_group,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
];

/// Where the number of a call, its architecture and the low halves of its arguments are in `seccomp_data`.
const NUMBER_AT: u32 = 0;
const ARCHITECTURE_AT: u32 = 4;
const FIRST_ARGUMENT_AT: u32 = 16;
const THIRD_ARGUMENT_AT: u32 = 32;
const FOURTH_ARGUMENT_AT: u32 = 40;

/// Leaves all threads of the process only the calls that its kind needs. Says whether this architecture is known
/// and the kernel can do it.
///
/// # Errors
///
/// An error of the system other than that.
#[expect(unsafe_code, reason = "no safe wrapper for seccomp")]
pub(super) fn restrict(kind: Kind) -> io::Result<bool> {
    let Some(architecture) = ARCHITECTURE else { return Ok(false) };
    let mut filter = program(architecture, kind);
    let len = u16::try_from(filter.len()).map_err(io::Error::other)?;
    let program = sock_fprog { len, filter: filter.as_mut_ptr() };
    let (mode, all_threads) = (libc::SECCOMP_SET_MODE_FILTER, libc::SECCOMP_FILTER_FLAG_TSYNC);
    // SAFETY: the program and its instructions live until the call returns; the kernel checks and copies them.
    match unsafe { libc::syscall(libc::SYS_seccomp, mode, all_threads, &raw const program) } {
        0 => Ok(true),
        _ => match io::Error::last_os_error() {
            error if [Some(libc::ENOSYS), Some(libc::EINVAL)].contains(&error.raw_os_error()) => {
                Ok(false)
            }
            error => Err(error),
        },
    }
}

/// The filter, in classic BPF.
fn program(architecture: u32, kind: Kind) -> Vec<sock_filter> {
    let deny = verdict(libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned());
    let allow = verdict(libc::SECCOMP_RET_ALLOW);
    // Another architecture numbers its calls differently: what would be allowed there is something else.
    let mut filter =
        vec![load(ARCHITECTURE_AT), unless_equal(architecture, 1), skip(1), deny, load(NUMBER_AT)];
    for number in ALLOWED {
        filter.extend([unless_equal(narrow(*number), 1), allow]);
    }
    // Signals and limits: its own only.
    let own = std::process::id();
    for (number, only) in [(libc::SYS_tgkill, own), (libc::SYS_prlimit64, 0)] {
        filter.extend([
            unless_equal(narrow(number), 4),
            load(FIRST_ARGUMENT_AT),
            unless_equal(only, 1),
            allow,
            deny,
        ]);
    }
    match kind {
        Kind::Compile => filter.extend(compiling(deny, allow)),
        Kind::Exec => filter.extend(executing(deny, allow)),
    }
    filter.push(deny);
    filter
}

/// A compiler maps what it likes and starts threads, but no processes. It names its threads and its memory.
fn compiling(deny: sock_filter, allow: sock_filter) -> Vec<sock_filter> {
    let (thread, name_thread) =
        (libc::CLONE_THREAD.cast_unsigned(), libc::PR_SET_NAME.cast_unsigned());
    vec![
        unless_equal(narrow(libc::SYS_mmap), 1),
        allow,
        unless_equal(narrow(libc::SYS_mprotect), 1),
        allow,
        // Its flags are in memory, where a filter cannot look. Libraries go on with `clone` then.
        unless_equal(narrow(libc::SYS_clone3), 1),
        verdict(libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned()),
        unless_equal(narrow(libc::SYS_clone), 4),
        load(FIRST_ARGUMENT_AT),
        unless_bits(thread, 1),
        allow,
        deny,
        unless_equal(narrow(libc::SYS_prctl), 4),
        load(FIRST_ARGUMENT_AT),
        unless_equal(name_thread, 1),
        allow,
        deny,
    ]
}

/// What runs guests maps nothing that is executable; and nothing that is shared, which the limit of its memory would
/// not count.
fn executing(deny: sock_filter, allow: sock_filter) -> Vec<sock_filter> {
    let (executable, shared) = (libc::PROT_EXEC.cast_unsigned(), libc::MAP_SHARED.cast_unsigned());
    vec![
        unless_equal(narrow(libc::SYS_mmap), 7),
        load(THIRD_ARGUMENT_AT),
        unless_bits(executable, 1),
        deny,
        load(FOURTH_ARGUMENT_AT),
        unless_bits(shared, 1),
        deny,
        allow,
        unless_equal(narrow(libc::SYS_mprotect), 4),
        load(THIRD_ARGUMENT_AT),
        unless_bits(executable, 1),
        deny,
        allow,
    ]
}

/// System calls have small numbers.
fn narrow(number: c_long) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn instruction(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: u16::try_from(code).unwrap_or(u16::MAX), jt, jf, k }
}

/// Loads 32 bits of what is known about the call.
fn load(at: u32) -> sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, at, 0, 0)
}

/// Skips so many instructions unless what was loaded is `value`.
fn unless_equal(value: u32, skipped: u8) -> sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value, 0, skipped)
}

/// Skips so many instructions unless one of the bits is set in what was loaded.
fn unless_bits(bits: u32, skipped: u8) -> sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, bits, 0, skipped)
}

/// Skips so many instructions.
fn skip(instructions: u32) -> sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_JA, instructions, 0, 0)
}

/// Ends the filter.
fn verdict(value: u32) -> sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, value, 0, 0)
}
