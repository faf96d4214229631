//! Whether a node runs here, and whether it answers.

use std::{
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    time::Duration,
};

use crate::{
    cli::human,
    doctor::{Diagnosis, Finding, Place, Severity, Treatment},
};

/// Who holds a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lock {
    /// Nobody.
    Free,
    /// The process of this number; 0 where the kernel does not say.
    Held(u32),
}

/// What is seen of a node.
#[derive(Debug)]
struct Seen {
    exists: bool,
    lock: Lock,
    /// How long it has been up and its version, if it answers.
    answers: Option<(f64, String)>,
    silence: Option<String>,
    unit: Option<String>,
}

pub(super) fn daemon(place: &Place) -> Vec<Diagnosis> {
    let lock = lock(place);
    let answers = place.answers.status.as_ref();
    vec![judge(&Seen {
        exists: place.dir.is_dir(),
        lock,
        answers: answers.map(|status| (status.uptime_seconds, status.version.clone())),
        silence: place.answers.silence.clone(),
        unit: match lock {
            Lock::Held(pid) => place.read(&format!("/proc/{pid}/cgroup")).and_then(|it| unit(&it)),
            Lock::Free => None,
        },
    })]
}

/// The process that holds the lock of the data directory.
pub(super) fn process(place: &Place) -> Option<u32> {
    match lock(place) {
        Lock::Held(pid) => Some(pid),
        Lock::Free => None,
    }
}

/// The lock of the data directory, without touching it: flock(2) shows in `/proc/locks` (proc(5)).
fn lock(place: &Place) -> Lock {
    let Ok(metadata) = fs::metadata(place.file("lock")) else { return Lock::Free };
    let locks = place.read("/proc/locks").unwrap_or_default();
    holder(&locks, metadata.ino()).map_or(Lock::Free, Lock::Held)
}

/// `1: FLOCK  ADVISORY  WRITE 4121 08:01:1234567 0 EOF`
fn holder(locks: &str, inode: u64) -> Option<u32> {
    locks.lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip(1).filter(|field| *field != "->");
        let is_flock = fields.next() == Some("FLOCK");
        let pid = fields.nth(2)?.parse().unwrap_or(0);
        let its: u64 = fields.next()?.rsplit(':').next()?.parse().ok()?;
        (is_flock && its == inode).then_some(pid)
    })
}

/// The systemd unit in `/proc/PID/cgroup`.
fn unit(cgroup: &str) -> Option<String> {
    let names = cgroup.lines().flat_map(|line| line.rsplit('/'));
    names.into_iter().find(|name| name.ends_with(".service")).map(str::to_owned)
}

fn judge(seen: &Seen) -> Diagnosis {
    let found = |severity, text: &str| Diagnosis::found("daemon", Finding::Daemon, severity, text);
    match (&seen.answers, seen.lock) {
        (Some((uptime, version)), lock) => {
            let pid = match lock {
                Lock::Held(pid @ 1..) => format!(", pid {pid}"),
                Lock::Held(_) | Lock::Free => String::new(),
            };
            let unit =
                seen.unit.as_ref().map(|unit| format!(", systemd unit {unit}")).unwrap_or_default();
            let up = Duration::try_from_secs_f64(*uptime).map(human::duration).unwrap_or_default();
            Diagnosis::ok("daemon", format!("running{pid}, up {up}{unit}"))
                .because(format!("version {version}"))
        }
        (None, Lock::Held(pid)) => found(Severity::Problem, "a node runs here and does not answer")
            .because(format!("the lock is held by process {pid}"))
            .because(seen.silence.clone().unwrap_or_default())
            .fix("its log says why; stop it with `kill`, then `weft up`"),
        (None, Lock::Free) if !seen.exists => {
            found(Severity::Note, "no node was ever started here").fix("weft up")
        }
        (None, Lock::Free) => found(Severity::Note, "no node runs here")
            .because("nobody holds the lock")
            .fix("weft up"),
    }
}

pub(super) fn socket(place: &Place) -> Vec<Diagnosis> {
    let path = place.file("weft.sock");
    let is_socket = fs::symlink_metadata(&path).is_ok_and(|it| it.file_type().is_socket());
    let exists = fs::symlink_metadata(&path).is_ok();
    let silent = place.answers.status.is_none();
    vec![if exists && !is_socket {
        Diagnosis::found("socket", Finding::Socket, Severity::Problem, "weft.sock is not a socket")
            .because(path.display().to_string())
            .fix("move it away: the node needs the name")
    } else if exists && silent && lock(place) == Lock::Free {
        Diagnosis::found(
            "socket",
            Finding::Socket,
            Severity::Note,
            "left by a node that was killed",
        )
        .because(path.display().to_string())
        .treat(Treatment::Remove { path })
    } else if exists {
        Diagnosis::ok("socket", "listens for this machine's owner")
    } else {
        Diagnosis::ok("socket", "none, as no node runs")
    }]
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::doctor::checks::testing::Machine;

    fn seen(lock: Lock, answers: bool) -> Seen {
        Seen {
            exists: true,
            lock,
            answers: answers.then(|| (3.0, "0.1.0".to_owned())),
            silence: Some("the connection was refused".to_owned()),
            unit: Some("weft.service".to_owned()),
        }
    }

    #[test]
    fn a_node_runs_or_does_not_or_hangs() {
        let running = judge(&seen(Lock::Held(4_121), true));
        assert_eq!(running.severity, Severity::Ok);
        assert_eq!(running.text, "running, pid 4121, up 3.0 s, systemd unit weft.service");
        assert_eq!(judge(&seen(Lock::Free, false)).severity, Severity::Note);
        let hangs = judge(&seen(Lock::Held(4_121), false));
        assert_eq!(hangs.severity, Severity::Problem);
        assert!(hangs.evidence.iter().any(|it| it.contains("refused")), "{hangs:?}");
    }

    #[test]
    fn the_kernel_says_who_holds_a_lock() {
        let locks = "1: POSIX  ADVISORY  WRITE 12 08:01:77 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 4121 00:2f:77 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 4122 00:2f:78 0 EOF\n";
        assert_eq!(holder(locks, 77), Some(4_121));
        assert_eq!(holder(locks, 79), None);
        assert_eq!(holder("nonsense\n\n1:", 1), None);
        assert_eq!(unit("0::/system.slice/weft.service\n").as_deref(), Some("weft.service"));
    }

    #[test]
    fn a_socket_that_was_left_behind_is_removed() {
        let machine = Machine::new(&[]);
        fs::create_dir_all(&machine.place.dir).unwrap();
        let path = machine.place.file("weft.sock");
        drop(UnixListener::bind(&path).unwrap());
        let found = socket(&machine.place).remove(0);
        found.treatment.unwrap().apply().unwrap();
        assert_eq!(socket(&machine.place)[0].severity, Severity::Ok);
        fs::write(&path, "mine").unwrap();
        let found = socket(&machine.place).remove(0);
        assert_eq!((found.severity, found.treatment), (Severity::Problem, None));
    }
}
