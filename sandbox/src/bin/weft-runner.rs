//! The process that guests run in. Started by a node, never by a person.

use std::process::ExitCode;

use sandbox::{
    jail::Kind,
    runner::{Priority, chain, run},
};

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let kind = match args.next().as_deref() {
        Some("compile") => Kind::Compile,
        Some("exec") => Kind::Exec,
        _ => return usage(),
    };
    let priority = match args.next().as_deref() {
        Some("idle") => Priority::Idle,
        Some("normal") => Priority::Normal,
        _ => return usage(),
    };
    match run(kind, priority) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => say(&chain(&error), ExitCode::FAILURE),
    }
}

fn usage() -> ExitCode {
    say("this program is started by weft; try `weft exec` instead", ExitCode::from(2))
}

#[expect(clippy::print_stderr, reason = "the only way to tell the node why")]
fn say(text: &str, code: ExitCode) -> ExitCode {
    eprintln!("weft-runner: {text}");
    code
}
