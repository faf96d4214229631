//! `weft`: one node of a mesh, and the command line that talks to it.

use std::process::ExitCode;

fn main() -> ExitCode {
    node::cli::main(std::env::args_os())
}
