//! The files that hold secrets. Only their permissions and their form are looked at; what they hold stays here.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use crate::{
    doctor::{Diagnosis, Finding, Place, Severity, Treatment, place::is_absent},
    home::is_key,
};

/// What is seen of a file with a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Absent,
    /// It is there and cannot be read: by whom is said by its permissions.
    Unreadable,
    There {
        mode: u32,
        /// Whether it holds what it should.
        sound: bool,
        link: bool,
    },
}

pub(super) fn identity(place: &Place) -> Vec<Diagnosis> {
    let path = place.file("identity.key");
    vec![judge(("identity", Finding::IdentityKey), &path, see(&path, is_key))]
}

pub(super) fn owner(place: &Place) -> Vec<Diagnosis> {
    let path = place.file("owner.key");
    vec![judge(("owner", Finding::OwnerKey), &path, see(&path, is_key))]
}

pub(super) fn token(place: &Place) -> Vec<Diagnosis> {
    let path = place.file("api.token");
    let is_token = |text: &str| {
        let text = text.trim();
        text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    vec![judge(("token", Finding::Token), &path, see(&path, is_token))]
}

fn see(path: &Path, is_sound: impl FnOnce(&str) -> bool) -> Seen {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if is_absent(&error) => return Seen::Absent,
        Err(_) => return Seen::Unreadable,
        Ok(metadata) => metadata,
    };
    let link = metadata.is_symlink();
    let Ok(metadata) = fs::metadata(path) else { return Seen::Unreadable };
    match super::super::place::text(path) {
        Err(_) => Seen::Unreadable,
        Ok(text) => Seen::There {
            mode: metadata.permissions().mode() & 0o7777,
            sound: is_sound(&text),
            link,
        },
    }
}

fn judge((check, finding): (&'static str, Finding), path: &Path, seen: Seen) -> Diagnosis {
    let file = path.display();
    let problem = |text: &str| {
        Diagnosis::found(check, finding, Severity::Problem, text).because(file.to_string())
    };
    match seen {
        Seen::Absent => Diagnosis::found(
            check,
            finding,
            Severity::Note,
            "not made yet: the first start makes it",
        )
        .because(format!("{file} does not exist")),
        Seen::Unreadable => problem("cannot be read by this user")
            .fix("run this as the user that the node runs as, or give the file back to it"),
        Seen::There { sound: false, .. } => {
            problem("is not what it should be: damaged, or something else")
                .fix("restore it from a backup, or move it away to have a new one made")
        }
        Seen::There { mode, link, .. } if mode & 0o077 != 0 => {
            let found =
                problem(&format!("can be read or changed by other users (mode {mode:04o})"));
            if link {
                found.fix(format!("it is a link: chmod 600 what {file} leads to"))
            } else {
                let path = path.to_owned();
                found
                    .fix(format!("chmod 600 {file}"))
                    .treat(Treatment::Restrict { path, mode: 0o600 })
            }
        }
        Seen::There { .. } => Diagnosis::ok(check, "readable only by its owner, and sound"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{doctor::checks::testing::Machine, home::Home};

    fn with_keys() -> Machine {
        let machine = Machine::new(&[]);
        let home = Home::create(&machine.place.dir).unwrap();
        home.keys_or_new().unwrap();
        home.token_or_new().unwrap();
        machine
    }

    fn all(place: &Place) -> Vec<Severity> {
        [identity(place), owner(place), token(place)]
            .concat()
            .iter()
            .map(|it| it.severity)
            .collect()
    }

    #[test]
    fn keys_that_the_node_made_are_sound() {
        assert_eq!(all(&with_keys().place), [Severity::Ok; 3]);
        assert_eq!(all(&Machine::new(&[]).place), [Severity::Note; 3]);
    }

    #[test]
    fn a_key_that_others_can_read_is_mended() {
        let machine = with_keys();
        for name in ["identity.key", "owner.key", "api.token"] {
            let path = machine.place.file(name);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        }
        assert_eq!(all(&machine.place), [Severity::Problem; 3]);
        for found in
            [identity(&machine.place), owner(&machine.place), token(&machine.place)].concat()
        {
            found.treatment.unwrap().apply().unwrap();
        }
        assert_eq!(all(&machine.place), [Severity::Ok; 3]);
    }

    #[test]
    fn a_key_that_is_none_is_never_touched() {
        let machine = with_keys();
        for name in ["identity.key", "owner.key", "api.token"] {
            fs::write(machine.place.file(name), "something else").unwrap();
        }
        for found in
            [identity(&machine.place), owner(&machine.place), token(&machine.place)].concat()
        {
            assert_eq!((found.severity, found.treatment), (Severity::Problem, None));
            assert!(found.evidence.iter().all(|it| !it.contains("something")));
        }
    }
}
