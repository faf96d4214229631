//! The API, over a backend that is made of samples.
//!
//! `BLESS=1 cargo test -p portal-api --test api` writes the golden documents in `tests/golden` and the table of errors
//! in `docs/api.md` again, and the diff is what is reviewed.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test reports by failing, also in its functions"
)]
#![expect(clippy::indexing_slicing, reason = "a missing field of a document fails the test")]

mod bodies;
mod client;
mod documents;
mod errors;
mod fake;
mod garbage;
mod guards;
mod pages;
mod routes;
mod samples;
mod server;
