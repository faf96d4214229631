//! The state machine. Pure.
