//! From a path to a place in the tree.

use protocol::limits::PATH_BYTES_MAX;

use super::{Content, NodeId, Tree};
use crate::wasi::abi::{Errno, Failure, Meter};

/// Links that one path may lead through, as on Linux.
const LINKS_MAX: usize = 40;
/// What looking up a path costs, for each of its bytes and of those of the links on it.
pub(in crate::wasi) const FUEL_PER_PATH_BYTE: u64 = 16;

/// Where a path leads: a name in a directory, and what is there.
#[derive(Debug, Clone, Copy)]
pub(in crate::wasi) struct Place<'p> {
    /// The directory that the last part is in.
    pub(super) directory: NodeId,
    /// The last part; `None` for a directory that was not reached by its name, as with `.`.
    pub(super) name: Option<&'p str>,
    /// What is there.
    pub(super) node: Option<NodeId>,
    /// Whether the path ends in a slash: only a directory will do.
    pub(super) slash: bool,
}

impl Place<'_> {
    /// What is there.
    pub(in crate::wasi) fn found(&self) -> Result<NodeId, Errno> {
        self.node.ok_or(Errno::NotFound)
    }
}

impl Tree {
    /// Follows a path from a directory. It never leads out of that directory: not from the root, not by `..`, and not by
    /// a link. `follow`: also through a link at its end. Links are charged here, the path where it was read.
    pub(in crate::wasi) fn resolve<'p>(
        &'p self,
        base: NodeId,
        path: &'p str,
        follow: bool,
        meter: &mut Meter<'_>,
    ) -> Result<Place<'p>, Failure> {
        check_path(path)?;
        let slash = path.ends_with('/');
        let mut parts: Vec<&str> = parts(path).rev().collect();
        let (mut at, mut links) = (base, 0_usize);
        while let Some(part) = parts.pop() {
            let entries = self.entries(at)?;
            if part == ".." {
                if at == base {
                    return Err(Errno::NotCapable.into());
                }
                at = self.parent(at)?;
                continue;
            }
            let is_last = parts.is_empty();
            let place = Place { directory: at, name: Some(part), node: None, slash };
            let node = match entries.get(part) {
                Some(node) => *node,
                None if is_last => return Ok(place),
                None => return Err(Errno::NotFound.into()),
            };
            match &self.node(node)?.content {
                Content::Link(target) if !is_last || follow || slash => {
                    links = links.saturating_add(1);
                    if links > LINKS_MAX {
                        return Err(Errno::Loop.into());
                    }
                    let bytes = u64::try_from(target.len()).unwrap_or(u64::MAX);
                    meter.charge(bytes.saturating_mul(FUEL_PER_PATH_BYTE))?;
                    parts.extend(self::parts(target).rev());
                }
                Content::Directory { .. } if !is_last => at = node,
                Content::Directory { .. } => return Ok(Place { node: Some(node), ..place }),
                Content::Fixed(_) | Content::Written(_) | Content::Link(_) | Content::Gone
                    if is_last && !slash =>
                {
                    return Ok(Place { node: Some(node), ..place });
                }
                Content::Fixed(_) | Content::Written(_) | Content::Link(_) | Content::Gone => {
                    return Err(Errno::NotDirectory.into());
                }
            }
        }
        Ok(Place { directory: at, name: None, node: Some(at), slash })
    }

    /// The directory above a directory.
    pub(super) fn parent(&self, node: NodeId) -> Result<NodeId, Errno> {
        match &self.node(node)?.content {
            Content::Directory { parent, .. } => Ok(*parent),
            Content::Fixed(_) | Content::Written(_) | Content::Link(_) | Content::Gone => {
                Err(Errno::NotDirectory)
            }
        }
    }
}

/// The parts of a path that mean something.
fn parts(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty() && *part != ".")
}

/// Whether it can be a path from a directory on.
pub(super) fn check_path(path: &str) -> Result<(), Errno> {
    if path.is_empty() {
        return Err(Errno::NotFound);
    }
    if path.len() > PATH_BYTES_MAX {
        return Err(Errno::NameTooLong);
    }
    if path.contains('\0') {
        return Err(Errno::Invalid);
    }
    if path.starts_with('/') { Err(Errno::NotCapable) } else { Ok(()) }
}
