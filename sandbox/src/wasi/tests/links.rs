//! Links, second names, times and rights.

use super::*;

const FOLLOW: u64 = 1;

impl Program {
    /// Two texts behind each other: the four arguments that name them.
    fn texts(&mut self, one: &str, two: &str) -> [u64; 4] {
        let [at, _] = self.text(&format!("{one}{two}"));
        [at, one.len() as u64, at + one.len() as u64, two.len() as u64]
    }

    fn symlink(&mut self, to: &str, at: &str) -> u32 {
        let [to, to_length, at, at_length] = self.texts(to, at);
        self.call(Call::PathSymlink, &[to, to_length, ROOT, at, at_length]).unwrap()
    }

    fn link(&mut self, old: &str, new: &str) -> Result<u32, Stop> {
        let [old, old_length, new, new_length] = self.texts(old, new);
        self.call(Call::PathLink, &[ROOT, 0, old, old_length, ROOT, new, new_length])
    }

    fn readlink(&mut self, path: &str, room: u64) -> Result<String, u32> {
        let [at, length] = self.text(path);
        match self.call(Call::PathReadlink, &[ROOT, at, length, 512, room, ANSWER.into()]) {
            Ok(0) => {
                let length = self.word(ANSWER) as usize;
                Ok(String::from_utf8_lossy(&self.memory[512..][..length]).into_owned())
            }
            Ok(errno) => Err(errno),
            Err(stop) => panic!("{stop}"),
        }
    }

    /// Node, kind, names, size and when it was read and changed.
    fn stat(&mut self, flags: u64, path: &str) -> Result<[u64; 6], u32> {
        let [at, length] = self.text(path);
        match self.call(Call::PathFilestatGet, &[ROOT, flags, at, length, 128]) {
            Ok(0) => Ok([136, 144, 152, 160, 168, 176].map(|at| self.long(at))),
            Ok(errno) => Err(errno),
            Err(stop) => panic!("{stop}"),
        }
    }

    fn open_as(&mut self, flags: u64, path: &str, how: u64) -> Result<u32, u32> {
        let [at, length] = self.text(path);
        match self.call(Call::PathOpen, &[ROOT, flags, at, length, how, 0, 0, 0, ANSWER.into()]) {
            Ok(0) => Ok(self.word(ANSWER)),
            Ok(errno) => Err(errno),
            Err(stop) => panic!("{stop}"),
        }
    }

    fn rights(&mut self, fd: u64) -> [u64; 2] {
        self.ok(Call::FdFdstatGet, &[fd, 128]);
        [136, 144].map(|at| self.long(at))
    }
}

fn number(errno: Errno) -> Result<u32, u32> {
    Err(errno as u32)
}

#[test]
fn a_link_is_followed_where_that_is_asked_for() {
    let mut program = program();
    assert_eq!(program.symlink("../in/a.txt", "out/l"), 0);
    assert_eq!(program.stat(0, "out/l").unwrap()[1], 7);
    assert_eq!(program.stat(FOLLOW, "out/l").unwrap()[1], 4);
    let fd = program.open("out/l");
    assert_eq!(program.read(fd, 10), "hello");
    assert_eq!(program.open_as(0, "out/l", 0), number(Errno::Loop));
    assert_eq!(program.readlink("out/l", 100).unwrap(), "../in/a.txt");
    assert_eq!(program.readlink("out/l", 4).unwrap(), "../i");
    assert_eq!(program.readlink("in/a.txt", 4), Err(Errno::Invalid as u32));
    // On the way it always is.
    assert_eq!(program.symlink("in", "i"), 0);
    let fd = program.open("i/sub/b.txt");
    assert_eq!(program.read(fd, 10), "world");
    let [at, length] = program.text("out/l");
    program.ok(Call::PathUnlinkFile, &[ROOT, at, length]);
    assert_eq!(program.stat(0, "out/l"), Err(Errno::NotFound as u32));
    assert!(program.host.take_output().files.is_empty());
}

#[test]
fn a_link_leads_nowhere_else() {
    let mut program = program();
    assert_eq!(program.symlink("/etc/passwd", "l"), Errno::NotCapable as u32);
    assert_eq!(program.symlink("../x", "up"), 0);
    assert_eq!(program.stat(FOLLOW, "up"), Err(Errno::NotCapable as u32));
    // Each leads to the next, and the last to the first.
    for number in 0..3 {
        assert_eq!(program.symlink(&format!("r{}", (number + 1) % 3), &format!("r{number}")), 0);
    }
    assert_eq!(program.stat(FOLLOW, "r0"), Err(Errno::Loop as u32));
    assert_eq!(program.stat(FOLLOW, "r0/x"), Err(Errno::Loop as u32));
    // Looking up what is long by links costs what it is long.
    let long = format!("{}in", "./".repeat(400));
    assert_eq!(program.symlink(&long, "long"), 0);
    let before = program.fuel;
    program.stat(FOLLOW, "long").unwrap();
    assert!(before - program.fuel > 802 * 16);
}

#[test]
fn what_a_link_names_need_not_be_there() {
    let mut program = program();
    assert_eq!(program.symlink("target", "l"), 0);
    assert_eq!(program.symlink("other", "l"), Errno::Exists as u32);
    assert_eq!(program.symlink("other", "m/"), Errno::NotFound as u32);
    assert_eq!(program.open_as(FOLLOW, "l", 0), number(Errno::NotFound));
    assert_eq!(program.open_as(FOLLOW, "l", 5), number(Errno::Exists));
    program.open_as(FOLLOW, "l", 1).unwrap();
    assert_eq!(program.stat(0, "target").unwrap()[1], 4);
}

#[test]
fn a_file_has_as_many_names_as_it_is_given() {
    let mut program = program();
    let fd = program.create("out/a");
    assert_eq!(program.write(fd, &"x".repeat(300)), Ok(0));
    assert_eq!(program.link("out/a", "out/b"), Ok(0));
    let both = ["out/a", "out/b"].map(|path| program.stat(0, path).unwrap());
    assert_eq!(both[0], both[1]);
    assert_eq!((both[0][2], both[0][3]), (2, 300));
    assert_eq!(program.link("out/a", "out/b"), Ok(Errno::Exists as u32));
    assert_eq!(program.link("out", "o"), Ok(Errno::NotPermitted as u32));
    assert_eq!(program.link("in/a.txt", "i"), Ok(Errno::ReadOnly as u32));
    assert_eq!(program.link("out/a", "in/b"), Ok(Errno::ReadOnly as u32));
    assert_eq!(program.link("out/a", "out/c/"), Ok(Errno::NotFound as u32));
    // Each name is an output, and counts as one: 600 of 1,000 bytes are used.
    assert_eq!(program.write(1, &"y".repeat(401)), Err(Stop::OutputTooLarge));
    assert_eq!(program.link("out/a", "out/c"), Ok(0));
    assert_eq!(program.link("out/a", "out/d"), Err(Stop::OutputTooLarge));
    let [at, length] = program.text("out/a");
    program.ok(Call::PathUnlinkFile, &[ROOT, at, length]);
    assert_eq!(program.write(fd, "!"), Ok(0));
    let files = program.host.take_output().files;
    let sizes: Vec<_> = files.iter().map(|(path, bytes)| (path.as_str(), bytes.len())).collect();
    assert_eq!(sizes, [("b", 301), ("c", 301)]);
}

#[test]
fn times_are_those_that_were_set() {
    let mut program = program();
    let fd = program.create("f");
    let start = 1_767_225_600_000_000_000;
    program.ok(Call::FdFilestatSetTimes, &[fd, 7, 8, 4]);
    assert_eq!(program.stat(0, "f").unwrap()[4..], [start, 8]);
    program.ok(Call::FdFilestatSetTimes, &[fd, 7, 9, 1 | 8]);
    let [read, changed] = [4, 5].map(|at| program.stat(0, "f").unwrap()[at]);
    assert!(read == 7 && changed > start);
    for flags in [1 | 2, 4 | 8, 16] {
        program.fails(Call::FdFilestatSetTimes, &[fd, 7, 8, flags], Errno::Invalid);
        let [at, length] = program.text("f");
        let args = [ROOT, 0, at, length, 7, 8, flags];
        program.fails(Call::PathFilestatSetTimes, &args, Errno::Invalid);
    }
    let [at, length] = program.text("in/a.txt");
    program.fails(Call::PathFilestatSetTimes, &[ROOT, 0, at, length, 7, 8, 4], Errno::ReadOnly);
}

#[test]
fn a_descriptor_does_what_it_was_opened_for() {
    let mut program = program();
    let fd = program.try_open("f", 1, rights::WRITE).unwrap();
    assert_eq!(program.write(fd, "text"), Ok(0));
    assert_eq!(program.rights(fd)[0] & (rights::READ | rights::WRITE), rights::WRITE);
    program.buffer(4);
    program.fails(Call::FdRead, &[fd, BUFFERS.into(), 1, ANSWER.into()], Errno::BadDescriptor);
    let fd = program.open("f");
    assert_eq!(program.rights(fd)[0] & rights::CHANGES, 0);
    program.fails(Call::FdFilestatSetSize, &[fd, 0], Errno::NotCapable);
    // A directory is nothing to read, write or seek in.
    for wanted in [0, rights::READ] {
        let directory = program.try_open("out", 2, wanted).unwrap();
        assert_eq!(program.rights(directory)[0] & (rights::FILE & !rights::DIRECTORY), 0);
    }
    assert_eq!(program.try_open("out", 2, rights::WRITE), Err(Errno::IsDirectory as u32));
}

#[test]
fn rights_that_were_given_up_are_gone() {
    let mut program = program();
    let fd = program.create("f");
    let [own, inheriting] = program.rights(fd);
    program.ok(Call::FdFdstatSetRights, &[fd, own & !rights::SEEK, inheriting]);
    program.fails(Call::FdSeek, &[fd, 0, 0, ANSWER.into()], Errno::NotCapable);
    program.fails(Call::FdFdstatSetRights, &[fd, own, inheriting], Errno::NotCapable);
    // What is opened in a directory has no more than the directory passes on.
    let [own, inheriting] = program.rights(ROOT);
    program.ok(
        Call::FdFdstatSetRights,
        &[ROOT, own & !rights::PATH_SET_SIZE, inheriting & !rights::WRITE],
    );
    let fd = program.try_open("f", 0, rights::READ | rights::WRITE).unwrap();
    assert_eq!(program.write(fd, "x"), Ok(Errno::BadDescriptor as u32));
    assert_eq!(program.try_open("f", 8, rights::READ), Err(Errno::NotCapable as u32));
}
