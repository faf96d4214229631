//! The keys of a node in one file, encrypted with a passphrase, to be kept elsewhere.
//!
//! The key of the encryption is Argon2id (RFC 9106) of the passphrase, its parameters are in the file and bound to
//! it; the keys are encrypted with ChaCha20-Poly1305 (RFC 8439) under that key, which is used once.

use argon2::{Algorithm, Argon2, Params, Version};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use chacha20poly1305::{
    ChaCha20Poly1305, KeyInit as _, Nonce,
    aead::{Aead as _, Payload},
};
use protocol::keys::SecretKey;

use super::Keys;

const BEGIN: &str = "-----BEGIN WEFT IDENTITY-----";
const END: &str = "-----END WEFT IDENTITY-----";
/// The version of the format.
const FORMAT: u8 = 1;
/// Memory in KiB, passes, lanes: about a fifth of a second of one core.
const COST: Cost = Cost { memory: 64 * 1024, passes: 3, lanes: 1 };
/// What a file may ask for at most: it comes from anywhere.
const COST_MAX: Cost = Cost { memory: 256 * 1024, passes: 10, lanes: 4 };
/// The fewest characters of a passphrase.
pub const PASSPHRASE_CHARS_MIN: usize = 8;
/// The longest file, in bytes.
pub const BACKUP_BYTES_MAX: u64 = 4 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cost {
    memory: u32,
    passes: u32,
    lanes: u32,
}

/// What makes two files of the same keys differ: drawn by the caller.
#[derive(Debug, Clone, Copy)]
pub struct Salt(pub [u8; 16]);

/// Why keys cannot be taken from a file, or not be put into one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// Too short to protect anything.
    #[error("a passphrase has at least {PASSPHRASE_CHARS_MIN} characters")]
    Short,
    /// Not a file that `weft identity export` writes.
    #[error("this is not a file that `weft identity export` writes")]
    Format,
    /// Written by a version that knew more.
    #[error("the file was written by a newer version")]
    Newer,
    /// It asks for more memory or time than any of ours.
    #[error("the file asks for more memory or time than is granted")]
    Cost,
    /// The passphrase is wrong, or the file is damaged.
    #[error("the passphrase is wrong, or the file is damaged")]
    Passphrase,
}

/// Both keys as the text of a file.
///
/// # Errors
///
/// [`BackupError::Short`].
pub fn seal(keys: &Keys, passphrase: &str, salt: Salt) -> Result<String, BackupError> {
    if passphrase.chars().count() < PASSPHRASE_CHARS_MIN {
        return Err(BackupError::Short);
    }
    let head = head(COST, salt);
    let plain = [keys.node.seed(), keys.owner.seed()].concat();
    let sealed = cipher(passphrase, salt, COST)?
        .encrypt(&Nonce::default(), Payload { msg: &plain, aad: &head })
        .map_err(|_| BackupError::Format)?;
    let text = STANDARD.encode([head, sealed].concat());
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    Ok(format!("{BEGIN}\n{}\n{END}\n", lines.join("\n")))
}

/// The keys that [`seal`] has put into a text.
///
/// # Errors
///
/// See [`BackupError`].
pub fn open(text: &str, passphrase: &str) -> Result<Keys, BackupError> {
    let body = text.trim().strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END));
    let body: String =
        body.ok_or(BackupError::Format)?.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let bytes = STANDARD.decode(body).map_err(|_| BackupError::Format)?;
    let (format, rest) = bytes.split_first().ok_or(BackupError::Format)?;
    if *format != FORMAT {
        return Err(BackupError::Newer);
    }
    let (cost, rest) = rest.split_first_chunk::<12>().ok_or(BackupError::Format)?;
    let (salt, sealed) = rest.split_first_chunk::<16>().ok_or(BackupError::Format)?;
    let number = |at: usize| {
        let bytes = cost.get(at..).and_then(|bytes| bytes.first_chunk()).copied();
        u32::from_le_bytes(bytes.unwrap_or_default())
    };
    let cost = Cost { memory: number(0), passes: number(4), lanes: number(8) };
    let granted = cost.memory <= COST_MAX.memory
        && cost.passes <= COST_MAX.passes
        && cost.lanes <= COST_MAX.lanes;
    if !granted {
        return Err(BackupError::Cost);
    }
    let salt = Salt(*salt);
    let plain = cipher(passphrase, salt, cost)?
        .decrypt(&Nonce::default(), Payload { msg: sealed, aad: &head(cost, salt) })
        .map_err(|_| BackupError::Passphrase)?;
    let (node, owner) = plain.split_first_chunk::<32>().ok_or(BackupError::Format)?;
    let owner = owner.try_into().map_err(|_| BackupError::Format)?;
    Ok(Keys { node: SecretKey::from_seed(node), owner: SecretKey::from_seed(owner) })
}

fn head(cost: Cost, salt: Salt) -> Vec<u8> {
    let numbers = [cost.memory, cost.passes, cost.lanes].map(u32::to_le_bytes).concat();
    [vec![FORMAT], numbers, salt.0.to_vec()].concat()
}

/// A cipher whose key is used for one message, so that its nonce may be zero.
fn cipher(passphrase: &str, salt: Salt, cost: Cost) -> Result<ChaCha20Poly1305, BackupError> {
    let params = Params::new(cost.memory, cost.passes, cost.lanes, Some(32));
    let params = params.map_err(|_| BackupError::Format)?;
    let mut key = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), &salt.0, &mut key)
        .map_err(|_| BackupError::Format)?;
    Ok(ChaCha20Poly1305::new(&key.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSPHRASE: &str = "correct horse battery";

    fn keys() -> Keys {
        Keys { node: SecretKey::from_seed(&[1; 32]), owner: SecretKey::from_seed(&[2; 32]) }
    }

    #[test]
    fn keys_survive_their_file_and_the_right_passphrase_only() {
        let text = seal(&keys(), PASSPHRASE, Salt([3; 16])).unwrap();
        assert!(text.starts_with(BEGIN) && text.lines().all(|line| line.len() <= 64), "{text}");
        let back = open(&text, PASSPHRASE).unwrap();
        assert_eq!(back.node.node(), keys().node.node());
        assert_eq!(back.owner.account(), keys().owner.account());
        assert_eq!(open(&text, "correct horse batterz").unwrap_err(), BackupError::Passphrase);
        let other = seal(&keys(), PASSPHRASE, Salt([4; 16])).unwrap();
        assert_ne!(text, other);
    }

    #[test]
    fn what_is_no_such_file_is_refused_before_any_work() {
        assert_eq!(seal(&keys(), "short", Salt([3; 16])).unwrap_err(), BackupError::Short);
        let with = |bytes: &[u8]| format!("{BEGIN}\n{}\n{END}", STANDARD.encode(bytes));
        let greedy =
            [[1].as_slice(), &u32::MAX.to_le_bytes(), &[0; 8], &[0; 16], &[0; 80]].concat();
        let cases = [
            (String::new(), BackupError::Format),
            (with(b""), BackupError::Format),
            (with(&[1; 20]), BackupError::Format),
            (with(&[2; 100]), BackupError::Newer),
            (with(&greedy), BackupError::Cost),
        ];
        for (text, error) in cases {
            assert_eq!(open(&text, PASSPHRASE).unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let text = seal(&keys(), PASSPHRASE, Salt([3; 16])).unwrap();
        let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
        let bytes = STANDARD.decode(body).unwrap();
        for at in [13, 29, bytes.len() - 1] {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            let text = format!("{BEGIN}\n{}\n{END}", STANDARD.encode(bytes));
            assert_eq!(open(&text, PASSPHRASE).unwrap_err(), BackupError::Passphrase, "{at}");
        }
    }
}
