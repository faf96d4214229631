//! Modules of strangers, and what a runner that a module has taken over could say.

use protocol::codec::{Canonical, encode};
use sandbox::{
    admission::{Limits, admit},
    frames::{self, LENGTH_BYTES, Order, Reply},
    metering::{Purpose, instrument},
};

/// A module: what is admitted can be metered, and is admitted in the same way again.
pub fn module(bytes: &[u8]) {
    let Ok(admitted) = admit(bytes, &Limits::default()) else { return };
    let metered = instrument(&admitted, Purpose::Run);
    assert!(metered.is_ok(), "admitted, and not metered: {:?}", metered.err());
}

fn frame<T: Canonical>(bytes: &[u8]) {
    if let Ok(value) = frames::header::<T>(bytes) {
        assert_eq!(encode(&value), bytes);
    }
}

/// A frame of the pipe between a node and its runners.
pub fn frames(bytes: &[u8]) {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else { return };
    if let Ok(length) = frames::header_length(*length) {
        assert!(length <= frames::HEADER_BYTES_MAX);
    }
    frame::<Order>(rest);
    frame::<Reply>(rest);
    if let Ok(Reply::Done(done)) = frames::header::<Reply>(rest) {
        let _bounded = done.bulk_bytes();
    }
}
