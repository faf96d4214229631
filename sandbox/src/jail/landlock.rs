//! No file, no network, no signal to others: Landlock, where the kernel has it.
//!
//! Source: `linux/landlock.h`, `Documentation/userspace-api/landlock.rst`.

use std::{
    ffi::{c_int, c_long, c_void},
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    ptr,
};

/// `LANDLOCK_CREATE_RULESET_VERSION`: asks which version the kernel has.
const VERSION: u32 = 1;

/// `struct landlock_ruleset_attr`. Older kernels know only the beginning of it.
#[repr(C)]
struct Ruleset {
    files: u64,
    network: u64,
    scoped: u64,
}

impl Ruleset {
    /// Everything that a kernel of that version can forbid, and how many bytes of this it knows.
    const fn everything(version: c_long) -> (Self, usize) {
        // 13 rights in version 1; `REFER`, `TRUNCATE` and `IOCTL_DEV` came in 2, 3 and 5.
        let files = match version {
            1 => 0x1fff,
            2 => 0x3fff,
            3 | 4 => 0x7fff,
            _ => 0xffff,
        };
        let ruleset = Self { files, network: 0b11, scoped: 0b11 };
        let known = match version {
            1..=3 => 8,
            4 | 5 => 16,
            _ => 24,
        };
        (ruleset, known)
    }
}

/// Forbids this thread, and those that it starts, every file and every connection. Gives the version of the kernel's
/// Landlock, 0 if it has none: it may be too old, or have been started without it.
///
/// # Errors
///
/// An error of the system other than that.
#[expect(unsafe_code, reason = "no safe wrapper for these three calls")]
pub(super) fn restrict() -> io::Result<u32> {
    // SAFETY: with this flag the call takes no pointer and only gives a number.
    let version = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, ptr::null::<c_void>(), 0_usize, VERSION)
    };
    if version < 1 {
        return Ok(0);
    }
    let (ruleset, bytes) = Ruleset::everything(version);
    // SAFETY: the structure lives until the call returns and has at least that many bytes.
    let made = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, &raw const ruleset, bytes, 0_u32)
    };
    let made = c_int::try_from(made)
        .ok()
        .filter(|descriptor| *descriptor >= 0)
        .ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the kernel just gave it to us, and nobody else has it.
    let made = unsafe { OwnedFd::from_raw_fd(made) };
    // SAFETY: takes two numbers.
    match unsafe { libc::syscall(libc::SYS_landlock_restrict_self, made.as_raw_fd(), 0_u32) } {
        0 => Ok(u32::try_from(version).unwrap_or(u32::MAX)),
        _ => Err(io::Error::last_os_error()),
    }
}
