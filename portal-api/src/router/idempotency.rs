//! Sending a submission again without running it twice.

use http::HeaderMap;
use protocol::ids::{AccountId, Hash, JobId};

use crate::problem::{ErrorCode, Problem};

/// The longest key, in bytes.
const KEY_BYTES_MAX: usize = 255;

/// The job id that the `Idempotency-Key` of a submission stands for. The ledger refuses a second job of one id, so
/// the key holds across restarts and coordinators.
///
/// # Errors
///
/// `malformed` if there is a key that is not 1 to 255 visible ASCII characters.
pub(super) fn job_id(headers: &HeaderMap, account: &AccountId) -> Result<Option<JobId>, Problem> {
    let Some(key) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let key = key.as_bytes();
    if !(1..=KEY_BYTES_MAX).contains(&key.len()) || !key.iter().all(u8::is_ascii_graphic) {
        let detail = "`Idempotency-Key` takes 1 to 255 visible ASCII characters";
        return Err(Problem::new(ErrorCode::MalformedRequest, detail));
    }
    let Hash(hash) = Hash::of(&[b"weft/idempotency/1\0".as_slice(), &account.0, key].concat());
    Ok(hash.first_chunk().copied().map(JobId))
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn with(key: &str) -> HeaderMap {
        [(HeaderName::from_static("idempotency-key"), key.parse().unwrap())].into_iter().collect()
    }

    fn of(key: &str, account: u8) -> Result<Option<JobId>, Problem> {
        job_id(&with(key), &AccountId([account; 32]))
    }

    #[test]
    fn the_same_key_of_the_same_account_is_the_same_job() {
        assert_eq!(of("a", 1), of("a", 1));
        assert_ne!(of("a", 1), of("a", 2));
        assert_ne!(of("a", 1), of("b", 1));
        assert_eq!(job_id(&HeaderMap::new(), &AccountId([1; 32])), Ok(None));
    }

    #[test]
    fn a_key_of_other_characters_is_refused() {
        for key in ["", "a b", &"k".repeat(256)] {
            assert_eq!(of(key, 1).unwrap_err().code, ErrorCode::MalformedRequest, "{key}");
        }
    }
}
