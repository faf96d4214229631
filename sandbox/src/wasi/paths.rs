//! Calls that name a file by its path.

use super::{
    abi::{Args, Errno, Failure, FileType, Memory, Meter, fdflags, lookup, oflags},
    host::{Descriptor, Host, OpenFile},
    rights::{self, Rights},
    tree::{FUEL_PER_PATH_BYTE, NodeId},
};

/// The path in the arguments from `place` on: address and length.
fn path(
    args: Args<'_>,
    place: usize,
    memory: &Memory<'_>,
    meter: &mut Meter<'_>,
) -> Result<String, Failure> {
    let length = args.word(place.saturating_add(1));
    meter.charge(u64::from(length).saturating_mul(FUEL_PER_PATH_BYTE))?;
    Ok(memory.text(args.word(place), length)?.to_owned())
}

/// Whether a link at the end of a path is followed.
const fn follows(flags: u32) -> bool {
    flags & lookup::FOLLOW != 0
}

/// How something is to be opened.
#[derive(Clone, Copy)]
struct Asked {
    how: u32,
    wanted: u64,
    flags: u16,
    /// The rights of the directory that it is opened from.
    given: Rights,
}

impl Asked {
    const fn has(self, flag: u32) -> bool {
        self.how & flag != 0
    }

    /// A directory that is opened.
    fn directory(self, node: NodeId) -> Result<(Descriptor, Rights), Errno> {
        let creates = self.has(oflags::CREATE | oflags::TRUNCATE) && !self.has(oflags::DIRECTORY);
        if creates || self.wanted & rights::WRITE != 0 {
            return Err(Errno::IsDirectory);
        }
        let rights = Rights { own: rights::DIRECTORY & self.given.inheriting, ..self.given };
        Ok((Descriptor::Directory { node, preopened: false }, rights))
    }
}

impl Host {
    pub(super) fn path_open(
        &mut self,
        args: Args<'_>,
        memory: &mut Memory<'_>,
        meter: &mut Meter<'_>,
    ) -> Result<(), Failure> {
        let from = self.directory(args.word(0))?;
        let path = path(args, 2, memory, meter)?;
        let flags = u16::try_from(args.word(7))
            .ok()
            .filter(|flags| *flags <= fdflags::ALL)
            .ok_or(Errno::Invalid)?;
        let asked = Asked {
            how: args.word(4),
            wanted: args.long(5),
            flags,
            given: self.opened(args.word(0))?.rights,
        };
        if (asked.has(oflags::CREATE) && asked.given.own & rights::CREATE_FILE == 0)
            || (asked.has(oflags::TRUNCATE) && asked.given.own & rights::PATH_SET_SIZE == 0)
        {
            return Err(Errno::NotCapable.into());
        }
        let alone = asked.has(oflags::CREATE) && asked.has(oflags::EXCLUSIVE);
        let place = self.tree.resolve(from, &path, follows(args.word(1)) && !alone, meter)?;
        let node = match place.found() {
            Ok(_) if alone => return Err(Errno::Exists.into()),
            Err(Errno::NotFound) if asked.has(oflags::CREATE) && !asked.has(oflags::DIRECTORY) => {
                let target = place.target()?;
                self.tree.create_file(&target)?
            }
            found => found?,
        };
        let (what, rights) = match self.tree.stat(node)?.kind {
            FileType::Directory => asked.directory(node)?,
            FileType::Regular => self.file(node, asked)?,
            FileType::Link | FileType::Unknown => return Err(Errno::Loop.into()),
        };
        let number = self.open(what, rights)?;
        Ok(memory.put_word(args.word(8), number)?)
    }

    /// A file that is opened.
    fn file(&mut self, node: NodeId, asked: Asked) -> Result<(Descriptor, Rights), Errno> {
        if asked.has(oflags::DIRECTORY) {
            return Err(Errno::NotDirectory);
        }
        let writes = asked.wanted & rights::WRITE != 0;
        if (writes || asked.has(oflags::TRUNCATE)) && !self.tree.is_writable(node) {
            return Err(Errno::ReadOnly);
        }
        if asked.has(oflags::TRUNCATE) {
            self.tree.resize(node, 0)?;
        }
        let reads = asked.wanted & rights::READ != 0;
        let unasked =
            if writes { 0 } else { rights::CHANGES } | if reads { 0 } else { rights::READ };
        let own = rights::FILE & asked.given.inheriting & !unasked;
        let what = Descriptor::File(OpenFile { node, position: 0, flags: asked.flags });
        Ok((what, Rights { own, inheriting: 0 }))
    }

    pub(super) fn path_filestat_get(
        &mut self,
        args: Args<'_>,
        memory: &mut Memory<'_>,
        meter: &mut Meter<'_>,
    ) -> Result<(), Failure> {
        let path = path(args, 2, memory, meter)?;
        let from = self.directory(args.word(0))?;
        let node = self.tree.resolve(from, &path, follows(args.word(1)), meter)?.found()?;
        self.put_filestat(memory, args.word(4), node)
    }

    pub(super) fn path_filestat_set_times(
        &mut self,
        args: Args<'_>,
        memory: &Memory<'_>,
        meter: &mut Meter<'_>,
    ) -> Result<(), Failure> {
        let path = path(args, 2, memory, meter)?;
        let from = self.directory(args.word(0))?;
        let node = self.tree.resolve(from, &path, follows(args.word(1)), meter)?.found()?;
        self.set_times(node, [args.long(4), args.long(5)], args.word(6), meter)
    }

    pub(super) fn path_create_directory(
        &mut self,
        args: Args<'_>,
        memory: &Memory<'_>,
        meter: &mut Meter<'_>,
    ) -> Result<(), Failure> {
        let path = path(args, 1, memory, meter)?;
        let from = self.directory(args.word(0))?;
        let place = self.tree.resolve(from, &path, false, meter)?;
        let target = place.target().map_err(|_| Errno::Exists)?;
        Ok(self.tree.create_directory(&target)?)
    }

    pub(super) fn path_remove_directory(
        &mut self,
        args: Args<'_>,
        memory: &Memory<'_>,
        meter: &mut Meter<'_>,
    ) -> Result<(), Failure> {
        let path = path(args, 1, memory, meter)?;
        let from = self.directory(args.word(0))?;
        let target = self.tree.resolve(from, &path, false, meter)?.target()?;
        Ok(self.tree.remove_directory(&target)?)
    }

    pub(super) fn path_unlink_file(
        &mut self,
        args: Args<'_>,
        memory: &Memory<'_>,
        meter: &mut Meter<'_>,
    ) -> Result<(), Failure> {
        let path = path(args, 1, memory, meter)?;
        let from = self.directory(args.word(0))?;
        let place = self.tree.resolve(from, &path, false, meter)?;
        // Only directories are reached without a name.
        let target = place.target().map_err(|_| Errno::IsDirectory)?;
        Ok(self.tree.remove_file(&target)?)
    }

    pub(super) fn path_rename(
        &mut self,
        args: Args<'_>,
        memory: &Memory<'_>,
        meter: &mut Meter<'_>,
    ) -> Result<(), Failure> {
        let (old, new) = (path(args, 1, memory, meter)?, path(args, 4, memory, meter)?);
        let (old_from, new_from) = (self.directory(args.word(0))?, self.directory(args.word(3))?);
        let old = self.tree.resolve(old_from, &old, false, meter)?.target()?;
        let new = self.tree.resolve(new_from, &new, false, meter)?.target()?;
        Ok(self.tree.rename(&old, &new)?)
    }

    /// Gives a file a second name. What is at the end of the old path is never followed.
    pub(super) fn path_link(
        &mut self,
        args: Args<'_>,
        memory: &Memory<'_>,
        meter: &mut Meter<'_>,
    ) -> Result<(), Failure> {
        let (old, new) = (path(args, 2, memory, meter)?, path(args, 5, memory, meter)?);
        let (old_from, new_from) = (self.directory(args.word(0))?, self.directory(args.word(4))?);
        if follows(args.word(1)) {
            return Err(Errno::Invalid.into());
        }
        let node = self.tree.resolve(old_from, &old, false, meter)?.found()?;
        let target = self.tree.resolve(new_from, &new, false, meter)?.target()?;
        self.check_output(self.tree.stat(node)?.size)?;
        Ok(self.tree.add_name(node, &target)?)
    }

    /// Makes a link to a path, which need not exist, below the link's own directory.
    pub(super) fn path_symlink(
        &mut self,
        args: Args<'_>,
        memory: &Memory<'_>,
        meter: &mut Meter<'_>,
    ) -> Result<(), Failure> {
        let (to, at) = (path(args, 0, memory, meter)?, path(args, 3, memory, meter)?);
        let from = self.directory(args.word(2))?;
        let target = self.tree.resolve(from, &at, false, meter)?.target()?;
        Ok(self.tree.create_link(&target, to)?)
    }

    pub(super) fn path_readlink(
        &mut self,
        args: Args<'_>,
        memory: &mut Memory<'_>,
        meter: &mut Meter<'_>,
    ) -> Result<(), Failure> {
        let path = path(args, 1, memory, meter)?;
        let from = self.directory(args.word(0))?;
        let node = self.tree.resolve(from, &path, false, meter)?.found()?;
        let target = self.tree.link_target(node)?.as_bytes();
        let room = usize::try_from(args.word(4)).unwrap_or(usize::MAX);
        let shown = target.get(..room).unwrap_or(target);
        memory.put(args.word(3), shown)?;
        let length = u32::try_from(shown.len()).map_err(|_| Errno::Fault)?;
        Ok(memory.put_word(args.word(5), length)?)
    }
}
