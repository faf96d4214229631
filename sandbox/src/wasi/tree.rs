//! The files that a program sees: `/in`, which it can read, and everything else, which it can write. What it leaves in
//! `/out` are its outputs; the rest is gone with it.

mod change;
mod place;

use std::{collections::BTreeMap, sync::Arc};

use protocol::wire::is_relative_path;

pub(super) use self::place::FUEL_PER_PATH_BYTE;
use super::{
    abi::{Errno, FileType},
    process::START,
};

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
    /// A path from its own directory on.
    Link(String),
    /// Removed, and closed by all.
    Gone,
}

#[derive(Debug)]
struct Node {
    content: Content,
    writable: bool,
    /// Open descriptors: a file that was removed stays until it is closed.
    opens: u32,
    /// Entries of directories that are this node.
    names: u32,
    times: Times,
}

impl Node {
    const fn new(content: Content, writable: bool) -> Self {
        let times = Times { accessed: START, modified: START };
        Self { content, writable, opens: 0, names: 1, times }
    }
}

/// When a file was read and changed, by the program's own clock in nanoseconds since 1970. Only a program that says so
/// changes them: else everything is as old as the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) accessed: u64,
    pub(super) modified: u64,
}

/// What is known about a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) node: NodeId,
    pub(super) kind: FileType,
    pub(super) size: u64,
    pub(super) names: u32,
    pub(super) times: Times,
}

impl Stat {
    /// Whether it is a directory.
    pub(super) fn is_directory(&self) -> bool {
        self.kind == FileType::Directory
    }

    /// How many times its content counts: once for each name, and once for a file that has none but is open.
    fn copies(&self) -> u64 {
        self.names.max(1).into()
    }
}

/// All files and directories. Bounded: inputs by the task, what the program makes by
/// [`OUTPUT_FILES_MAX`](protocol::limits::OUTPUT_FILES_MAX), [`OUTPUT_DIRECTORIES_MAX`] and the output limit.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    /// Places of nodes that are gone.
    free: Vec<NodeId>,
    files: usize,
    directories: usize,
    /// Bytes in written files, for each of their names.
    written: u64,
}

impl Tree {
    /// A tree with those inputs below `/in`.
    pub(super) fn new(inputs: Vec<(String, Arc<[u8]>)>) -> Result<Self, BadInput> {
        let directory =
            |parent, entries, writable| Node::new(Content::Directory { parent, entries }, writable);
        let top = BTreeMap::from([("in".to_owned(), 1), ("out".to_owned(), OUT)]);
        let nodes = vec![
            directory(ROOT, top, true),
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
                let Some(Node { content, names, .. }) = self.nodes.get_mut(node) else { continue };
                match content {
                    // Each of its names is an output of its own.
                    Content::Written(bytes) if *names > 1 => found.push((path, bytes.clone())),
                    Content::Written(bytes) => found.push((path, std::mem::take(bytes))),
                    Content::Directory { .. } => open.push((node, path)),
                    Content::Fixed(_) | Content::Link(_) | Content::Gone => {}
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
            Content::Fixed(_) | Content::Written(_) | Content::Link(_) | Content::Gone => {
                Err(Errno::NotDirectory)
            }
        }
    }

    fn entries_mut(&mut self, node: NodeId) -> Result<&mut BTreeMap<String, NodeId>, Errno> {
        let node = self.nodes.get_mut(node).ok_or(Errno::BadDescriptor)?;
        match &mut node.content {
            Content::Directory { entries, .. } if node.writable && node.names > 0 => Ok(entries),
            Content::Directory { .. } if node.writable => Err(Errno::NotFound),
            Content::Directory { .. } => Err(Errno::ReadOnly),
            Content::Fixed(_) | Content::Written(_) | Content::Link(_) | Content::Gone => {
                Err(Errno::NotDirectory)
            }
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
        let node = Node::new(content, writable);
        self.free.pop();
        match self.nodes.get_mut(id) {
            Some(place) => *place = node,
            None => self.nodes.push(node),
        }
        Ok(id)
    }

    /// What is known about a node.
    pub(super) fn stat(&self, id: NodeId) -> Result<Stat, Errno> {
        let node = self.node(id)?;
        let (kind, size) = match &node.content {
            Content::Directory { .. } => (FileType::Directory, 0),
            Content::Fixed(bytes) => (FileType::Regular, bytes.len()),
            Content::Written(bytes) => (FileType::Regular, bytes.len()),
            Content::Link(target) => (FileType::Link, target.len()),
            Content::Gone => return Err(Errno::BadDescriptor),
        };
        let size = u64::try_from(size).unwrap_or(u64::MAX);
        Ok(Stat { node: id, kind, size, names: node.names, times: node.times })
    }

    /// Sets when a file was read and changed.
    pub(super) fn set_times(&mut self, node: NodeId, times: Times) -> Result<(), Errno> {
        let node = self.nodes.get_mut(node).ok_or(Errno::BadDescriptor)?;
        if !node.writable {
            return Err(Errno::ReadOnly);
        }
        node.times = times;
        Ok(())
    }

    /// Where a link leads.
    pub(super) fn link_target(&self, node: NodeId) -> Result<&str, Errno> {
        match &self.node(node)?.content {
            Content::Link(target) => Ok(target),
            Content::Directory { .. } | Content::Fixed(_) | Content::Written(_) | Content::Gone => {
                Err(Errno::Invalid)
            }
        }
    }

    /// Whether the program may write to it.
    pub(super) fn is_writable(&self, node: NodeId) -> bool {
        self.nodes.get(node).is_some_and(|node| node.writable)
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
        let Some(node) = self.nodes.get_mut(id).filter(|node| node.names == 0 && node.opens == 0)
        else {
            return;
        };
        match std::mem::replace(&mut node.content, Content::Gone) {
            Content::Written(bytes) => {
                self.files = self.files.saturating_sub(1);
                self.written =
                    self.written.saturating_sub(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            }
            Content::Link(_) => self.files = self.files.saturating_sub(1),
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
            Content::Link(_) | Content::Gone => return Err(Errno::BadDescriptor),
        };
        let position = usize::try_from(position).unwrap_or(usize::MAX);
        Ok(bytes.get(position..).unwrap_or_default())
    }

    /// How much more there would be to put out if a file had `end` bytes: for each of its names.
    pub(super) fn growth(&self, node: NodeId, end: u64) -> Result<u64, Errno> {
        let stat = self.stat(node)?;
        Ok(end.saturating_sub(stat.size).saturating_mul(stat.copies()))
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
        let old = self.stat(node)?;
        let length = usize::try_from(size).map_err(|_| Errno::Invalid)?;
        self.content_mut(node)?.resize(length, 0);
        let [gone, come] = [old.size, size].map(|size| size.saturating_mul(old.copies()));
        self.written = self.written.saturating_sub(gone).saturating_add(come);
        Ok(())
    }

    fn content_mut(&mut self, node: NodeId) -> Result<&mut Vec<u8>, Errno> {
        match &mut self.nodes.get_mut(node).ok_or(Errno::BadDescriptor)?.content {
            Content::Written(bytes) => Ok(bytes),
            Content::Fixed(_) => Err(Errno::ReadOnly),
            Content::Directory { .. } => Err(Errno::IsDirectory),
            Content::Link(_) | Content::Gone => Err(Errno::BadDescriptor),
        }
    }

    /// The entries of a directory from the one of that place on: `.`, `..`, then by name.
    pub(super) fn list(
        &self,
        node: NodeId,
        from: usize,
    ) -> Result<impl Iterator<Item = (&str, NodeId)>, Errno> {
        let entries = self.entries(node)?;
        let parent = self.parent(node)?;
        let own = [(".", node), ("..", parent)].into_iter();
        Ok(own.chain(entries.iter().map(|(name, node)| (name.as_str(), *node))).skip(from))
    }
}
