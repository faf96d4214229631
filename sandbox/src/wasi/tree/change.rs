//! Making, removing, moving and linking.

use std::collections::BTreeMap;

use protocol::{limits::OUTPUT_FILES_MAX, wire::is_relative_path};

use super::{Content, NodeId, OUT, OUTPUT_DIRECTORIES_MAX, Tree, place, place::Place};
use crate::wasi::abi::Errno;

/// A name in a directory that may be written: where something is made, removed, or moved.
#[derive(Debug)]
pub(in crate::wasi) struct Target {
    directory: NodeId,
    name: String,
    node: Option<NodeId>,
    slash: bool,
}

impl Place<'_> {
    /// The place as one that is to change.
    pub(in crate::wasi) fn target(&self) -> Result<Target, Errno> {
        let name = self.name.ok_or(Errno::Invalid)?.to_owned();
        Ok(Target { directory: self.directory, name, node: self.node, slash: self.slash })
    }
}

impl Tree {
    /// Makes an empty file.
    pub(in crate::wasi) fn create_file(&mut self, at: &Target) -> Result<NodeId, Errno> {
        if at.slash {
            return Err(Errno::IsDirectory);
        }
        self.add_counted(at, Content::Written(Vec::new()))
    }

    /// Makes a link that names a path from its own directory on.
    pub(in crate::wasi) fn create_link(&mut self, at: &Target, to: String) -> Result<(), Errno> {
        place::check_path(&to)?;
        match at.node {
            Some(_) => Err(Errno::Exists),
            None if at.slash => Err(Errno::NotFound),
            None => self.add_counted(at, Content::Link(to)).map(|_| ()),
        }
    }

    /// Makes an empty directory.
    pub(in crate::wasi) fn create_directory(&mut self, at: &Target) -> Result<(), Errno> {
        check_name(&at.name)?;
        if at.node.is_some() {
            return Err(Errno::Exists);
        }
        self.entries_mut(at.directory)?;
        if self.directories >= OUTPUT_DIRECTORIES_MAX {
            return Err(Errno::NoSpace);
        }
        self.directories = self.directories.saturating_add(1);
        let content = Content::Directory { parent: at.directory, entries: BTreeMap::new() };
        self.add(at.directory, &at.name, content, true).map(|_| ())
    }

    /// Gives a file another name. Directories have one name only.
    pub(in crate::wasi) fn add_name(&mut self, node: NodeId, at: &Target) -> Result<(), Errno> {
        check_name(&at.name)?;
        if at.node.is_some() {
            return Err(Errno::Exists);
        }
        if at.slash {
            return Err(Errno::NotFound);
        }
        let stat = self.stat(node)?;
        if stat.is_directory() {
            return Err(Errno::NotPermitted);
        }
        self.entries_mut(at.directory)?;
        if !self.is_writable(node) {
            return Err(Errno::ReadOnly);
        }
        if self.files >= OUTPUT_FILES_MAX {
            return Err(Errno::NoSpace);
        }
        self.files = self.files.saturating_add(1);
        self.written = self.written.saturating_add(stat.size);
        self.entries_mut(at.directory)?.insert(at.name.clone(), node);
        if let Some(node) = self.nodes.get_mut(node) {
            node.names = node.names.saturating_add(1);
        }
        Ok(())
    }

    /// Removes a file or a link.
    pub(in crate::wasi) fn remove_file(&mut self, at: &Target) -> Result<(), Errno> {
        let node = at.node.ok_or(Errno::NotFound)?;
        if self.stat(node)?.is_directory() {
            return Err(Errno::IsDirectory);
        }
        self.unlink(at.directory, &at.name)
    }

    /// Removes an empty directory.
    pub(in crate::wasi) fn remove_directory(&mut self, at: &Target) -> Result<(), Errno> {
        let node = at.node.ok_or(Errno::NotFound)?;
        if !self.entries(node)?.is_empty() {
            return Err(Errno::NotEmpty);
        }
        if node <= OUT {
            return Err(Errno::ReadOnly);
        }
        self.unlink(at.directory, &at.name)
    }

    /// Moves a file or directory. What is at the new place goes, if it is of the same kind, and empty.
    pub(in crate::wasi) fn rename(&mut self, old: &Target, new: &Target) -> Result<(), Errno> {
        let node = old.node.ok_or(Errno::NotFound)?;
        let moves_directory = self.stat(node)?.is_directory();
        if node <= OUT {
            return Err(Errno::ReadOnly);
        }
        check_name(&new.name)?;
        self.entries_mut(old.directory)?;
        self.entries_mut(new.directory)?;
        if moves_directory && self.is_within(new.directory, node) {
            return Err(Errno::Invalid);
        }
        match new.node {
            None if new.slash && !moves_directory => return Err(Errno::NotDirectory),
            None => {}
            Some(there) if there == node => return Ok(()),
            Some(there) => match (moves_directory, self.stat(there)?.is_directory()) {
                (true, true) => self.remove_directory(new)?,
                (false, false) => self.unlink(new.directory, &new.name)?,
                (true, false) => return Err(Errno::NotDirectory),
                (false, true) => return Err(Errno::IsDirectory),
            },
        }
        self.entries_mut(old.directory)?.remove(&old.name);
        self.entries_mut(new.directory)?.insert(new.name.clone(), node);
        if let Some(Content::Directory { parent, .. }) =
            self.nodes.get_mut(node).map(|node| &mut node.content)
        {
            *parent = new.directory;
        }
        Ok(())
    }

    /// Adds a file or link, which count.
    fn add_counted(&mut self, at: &Target, content: Content) -> Result<NodeId, Errno> {
        check_name(&at.name)?;
        self.entries_mut(at.directory)?;
        if self.files >= OUTPUT_FILES_MAX {
            return Err(Errno::NoSpace);
        }
        self.files = self.files.saturating_add(1);
        self.add(at.directory, &at.name, content, true)
    }

    fn unlink(&mut self, directory: NodeId, name: &str) -> Result<(), Errno> {
        let id = self.entries_mut(directory)?.remove(name).ok_or(Errno::NotFound)?;
        let size = self.stat(id)?.size;
        let Some(node) = self.nodes.get_mut(id) else { return Ok(()) };
        node.names = node.names.saturating_sub(1);
        if node.names > 0 {
            self.files = self.files.saturating_sub(1);
            self.written = self.written.saturating_sub(size);
        }
        self.reclaim(id);
        Ok(())
    }

    /// Whether `node` is `ancestor` or below it.
    fn is_within(&self, mut node: NodeId, ancestor: NodeId) -> bool {
        while node != ancestor {
            match self.parent(node) {
                Ok(parent) if parent != node => node = parent,
                _ => return false,
            }
        }
        true
    }
}

/// What a program makes must have a name that it can be fetched by: no control character, no backslash.
fn check_name(name: &str) -> Result<(), Errno> {
    if is_relative_path(name) { Ok(()) } else { Err(Errno::Invalid) }
}
