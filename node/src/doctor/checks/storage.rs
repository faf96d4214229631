//! The data directory and the disk below it.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use rustix::fs::{Access, StatVfsMountFlags, access, statfs, statvfs};

use crate::{
    cli::human::bytes,
    doctor::{Diagnosis, Finding, Place, Severity, Treatment, place::is_absent},
};

/// Below this much free space a ledger soon stops, in bytes.
const FREE_BYTES_MIN: u64 = 128 * 1024 * 1024;
/// Below this much it is time to look, in bytes.
const FREE_BYTES_LOW: u64 = 1024 * 1024 * 1024;
/// Files of the store that are counted.
const BLOBS_COUNTED_MAX: usize = 200_000;

/// What is seen of the data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Dir {
    Absent,
    NotADirectory,
    There { mode: u32, ours: bool, writable: bool },
}

pub(super) fn directory(place: &Place) -> Vec<Diagnosis> {
    let dir = match fs::metadata(&place.dir) {
        Err(error) if is_absent(&error) => Dir::Absent,
        Ok(metadata) if metadata.is_dir() => Dir::There {
            mode: metadata.permissions().mode() & 0o7777,
            ours: metadata.uid() == rustix::process::geteuid().as_raw(),
            writable: access(&place.dir, Access::WRITE_OK | Access::EXEC_OK).is_ok(),
        },
        Ok(_) | Err(_) => Dir::NotADirectory,
    };
    vec![judge_directory(&place.dir, &dir)]
}

fn judge_directory(path: &Path, dir: &Dir) -> Diagnosis {
    let shown = path.display();
    let problem = |text: String| {
        Diagnosis::found("directory", Finding::Directory, Severity::Problem, text)
            .because(shown.to_string())
    };
    match dir {
        Dir::Absent => {
            let text = format!("{shown} does not exist yet: the first start makes it");
            Diagnosis::found("directory", Finding::Directory, Severity::Note, text)
        }
        Dir::NotADirectory => problem(format!("{shown} is not a directory, or cannot be entered")),
        Dir::There { mode, .. } if mode & 0o022 != 0 => {
            problem(format!("other users can write to it (mode {mode:04o})"))
                .fix(format!("chmod 700 {shown}"))
                .treat(Treatment::Restrict { path: path.to_owned(), mode: 0o700 })
        }
        Dir::There { writable: false, .. } => problem("this user cannot write to it".to_owned())
            .fix("run this as the user that the node runs as; is the disk mounted read-only?"),
        Dir::There { ours: false, mode, .. } => {
            let text = "it belongs to another user";
            Diagnosis::found("directory", Finding::Directory, Severity::Note, text)
                .because(format!("{shown}, mode {mode:04o}"))
        }
        Dir::There { .. } => Diagnosis::ok("directory", format!("{shown}, for its owner only")),
    }
}

/// The directory itself, or the nearest above that exists.
fn existing(path: &Path) -> Option<&Path> {
    path.ancestors().find(|path| path.exists())
}

pub(super) fn disk(place: &Place) -> Vec<Diagnosis> {
    let Some(path) = existing(&place.dir) else { return Vec::new() };
    let Ok(disk) = statvfs(path) else { return Vec::new() };
    vec![judge_disk(
        path,
        disk.f_bavail.saturating_mul(disk.f_frsize),
        (disk.f_favail, disk.f_files),
        disk.f_flag.contains(StatVfsMountFlags::RDONLY),
    )]
}

fn judge_disk(
    path: &Path,
    free: u64,
    (nodes, nodes_all): (u64, u64),
    read_only: bool,
) -> Diagnosis {
    let found = |severity, text: String| {
        Diagnosis::found("disk", Finding::Disk, severity, text).because(format!(
            "{} free where {} lies",
            bytes(free),
            path.display()
        ))
    };
    let text = format!("{} free in {}", bytes(free), path.display());
    if read_only {
        found(Severity::Problem, "it is mounted read-only".to_owned())
            .fix("mount it for writing, or choose another directory with --data-dir")
    } else if free < FREE_BYTES_MIN {
        found(Severity::Problem, text)
    } else if nodes_all > 0 && nodes < 1_000 {
        found(Severity::Problem, format!("only {nodes} files can still be made"))
    } else if free < FREE_BYTES_LOW {
        found(Severity::Warn, text)
    } else {
        Diagnosis::ok("disk", text)
    }
}

pub(super) fn file_system(place: &Place) -> Vec<Diagnosis> {
    let Some(path) = existing(&place.dir) else { return Vec::new() };
    let Ok(disk) = statfs(path) else { return Vec::new() };
    #[expect(
        clippy::cast_sign_loss,
        clippy::cast_possible_truncation,
        reason = "a number of four bytes, in whatever type the platform has"
    )]
    let magic = disk.f_type as u32;
    vec![judge_file_system(magic)]
}

/// By the numbers of `linux/magic.h`.
fn judge_file_system(magic: u32) -> Diagnosis {
    let found = |severity, text: &str| {
        Diagnosis::found("filesystem", Finding::FileSystem, severity, text)
            .because(format!("file system number {magic:#x}"))
    };
    match magic {
        0x0102_1994 | 0x8584_58f6 => {
            found(Severity::Warn, "in memory: everything is lost when this machine is switched off")
        }
        0x6969 | 0xff53_4d42 | 0xfe53_4d42 | 0x517b | 0x0116_1970 => {
            found(Severity::Problem, "over a network: a ledger there is not safe")
        }
        0x6573_5546 => {
            found(Severity::Warn, "through FUSE: whether it keeps what was synced is its affair")
        }
        0x794c_7630 => {
            found(Severity::Note, "the layers of a container: use a volume to keep the ledger")
        }
        0x4d44 | 0x2011_bab0 => {
            found(Severity::Problem, "FAT has no permissions: everybody can read the keys")
        }
        0xef53 => Diagnosis::ok("filesystem", "ext4"),
        0x9123_683e => Diagnosis::ok("filesystem", "btrfs"),
        0x5846_5342 => Diagnosis::ok("filesystem", "xfs"),
        0x2fc1_2fc1 => Diagnosis::ok("filesystem", "zfs"),
        0xf2f5_2010 => Diagnosis::ok("filesystem", "f2fs"),
        _ => Diagnosis::ok("filesystem", format!("local, number {magic:#x}")),
    }
}

pub(super) fn blobs(place: &Place) -> Vec<Diagnosis> {
    let quota = place.config().map(|config| config.blobs_bytes_max);
    let mut left = BLOBS_COUNTED_MAX;
    let used = size(&place.file("blobs"), &mut left);
    quota.map(|quota| vec![judge_blobs(used, quota)]).unwrap_or_default()
}

/// The bytes of all files in a directory, as far as they are counted.
fn size(dir: &Path, left: &mut usize) -> u64 {
    let mut sum = 0_u64;
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let Some(less) = left.checked_sub(1) else { break };
        *left = less;
        let Ok(metadata) = entry.metadata() else { continue };
        sum = sum.saturating_add(if metadata.is_dir() {
            size(&entry.path(), left)
        } else {
            metadata.len()
        });
    }
    sum
}

fn judge_blobs(used: u64, quota: u64) -> Diagnosis {
    let text = format!("{} of {} used", bytes(used), bytes(quota));
    let left = quota.saturating_sub(used);
    if quota == 0 || left < quota.checked_div(10).unwrap_or(0) {
        Diagnosis::found("blobs", Finding::BlobStore, Severity::Warn, text)
            .because("limits.blobs is the quota".to_owned())
    } else {
        Diagnosis::ok("blobs", text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::checks::testing::Machine;

    #[test]
    fn a_directory_for_everybody_is_mended() {
        let machine = Machine::new(&[]);
        assert_eq!(directory(&machine.place)[0].severity, Severity::Note);
        fs::create_dir_all(&machine.place.dir).unwrap();
        fs::set_permissions(&machine.place.dir, fs::Permissions::from_mode(0o777)).unwrap();
        let found = directory(&machine.place).remove(0);
        assert_eq!(found.severity, Severity::Problem);
        found.treatment.unwrap().apply().unwrap();
        assert_eq!(directory(&machine.place)[0].severity, Severity::Ok);
    }

    #[test]
    fn a_directory_is_judged_by_what_was_seen() {
        let there = |mode, ours, writable| Dir::There { mode, ours, writable };
        for (dir, severity) in [
            (there(0o700, true, true), Severity::Ok),
            (there(0o700, false, true), Severity::Note),
            (there(0o755, true, false), Severity::Problem),
            (Dir::NotADirectory, Severity::Problem),
        ] {
            assert_eq!(judge_directory(Path::new("/d"), &dir).severity, severity, "{dir:?}");
        }
    }

    #[test]
    fn a_disk_is_judged_by_what_is_free() {
        let many = (100_000, 200_000);
        for (free, nodes, read_only, severity) in [
            (41 << 30, many, false, Severity::Ok),
            (41 << 30, (0, 0), false, Severity::Ok),
            (41 << 30, (3, 200_000), false, Severity::Problem),
            (500 << 20, many, false, Severity::Warn),
            (5 << 20, many, false, Severity::Problem),
            (41 << 30, many, true, Severity::Problem),
        ] {
            let found = judge_disk(Path::new("/d"), free, nodes, read_only);
            assert_eq!(found.severity, severity, "{found:?}");
        }
    }

    #[test]
    fn file_systems_are_known_by_their_numbers() {
        for (magic, severity) in [
            (0xef53, Severity::Ok),
            (0x6969, Severity::Problem),
            (0x0102_1994, Severity::Warn),
            (0x794c_7630, Severity::Note),
            (0x1234, Severity::Ok),
        ] {
            assert_eq!(judge_file_system(magic).severity, severity, "{magic:#x}");
        }
    }

    #[test]
    fn the_store_is_counted_and_judged() {
        let machine = Machine::new(&[]);
        let dir = machine.place.file("blobs");
        fs::create_dir_all(dir.join("aa")).unwrap();
        fs::write(dir.join("aa/1"), [0; 700]).unwrap();
        fs::write(dir.join("2"), [0; 300]).unwrap();
        assert_eq!(size(&dir, &mut 100), 1_000);
        assert!(size(&dir, &mut 1) < 1_000);
        assert_eq!(judge_blobs(1_000, 10_000).severity, Severity::Ok);
        assert_eq!(judge_blobs(9_500, 10_000).severity, Severity::Warn);
        assert_eq!(blobs(&machine.place)[0].severity, Severity::Ok);
    }
}
