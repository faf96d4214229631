//! What can go wrong, in one catalogue: code, HTTP status, exit code, title and the way out.

mod catalogue;
mod document;

pub use catalogue::ErrorCode;
pub use document::{CONTENT_TYPE, Extras, FieldError, Problem};
