//! Whether guests can run here, and how well they are kept from this machine.

use std::{sync::Arc, time::Duration};

use protocol::{
    ids::{AccountId, Hash},
    outcome::Outcome,
    units::{Fuel, Pages},
    wire::{advert::Isolation, job::TaskLimits},
};
use sandbox::{
    confinement::Confinement,
    pool::{self, Pool, Priority},
    task::{ModuleSource, TaskDone, TaskRun},
};
use tokio::runtime::Handle;

use crate::{
    cli::human,
    doctor::{Diagnosis, Finding, Place, Severity},
};

/// `(module (memory (export "memory") 1) (func (export "_start")))`: it does nothing, and needs everything.
const NOTHING: &[u8] = &[
    0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, 0x01, 0x04, 0x01, 0x60, 0x00, 0x00, 0x03, 0x02,
    0x01, 0x00, 0x05, 0x03, 0x01, 0x00, 0x01, 0x07, 0x13, 0x02, 0x06, 0x6d, 0x65, 0x6d, 0x6f, 0x72,
    0x79, 0x02, 0x00, 0x06, 0x5f, 0x73, 0x74, 0x61, 0x72, 0x74, 0x00, 0x00, 0x0a, 0x04, 0x01, 0x02,
    0x00, 0x0b,
];

pub(super) fn runner(_: &Place) -> Vec<Diagnosis> {
    let found = pool::find_runner().map_err(|error| crate::app::chain(&error));
    vec![match found {
        Ok(path) if rustix::fs::access(&path, rustix::fs::Access::EXEC_OK).is_ok() => {
            Diagnosis::ok("runner", path.display().to_string())
        }
        Ok(path) => {
            Diagnosis::found("runner", Finding::Runner, Severity::Problem, "it may not be executed")
                .because(path.display().to_string())
        }
        Err(error) => Diagnosis::found(
            "runner",
            Finding::Runner,
            Severity::Problem,
            "weft-runner is not there",
        )
        .because(error),
    }]
}

/// A pool of one slot, in a directory of its own for as long as it is looked at.
fn with_pool<T>(look: impl AsyncFnOnce(&Pool) -> T) -> Result<T, String> {
    let runner = pool::find_runner().map_err(|error| crate::app::chain(&error))?;
    let dir = std::env::temp_dir().join(format!(
        "weft-doctor-{}-{:032x}",
        std::process::id(),
        u128::from_le_bytes(crate::app::random())
    ));
    let mut config = pool::Config::new(runner, dir.clone(), 1);
    config.priority = Priority::Normal;
    let pool = Pool::new(config).map_err(|error| crate::app::chain(&error))?;
    let seen = Handle::try_current()
        .map_err(|error| error.to_string())
        .map(|handle| handle.block_on(look(&pool)));
    pool.clear();
    // Nothing is lost if it stays: it holds one compiled module.
    let _ = std::fs::remove_dir_all(&dir);
    seen
}

pub(super) fn guest(_: &Place) -> Vec<Diagnosis> {
    // Without the program there is nothing more to find: `runner` has said it.
    if pool::find_runner().is_err() {
        return Vec::new();
    }
    vec![judge_guest(with_pool(async |pool| pool.run(task()).await))]
}

fn task() -> TaskRun {
    TaskRun {
        module: Hash::of(NOTHING),
        source: ModuleSource::Bytes(NOTHING.into()),
        owner: AccountId([0; 32]),
        args: Vec::new(),
        env: Vec::new(),
        stdin: Arc::from([]),
        files: Vec::new(),
        limits: TaskLimits {
            fuel: Fuel(1_000_000),
            memory: Pages(1),
            timeout_ms: 5_000,
            output_bytes: 1_024,
        },
        seed: [0; 32],
    }
}

fn judge_guest(done: Result<TaskDone, String>) -> Diagnosis {
    let failed = |evidence: String| {
        Diagnosis::found("sandbox", Finding::Sandbox, Severity::Problem, "a tiny guest did not run")
            .because(evidence)
    };
    match done {
        Ok(TaskDone { outcome: Outcome::Exit(0), timings, .. }) => {
            let text = format!(
                "a guest was compiled and started in {}, and ran in {}",
                human::duration(timings.prepared),
                short(timings.ran)
            );
            Diagnosis::ok("sandbox", text)
        }
        Ok(done) => failed(format!("{}: {}", done.outcome, done.detail.unwrap_or_default())),
        Err(error) => failed(error),
    }
}

/// `1.2 ms`.
pub(super) fn short(duration: Duration) -> String {
    let tenths = duration.as_micros().checked_div(100).unwrap_or(0);
    let (whole, tenth) = (tenths.checked_div(10).unwrap_or(0), tenths.checked_rem(10).unwrap_or(0));
    format!("{whole}.{tenth} ms")
}

pub(super) fn isolation(_: &Place) -> Vec<Diagnosis> {
    if pool::find_runner().is_err() {
        return Vec::new();
    }
    vec![judge_isolation(with_pool(async |pool| pool.confinement().await).and_then(|seen| seen))]
}

/// What a runner that locked itself up says of its lock.
fn judge_isolation(seen: Result<Confinement, String>) -> Diagnosis {
    let Confinement { grade, lacks, memory, landlock } = match seen {
        Ok(seen) => seen,
        Err(error) => {
            let text = "it could not be measured";
            return Diagnosis::found("isolation", Finding::Isolation, Severity::Problem, text)
                .because(error);
        }
    };
    let diagnosis = match grade {
        Isolation::A => Diagnosis::ok("isolation", "grade A, the best there is"),
        Isolation::B => Diagnosis::found(
            "isolation",
            Finding::Isolation,
            Severity::Note,
            "grade B: files, connections and system calls are kept from guests",
        ),
        Isolation::C => Diagnosis::found(
            "isolation",
            Finding::Isolation,
            Severity::Warn,
            "grade C: guests are kept in a process, and no more; most jobs will not run here",
        ),
    };
    let bounds = [format!("memory is bounded {memory}"), format!("Landlock {landlock}")];
    lacks.into_iter().chain(bounds).fold(diagnosis, Diagnosis::because)
}

pub(super) fn landlock(place: &Place) -> Vec<Diagnosis> {
    let modules = place.read("/sys/kernel/security/lsm");
    let release = place.read("/proc/sys/kernel/osrelease").unwrap_or_default();
    vec![judge_landlock(modules.as_deref(), &release)]
}

fn judge_landlock(modules: Option<&str>, release: &str) -> Diagnosis {
    let mut numbers = release.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let found = |text: &str| {
        Diagnosis::found("landlock", Finding::Landlock, Severity::Note, text)
            .because(format!("Linux {release}"))
    };
    match modules {
        Some(modules) if modules.split(',').any(|it| it == "landlock") => {
            Diagnosis::ok("landlock", format!("Linux {release} has it"))
        }
        Some(modules) => {
            found("Landlock is not switched on").because(format!("modules: {modules}"))
        }
        None if version < (5, 13) => found("this kernel has no Landlock"),
        None => Diagnosis::ok("landlock", "the kernel does not say; the grade does"),
    }
}

pub(super) fn seccomp(place: &Place) -> Vec<Diagnosis> {
    let actions = place.read("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    vec![if actions.split_whitespace().any(|it| it == "kill_process") {
        Diagnosis::ok("seccomp", "the kernel has filters")
    } else {
        Diagnosis::found("seccomp", Finding::Seccomp, Severity::Warn, "the kernel names no filters")
            .because(format!("actions: {actions}"))
    }]
}

pub(super) fn namespaces(place: &Place) -> Vec<Diagnosis> {
    let number = |path: &str| place.read(path).and_then(|it| it.parse::<u64>().ok());
    vec![judge_namespaces(
        number("/proc/sys/user/max_user_namespaces"),
        number("/proc/sys/kernel/unprivileged_userns_clone"),
        number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
    )]
}

fn judge_namespaces(most: Option<u64>, allowed: Option<u64>, restricted: Option<u64>) -> Diagnosis {
    let found = |text: &str, sysctl: String| {
        Diagnosis::found("namespaces", Finding::Namespaces, Severity::Note, text).because(sysctl)
    };
    match (most, allowed, restricted) {
        (None | Some(0), _, _) => found(
            "no user namespaces can be made",
            format!("user.max_user_namespaces = {}", most.unwrap_or(0)),
        ),
        (_, Some(0), _) => found(
            "only root may make user namespaces",
            "kernel.unprivileged_userns_clone = 0".to_owned(),
        ),
        (_, _, Some(1..)) => found(
            "AppArmor keeps programs from user namespaces",
            "kernel.apparmor_restrict_unprivileged_userns = 1".to_owned(),
        ),
        (Some(most), _, _) => {
            Diagnosis::ok("namespaces", format!("{most} user namespaces may be made"))
        }
    }
}

pub(super) fn control_groups(place: &Place) -> Vec<Diagnosis> {
    let own = place.read("/proc/self/cgroup").unwrap_or_default();
    let path = own.lines().find_map(|line| line.strip_prefix("0::"));
    let writable = path.is_some_and(|path| {
        let group = place.path(&format!("/sys/fs/cgroup{path}"));
        rustix::fs::access(&group, rustix::fs::Access::WRITE_OK).is_ok()
            && rustix::fs::access(group.join("cgroup.procs"), rustix::fs::Access::WRITE_OK).is_ok()
    });
    vec![match path {
        Some(path) if writable => Diagnosis::ok("cgroup", format!("{path} may be used")),
        Some(path) => Diagnosis::found(
            "cgroup",
            Finding::ControlGroups,
            Severity::Note,
            "the memory of guests is bounded by the runner alone",
        )
        .because(format!("{path} may not be written")),
        None => Diagnosis::found(
            "cgroup",
            Finding::ControlGroups,
            Severity::Note,
            "no cgroup of version 2: the memory of guests is bounded by the runner alone",
        ),
    }]
}

#[cfg(test)]
mod tests {
    use sandbox::confinement::MemoryBound;

    use super::*;
    use crate::doctor::checks::testing::Machine;

    #[test]
    fn the_tiny_guest_is_admitted() {
        sandbox::admission::admit(NOTHING, &sandbox::admission::Limits::default()).unwrap();
    }

    #[test]
    fn a_guest_that_ran_tells_how_long_it_took() {
        let mut done = TaskDone::without_output(Outcome::Exit(0), None);
        done.timings.ran = Duration::from_micros(1_260);
        done.timings.prepared = Duration::from_millis(12);
        assert_eq!(
            judge_guest(Ok(done)).text,
            "a guest was compiled and started in 12 ms, and ran in 1.2 ms"
        );
        let refused = TaskDone::without_output(Outcome::Refused, Some("mmap: denied".to_owned()));
        let found = judge_guest(Ok(refused));
        assert_eq!(found.severity, Severity::Problem);
        assert!(found.evidence[0].ends_with("mmap: denied"));
        assert_eq!(judge_guest(Err("no runner".to_owned())).severity, Severity::Problem);
    }

    #[test]
    fn a_grade_comes_with_what_is_lacking() {
        let seen = |grade, lacks: &[&str]| {
            let lacks = lacks.iter().map(|why| (*why).to_owned()).collect();
            judge_isolation(Ok(Confinement {
                grade,
                lacks,
                memory: MemoryBound::Process,
                landlock: 5,
            }))
        };
        assert_eq!(seen(Isolation::A, &[]).severity, Severity::Ok);
        let found = seen(Isolation::C, &["this kernel has no Landlock"]);
        assert_eq!(found.severity, Severity::Warn);
        assert_eq!(found.evidence.first().map(String::as_str), Some("this kernel has no Landlock"));
        assert!(found.evidence.iter().any(|why| why.contains("RLIMIT_DATA")), "{found:?}");
        assert_eq!(judge_isolation(Err("x".to_owned())).severity, Severity::Problem);
    }

    #[test]
    fn what_the_kernel_lacks_is_read_from_its_files() {
        assert_eq!(judge_landlock(Some("capability,landlock"), "6.1.0").severity, Severity::Ok);
        assert_eq!(judge_landlock(Some("capability"), "6.1.0").severity, Severity::Note);
        assert_eq!(judge_landlock(None, "5.10.0-8").severity, Severity::Note);
        assert_eq!(judge_namespaces(Some(100), None, None).severity, Severity::Ok);
        assert_eq!(judge_namespaces(Some(100), Some(0), None).severity, Severity::Note);
        assert_eq!(judge_namespaces(Some(100), None, Some(1)).severity, Severity::Note);
        assert_eq!(judge_namespaces(None, None, None).severity, Severity::Note);
        let machine = Machine::new(&[
            ("/proc/sys/kernel/seccomp/actions_avail", "kill_process kill_thread allow"),
            ("/proc/self/cgroup", "0::/weft\n"),
            ("/sys/fs/cgroup/weft/cgroup.procs", "7"),
        ]);
        assert_eq!(seccomp(&machine.place)[0].severity, Severity::Ok);
        assert_eq!(control_groups(&machine.place)[0].text, "/weft may be used");
    }
}
