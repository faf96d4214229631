//! The two keys of a node, as files.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use protocol::{ids::Hash, keys::SecretKey, limits::KEY_GRACE, time::UnixMillis};

use super::{Home, HomeError, private};

/// How the DER of an Ed25519 private key begins (RFC 8410 section 7): version 0, algorithm 1.3.101.112, and an
/// octet string of an octet string of 32 bytes. The seed follows.
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";

/// The keys of a node.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Its own: its public part is the peer id.
    pub node: SecretKey,
    /// Its owner's: its public part is the account that pays and earns.
    pub owner: SecretKey,
}

impl Home {
    /// Reads the keys.
    ///
    /// # Errors
    ///
    /// [`HomeError::Missing`] if there are none, [`HomeError::KeyExposed`] if other users could read one.
    pub fn keys(&self) -> Result<Keys, HomeError> {
        match (read_key(&self.identity_key())?, read_key(&self.owner_key())?) {
            (Some(node), Some(owner)) => Ok(Keys { node, owner }),
            _ => Err(HomeError::Missing { dir: self.dir().to_owned() }),
        }
    }

    /// Reads the keys and makes those that are missing. The second part says whether the node's own is new.
    ///
    /// # Errors
    ///
    /// See [`Self::keys`]; also if one cannot be written.
    pub fn keys_or_new(&self) -> Result<(Keys, bool), HomeError> {
        let (node, fresh) = key_or_new(&self.identity_key())?;
        let (owner, _) = key_or_new(&self.owner_key())?;
        Ok((Keys { node, owner }, fresh))
    }

    /// The key that the node changes to: made when it is first asked for, so that a change that was cut short goes on
    /// with the same one.
    ///
    /// # Errors
    ///
    /// See [`Self::keys_or_new`].
    pub fn next_key(&self, now: &SecretKey) -> Result<SecretKey, HomeError> {
        let (next, _) = key_or_new(&self.next_key_file())?;
        if next.node() != now.node() {
            return Ok(next);
        }
        // Left over from a change that was finished.
        fs::remove_file(self.next_key_file())
            .map_err(HomeError::io("removing", self.next_key_file()))?;
        Ok(key_or_new(&self.next_key_file())?.0)
    }

    /// Keeps keys that were made elsewhere. Those that are here are replaced only if `replace` says so.
    ///
    /// # Errors
    ///
    /// [`HomeError::KeysPresent`] if there are keys here; also if they cannot be written.
    pub fn import(&self, keys: &Keys, replace: bool) -> Result<(), HomeError> {
        let files = [(self.identity_key(), &keys.node), (self.owner_key(), &keys.owner)];
        for (path, _) in &files {
            if path.exists() {
                if !replace {
                    return Err(HomeError::KeysPresent { path: path.clone() });
                }
                fs::remove_file(path).map_err(HomeError::io("replacing", path.clone()))?;
            }
        }
        for (path, key) in &files {
            private::write_new(path, to_pem(&key.seed()).as_bytes())?;
        }
        Ok(())
    }

    /// Makes the next key the node's own, at once or not at all; the one before is kept beside it.
    ///
    /// # Errors
    ///
    /// If `next` is not the next key, or a file cannot be written.
    pub fn switch_key(&self, next: &SecretKey) -> Result<(), HomeError> {
        let path = self.next_key_file();
        if read_key(&path)?.is_none_or(|key| key.node() != next.node()) {
            return Err(HomeError::BadKey { path });
        }
        let (old, own) = (self.old_key_file(), self.identity_key());
        match fs::remove_file(&old) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(HomeError::io("removing", old)(error));
            }
            Ok(()) | Err(_) => {}
        }
        fs::hard_link(&own, &old).map_err(HomeError::io("keeping", old))?;
        fs::rename(&path, &own).map_err(HomeError::io("replacing", own))?;
        File::open(self.dir())
            .and_then(|dir| dir.sync_all())
            .map_err(HomeError::io("syncing", self.dir()))
    }

    /// Removes the key before the last change, once it is of no more use.
    ///
    /// # Errors
    ///
    /// If it cannot be looked at or removed.
    pub fn forget_old_key(&self, now: UnixMillis) -> Result<(), HomeError> {
        let path = self.old_key_file();
        // A hard link keeps the time of its content: that of the change is the directory entry's own, `ctime`.
        let changed = match fs::metadata(&path) {
            Ok(metadata) => metadata.ctime(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(HomeError::io("reading", path)(error)),
        };
        let changed = UnixMillis(u64::try_from(changed).unwrap_or(0).saturating_mul(1_000));
        if now > changed.saturating_add(KEY_GRACE) {
            fs::remove_file(&path).map_err(HomeError::io("removing", path))?;
        }
        Ok(())
    }

    /// The token that programs on this machine show to the API over TCP; made if there is none.
    ///
    /// # Errors
    ///
    /// If it cannot be read or written, or if other users could read it.
    pub fn token_or_new(&self) -> Result<String, HomeError> {
        let path = self.token_file();
        if let Some(token) = private::read(&path)? {
            return Ok(token.trim().to_owned());
        }
        let token = Hash(random_seed()?).to_string();
        private::write_new(&path, format!("{token}\n").as_bytes())?;
        // Somebody else may have been faster; theirs holds then.
        Ok(private::read(&path)?.map_or(token, |token| token.trim().to_owned()))
    }

    /// The token, if there is one that we may read.
    #[must_use]
    pub fn token(&self) -> Option<String> {
        private::read(&self.token_file()).ok().flatten().map(|token| token.trim().to_owned())
    }
}

/// Whether a text is a key, as [`Home::keys`] reads it. For those who look at a file without its secret.
#[must_use]
pub(crate) fn is_key(text: &str) -> bool {
    from_pem(text).is_some()
}

/// The secret part of a key in hex, to search for it where it must not be.
#[must_use]
pub(crate) fn key_seed_hex(text: &str) -> Option<String> {
    from_pem(text).map(|seed| Hash(seed).to_string())
}

fn key_or_new(path: &Path) -> Result<(SecretKey, bool), HomeError> {
    if let Some(key) = read_key(path)? {
        return Ok((key, false));
    }
    let seed = random_seed()?;
    let fresh = private::write_new(path, to_pem(&seed).as_bytes())?;
    let key = if fresh { Some(SecretKey::from_seed(&seed)) } else { read_key(path)? };
    key.map(|key| (key, fresh)).ok_or_else(|| HomeError::BadKey { path: path.to_owned() })
}

fn read_key(path: &Path) -> Result<Option<SecretKey>, HomeError> {
    let Some(text) = private::read(path)? else { return Ok(None) };
    let seed = from_pem(&text).ok_or_else(|| HomeError::BadKey { path: path.to_owned() })?;
    Ok(Some(SecretKey::from_seed(&seed)))
}

fn random_seed() -> Result<[u8; 32], HomeError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|_| HomeError::Entropy)?;
    Ok(seed)
}

fn to_pem(seed: &[u8; 32]) -> String {
    let der = [PKCS8_PREFIX.as_slice(), seed].concat();
    format!("{PEM_BEGIN}\n{}\n{PEM_END}\n", STANDARD.encode(der))
}

/// Reads what [`to_pem`] and `openssl genpkey -algorithm ed25519` write.
fn from_pem(text: &str) -> Option<[u8; 32]> {
    let body = text.trim().strip_prefix(PEM_BEGIN)?.strip_suffix(PEM_END)?;
    let body: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let der = STANDARD.decode(body).ok()?;
    der.strip_prefix(PKCS8_PREFIX.as_slice())?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_file_is_what_openssl_writes() {
        // RFC 8410 section 10.3, the first example.
        let text = "-----BEGIN PRIVATE KEY-----\n\
                    MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
                    -----END PRIVATE KEY-----\n";
        let seed = from_pem(text).unwrap();
        assert_eq!(
            Hash(seed).to_string(),
            "d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842"
        );
        assert_eq!(to_pem(&seed), text);
    }

    #[test]
    fn keys_are_made_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::create(&dir.path().join("a/b")).unwrap();
        let (first, fresh) = home.keys_or_new().unwrap();
        assert!(fresh);
        let (again, fresh) = home.keys_or_new().unwrap();
        assert!(!fresh);
        assert_eq!(first.node.node(), again.node.node());
        assert_eq!(first.owner.account(), again.owner.account());
        assert_ne!(first.node.public(), first.owner.public());
        for file in [home.identity_key(), home.owner_key()] {
            assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::metadata(home.dir()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::create(dir.path()).unwrap();
        home.keys_or_new().unwrap();
        fs::set_permissions(home.owner_key(), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(home.keys(), Err(HomeError::KeyExposed { mode: 0o644, .. })));
    }

    #[test]
    fn a_key_file_with_something_else_in_it_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::create(dir.path()).unwrap();
        private::write_new(&home.identity_key(), b"not a key").unwrap();
        assert!(matches!(home.keys_or_new(), Err(HomeError::BadKey { .. })));
        assert_eq!(fs::read(home.identity_key()).unwrap(), b"not a key");
    }

    #[test]
    fn a_key_is_replaced_whole_and_the_one_before_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::create(dir.path()).unwrap();
        let (keys, _) = home.keys_or_new().unwrap();
        let next = home.next_key(&keys.node).unwrap();
        assert_eq!(home.next_key(&keys.node).unwrap().node(), next.node(), "the same each time");
        assert_eq!(home.keys().unwrap().node.node(), keys.node.node(), "nothing is changed yet");
        assert!(matches!(home.switch_key(&keys.node), Err(HomeError::BadKey { .. })));

        home.switch_key(&next).unwrap();
        assert_eq!(home.keys().unwrap().node.node(), next.node());
        assert_eq!(home.keys().unwrap().owner.account(), keys.owner.account());
        assert_eq!(read_key(&home.old_key_file()).unwrap().unwrap().node(), keys.node.node());
        assert!(!home.next_key_file().exists());
        home.forget_old_key(UnixMillis(0)).unwrap();
        assert!(home.old_key_file().exists());
        home.forget_old_key(UnixMillis(u64::MAX)).unwrap();
        assert!(!home.old_key_file().exists(), "it is good for 48 hours");
        assert_ne!(home.next_key(&next).unwrap().node(), next.node());
    }

    #[test]
    fn keys_from_elsewhere_replace_none_unless_that_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::create(dir.path()).unwrap();
        let other =
            Keys { node: SecretKey::from_seed(&[1; 32]), owner: SecretKey::from_seed(&[2; 32]) };
        home.import(&other, false).unwrap();
        assert_eq!(home.keys().unwrap().node.node(), other.node.node());
        let third =
            Keys { node: SecretKey::from_seed(&[3; 32]), owner: SecretKey::from_seed(&[4; 32]) };
        assert!(matches!(home.import(&third, false), Err(HomeError::KeysPresent { .. })));
        assert_eq!(home.keys().unwrap().owner.account(), other.owner.account());
        home.import(&third, true).unwrap();
        assert_eq!(home.keys().unwrap().owner.account(), third.owner.account());
    }

    #[test]
    fn the_token_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::create(dir.path()).unwrap();
        assert_eq!(home.token(), None);
        let token = home.token_or_new().unwrap();
        assert_eq!(home.token_or_new().unwrap(), token);
        assert_eq!(home.token(), Some(token));
    }
}
