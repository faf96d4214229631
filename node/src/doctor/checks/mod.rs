//! What is looked at.

mod configuration;
mod daemon;
mod firewall;
mod keys;
mod ledger;
mod machine;
mod mesh;
mod multicast;
mod network;
mod sandbox;
mod storage;
mod system;
mod unit;

use super::{Diagnosis, Place};

/// One thing that is looked at.
#[derive(Debug)]
pub struct Check {
    /// What: one word.
    pub name: &'static str,
    /// Where it belongs.
    pub area: Area,
    /// Looks. May block; changes nothing.
    pub(super) look: fn(&Place) -> Vec<Diagnosis>,
}

/// What a check is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Area {
    /// The machine, the node on it, and its mesh.
    Machine,
    /// How others reach it, and it them.
    Net,
}

const fn check(name: &'static str, look: fn(&Place) -> Vec<Diagnosis>) -> Check {
    Check { name, area: Area::Machine, look }
}

const fn of_net(name: &'static str, look: fn(&Place) -> Vec<Diagnosis>) -> Check {
    Check { name, area: Area::Net, look }
}

/// Everything that is looked at, in the order in which it is told.
pub static CHECKS: &[Check] = &[
    check("daemon", daemon::daemon),
    check("socket", daemon::socket),
    check("unit", unit::look),
    check("config", configuration::config),
    check("identity", keys::identity),
    check("owner", keys::owner),
    check("token", keys::token),
    check("directory", storage::directory),
    check("disk", storage::disk),
    check("filesystem", storage::file_system),
    check("blobs", storage::blobs),
    check("peers-file", configuration::remembered),
    check("descriptors", system::descriptors),
    check("memory", system::memory),
    check("processor", system::processor),
    check("entropy", system::entropy),
    check("clock", machine::clock),
    check("time-service", machine::time_service),
    check("time-zone", machine::time_zone),
    check("power", machine::power),
    of_net("ports", network::ports),
    of_net("listen", network::listen_addresses),
    of_net("firewall", firewall::look),
    of_net("multicast", multicast::look),
    of_net("ipv6", network::ipv6),
    of_net("dns", network::dns),
    of_net("bootstrap", network::bootstrap),
    of_net("paths", network::paths),
    check("runner", sandbox::runner),
    check("sandbox", sandbox::guest),
    check("isolation", sandbox::isolation),
    check("landlock", sandbox::landlock),
    check("seccomp", sandbox::seccomp),
    check("namespaces", sandbox::namespaces),
    check("cgroup", sandbox::control_groups),
    check("membership", mesh::membership),
    check("coordinator", mesh::coordinator),
    check("versions", mesh::versions),
    check("ledger", ledger::look),
];

#[cfg(test)]
pub(super) mod testing {
    use std::{collections::BTreeMap, fs, path::Path};

    use protocol::time::UnixMillis;
    use tempfile::TempDir;

    use crate::doctor::{Answers, Place};

    /// A machine made of files.
    pub(crate) struct Machine {
        dir: TempDir,
        pub(crate) place: Place,
    }

    impl Machine {
        pub(crate) fn new(files: &[(&str, &str)]) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let place = Place {
                root: dir.path().join("root"),
                dir: dir.path().join("data"),
                variables: BTreeMap::new(),
                answers: Answers::default(),
                now: UnixMillis(1_700_000_000_000),
            };
            let machine = Self { dir, place };
            for (path, text) in files {
                machine.file(path, text);
            }
            machine
        }

        pub(crate) fn file(&self, path: &str, text: &str) {
            let path = self.place.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        pub(crate) fn dir(&self) -> &Path {
            self.dir.path()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_there_are_enough() {
        let names: BTreeSet<_> = CHECKS.iter().map(|check| check.name).collect();
        assert_eq!(names.len(), CHECKS.len());
        assert!(CHECKS.len() >= 25);
    }

    #[test]
    fn on_a_machine_without_anything_every_check_answers() {
        let machine = testing::Machine::new(&[]);
        // Those that run a guest are tested with real processes.
        for check in CHECKS.iter().filter(|check| !["sandbox", "isolation"].contains(&check.name)) {
            for diagnosis in (check.look)(&machine.place) {
                assert_eq!(diagnosis.check, check.name);
                assert_eq!(
                    diagnosis.code.is_none(),
                    diagnosis.severity == crate::doctor::Severity::Ok
                );
            }
        }
    }
}
