//! What each command does. Programs that are run have a module of their own, [`work`](super::work).

pub mod about;
pub mod config;
pub mod coord;
pub mod credits;
pub mod daemon;
pub mod doctor;
pub mod identity;
pub mod invites;
pub mod jobs;
pub mod joining;
pub mod local;
pub mod man;
pub mod nodes;
pub mod overview;
pub mod receipts;
pub mod show;
mod why;
