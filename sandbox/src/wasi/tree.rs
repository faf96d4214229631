//! The files that a program sees: `/in`, which it can read, and `/out`, which it can write.

use std::{collections::BTreeMap, sync::Arc};

use protocol::{
    limits::{OUTPUT_FILES_MAX, PATH_BYTES_MAX},
    wire::is_relative_path,
};

use super::abi::Errno;

/// The place of a node.
pub(super) type NodeId = usize;

/// The root directory.
pub(super) const ROOT: NodeId = 0;
const OUT: NodeId = 2;

/// Directories that a program may make.
const OUTPUT_DIRECTORIES_MAX: usize = 1_024;

/// An input cannot be a file below `/in`: it is no relative path, or it is in the way of another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the input `{path}` cannot be a file below /in")]
pub struct BadInput {
    /// Its path.
    pub path: String,
}

/// A file or directory.
#[derive(Debug)]
enum Content {
    Directory {
        parent: NodeId,
        entries: BTreeMap<String, NodeId>,
    },
    /// An input.
    Fixed(Arc<[u8]>),
    /// Written by the program.
    Written(Vec<u8>),
    /// Removed, and closed by all.
    Gone,
}

#[derive(Debug)]
struct Node {
    content: Content,
    writable: bool,
    /// Open descriptors: a file that was removed stays until it is closed.
    opens: u32,
    linked: bool,
}

/// What is known about a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) node: NodeId,
    pub(super) is_directory: bool,
    pub(super) size: u64,
}

/// All files and directories. Bounded: inputs by the task, outputs by [`OUTPUT_FILES_MAX`] and the output limit.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    /// Places of nodes that are gone.
    free: Vec<NodeId>,
    files: usize,
    directories: usize,
    /// Bytes in written files.
    written: u64,
}

impl Tree {
    /// A tree with those inputs below `/in`.
    pub(super) fn new(inputs: Vec<(String, Arc<[u8]>)>) -> Result<Self, BadInput> {
        let directory = |parent, entries, writable| Node {
            content: Content::Directory { parent, entries },
            writable,
            opens: 0,
            linked: true,
        };
        let top = BTreeMap::from([("in".to_owned(), 1), ("out".to_owned(), OUT)]);
        let nodes = vec![
            directory(ROOT, top, false),
            directory(ROOT, BTreeMap::new(), false),
            directory(ROOT, BTreeMap::new(), true),
        ];
        let mut tree = Self { nodes, free: Vec::new(), files: 0, directories: 0, written: 0 };
        for (path, content) in inputs {
            tree.add_input(&path, content).ok_or(BadInput { path })?;
        }
        Ok(tree)
    }

    fn add_input(&mut self, path: &str, content: Arc<[u8]>) -> Option<()> {
        if !is_relative_path(path) {
            return None;
        }
        let (directories, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut at = 1;
        for part in directories.split('/').filter(|part| !part.is_empty()) {
            at = match self.entries(at).ok()?.get(part) {
                Some(node) => *node,
                None => self
                    .add(
                        at,
                        part,
                        Content::Directory { parent: at, entries: BTreeMap::new() },
                        false,
                    )
                    .ok()?,
            };
        }
        if self.entries(at).ok()?.contains_key(name) {
            return None;
        }
        self.add(at, name, Content::Fixed(content), false).ok().map(|_| ())
    }

    /// Bytes in files that the program wrote.
    pub(super) const fn written(&self) -> u64 {
        self.written
    }

    /// Takes everything below `/out`, in the order of the paths' bytes.
    pub(super) fn take_outputs(&mut self) -> Vec<(String, Vec<u8>)> {
        let mut found = Vec::new();
        self.collect(OUT, "", &mut found);
        found.sort_by(|(left, _), (right, _)| left.as_bytes().cmp(right.as_bytes()));
        found
    }

    fn collect(&mut self, directory: NodeId, prefix: &str, found: &mut Vec<(String, Vec<u8>)>) {
        let mut open = vec![(directory, prefix.to_owned())];
        while let Some((directory, prefix)) = open.pop() {
            let entries = self.entries(directory).cloned().unwrap_or_default();
            for (name, node) in entries {
                let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
                match self.nodes.get_mut(node).map(|node| &mut node.content) {
                    Some(Content::Written(bytes)) => found.push((path, std::mem::take(bytes))),
                    Some(Content::Directory { .. }) => open.push((node, path)),
                    Some(Content::Fixed(_) | Content::Gone) | None => {}
                }
            }
        }
    }

    fn node(&self, node: NodeId) -> Result<&Node, Errno> {
        self.nodes.get(node).ok_or(Errno::BadDescriptor)
    }

    fn entries(&self, node: NodeId) -> Result<&BTreeMap<String, NodeId>, Errno> {
        match &self.node(node)?.content {
            Content::Directory { entries, .. } => Ok(entries),
            Content::Fixed(_) | Content::Written(_) | Content::Gone => Err(Errno::NotDirectory),
        }
    }

    fn entries_mut(&mut self, node: NodeId) -> Result<&mut BTreeMap<String, NodeId>, Errno> {
        let node = self.nodes.get_mut(node).ok_or(Errno::BadDescriptor)?;
        match &mut node.content {
            Content::Directory { entries, .. } if node.writable && node.linked => Ok(entries),
            Content::Directory { .. } => Err(Errno::ReadOnly),
            Content::Fixed(_) | Content::Written(_) | Content::Gone => Err(Errno::NotDirectory),
        }
    }

    /// Adds a node without asking whether the directory may be written.
    fn add(
        &mut self,
        directory: NodeId,
        name: &str,
        content: Content,
        writable: bool,
    ) -> Result<NodeId, Errno> {
        let id = self.free.last().copied().unwrap_or(self.nodes.len());
        let parent = self.nodes.get_mut(directory).ok_or(Errno::BadDescriptor)?;
        let Content::Directory { entries, .. } = &mut parent.content else {
            return Err(Errno::NotDirectory);
        };
        entries.insert(name.to_owned(), id);
        let node = Node { content, writable, opens: 0, linked: true };
        self.free.pop();
        match self.nodes.get_mut(id) {
            Some(place) => *place = node,
            None => self.nodes.push(node),
        }
        Ok(id)
    }

    /// What is known about a node.
    pub(super) fn stat(&self, node: NodeId) -> Result<Stat, Errno> {
        let (is_directory, size) = match &self.node(node)?.content {
            Content::Directory { .. } => (true, 0),
            Content::Fixed(bytes) => (false, bytes.len()),
            Content::Written(bytes) => (false, bytes.len()),
            Content::Gone => return Err(Errno::BadDescriptor),
        };
        Ok(Stat { node, is_directory, size: u64::try_from(size).unwrap_or(u64::MAX) })
    }

    /// The directory that a path's last part is in, and that part; `None` for a path without one, as `/` or `..`.
    fn parent<'p>(&self, from: NodeId, path: &'p str) -> Result<(NodeId, Option<&'p str>), Errno> {
        if path.is_empty() {
            return Err(Errno::NotFound);
        }
        if path.len() > PATH_BYTES_MAX {
            return Err(Errno::NameTooLong);
        }
        if path.contains('\0') {
            return Err(Errno::Invalid);
        }
        let mut at = if path.starts_with('/') { ROOT } else { from };
        let mut last = None;
        for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
            if let Some(name) = last.take() {
                at = *self.entries(at)?.get(name).ok_or(Errno::NotFound)?;
            }
            match (part, &self.node(at)?.content) {
                ("..", Content::Directory { parent, .. }) => at = *parent,
                (name, Content::Directory { .. }) => last = Some(name),
                (_, Content::Fixed(_) | Content::Written(_) | Content::Gone) => {
                    return Err(Errno::NotDirectory);
                }
            }
        }
        Ok((at, last))
    }

    /// The node at a path.
    pub(super) fn find(&self, from: NodeId, path: &str) -> Result<NodeId, Errno> {
        let (directory, name) = self.parent(from, path)?;
        let node = match name {
            Some(name) => *self.entries(directory)?.get(name).ok_or(Errno::NotFound)?,
            None => directory,
        };
        if path.ends_with('/') {
            self.entries(node)?;
        }
        Ok(node)
    }

    /// Whether the program may write to it.
    pub(super) fn is_writable(&self, node: NodeId) -> bool {
        self.nodes.get(node).is_some_and(|node| node.writable)
    }

    /// Makes an empty file.
    pub(super) fn create_file(&mut self, from: NodeId, path: &str) -> Result<NodeId, Errno> {
        let (directory, name) = self.parent(from, path)?;
        let name = name.filter(|_| !path.ends_with('/')).ok_or(Errno::IsDirectory)?;
        check_name(name)?;
        self.entries_mut(directory)?;
        if self.files >= OUTPUT_FILES_MAX {
            return Err(Errno::NoSpace);
        }
        self.files = self.files.saturating_add(1);
        self.add(directory, name, Content::Written(Vec::new()), true)
    }

    /// Makes an empty directory.
    pub(super) fn create_directory(&mut self, from: NodeId, path: &str) -> Result<(), Errno> {
        let (directory, name) = self.parent(from, path)?;
        let name = name.ok_or(Errno::Exists)?;
        check_name(name)?;
        if self.entries(directory)?.contains_key(name) {
            return Err(Errno::Exists);
        }
        self.entries_mut(directory)?;
        if self.directories >= OUTPUT_DIRECTORIES_MAX {
            return Err(Errno::NoSpace);
        }
        self.directories = self.directories.saturating_add(1);
        let content = Content::Directory { parent: directory, entries: BTreeMap::new() };
        self.add(directory, name, content, true).map(|_| ())
    }

    /// Removes a file.
    pub(super) fn remove_file(&mut self, from: NodeId, path: &str) -> Result<(), Errno> {
        let node = self.find(from, path)?;
        if self.stat(node)?.is_directory {
            return Err(Errno::IsDirectory);
        }
        self.unlink(from, path)
    }

    /// Removes an empty directory.
    pub(super) fn remove_directory(&mut self, from: NodeId, path: &str) -> Result<(), Errno> {
        let node = self.find(from, path)?;
        if !self.entries(node)?.is_empty() {
            return Err(Errno::NotEmpty);
        }
        if node <= OUT {
            return Err(Errno::ReadOnly);
        }
        self.unlink(from, path)
    }

    fn unlink(&mut self, from: NodeId, path: &str) -> Result<(), Errno> {
        let (directory, name) = self.parent(from, path)?;
        let name = name.ok_or(Errno::Invalid)?;
        let node = self.entries_mut(directory)?.remove(name).ok_or(Errno::NotFound)?;
        if let Some(node) = self.nodes.get_mut(node) {
            node.linked = false;
        }
        self.reclaim(node);
        Ok(())
    }

    /// Moves a file or directory. What is at the new place goes, if it is of the same kind, and empty.
    pub(super) fn rename(&mut self, old: (NodeId, &str), new: (NodeId, &str)) -> Result<(), Errno> {
        let node = self.find(old.0, old.1)?;
        let moved = self.stat(node)?;
        if node <= OUT {
            return Err(Errno::ReadOnly);
        }
        let (old_directory, old_name) = self.parent(old.0, old.1)?;
        let (new_directory, new_name) = self.parent(new.0, new.1)?;
        let (Some(old_name), Some(new_name)) = (old_name, new_name) else {
            return Err(Errno::Invalid);
        };
        check_name(new_name)?;
        self.entries_mut(old_directory)?;
        if moved.is_directory && self.is_within(new_directory, node) {
            return Err(Errno::Invalid);
        }
        if let Some(there) = self.entries_mut(new_directory)?.get(new_name).copied() {
            if there == node {
                return Ok(());
            }
            match (moved.is_directory, self.stat(there)?.is_directory) {
                (true, true) => self.remove_directory(new.0, new.1)?,
                (false, false) => self.unlink(new.0, new.1)?,
                (true, false) => return Err(Errno::NotDirectory),
                (false, true) => return Err(Errno::IsDirectory),
            }
        }
        self.entries_mut(old_directory)?.remove(old_name);
        self.entries_mut(new_directory)?.insert(new_name.to_owned(), node);
        if let Some(Node { content: Content::Directory { parent, .. }, .. }) =
            self.nodes.get_mut(node)
        {
            *parent = new_directory;
        }
        Ok(())
    }

    /// Whether `node` is `ancestor` or below it.
    fn is_within(&self, mut node: NodeId, ancestor: NodeId) -> bool {
        while node != ancestor {
            match self.nodes.get(node).map(|node| &node.content) {
                Some(Content::Directory { parent, .. }) if node != ROOT => node = *parent,
                _ => return false,
            }
        }
        true
    }

    /// Counts a descriptor.
    pub(super) fn opened(&mut self, node: NodeId) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.opens = node.opens.saturating_add(1);
        }
    }

    /// Forgets a descriptor.
    pub(super) fn closed(&mut self, node: NodeId) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.opens = node.opens.saturating_sub(1);
        }
        self.reclaim(node);
    }

    /// Gives back what nothing refers to any more.
    fn reclaim(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(id).filter(|node| !node.linked && node.opens == 0)
        else {
            return;
        };
        match std::mem::replace(&mut node.content, Content::Gone) {
            Content::Written(bytes) => {
                self.files = self.files.saturating_sub(1);
                self.written =
                    self.written.saturating_sub(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            }
            Content::Directory { .. } => self.directories = self.directories.saturating_sub(1),
            Content::Fixed(_) | Content::Gone => return,
        }
        self.free.push(id);
    }

    /// The content from `position` on.
    pub(super) fn read(&self, node: NodeId, position: u64) -> Result<&[u8], Errno> {
        let bytes = match &self.node(node)?.content {
            Content::Fixed(bytes) => bytes.as_ref(),
            Content::Written(bytes) => bytes,
            Content::Directory { .. } => return Err(Errno::IsDirectory),
            Content::Gone => return Err(Errno::BadDescriptor),
        };
        let position = usize::try_from(position).unwrap_or(usize::MAX);
        Ok(bytes.get(position..).unwrap_or_default())
    }

    /// How much a file of now `size` bytes would grow if it had `end`.
    pub(super) fn growth(&self, node: NodeId, end: u64) -> Result<u64, Errno> {
        Ok(end.saturating_sub(self.stat(node)?.size))
    }

    /// Writes at a position; a gap is filled with zeros. The caller has checked the limit.
    pub(super) fn write(&mut self, node: NodeId, position: u64, bytes: &[u8]) -> Result<(), Errno> {
        let length = u64::try_from(bytes.len()).map_err(|_| Errno::Invalid)?;
        let end = position.checked_add(length).ok_or(Errno::Invalid)?;
        if end > self.stat(node)?.size {
            self.resize(node, end)?;
        }
        let (start, end) = (
            usize::try_from(position).map_err(|_| Errno::Invalid)?,
            usize::try_from(end).map_err(|_| Errno::Invalid)?,
        );
        self.content_mut(node)?.get_mut(start..end).ok_or(Errno::Invalid)?.copy_from_slice(bytes);
        Ok(())
    }

    /// Cuts a file or fills it with zeros. The caller has checked the limit.
    pub(super) fn resize(&mut self, node: NodeId, size: u64) -> Result<(), Errno> {
        let old = self.stat(node)?.size;
        let length = usize::try_from(size).map_err(|_| Errno::Invalid)?;
        self.content_mut(node)?.resize(length, 0);
        self.written = self.written.saturating_sub(old).saturating_add(size);
        Ok(())
    }

    fn content_mut(&mut self, node: NodeId) -> Result<&mut Vec<u8>, Errno> {
        match &mut self.nodes.get_mut(node).ok_or(Errno::BadDescriptor)?.content {
            Content::Written(bytes) => Ok(bytes),
            Content::Fixed(_) => Err(Errno::ReadOnly),
            Content::Directory { .. } => Err(Errno::IsDirectory),
            Content::Gone => Err(Errno::BadDescriptor),
        }
    }

    /// The entries of a directory from the one of that place on: `.`, `..`, then by name.
    pub(super) fn list(
        &self,
        node: NodeId,
        from: usize,
    ) -> Result<impl Iterator<Item = (&str, NodeId)>, Errno> {
        let entries = self.entries(node)?;
        let parent = match &self.node(node)?.content {
            Content::Directory { parent, .. } => *parent,
            Content::Fixed(_) | Content::Written(_) | Content::Gone => {
                return Err(Errno::NotDirectory);
            }
        };
        let own = [(".", node), ("..", parent)].into_iter();
        Ok(own.chain(entries.iter().map(|(name, node)| (name.as_str(), *node))).skip(from))
    }
}

/// What a program makes must have a name that it can be fetched by: no control character, no backslash.
fn check_name(name: &str) -> Result<(), Errno> {
    if is_relative_path(name) { Ok(()) } else { Err(Errno::Invalid) }
}
