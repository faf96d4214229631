//! The pure cores: every decision of a node, and nothing else.
//!
//! Time and seeds come in as arguments; effects go out as values. [`scheduler`] is the place to start reading.

pub mod adverts;
pub mod discovery;
pub mod dispatch;
pub mod enrolment;
pub mod health;
pub mod limits;
pub mod meeting;
pub mod notices;
pub mod power;
pub mod quota;
pub mod reduce;
pub mod reputation;
pub mod scheduler;
pub mod transitions;
pub mod worker;
