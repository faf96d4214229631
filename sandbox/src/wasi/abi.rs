//! Numbers and layouts of WASI preview 1, and checked access to the memory of a program.

/// An error number, as a program sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Errno {
    /// Permission denied.
    Access = 2,
    /// No such descriptor, or not open for this.
    BadDescriptor = 8,
    /// Exists already.
    Exists = 20,
    /// An address outside the program's memory.
    Fault = 21,
    /// Not UTF-8.
    IllegalBytes = 25,
    /// An argument makes no sense.
    Invalid = 28,
    /// A directory where none may be.
    IsDirectory = 31,
    /// Too many links on a path.
    Loop = 32,
    /// Too many open descriptors.
    TooManyOpen = 33,
    /// A name that is too long.
    NameTooLong = 37,
    /// Does not exist.
    NotFound = 44,
    /// The most files exist already.
    NoSpace = 51,
    /// Not a directory.
    NotDirectory = 54,
    /// A directory that is not empty.
    NotEmpty = 55,
    /// Not a socket.
    NotSocket = 57,
    /// There is no such thing here.
    NotSupported = 58,
    /// Not with this kind of file.
    NotPermitted = 63,
    /// A read-only file or directory.
    ReadOnly = 69,
    /// No position to seek to.
    NotSeekable = 70,
    /// Outside of what the descriptor may be used for.
    NotCapable = 76,
}

/// Why a program does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// It ended by itself.
    #[error("exit code {0}")]
    Exit(u32),
    /// Its fuel ran out.
    #[error("out of fuel")]
    OutOfFuel,
    /// It wrote more than it may.
    #[error("output too large")]
    OutputTooLarge,
}

/// What a call comes to, other than success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The program is told.
    Errno(Errno),
    /// The program is ended.
    Stop(Stop),
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl From<Stop> for Failure {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

/// Fuel that is left, or the end of the program.
#[derive(Debug)]
pub(super) struct Meter<'a> {
    pub(super) left: &'a mut i64,
}

impl Meter<'_> {
    /// Takes `fuel`.
    pub(super) fn charge(&mut self, fuel: u64) -> Result<(), Stop> {
        *self.left = self.left.saturating_sub(i64::try_from(fuel).unwrap_or(i64::MAX));
        if *self.left < 0 { Err(Stop::OutOfFuel) } else { Ok(()) }
    }

    /// Takes what moving so many bytes costs.
    pub(super) fn charge_bytes(&mut self, bytes: u64) -> Result<(), Stop> {
        self.charge(bytes.div_ceil(crate::metering::cost::BYTES_PER_FUEL))
    }
}

/// The arguments of a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Args<'a>(pub(super) &'a [u64]);

impl Args<'_> {
    /// The argument of that place as 64 bits.
    pub(super) fn long(self, place: usize) -> u64 {
        self.0.get(place).copied().unwrap_or_default()
    }

    /// The argument of that place as 32 bits: an address, a length, a descriptor, flags.
    #[expect(clippy::cast_possible_truncation, reason = "32-bit arguments are passed in 64 bits")]
    pub(super) fn word(self, place: usize) -> u32 {
        self.long(place) as u32
    }
}

/// The memory of a program.
#[derive(Debug)]
pub(super) struct Memory<'a>(pub(super) &'a mut [u8]);

impl Memory<'_> {
    /// So many bytes from `address` on.
    pub(super) fn bytes(&self, address: u32, length: u32) -> Result<&[u8], Errno> {
        self.0.get(range(address, length)?).ok_or(Errno::Fault)
    }

    /// So many bytes from `address` on, to be written.
    pub(super) fn bytes_mut(&mut self, address: u32, length: u32) -> Result<&mut [u8], Errno> {
        self.0.get_mut(range(address, length)?).ok_or(Errno::Fault)
    }

    /// Writes bytes.
    pub(super) fn put(&mut self, address: u32, bytes: &[u8]) -> Result<(), Errno> {
        let length = u32::try_from(bytes.len()).map_err(|_| Errno::Fault)?;
        self.bytes_mut(address, length)?.copy_from_slice(bytes);
        Ok(())
    }

    /// Writes a 32-bit number.
    pub(super) fn put_word(&mut self, address: u32, value: u32) -> Result<(), Errno> {
        self.put(address, &value.to_le_bytes())
    }

    /// Writes a 64-bit number.
    pub(super) fn put_long(&mut self, address: u32, value: u64) -> Result<(), Errno> {
        self.put(address, &value.to_le_bytes())
    }

    /// Reads a 32-bit number.
    pub(super) fn word(&self, address: u32) -> Result<u32, Errno> {
        let bytes = self.bytes(address, 4)?;
        bytes.try_into().map(u32::from_le_bytes).map_err(|_| Errno::Fault)
    }

    /// Reads a 64-bit number.
    pub(super) fn long(&self, address: u32) -> Result<u64, Errno> {
        let bytes = self.bytes(address, 8)?;
        bytes.try_into().map(u64::from_le_bytes).map_err(|_| Errno::Fault)
    }

    /// Reads a text.
    pub(super) fn text(&self, address: u32, length: u32) -> Result<&str, Errno> {
        std::str::from_utf8(self.bytes(address, length)?).map_err(|_| Errno::IllegalBytes)
    }

    /// Reads a list of buffers: pairs of address and length. At most 1,024, as in POSIX.
    pub(super) fn buffers(&self, address: u32, count: u32) -> Result<Vec<(u32, u32)>, Errno> {
        const BUFFERS_MAX: u32 = 1_024;
        if count > BUFFERS_MAX {
            return Err(Errno::Invalid);
        }
        let list = self.bytes(address, count.saturating_mul(8))?;
        let (pairs, _) = list.as_chunks::<8>();
        pairs
            .iter()
            .map(|pair| {
                let pair = u64::from_le_bytes(*pair);
                let (address, length) = (pair & 0xffff_ffff, pair >> 32);
                let narrow = |value| u32::try_from(value).map_err(|_| Errno::Fault);
                Ok((narrow(address)?, narrow(length)?))
            })
            .collect()
    }
}

fn range(address: u32, length: u32) -> Result<std::ops::Range<usize>, Errno> {
    let start = usize::try_from(address).map_err(|_| Errno::Fault)?;
    let length = usize::try_from(length).map_err(|_| Errno::Fault)?;
    Ok(start..start.checked_add(length).ok_or(Errno::Fault)?)
}

/// The address so many bytes further on.
pub(super) fn after(address: u32, bytes: u32) -> Result<u32, Errno> {
    address.checked_add(bytes).ok_or(Errno::Fault)
}

/// What a file is (`filetype`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum FileType {
    /// A stream: neither a terminal nor a file.
    Unknown = 0,
    /// A directory.
    Directory = 3,
    /// A file.
    Regular = 4,
    /// A link that names a path.
    Link = 7,
}

/// Flags of `path_open`.
pub(super) mod oflags {
    pub(in crate::wasi) const CREATE: u32 = 1;
    pub(in crate::wasi) const DIRECTORY: u32 = 2;
    pub(in crate::wasi) const EXCLUSIVE: u32 = 4;
    pub(in crate::wasi) const TRUNCATE: u32 = 8;
}

/// Flags of an open descriptor.
pub(super) mod fdflags {
    pub(in crate::wasi) const APPEND: u16 = 1;
    pub(in crate::wasi) const ALL: u16 = 31;
}

/// Flags of a path: whether a link at its end is followed.
pub(super) mod lookup {
    pub(in crate::wasi) const FOLLOW: u32 = 1;
}

/// Flags of setting times: which, and whether to now.
pub(super) mod fstflags {
    pub(in crate::wasi) const ACCESSED: u32 = 1;
    pub(in crate::wasi) const ACCESSED_NOW: u32 = 2;
    pub(in crate::wasi) const MODIFIED: u32 = 4;
    pub(in crate::wasi) const MODIFIED_NOW: u32 = 8;
    pub(in crate::wasi) const ALL: u32 = 15;
}
