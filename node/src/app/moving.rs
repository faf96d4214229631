//! From one mesh to another, on disk: what was before goes to `old/`, and whatever happens in between, the node is in
//! exactly one mesh afterwards.
//!
//! The file `moving` decides. Before it is there, the node is in its old mesh; once it is there, in the new one, and
//! whatever is left to do is done at the next start. Every step can be done twice.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use protocol::{
    codec::{decode, encode},
    ids::MeshId,
    wire::{enroll::Membership, genesis::Genesis},
};

use super::{AppError, membership};
use crate::home::{UpOptions, replace, sync_dir};

/// Where a move is written down.
const FILE: &str = "moving";
/// What was kept of one mesh, at most, if it was left more than once.
const COPIES_MAX: u32 = 1_000;

/// A move that was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Move {
    from: Option<MeshId>,
    to: Membership,
}

/// A part of a move.
type Step = fn(&UpOptions, &Move) -> Result<(), AppError>;

/// The steps of a move, in order. Each can be done again.
const STEPS: [Step; 4] = [
    |options, moving| moving.from.map_or(Ok(()), |from| put_away(options, &from)),
    |options, moving| membership::save(options, &Genesis::mesh_id(&moving.to.genesis), &moving.to),
    |options, _| forget_peers(options),
    |options, _| done(options),
];

/// Leaves one mesh, if the node is in one, for another that has admitted it. Nothing may use the old one any more.
pub(super) fn move_to(
    options: &UpOptions,
    from: Option<MeshId>,
    to: &Membership,
) -> Result<(), AppError> {
    decide(options, &Move { from, to: to.clone() })?;
    finish(options)
}

/// Leaves a mesh for none.
pub(super) fn leave(options: &UpOptions, mesh: &MeshId) -> Result<(), AppError> {
    put_away(options, mesh)?;
    forget_peers(options)
}

/// Does what is left of a move that was decided: at every start, before the node looks which mesh it is in.
pub(super) fn finish(options: &UpOptions) -> Result<(), AppError> {
    let path = file(options);
    let bytes = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        read => read.map_err(failed(&path))?,
    };
    let damaged = |source| AppError::Membership { path: path.clone(), source };
    let Some((from, to)) = bytes.split_first_chunk::<32>() else {
        return Err(failed(&path)(io::Error::new(io::ErrorKind::InvalidData, "too short")));
    };
    let from = (*from != [0; 32]).then_some(MeshId(*from));
    let moving = Move { from, to: decode(to).map_err(damaged)? };
    STEPS.iter().try_for_each(|step| step(options, &moving))
}

/// Writes the move down, for good. From here on it happens.
fn decide(options: &UpOptions, moving: &Move) -> Result<(), AppError> {
    let path = file(options);
    let mut bytes = moving.from.map_or([0; 32], |from| from.0).to_vec();
    bytes.extend(encode(&moving.to));
    replace(&path, &bytes).map_err(failed(&path))
}

/// Moves everything of a mesh to `old/<mesh id>`; to `old/<mesh id>.1` and so on if it was left before.
fn put_away(options: &UpOptions, mesh: &MeshId) -> Result<(), AppError> {
    let from = options.home.mesh_dir(mesh);
    if !from.exists() {
        return Ok(());
    }
    let old = options.home.old_dir();
    let put = || -> io::Result<()> {
        fs::create_dir_all(&old)?;
        let first = old.join(mesh.to_string());
        let others = (1..COPIES_MAX).map(|copy| first.with_extension(copy.to_string()));
        let to = std::iter::once(first.clone()).chain(others).find(|path| !path.exists());
        fs::rename(&from, to.unwrap_or(first))?;
        sync_dir(&old)?;
        sync_dir(&options.home.meshes_dir())
    };
    put().map_err(failed(&from))
}

/// The peers that are remembered are of the old mesh.
fn forget_peers(options: &UpOptions) -> Result<(), AppError> {
    gone(&options.home.peers_file())
}

fn done(options: &UpOptions) -> Result<(), AppError> {
    // What the move made must be on disk before the move is forgotten.
    sync_dir(&options.home.meshes_dir()).map_err(failed(&options.home.meshes_dir()))?;
    gone(&file(options))
}

fn gone(path: &Path) -> Result<(), AppError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn file(options: &UpOptions) -> PathBuf {
    options.home.dir().join(FILE)
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> AppError {
    let path = path.to_owned();
    move |source| AppError::File { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::{Config, Home, Settings};

    fn options(dir: &Path) -> UpOptions {
        let home = Home::create(dir).unwrap();
        let (lock, (keys, keys_are_new)) = (home.lock().unwrap(), home.keys_or_new().unwrap());
        let config = Config::try_from(&Settings::default()).unwrap();
        UpOptions {
            home,
            lock,
            keys,
            keys_are_new,
            ends_if_refused: false,
            watched: false,
            config,
            invite: None,
        }
    }

    /// A node in a mesh of its own, and a mesh that has admitted it.
    fn between() -> (tempfile::TempDir, UpOptions, Move) {
        let dir = tempfile::tempdir().unwrap();
        let options = options(&dir.path().join("mine"));
        let (mesh, mine) = membership::found(&options);
        membership::save(&options, &mesh, &mine).unwrap();
        fs::write(options.home.mesh_dir(&mesh).join("something"), "kept").unwrap();
        let theirs = membership::found(&self::options(&dir.path().join("theirs"))).1;
        (dir, options, Move { from: Some(mesh), to: theirs })
    }

    fn assert_moved(options: &UpOptions, moving: &Move) {
        let (mesh, membership) = membership::load(options).unwrap().unwrap();
        assert_eq!(mesh, Genesis::mesh_id(&moving.to.genesis));
        assert_eq!(membership, moving.to);
        let old = options.home.old_dir().join(moving.from.unwrap().to_string());
        assert_eq!(fs::read_to_string(old.join("something")).unwrap(), "kept");
        assert!(!file(options).exists());
    }

    #[test]
    fn a_node_that_moves_is_in_the_new_mesh_and_keeps_the_old_one() {
        let (_dir, options, moving) = between();
        move_to(&options, moving.from, &moving.to).unwrap();
        assert_moved(&options, &moving);
        finish(&options).unwrap();
        assert_moved(&options, &moving);
    }

    #[test]
    fn a_node_that_is_killed_between_two_steps_is_in_exactly_one_mesh() {
        for steps in 0..=STEPS.len() {
            let (_dir, options, moving) = between();
            decide(&options, &moving).unwrap();
            for step in STEPS.iter().take(steps) {
                step(&options, &moving).unwrap();
            }
            finish(&options).unwrap();
            assert_moved(&options, &moving);
        }
    }

    #[test]
    fn a_node_that_is_killed_before_it_decided_stays_where_it_was() {
        let (_dir, options, moving) = between();
        fs::write(file(&options).with_extension("new"), "half of it").unwrap();
        finish(&options).unwrap();
        assert_eq!(membership::load(&options).unwrap().unwrap().0, moving.from.unwrap());
    }

    #[test]
    fn a_mesh_that_is_left_twice_is_kept_twice() {
        let (_dir, options, moving) = between();
        let mesh = moving.from.unwrap();
        leave(&options, &mesh).unwrap();
        assert!(membership::load(&options).unwrap().is_none());
        membership::save(&options, &mesh, &moving.to).unwrap();
        leave(&options, &mesh).unwrap();
        assert_eq!(fs::read_dir(options.home.old_dir()).unwrap().count(), 2);
    }

    #[test]
    fn a_node_without_a_mesh_only_gets_one() {
        let dir = tempfile::tempdir().unwrap();
        let options = options(&dir.path().join("mine"));
        let (mesh, membership) = membership::found(&self::options(&dir.path().join("theirs")));
        move_to(&options, None, &membership).unwrap();
        assert_eq!(membership::load(&options).unwrap().unwrap().0, mesh);
    }
}
