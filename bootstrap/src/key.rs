//! The server's key as a file: PKCS #8 in PEM, as `openssl genpkey -algorithm ed25519` writes it.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use libp2p::identity::Keypair;
use protocol::keys::SecretKey;

/// How the DER of an Ed25519 private key begins (RFC 8410 section 7); the seed follows.
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";
/// Larger is no key file, in bytes.
const FILE_BYTES_MAX: u64 = 4_096;

/// The key could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    /// Reading failed.
    #[error("could not read the key file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Writing failed.
    #[error("could not write the key file {}; choose another with --key FILE", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others could read it.
    #[error("others can read the key file {0}; make it private: chmod 600 {0}", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// It holds something else.
    #[error("{} is not an Ed25519 key in PEM; name another file with --key FILE", path.display())]
    Bad {
        /// The file.
        path: PathBuf,
    },
    /// The system gave no randomness of the right kind.
    #[error("could not make a key")]
    Make,
}

/// Reads the key; makes and writes one if there is no file.
pub(crate) fn load_or_make(path: &Path) -> Result<SecretKey, KeyError> {
    match fs::metadata(path) {
        Ok(metadata) => load(path, &metadata),
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(path),
        Err(source) => Err(KeyError::Read { path: path.to_owned(), source }),
    }
}

fn load(path: &Path, metadata: &fs::Metadata) -> Result<SecretKey, KeyError> {
    let bad = || KeyError::Bad { path: path.to_owned() };
    if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX {
        return Err(bad());
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(KeyError::Exposed { path: path.to_owned() });
    }
    let bytes =
        fs::read(path).map_err(|source| KeyError::Read { path: path.to_owned(), source })?;
    let text = String::from_utf8(bytes).map_err(|_| bad())?;
    from_pem(&text).map(|seed| SecretKey::from_seed(&seed)).ok_or_else(bad)
}

fn make(path: &Path) -> Result<SecretKey, KeyError> {
    let made = Keypair::generate_ed25519().try_into_ed25519().map_err(|_| KeyError::Make)?;
    let seed: [u8; 32] = made.secret().as_ref().try_into().map_err(|_| KeyError::Make)?;
    write(path, &to_pem(&seed))
        .map_err(|source| KeyError::Write { path: path.to_owned(), source })?;
    Ok(SecretKey::from_seed(&seed))
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn to_pem(seed: &[u8; 32]) -> String {
    format!(
        "{PEM_BEGIN}\n{}\n{PEM_END}\n",
        STANDARD.encode([PKCS8_PREFIX.as_slice(), seed].concat())
    )
}

fn from_pem(text: &str) -> Option<[u8; 32]> {
    let body = text.trim().strip_prefix(PEM_BEGIN)?.strip_suffix(PEM_END)?;
    let der = STANDARD.decode(body.trim()).ok()?;
    der.strip_prefix(PKCS8_PREFIX.as_slice())?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_only_its_owner_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let made = load_or_make(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(load_or_make(&path).unwrap().node(), made.node());
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        load_or_make(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(load_or_make(&path), Err(KeyError::Exposed { .. })));
    }

    #[test]
    fn a_file_that_is_no_key_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notes");
        write(&path, "not a key").unwrap();
        assert!(matches!(load_or_make(&path), Err(KeyError::Bad { .. })));
        assert!(matches!(load_or_make(dir.path()), Err(KeyError::Bad { .. })), "a directory");
        assert_eq!(fs::read_to_string(&path).unwrap(), "not a key");
    }

    #[test]
    fn a_key_of_openssl_is_read() {
        // RFC 8410 section 10.3.
        let text = format!(
            "{PEM_BEGIN}\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n{PEM_END}\n"
        );
        let seed = from_pem(&text).unwrap();
        assert_eq!(to_pem(&seed), text);
    }
}
