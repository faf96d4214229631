//! The binaries as a person or a script meets them: real nodes on loopback, real guests, real crashes.

mod abuse;
mod admission;
mod attacks;
mod books;
mod commands;
mod coordinators;
mod crashes;
mod doctor;
mod guests;
mod insiders;
mod joining;
mod mesh;
mod mistakes;
mod owners;
mod primes;
mod receipts;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tempfile::TempDir;
use tests::{Node, Weft, healthy};

/// Nodes in a temporary directory. They end before it is removed.
struct Mesh {
    nodes: Vec<Node>,
    weft: Weft,
    dir: TempDir,
}

impl Mesh {
    /// Starts one node for each set of flags. The first founds the mesh and admits the others, which join it.
    fn form(flags: &[&[&str]]) -> anyhow::Result<Self> {
        let mut mesh = Self { nodes: Vec::new(), weft: Weft::built()?, dir: tempfile::tempdir()? };
        let founder = [flags.first().copied().unwrap_or_default(), &["--auto-approve"]].concat();
        let founder = mesh.weft.up(&mesh.path("node-1"), &founder)?;
        for (flags, number) in flags.iter().skip(1).zip(2_u32..) {
            let flags = [flags, ["--bootstrap", founder.address()].as_slice()].concat();
            mesh.nodes.push(mesh.weft.up(&mesh.path(&format!("node-{number}")), &flags)?);
        }
        mesh.nodes.insert(0, founder);
        healthy(mesh.node(1)?, mesh.nodes.len())?;
        for node in &mesh.nodes {
            node.joined()?;
        }
        Ok(mesh)
    }

    /// The node of that number, from 1.
    fn node(&self, number: usize) -> anyhow::Result<&Node> {
        self.nodes.get(number.saturating_sub(1)).context("no such node")
    }

    /// The node of that number, from 1, to do something to it.
    fn node_mut(&mut self, number: usize) -> anyhow::Result<&mut Node> {
        self.nodes.get_mut(number.saturating_sub(1)).context("no such node")
    }

    /// A path in the temporary directory.
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// An example guest, as a command takes it.
fn guest(name: &str) -> String {
    arg(&root().join("sandbox/guests/wasm").join(name).with_extension("wasm"))
}

/// A path, as a command takes it.
fn arg(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
