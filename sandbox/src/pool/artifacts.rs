//! Compiled modules on disk. Native code: nothing is loaded that this node did not write itself.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use protocol::ids::Hash;

use crate::{
    PROFILE,
    admission::{Compiler, Facts},
    engine,
    metering::cost,
};

/// Where the key of the MAC is, in the same directory.
const SECRET: &str = "secret";
/// The ending of artifacts.
const ENDING: &str = "weft";
/// The MAC and the facts before the code, in bytes.
const MAC_BYTES: usize = 32;
const FACTS_BYTES: usize = 17;

/// A compiled module.
#[derive(Debug, Clone)]
pub(super) struct Artifact {
    pub(super) facts: Facts,
    pub(super) code: Vec<u8>,
}

/// Compiled modules on disk, in a directory of mode 0700. Each is named after everything that it depends on and
/// carries a MAC under a key of this directory, so that a file that was changed or moved here is not loaded.
#[derive(Debug, Clone)]
pub(super) struct Artifacts {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    bytes_max: u64,
    key: [u8; 32],
    /// Engine, format, processor, cost table, profile, and which build of the compiling program.
    identity: String,
}

impl Artifacts {
    /// Opens the directory; creates it, and the key in it, if it is new. What another `compiler` program left there is
    /// not used.
    pub(super) fn open(directory: &Path, bytes_max: u64, compiler: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
        let key = key(&directory.join(SECRET))?;
        let program = fs::metadata(compiler)?;
        let build =
            format!("{} bytes of {}.{:09}", program.size(), program.mtime(), program.mtime_nsec());
        let identity = format!(
            "{} cost {} profile {PROFILE} build {build}",
            engine::identity(),
            cost::VERSION
        );
        Ok(Self {
            shared: Arc::new(Shared { directory: directory.to_owned(), bytes_max, key, identity }),
        })
    }

    /// The artifact of a module, if it is there and genuine.
    pub(super) async fn get(&self, module: Hash) -> Option<Artifact> {
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || shared.read(module)).await.ok().flatten()
    }

    /// Keeps the artifact of a module. That it could not be kept costs time, nothing else.
    pub(super) async fn put(&self, module: Hash, artifact: &Artifact) {
        let (shared, artifact) = (Arc::clone(&self.shared), artifact.clone());
        let written = tokio::task::spawn_blocking(move || shared.write(module, &artifact)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(%module, %error, "a compiled module could not be kept");
        }
    }
}

impl Shared {
    fn path(&self, module: Hash) -> PathBuf {
        let mut hasher = blake3::Hasher::new_derive_key("weft 2026-11 name of an artifact");
        hasher.update(&module.0).update(self.identity.as_bytes());
        self.directory.join(format!("{}.{ENDING}", hasher.finalize().to_hex()))
    }

    /// Covers the module's hash, so that one artifact cannot pass for another.
    fn mac(&self, module: Hash, rest: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&module.0);
        hasher.update(&u64::try_from(self.identity.len()).unwrap_or(u64::MAX).to_le_bytes());
        hasher.update(self.identity.as_bytes());
        hasher.update(rest).finalize()
    }

    fn read(&self, module: Hash) -> Option<Artifact> {
        let path = self.path(module);
        let mut bytes = fs::read(&path).ok()?;
        let genuine = bytes
            .split_first_chunk::<MAC_BYTES>()
            .filter(|(mac, rest)| self.mac(module, rest) == **mac);
        let facts = genuine.and_then(|(_, rest)| parse(rest));
        let artifact = facts.map(|facts| {
            // In place: the code is all but a few bytes of it.
            bytes.drain(..MAC_BYTES.saturating_add(FACTS_BYTES));
            Artifact { facts, code: bytes }
        });
        match &artifact {
            Some(_) => touch(&path),
            None => {
                tracing::warn!(path = %path.display(), "a compiled module is damaged: it is compiled again");
                remove(&path);
            }
        }
        artifact
    }

    fn write(&self, module: Hash, artifact: &Artifact) -> io::Result<()> {
        let facts = facts_to_bytes(&artifact.facts);
        let rest = [facts.as_slice(), &artifact.code].concat();
        let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
        file.write_all(self.mac(module, &rest).as_bytes())?;
        file.write_all(&rest)?;
        // No fsync: a file that was cut by a power failure fails its MAC.
        file.persist(self.path(module)).map_err(|error| error.error)?;
        self.make_room()
    }

    /// Removes what was not used for longest until the rest is within the limit.
    fn make_room(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            if path.extension().is_some_and(|ending| ending == ENDING) {
                let metadata = fs::metadata(&path)?;
                files.push((
                    metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
                    metadata.size(),
                    path,
                ));
            }
        }
        files.sort();
        let mut sum = files.iter().fold(0_u64, |sum, (_, size, _)| sum.saturating_add(*size));
        for (_, size, path) in files {
            if sum <= self.bytes_max {
                break;
            }
            remove(&path);
            sum = sum.saturating_sub(size);
        }
        Ok(())
    }
}

/// The key, made when the directory is new.
fn key(path: &Path) -> io::Result<[u8; 32]> {
    let mut key = [0; 32];
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            getrandom::fill(&mut key).map_err(io::Error::other)?;
            file.write_all(&key)?;
            file.sync_all()?;
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            OpenOptions::new().read(true).open(path)?.read_exact(&mut key)?;
        }
        Err(error) => return Err(error),
    }
    Ok(key)
}

fn touch(path: &Path) {
    #[expect(clippy::disallowed_methods, reason = "only orders files by their last use")]
    let now = SystemTime::now();
    if let Err(error) =
        OpenOptions::new().append(true).open(path).and_then(|file| file.set_modified(now))
    {
        tracing::debug!(%error, "the use of a compiled module was not noted");
    }
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::debug!(path = %path.display(), %error, "a compiled module could not be removed");
    }
}

fn facts_to_bytes(facts: &Facts) -> Vec<u8> {
    let compiler = match facts.compiler {
        Compiler::Cranelift => 0,
        Compiler::Singlepass => 1,
    };
    let numbers = [facts.memory_min.0, facts.memory_max.0, facts.items, facts.data_bytes];
    numbers.iter().flat_map(|number| number.to_le_bytes()).chain([compiler]).collect()
}

/// What is known about the module, before its code.
fn parse(bytes: &[u8]) -> Option<Facts> {
    let (facts, _) = bytes.split_at_checked(FACTS_BYTES)?;
    let (numbers, compiler) = facts.as_chunks::<4>();
    let [memory_min, memory_max, items, data_bytes] = numbers else { return None };
    let number = |bytes: &[u8; 4]| u32::from_le_bytes(*bytes);
    Some(Facts {
        memory_min: protocol::units::Pages(number(memory_min)),
        memory_max: protocol::units::Pages(number(memory_max)),
        items: number(items),
        data_bytes: number(data_bytes),
        compiler: match compiler {
            [0] => Compiler::Cranelift,
            [1] => Compiler::Singlepass,
            _ => return None,
        },
    })
}

#[cfg(test)]
mod tests {
    use protocol::units::Pages;

    use super::*;

    fn artifact(code: &[u8]) -> Artifact {
        let facts = Facts {
            memory_min: Pages(2),
            memory_max: Pages(65_536),
            items: 3,
            data_bytes: 4,
            compiler: Compiler::Singlepass,
        };
        Artifact { facts, code: code.to_vec() }
    }

    fn open(directory: &Path, bytes_max: u64) -> Artifacts {
        Artifacts::open(directory, bytes_max, &std::env::current_exe().unwrap()).unwrap()
    }

    #[test]
    fn what_is_kept_is_found_again_also_by_the_next_process() {
        let directory = tempfile::tempdir().unwrap();
        let module = Hash::of(b"module");
        open(directory.path(), 1_000).shared.write(module, &artifact(b"code")).unwrap();
        let found = open(directory.path(), 1_000).shared.read(module).unwrap();
        assert_eq!((found.facts, found.code), (artifact(b"code").facts, b"code".to_vec()));
        assert!(open(directory.path(), 1_000).shared.read(Hash::of(b"other")).is_none());
    }

    #[test]
    fn a_file_that_was_changed_moved_or_cut_is_not_loaded_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let artifacts = open(directory.path(), 10_000).shared;
        let (module, other) = (Hash::of(b"module"), Hash::of(b"other"));
        let spoil: [&dyn Fn(&Path); 3] = [
            &|path| {
                let mut bytes = fs::read(path).unwrap();
                *bytes.last_mut().unwrap() ^= 1;
                fs::write(path, bytes).unwrap();
            },
            &|path| fs::write(path, b"short").unwrap(),
            &|path| {
                artifacts.write(other, &artifact(b"other")).unwrap();
                fs::rename(artifacts.path(other), path).unwrap();
            },
        ];
        for spoil in spoil {
            artifacts.write(module, &artifact(b"code")).unwrap();
            spoil(&artifacts.path(module));
            assert!(artifacts.read(module).is_none());
            assert!(!artifacts.path(module).exists());
        }
    }

    #[test]
    fn there_is_room_for_so_many_bytes_only() {
        let directory = tempfile::tempdir().unwrap();
        let artifacts = open(directory.path(), 1_200).shared;
        let modules = [b"one".as_slice(), b"two", b"three"].map(Hash::of);
        for module in modules {
            artifacts.write(module, &artifact(&[0; 500])).unwrap();
        }
        let kept = modules.iter().filter(|module| artifacts.path(**module).exists()).count();
        assert_eq!(kept, 2);
    }

    #[test]
    fn the_directory_is_for_its_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b");
        open(&path, 1);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(path.join(SECRET)).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
