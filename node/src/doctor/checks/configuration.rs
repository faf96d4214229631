//! What is written down for the node.

use crate::{
    doctor::{Diagnosis, Finding, Place, Severity, Treatment},
    net::remember,
};

pub(super) fn config(place: &Place) -> Vec<Diagnosis> {
    vec![match place.config() {
        Ok(config) => {
            let roles: Vec<_> = config.roles.iter().map(|role| role.name()).collect();
            Diagnosis::ok("config", format!("makes sense; roles {}", roles.join(", ")))
        }
        Err(error) => {
            let text = crate::app::chain(&error);
            Diagnosis::found("config", Finding::Config, Severity::Problem, text)
                .because("weft config check".to_owned())
        }
    }]
}

pub(super) fn remembered(place: &Place) -> Vec<Diagnosis> {
    let path = place.file("peers");
    vec![match remember::load(&path) {
        Ok(peers) if peers.is_empty() => Diagnosis::ok("peers-file", "no peer is remembered yet"),
        Ok(peers) => Diagnosis::ok("peers-file", format!("{} peers are remembered", peers.len())),
        Err(error) => {
            let text = "it cannot be read; the node finds its peers without it";
            let found = Diagnosis::found("peers-file", Finding::Remembered, Severity::Warn, text)
                .because(crate::app::chain(&error));
            if path.is_file() { found.treat(Treatment::Remove { path }) } else { found }
        }
    }]
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::doctor::checks::testing::Machine;

    #[test]
    fn a_setting_that_does_not_exist_is_named() {
        let mut machine = Machine::new(&[]);
        assert_eq!(config(&machine.place)[0].severity, Severity::Ok);
        machine.file("/etc/weft/config.toml", "[p2p]\nbootstap = []\n");
        let found = config(&machine.place).remove(0);
        assert_eq!(found.severity, Severity::Problem);
        assert!(found.text.contains("did you mean `p2p.bootstrap`?"), "{found:?}");
        machine.file("/etc/weft/config.toml", "");
        machine.place.variables.insert("WEFT_LIMITS__SLOTS".to_owned(), "many".to_owned());
        assert_eq!(config(&machine.place)[0].severity, Severity::Problem);
    }

    #[test]
    fn a_damaged_file_of_peers_is_removed() {
        let machine = Machine::new(&[]);
        fs::create_dir_all(&machine.place.dir).unwrap();
        assert_eq!(remembered(&machine.place)[0].severity, Severity::Ok);
        fs::write(machine.place.file("peers"), "{").unwrap();
        let found = remembered(&machine.place).remove(0);
        found.treatment.unwrap().apply().unwrap();
        assert_eq!(remembered(&machine.place)[0].severity, Severity::Ok);
    }
}
