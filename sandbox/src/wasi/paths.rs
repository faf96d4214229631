//! Calls that name a file by its path.

use super::{
    abi::{Args, Errno, Failure, Memory, Meter, fdflags, oflags, rights},
    host::{Descriptor, Host, OpenFile},
    tree::NodeId,
};

/// What looking up a path costs, for each of its bytes.
const FUEL_PER_PATH_BYTE: u64 = 16;

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

impl Host {
    pub(super) fn path_open(
        &mut self,
        args: Args<'_>,
        memory: &mut Memory<'_>,
        meter: &mut Meter<'_>,
    ) -> Result<(), Failure> {
        let from = self.directory(args.word(0))?;
        let path = path(args, 2, memory, meter)?;
        let (how, wanted) = (args.word(4), args.long(5));
        let flags = u16::try_from(args.word(7))
            .ok()
            .filter(|flags| *flags <= fdflags::ALL)
            .ok_or(Errno::Invalid)?;
        let node = self.find_or_create(from, &path, how)?;
        let descriptor = if self.tree.stat(node)?.is_directory {
            if how & (oflags::CREATE | oflags::TRUNCATE) != 0 && how & oflags::DIRECTORY == 0 {
                return Err(Errno::IsDirectory.into());
            }
            Descriptor::Directory { node, preopened: false }
        } else {
            if how & oflags::DIRECTORY != 0 {
                return Err(Errno::NotDirectory.into());
            }
            let writable = wanted & rights::WRITE != 0;
            if (writable || how & oflags::TRUNCATE != 0) && !self.tree.is_writable(node) {
                return Err(Errno::ReadOnly.into());
            }
            if how & oflags::TRUNCATE != 0 {
                self.tree.resize(node, 0)?;
            }
            Descriptor::File(OpenFile { node, position: 0, flags, writable })
        };
        let number = self.open(descriptor)?;
        Ok(memory.put_word(args.word(8), number)?)
    }

    fn find_or_create(&mut self, from: NodeId, path: &str, how: u32) -> Result<NodeId, Errno> {
        match self.tree.find(from, path) {
            Ok(_) if how & oflags::CREATE != 0 && how & oflags::EXCLUSIVE != 0 => {
                Err(Errno::Exists)
            }
            Err(Errno::NotFound) if how & oflags::CREATE != 0 && how & oflags::DIRECTORY == 0 => {
                self.tree.create_file(from, path)
            }
            found => found,
        }
    }

    pub(super) fn path_filestat_get(
        &self,
        args: Args<'_>,
        memory: &mut Memory<'_>,
        meter: &mut Meter<'_>,
    ) -> Result<(), Failure> {
        let path = path(args, 2, memory, meter)?;
        let node = self.tree.find(self.directory(args.word(0))?, &path)?;
        self.put_filestat(memory, args.word(4), node)
    }

    /// Times are never kept: all files are as old as the program.
    pub(super) fn path_filestat_set_times(
        &self,
        args: Args<'_>,
        memory: &Memory<'_>,
        meter: &mut Meter<'_>,
    ) -> Result<(), Failure> {
        let path = path(args, 2, memory, meter)?;
        self.tree.find(self.directory(args.word(0))?, &path)?;
        Ok(())
    }

    pub(super) fn path_create_directory(
        &mut self,
        args: Args<'_>,
        memory: &Memory<'_>,
        meter: &mut Meter<'_>,
    ) -> Result<(), Failure> {
        let path = path(args, 1, memory, meter)?;
        let from = self.directory(args.word(0))?;
        Ok(self.tree.create_directory(from, &path)?)
    }

    pub(super) fn path_remove_directory(
        &mut self,
        args: Args<'_>,
        memory: &Memory<'_>,
        meter: &mut Meter<'_>,
    ) -> Result<(), Failure> {
        let path = path(args, 1, memory, meter)?;
        let from = self.directory(args.word(0))?;
        Ok(self.tree.remove_directory(from, &path)?)
    }

    pub(super) fn path_unlink_file(
        &mut self,
        args: Args<'_>,
        memory: &Memory<'_>,
        meter: &mut Meter<'_>,
    ) -> Result<(), Failure> {
        let path = path(args, 1, memory, meter)?;
        let from = self.directory(args.word(0))?;
        Ok(self.tree.remove_file(from, &path)?)
    }

    pub(super) fn path_rename(
        &mut self,
        args: Args<'_>,
        memory: &Memory<'_>,
        meter: &mut Meter<'_>,
    ) -> Result<(), Failure> {
        let old = path(args, 1, memory, meter)?;
        let new = path(args, 4, memory, meter)?;
        let (old_from, new_from) = (self.directory(args.word(0))?, self.directory(args.word(3))?);
        Ok(self.tree.rename((old_from, &old), (new_from, &new))?)
    }

    /// There are no links, so nothing that exists is one.
    pub(super) fn path_readlink(
        &self,
        args: Args<'_>,
        memory: &Memory<'_>,
        meter: &mut Meter<'_>,
    ) -> Result<(), Failure> {
        let path = path(args, 1, memory, meter)?;
        self.tree.find(self.directory(args.word(0))?, &path)?;
        Err(Errno::Invalid.into())
    }
}
