//! Empty.

fn main() {}
