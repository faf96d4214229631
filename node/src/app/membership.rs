//! Which mesh this node is in: kept in `mesh/<id>/membership`.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use protocol::{
    codec::{decode, encode},
    ids::MeshId,
    limits::NODES_MAX,
    price::Price,
    sign::Signed,
    units::Credits,
    wire::{
        enroll::{Membership, NodeAddress},
        genesis::{Genesis, Joining},
    },
};

use super::AppError;
use crate::{home::UpOptions, roles::clock::NodeClock};

/// The file that is there while a mesh is being founded.
const FOUNDING: &str = "founding";
/// The file that says what this node's owner wants of its place among the coordinators.
const WISH: &str = "coordinator";
/// What a new owner of a personal or LAN mesh is given.
const WELCOME_GRANT: Credits = Credits::from_whole(1_000);

fn failed(path: &Path) -> impl FnOnce(io::Error) -> AppError {
    let path = path.to_owned();
    move |source| AppError::File { path, source }
}

/// The file of a mesh.
fn file(options: &UpOptions, mesh: &MeshId) -> PathBuf {
    options.home.mesh_dir(mesh).join("membership")
}

/// The mesh that this node is in, if it is in one.
pub(super) fn load(options: &UpOptions) -> Result<Option<(MeshId, Membership)>, AppError> {
    let dir = options.home.meshes_dir();
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(AppError::File { path: dir, source }),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed(&dir))?;
        let mesh = entry.file_name().to_str().and_then(|name| name.parse::<MeshId>().ok());
        found.extend(mesh.filter(|mesh| file(options, mesh).exists()));
    }
    match found[..] {
        [] => Ok(None),
        [mesh] => {
            let path = file(options, &mesh);
            let bytes = fs::read(&path).map_err(failed(&path))?;
            let membership =
                decode(&bytes).map_err(|source| AppError::Membership { path, source })?;
            Ok(Some((mesh, membership)))
        }
        [..] => Err(AppError::SeveralMeshes(found.len())),
    }
}

/// Keeps what is known about the mesh.
pub(super) fn save(
    options: &UpOptions,
    mesh: &MeshId,
    membership: &Membership,
) -> Result<(), AppError> {
    let dir = options.home.mesh_dir(mesh);
    fs::create_dir_all(&dir).map_err(failed(&dir))?;
    let path = file(options, mesh);
    let temporary = path.with_extension("new");
    write_secret(&temporary, &encode(membership)).map_err(failed(&temporary))?;
    fs::rename(&temporary, &path).map_err(failed(&path))
}

/// For the owner's eyes only: what an owner delegates to this node is in it.
fn write_secret(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)
}

/// Founds a mesh of one's own. Nothing is kept yet.
pub(super) fn found(options: &UpOptions) -> (MeshId, Membership) {
    let node = options.node();
    let joining = if options.config.auto_approve { Joining::Automatic } else { Joining::Approval };
    let genesis = Genesis {
        version: protocol::wire::VERSION,
        name: options.config.mesh_name.clone(),
        founded: NodeClock::wall(),
        operators: vec![options.keys.owner.account()],
        coordinator: node,
        coordinator_name: options.name(),
        price: Price::default(),
        welcome_grant: WELCOME_GRANT,
        welcome_grants_max: u32::try_from(NODES_MAX).unwrap_or(u32::MAX),
        joining,
        nonce: super::random(),
    };
    let genesis = Signed::sign(&genesis, Genesis::MESH, &options.keys.owner);
    let mesh = Genesis::mesh_id(&genesis);
    let coordinators = vec![NodeAddress { node, addresses: Vec::new() }];
    let account = options.keys.owner.account();
    let members = vec![node];
    let membership =
        Membership { genesis, epoch: 0, coordinators, members, account, delegation: None };
    (mesh, membership)
}

/// What its owner wants of this node's place among the coordinators.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Wish {
    /// Nothing: the rules decide.
    #[default]
    None,
    /// To have one as soon as it can.
    Join,
    /// To give it up.
    Leave,
}

/// Reads what is wanted. A file that makes no sense says nothing.
pub(super) fn wish(options: &UpOptions, mesh: &MeshId) -> Wish {
    match fs::read_to_string(options.home.mesh_dir(mesh).join(WISH)).as_deref() {
        Ok("join") => Wish::Join,
        Ok("leave") => Wish::Leave,
        Ok(_) | Err(_) => Wish::None,
    }
}

/// Keeps what is wanted.
///
/// # Errors
///
/// If it cannot be written.
pub fn set_wish(options: &UpOptions, mesh: &MeshId, wish: Wish) -> io::Result<()> {
    let path = options.home.mesh_dir(mesh).join(WISH);
    let text = match wish {
        Wish::None => "",
        Wish::Join => "join",
        Wish::Leave => "leave",
    };
    fs::write(path, text)
}

/// Puts a ledger away that is no part of the group any more. The next one in its place is another member.
pub(super) fn put_ledger_away(options: &UpOptions, mesh: &MeshId) -> Result<(), AppError> {
    let dir = options.home.mesh_dir(mesh);
    let (from, to) = (dir.join("db"), dir.join(format!("db-left-{}", NodeClock::wall().0)));
    fs::rename(&from, &to).map_err(failed(&from))?;
    let incarnation = dir.join("incarnation");
    match fs::remove_file(&incarnation) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&incarnation)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whether this node has begun to found the mesh, and has not finished.
pub(super) fn is_founding(options: &UpOptions, mesh: &MeshId) -> bool {
    options.home.mesh_dir(mesh).join(FOUNDING).exists()
}

/// Writes down that this node founds the mesh.
pub(super) fn begin_founding(options: &UpOptions, mesh: &MeshId) -> Result<(), AppError> {
    let dir = options.home.mesh_dir(mesh);
    fs::create_dir_all(&dir).map_err(failed(&dir))?;
    let path = dir.join(FOUNDING);
    fs::write(&path, []).map_err(failed(&path))
}

/// The mesh is founded: nothing that happens to its ledger founds it again.
pub(super) fn end_founding(options: &UpOptions, mesh: &MeshId) -> Result<(), AppError> {
    let path = options.home.mesh_dir(mesh).join(FOUNDING);
    fs::remove_file(&path).map_err(failed(&path))
}

/// Removes this node's copy of the ledger, and its name with it: it will be another copy.
pub(super) fn forget_ledger(options: &UpOptions, mesh: &MeshId) -> Result<(), AppError> {
    let dir = options.home.mesh_dir(mesh);
    for (path, is_dir) in [(dir.join("incarnation"), false), (dir.join("db"), true)] {
        let removed = if is_dir { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed(&path)(error));
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Sixteen bytes that name this copy of the ledger: a copy that was lost never comes back under the same name.
pub(super) fn incarnation(options: &UpOptions, mesh: &MeshId) -> Result<[u8; 16], AppError> {
    let path = options.home.mesh_dir(mesh).join("incarnation");
    match fs::read(&path) {
        Ok(bytes) => bytes.try_into().map_err(|_| AppError::File {
            path,
            source: io::Error::new(io::ErrorKind::InvalidData, "16 bytes were expected"),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let incarnation = super::random();
            fs::write(&path, incarnation).map_err(failed(&path))?;
            Ok(incarnation)
        }
        Err(source) => Err(AppError::File { path, source }),
    }
}
