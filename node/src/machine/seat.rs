//! Whether somebody sits at this machine, and how long they have not touched it.
//!
//! logind says who has logged in at a seat, in files that everybody may read, and over D-Bus how long the machine has
//! been idle; its own program asks it. Where nobody has logged in at a seat, nobody sits.

use std::{fs, os::unix::fs::MetadataExt as _, process::Stdio, time::Duration};

use protocol::time::UnixMillis;
use tokio::process::Command;

use super::sensors::Roots;

/// How long logind may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Sessions that are looked at.
const SESSIONS_MAX: usize = 256;

/// How long nobody has used this machine; `None` if nobody sits at it. Cancel safe.
pub(super) async fn idle(roots: &Roots, now: UnixMillis) -> Option<Duration> {
    let terminals = sessions(roots)?;
    if roots.real
        && let Some(idle) = asked(now).await
    {
        return Some(idle);
    }
    // Nobody to ask: a terminal tells when it was last touched, a desktop does not, and counts as used.
    let touched = terminals.iter().map(|terminal| terminal_touched(roots, terminal));
    let idle = touched.map(|at| at.map_or(Duration::ZERO, |at| now.saturating_since(at)));
    Some(idle.min().unwrap_or(Duration::ZERO))
}

/// The terminals of people who have logged in at a seat, empty for a desktop; `None` if there are no such people.
fn sessions(roots: &Roots) -> Option<Vec<String>> {
    let entries = fs::read_dir(roots.at("run/systemd/sessions")).ok()?;
    let texts = entries.flatten().take(SESSIONS_MAX).map(|entry| fs::read_to_string(entry.path()));
    let at_a_seat: Vec<_> =
        texts.flatten().filter_map(|text| terminal_of_a_person_at_a_seat(&text)).collect();
    (!at_a_seat.is_empty()).then_some(at_a_seat)
}

/// From a session file of logind: `NAME=value` lines.
fn terminal_of_a_person_at_a_seat(session: &str) -> Option<String> {
    let field = |name: &str| {
        session.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or("")
    };
    let a_person = field("CLASS") == "user" && !field("SEAT").is_empty();
    let there = a_person && field("STATE") != "closing";
    // A text session's terminal is touched by whoever types there, a graphical one's is not.
    there.then(|| if field("TYPE") == "tty" { field("TTY").to_owned() } else { String::new() })
}

fn terminal_touched(roots: &Roots, terminal: &str) -> Option<UnixMillis> {
    let name = terminal.trim_start_matches("/dev/");
    if name.is_empty() || name.split('/').any(|part| part == "..") {
        return None;
    }
    let metadata = fs::metadata(roots.at("dev").join(name)).ok()?;
    let seconds = u64::try_from(metadata.atime().max(metadata.mtime())).ok()?;
    Some(UnixMillis(seconds.saturating_mul(1_000)))
}

/// What logind says.
async fn asked(now: UnixMillis) -> Option<Duration> {
    let asking = Command::new("loginctl")
        .args(["show-session", "--property=IdleHint", "--property=IdleSinceHint"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let answer = tokio::time::timeout(ANSWER_WITHIN, asking).await.ok()?.ok()?;
    if !answer.status.success() {
        return None;
    }
    read_answer(&String::from_utf8_lossy(&answer.stdout), now)
}

fn read_answer(text: &str, now: UnixMillis) -> Option<Duration> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    match field("IdleHint=")? {
        "yes" => {
            let micros: u64 = field("IdleSinceHint=")?.parse().ok()?;
            Some(now.saturating_since(UnixMillis(micros.div_euclid(1_000))))
        }
        "no" => Some(Duration::ZERO),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_people_at_a_seat_sit_there() {
        let desktop = "UID=1000\nSEAT=seat0\nTYPE=wayland\nCLASS=user\nSTATE=active\n";
        assert_eq!(terminal_of_a_person_at_a_seat(desktop), Some(String::new()));
        let text = "SEAT=seat0\nTTY=tty2\nTYPE=tty\nCLASS=user\nSTATE=active\n";
        assert_eq!(terminal_of_a_person_at_a_seat(text), Some("tty2".to_owned()));
        for nobody in [
            "",
            "TTY=pts/3\nTYPE=tty\nCLASS=user\nSTATE=active\n",
            "SEAT=seat0\nTYPE=x11\nCLASS=greeter\nSTATE=active\n",
            "SEAT=seat0\nTYPE=x11\nCLASS=user\nSTATE=closing\n",
        ] {
            assert_eq!(terminal_of_a_person_at_a_seat(nobody), None, "{nobody}");
        }
    }

    #[test]
    fn what_logind_says_is_read() {
        let now = UnixMillis(1_700_000_100_000);
        let since = |text: &str| read_answer(text, now);
        let idle = "IdleHint=yes\nIdleSinceHint=1700000000000000\n";
        assert_eq!(since(idle), Some(Duration::from_secs(100)));
        assert_eq!(since("IdleHint=no\nIdleSinceHint=0\n"), Some(Duration::ZERO));
        assert_eq!((since(""), since("IdleHint=maybe")), (None, None));
    }
}
