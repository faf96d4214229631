//! Calls on open descriptors.

use super::{
    abi::{Args, Errno, Failure, FileType, Memory, Meter, after, fdflags, fstflags},
    host::{Descriptor, Host, Open, OpenFile},
    process::START,
    rights::Rights,
    tree::{NodeId, Stat, Times},
};

const SEEK_SET: u32 = 0;
const SEEK_CURRENT: u32 = 1;
const SEEK_END: u32 = 2;
const DIRECTORY_ENTRY_BYTES: usize = 24;
/// What looking at a buffer costs, besides its bytes.
const FUEL_PER_BUFFER: u64 = 4;
/// Entries that are skipped for one unit of fuel.
const SKIPPED_PER_FUEL: u64 = 16;

impl Host {
    /// For calls that change nothing here: sync, advice.
    pub(super) fn fd_exists(&self, args: Args<'_>) -> Result<(), Failure> {
        self.descriptor(args.word(0))?;
        Ok(())
    }

    pub(super) fn fd_close(&mut self, args: Args<'_>) -> Result<(), Failure> {
        Ok(self.close(args.word(0))?)
    }

    pub(super) fn fd_renumber(&mut self, args: Args<'_>) -> Result<(), Failure> {
        let (from, to) = (args.word(0), args.word(1));
        let open = self.opened(from)?;
        self.opened(to)?;
        if from != to {
            self.close(to)?;
            self.descriptors.remove(&from);
            self.descriptors.insert(to, open);
        }
        Ok(())
    }

    /// Gives up rights. None come back.
    pub(super) fn fd_fdstat_set_rights(&mut self, args: Args<'_>) -> Result<(), Failure> {
        let open = self.opened(args.word(0))?;
        let wanted = Rights { own: args.long(1), inheriting: args.long(2) };
        let rights = open.rights.limited(wanted)?;
        self.descriptors.insert(args.word(0), Open { rights, ..open });
        Ok(())
    }

    pub(super) fn fd_fdstat_get(
        &self,
        args: Args<'_>,
        memory: &mut Memory<'_>,
    ) -> Result<(), Failure> {
        let Open { what, rights } = self.opened(args.word(0))?;
        let (file_type, flags) = match what {
            Descriptor::Stdin { .. } => (FileType::Unknown, 0),
            Descriptor::Stdout | Descriptor::Stderr => (FileType::Unknown, fdflags::APPEND),
            Descriptor::Directory { .. } => (FileType::Directory, 0),
            Descriptor::File(file) => (FileType::Regular, file.flags),
        };
        let mut stat = [0; 24];
        let [kind, _, low, high, ..] = &mut stat;
        *kind = file_type as u8;
        [*low, *high] = flags.to_le_bytes();
        memory.put(args.word(1), &stat)?;
        memory.put_long(after(args.word(1), 8)?, rights.own)?;
        Ok(memory.put_long(after(args.word(1), 16)?, rights.inheriting)?)
    }

    pub(super) fn fd_fdstat_set_flags(&mut self, args: Args<'_>) -> Result<(), Failure> {
        let flags = u16::try_from(args.word(1))
            .ok()
            .filter(|flags| *flags <= fdflags::ALL)
            .ok_or(Errno::Invalid)?;
        self.descriptor(args.word(0))?;
        if let Ok(file) = self.file_mut(args.word(0)) {
            file.flags = flags;
        }
        Ok(())
    }

    pub(super) fn fd_filestat_get(
        &self,
        args: Args<'_>,
        memory: &mut Memory<'_>,
    ) -> Result<(), Failure> {
        let node = match self.descriptor(args.word(0))? {
            Descriptor::Directory { node, .. } => node,
            Descriptor::File(file) => file.node,
            Descriptor::Stdin { .. } | Descriptor::Stdout | Descriptor::Stderr => {
                return put_stat(memory, args.word(1), STREAM);
            }
        };
        self.put_filestat(memory, args.word(1), node)
    }

    /// Writes what is known about a node.
    pub(super) fn put_filestat(
        &self,
        memory: &mut Memory<'_>,
        at: u32,
        node: NodeId,
    ) -> Result<(), Failure> {
        put_stat(memory, at, self.tree.stat(node)?)
    }

    pub(super) fn fd_filestat_set_times(
        &mut self,
        args: Args<'_>,
        meter: &Meter<'_>,
    ) -> Result<(), Failure> {
        let node = match self.descriptor(args.word(0))? {
            Descriptor::Directory { node, .. } => node,
            Descriptor::File(file) => file.node,
            Descriptor::Stdin { .. } | Descriptor::Stdout | Descriptor::Stderr => {
                return Err(Errno::NotSupported.into());
            }
        };
        self.set_times(node, [args.long(1), args.long(2)], args.word(3), meter)
    }

    /// Sets the times that the flags name: when it was read, when it was changed.
    pub(super) fn set_times(
        &mut self,
        node: NodeId,
        [accessed, modified]: [u64; 2],
        flags: u32,
        meter: &Meter<'_>,
    ) -> Result<(), Failure> {
        use fstflags::{ACCESSED, ACCESSED_NOW, ALL, MODIFIED, MODIFIED_NOW};
        let both = |one, other| flags & one != 0 && flags & other != 0;
        if flags & !ALL != 0 || both(ACCESSED, ACCESSED_NOW) || both(MODIFIED, MODIFIED_NOW) {
            return Err(Errno::Invalid.into());
        }
        let now = self.wall_clock(meter);
        let old = self.tree.stat(node)?.times;
        let choose = |given: u32, at_once: u32, time, old| {
            if flags & given != 0 {
                time
            } else if flags & at_once != 0 {
                now
            } else {
                old
            }
        };
        let times = Times {
            accessed: choose(ACCESSED, ACCESSED_NOW, accessed, old.accessed),
            modified: choose(MODIFIED, MODIFIED_NOW, modified, old.modified),
        };
        Ok(self.tree.set_times(node, times)?)
    }

    pub(super) fn fd_filestat_set_size(
        &mut self,
        args: Args<'_>,
        meter: &mut Meter<'_>,
    ) -> Result<(), Failure> {
        self.resize(args.word(0), args.long(1), meter)
    }

    pub(super) fn fd_allocate(
        &mut self,
        args: Args<'_>,
        meter: &mut Meter<'_>,
    ) -> Result<(), Failure> {
        let end = args.long(1).checked_add(args.long(2)).ok_or(Errno::Invalid)?;
        let node = self.file_mut(args.word(0))?.node;
        if self.tree.growth(node, end)? == 0 {
            return Ok(());
        }
        self.resize(args.word(0), end, meter)
    }

    fn resize(&mut self, number: u32, size: u64, meter: &mut Meter<'_>) -> Result<(), Failure> {
        let file = *self.file_mut(number)?;
        let more = self.tree.growth(file.node, size)?;
        self.check_output(more)?;
        meter.charge_bytes(more)?;
        Ok(self.tree.resize(file.node, size)?)
    }

    pub(super) fn fd_prestat_get(
        &self,
        args: Args<'_>,
        memory: &mut Memory<'_>,
    ) -> Result<(), Failure> {
        match self.descriptor(args.word(0))? {
            Descriptor::Directory { preopened: true, .. } => {
                memory.put_word(args.word(1), 0)?;
                Ok(memory.put_word(after(args.word(1), 4)?, 1)?)
            }
            Descriptor::Directory { .. }
            | Descriptor::Stdin { .. }
            | Descriptor::Stdout
            | Descriptor::Stderr
            | Descriptor::File(_) => Err(Errno::BadDescriptor.into()),
        }
    }

    /// The one directory that is open from the start is the root.
    pub(super) fn fd_prestat_dir_name(
        &self,
        args: Args<'_>,
        memory: &mut Memory<'_>,
    ) -> Result<(), Failure> {
        self.directory(args.word(0))?;
        if args.word(2) == 0 {
            return Err(Errno::NameTooLong.into());
        }
        Ok(memory.put(args.word(1), b"/")?)
    }

    pub(super) fn fd_seek(
        &mut self,
        args: Args<'_>,
        memory: &mut Memory<'_>,
    ) -> Result<(), Failure> {
        let file = *self.file_mut(args.word(0))?;
        let base = match args.word(2) {
            SEEK_SET => 0,
            SEEK_CURRENT => file.position,
            SEEK_END => self.tree.stat(file.node)?.size,
            _ => return Err(Errno::Invalid.into()),
        };
        let offset = args.long(1).cast_signed();
        let position =
            base.checked_add_signed(offset).filter(|position| *position <= i64::MAX.unsigned_abs());
        let position = position.ok_or(Errno::Invalid)?;
        self.file_mut(args.word(0))?.position = position;
        Ok(memory.put_long(args.word(3), position)?)
    }

    pub(super) fn fd_tell(
        &mut self,
        args: Args<'_>,
        memory: &mut Memory<'_>,
    ) -> Result<(), Failure> {
        let position = self.file_mut(args.word(0))?.position;
        Ok(memory.put_long(args.word(1), position)?)
    }

    pub(super) fn fd_read(
        &mut self,
        args: Args<'_>,
        memory: &mut Memory<'_>,
        meter: &mut Meter<'_>,
    ) -> Result<(), Failure> {
        let buffers = buffers(args, memory, meter)?;
        let read = match self.descriptor(args.word(0))? {
            Descriptor::Stdin { position } => {
                let read = scatter(
                    self.stdin.get(position..).unwrap_or_default(),
                    &buffers,
                    memory,
                    meter,
                )?;
                let position = position.saturating_add(usize::try_from(read).unwrap_or(usize::MAX));
                if let Some(open) = self.descriptors.get_mut(&args.word(0)) {
                    open.what = Descriptor::Stdin { position };
                }
                read
            }
            Descriptor::File(file) => {
                let read =
                    scatter(self.tree.read(file.node, file.position)?, &buffers, memory, meter)?;
                let file = self.file_mut(args.word(0))?;
                file.position = file.position.saturating_add(read.into());
                read
            }
            Descriptor::Directory { .. } => return Err(Errno::IsDirectory.into()),
            Descriptor::Stdout | Descriptor::Stderr => return Err(Errno::BadDescriptor.into()),
        };
        Ok(memory.put_word(args.word(3), read)?)
    }

    pub(super) fn fd_pread(
        &mut self,
        args: Args<'_>,
        memory: &mut Memory<'_>,
        meter: &mut Meter<'_>,
    ) -> Result<(), Failure> {
        let buffers = buffers(args, memory, meter)?;
        let node = self.file_mut(args.word(0))?.node;
        let read = scatter(self.tree.read(node, args.long(3))?, &buffers, memory, meter)?;
        Ok(memory.put_word(args.word(4), read)?)
    }

    pub(super) fn fd_write(
        &mut self,
        args: Args<'_>,
        memory: &mut Memory<'_>,
        meter: &mut Meter<'_>,
    ) -> Result<(), Failure> {
        let buffers = buffers(args, memory, meter)?;
        let total: u64 = buffers.iter().map(|(_, length)| u64::from(*length)).sum();
        meter.charge_bytes(total)?;
        match self.descriptor(args.word(0))? {
            Descriptor::Stdout | Descriptor::Stderr => {
                self.check_output(total)?;
                let is_stdout = matches!(self.descriptor(args.word(0))?, Descriptor::Stdout);
                for (at, length) in buffers {
                    let bytes = memory.bytes(at, length)?;
                    if is_stdout { &mut self.stdout } else { &mut self.stderr }
                        .extend_from_slice(bytes);
                }
            }
            Descriptor::File(file) => {
                let position =
                    if file.appends() { self.tree.stat(file.node)?.size } else { file.position };
                let file = OpenFile { position, ..file };
                let end = self.write_buffers(file, &buffers, memory, meter)?;
                self.file_mut(args.word(0))?.position = end;
            }
            Descriptor::Directory { .. } => return Err(Errno::IsDirectory.into()),
            Descriptor::Stdin { .. } => return Err(Errno::BadDescriptor.into()),
        }
        Ok(memory.put_word(args.word(3), u32::try_from(total).map_err(|_| Errno::Invalid)?)?)
    }

    pub(super) fn fd_pwrite(
        &mut self,
        args: Args<'_>,
        memory: &mut Memory<'_>,
        meter: &mut Meter<'_>,
    ) -> Result<(), Failure> {
        let buffers = buffers(args, memory, meter)?;
        let total: u64 = buffers.iter().map(|(_, length)| u64::from(*length)).sum();
        meter.charge_bytes(total)?;
        let file = *self.file_mut(args.word(0))?;
        self.write_buffers(OpenFile { position: args.long(3), ..file }, &buffers, memory, meter)?;
        Ok(memory.put_word(args.word(4), u32::try_from(total).map_err(|_| Errno::Invalid)?)?)
    }

    /// Writes buffers into a file from its position on; gives the position after them.
    fn write_buffers(
        &mut self,
        file: OpenFile,
        buffers: &[(u32, u32)],
        memory: &Memory<'_>,
        meter: &mut Meter<'_>,
    ) -> Result<u64, Failure> {
        let total: u64 = buffers.iter().map(|(_, length)| u64::from(*length)).sum();
        let end = file.position.checked_add(total).ok_or(Errno::Invalid)?;
        if total == 0 {
            return Ok(end);
        }
        let more = self.tree.growth(file.node, end)?;
        self.check_output(more)?;
        // A gap before the buffers is filled with zeros, which is work too.
        meter.charge_bytes(more.saturating_sub(total))?;
        let mut position = file.position;
        for (at, length) in buffers {
            self.tree.write(file.node, position, memory.bytes(*at, *length)?)?;
            position = position.saturating_add(u64::from(*length));
        }
        Ok(end)
    }

    pub(super) fn fd_readdir(
        &self,
        args: Args<'_>,
        memory: &mut Memory<'_>,
        meter: &mut Meter<'_>,
    ) -> Result<(), Failure> {
        let directory = self.directory(args.word(0))?;
        let cookie = args.long(3);
        meter.charge(cookie.div_ceil(SKIPPED_PER_FUEL))?;
        let from = usize::try_from(cookie).unwrap_or(usize::MAX);
        let room = usize::try_from(args.word(2)).unwrap_or(usize::MAX);
        let mut listing = Vec::new();
        let mut next = cookie;
        for (name, node) in self.tree.list(directory, from)? {
            if listing.len() >= room {
                break;
            }
            next = next.saturating_add(1);
            let kind = self.tree.stat(node)?.kind;
            let before = listing.len();
            listing.extend_from_slice(&next.to_le_bytes());
            listing.extend_from_slice(&u64::try_from(node).unwrap_or(u64::MAX).to_le_bytes());
            listing.extend_from_slice(&u32::try_from(name.len()).unwrap_or(u32::MAX).to_le_bytes());
            listing.push(kind as u8);
            listing.resize(before.saturating_add(DIRECTORY_ENTRY_BYTES), 0);
            listing.extend_from_slice(name.as_bytes());
        }
        listing.truncate(room);
        let used = u32::try_from(listing.len()).map_err(|_| Errno::Fault)?;
        meter.charge_bytes(used.into())?;
        memory.put(args.word(1), &listing)?;
        Ok(memory.put_word(args.word(4), used)?)
    }
}

/// The buffers that the second and third argument name.
fn buffers(
    args: Args<'_>,
    memory: &Memory<'_>,
    meter: &mut Meter<'_>,
) -> Result<Vec<(u32, u32)>, Failure> {
    meter.charge(u64::from(args.word(2)).saturating_mul(FUEL_PER_BUFFER))?;
    Ok(memory.buffers(args.word(1), args.word(2))?)
}

/// What is known about a standard stream.
const STREAM: Stat = Stat {
    node: usize::MAX,
    kind: FileType::Unknown,
    size: 0,
    names: 1,
    times: Times { accessed: START, modified: START },
};

/// `filestat`: device, node, type, links, size, and when it was read, changed, and made or moved, which is when the program
/// started.
fn put_stat(memory: &mut Memory<'_>, at: u32, stat: Stat) -> Result<(), Failure> {
    let node = u64::try_from(stat.node).unwrap_or(u64::MAX);
    let Times { accessed, modified } = stat.times;
    let fields =
        [1, node, stat.kind as u64, stat.names.into(), stat.size, accessed, modified, START];
    let mut bytes = Vec::with_capacity(64);
    for field in fields {
        bytes.extend_from_slice(&field.to_le_bytes());
    }
    Ok(memory.put(at, &bytes)?)
}

/// Copies from `source` into buffers, as far as it goes.
fn scatter(
    mut source: &[u8],
    buffers: &[(u32, u32)],
    memory: &mut Memory<'_>,
    meter: &mut Meter<'_>,
) -> Result<u32, Failure> {
    let mut read = 0_u32;
    for (at, length) in buffers {
        let take = usize::try_from(*length).unwrap_or(usize::MAX).min(source.len());
        let (now, later) = source.split_at(take);
        let taken = u32::try_from(take).map_err(|_| Errno::Invalid)?;
        meter.charge_bytes(taken.into())?;
        memory.put(*at, now)?;
        read = read.checked_add(taken).ok_or(Errno::Invalid)?;
        source = later;
    }
    Ok(read)
}
