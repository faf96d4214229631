#![expect(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "small numbers of tests"
)]

use std::sync::Arc;

mod links;

use super::{abi::Errno, *};

/// A program that consists of calls made by hand.
struct Program {
    host: Host,
    memory: Vec<u8>,
    fuel: i64,
}

/// Where paths and content are put in memory, and where answers are expected.
const TEXT: u32 = 1_024;
const BUFFERS: u32 = 16;
const ANSWER: u32 = 64;
const ROOT: u64 = 3;

fn given() -> Given {
    let file = |path: &str, content: &str| (path.to_owned(), Arc::from(content.as_bytes()));
    Given {
        args: vec!["one".to_owned(), "two words".to_owned()],
        env: vec![("KEY".to_owned(), "value".to_owned())],
        stdin: Arc::from(*b"standard input"),
        files: vec![file("a.txt", "hello"), file("sub/b.txt", "world"), file("sub/c.txt", "")],
        seed: [5; 32],
        output_bytes_max: 1_000,
        fuel_max: 1_000_000,
    }
}

fn program() -> Program {
    Program { host: Host::new(given()).unwrap(), memory: vec![0; 65_536], fuel: 1_000_000 }
}

impl Program {
    fn call(&mut self, call: Call, args: &[u64]) -> Result<u32, Stop> {
        assert_eq!(args.len(), call.params().len(), "{call:?}");
        self.host.call(call, args, &mut self.memory, &mut self.fuel)
    }

    #[track_caller]
    fn ok(&mut self, call: Call, args: &[u64]) {
        assert_eq!(self.call(call, args), Ok(0), "{call:?}");
    }

    #[track_caller]
    fn fails(&mut self, call: Call, args: &[u64], errno: Errno) {
        assert_eq!(self.call(call, args), Ok(errno as u32), "{call:?}");
    }

    /// Puts a text into memory: the two arguments that name it.
    fn text(&mut self, text: &str) -> [u64; 2] {
        self.memory[TEXT as usize..][..text.len()].copy_from_slice(text.as_bytes());
        [TEXT.into(), text.len() as u64]
    }

    fn word(&self, at: u32) -> u32 {
        u32::from_le_bytes(self.memory[at as usize..][..4].try_into().unwrap())
    }

    fn long(&self, at: u32) -> u64 {
        u64::from_le_bytes(self.memory[at as usize..][..8].try_into().unwrap())
    }

    fn try_open(&mut self, path: &str, how: u64, rights: u64) -> Result<u64, u32> {
        let [at, length] = self.text(path);
        match self
            .call(Call::PathOpen, &[ROOT, 1, at, length, how, rights, rights, 0, ANSWER.into()])
        {
            Ok(0) => Ok(self.word(ANSWER).into()),
            Ok(errno) => Err(errno),
            Err(stop) => panic!("{stop}"),
        }
    }

    fn open(&mut self, path: &str) -> u64 {
        self.try_open(path, 0, rights::READ).unwrap()
    }

    fn create(&mut self, path: &str) -> u64 {
        self.try_open(path, 1, rights::READ | rights::WRITE).unwrap()
    }

    /// One buffer at [`TEXT`] of that length.
    fn buffer(&mut self, length: u32) {
        self.memory[BUFFERS as usize..][..4].copy_from_slice(&TEXT.to_le_bytes());
        self.memory[BUFFERS as usize + 4..][..4].copy_from_slice(&length.to_le_bytes());
    }

    fn read(&mut self, fd: u64, length: u32) -> String {
        self.buffer(length);
        self.ok(Call::FdRead, &[fd, BUFFERS.into(), 1, ANSWER.into()]);
        let read = self.word(ANSWER) as usize;
        String::from_utf8(self.memory[TEXT as usize..][..read].to_vec()).unwrap()
    }

    fn write(&mut self, fd: u64, text: &str) -> Result<u32, Stop> {
        self.text(text);
        self.buffer(text.len() as u32);
        self.call(Call::FdWrite, &[fd, BUFFERS.into(), 1, ANSWER.into()])
    }
}

#[test]
fn arguments_and_environment_are_those_of_the_task() {
    let mut program = program();
    program.ok(Call::ArgsSizesGet, &[0, 4]);
    assert_eq!((program.word(0), program.word(4)), (3, 22));
    program.ok(Call::ArgsGet, &[0, 100]);
    assert_eq!(&program.memory[100..122], b"program\0one\0two words\0");
    assert_eq!([program.word(0), program.word(4), program.word(8)], [100, 108, 112]);
    program.ok(Call::EnvironSizesGet, &[0, 4]);
    assert_eq!((program.word(0), program.word(4)), (1, 10));
    program.ok(Call::EnvironGet, &[0, 100]);
    assert_eq!(&program.memory[100..110], b"KEY=value\0");
}

#[test]
fn the_only_directory_that_is_open_is_the_root() {
    let mut program = program();
    program.ok(Call::FdPrestatGet, &[ROOT, 0]);
    assert_eq!((program.word(0), program.word(4)), (0, 1));
    program.ok(Call::FdPrestatDirName, &[ROOT, 8, 1]);
    assert_eq!(program.memory[8], b'/');
    program.fails(Call::FdPrestatGet, &[4, 0], Errno::BadDescriptor);
    program.fails(Call::FdPrestatGet, &[0, 0], Errno::BadDescriptor);
}

#[test]
fn streams_are_read_and_written() {
    let mut program = program();
    assert_eq!(program.read(0, 8), "standard");
    assert_eq!(program.read(0, 100), " input");
    assert_eq!(program.read(0, 100), "");
    assert_eq!(program.write(1, "out"), Ok(0));
    assert_eq!(program.write(2, "err"), Ok(0));
    assert_eq!(program.write(0, "in"), Ok(Errno::BadDescriptor as u32));
    program.fails(Call::FdSeek, &[1, 0, 0, 0], Errno::NotSeekable);
    let output = program.host.take_output();
    assert_eq!(
        (output.stdout.as_slice(), output.stderr.as_slice()),
        (b"out".as_slice(), b"err".as_slice())
    );
}

#[test]
fn inputs_are_read_and_never_written() {
    let mut program = program();
    let fd = program.open("in/sub/../a.txt");
    assert_eq!(program.read(fd, 3), "hel");
    program.ok(Call::FdTell, &[fd, ANSWER.into()]);
    assert_eq!(program.long(ANSWER), 3);
    program.ok(Call::FdSeek, &[fd, (-1_i64).cast_unsigned(), 2, ANSWER.into()]);
    assert_eq!(program.read(fd, 10), "o");
    program.fails(Call::FdSeek, &[fd, (-9_i64).cast_unsigned(), 0, ANSWER.into()], Errno::Invalid);
    assert_eq!(program.write(fd, "x"), Ok(Errno::BadDescriptor as u32));
    let write = rights::WRITE;
    for (path, how, rights, errno) in [
        ("in/a.txt", 0, write, Errno::ReadOnly),
        ("in/a.txt", 8, 0, Errno::ReadOnly),
        ("in/new", 1, write, Errno::ReadOnly),
        ("in/none", 0, 0, Errno::NotFound),
        ("in/a.txt/b", 0, 0, Errno::NotDirectory),
        ("in/a.txt/", 0, 0, Errno::NotDirectory),
        ("in/a.txt", 2, 0, Errno::NotDirectory),
        ("in/a.txt", 5, 0, Errno::Exists),
        ("", 0, 0, Errno::NotFound),
        ("in/a\0b", 0, 0, Errno::Invalid),
        ("out/a\nb", 1, write, Errno::Invalid),
        ("out/a\\b", 1, write, Errno::Invalid),
    ] {
        assert_eq!(program.try_open(path, how, rights), Err(errno as u32), "{path:?}");
    }
    let [at, length] = program.text("in/a.txt");
    program.fails(Call::PathUnlinkFile, &[ROOT, at, length], Errno::ReadOnly);
    let [at, length] = program.text("in");
    program.fails(Call::PathRemoveDirectory, &[ROOT, at, length], Errno::NotEmpty);
}

#[test]
fn no_path_leads_out_of_its_directory() {
    let mut program = program();
    for path in ["in/sub/../a.txt", "./in/./a.txt", "in/../in//a.txt"] {
        let fd = program.open(path);
        assert_eq!(program.read(fd, 10), "hello", "{path}");
    }
    for path in ["../in/a.txt", "in/../../in/a.txt", "/in/a.txt", "/etc/passwd", "/"] {
        assert_eq!(
            program.try_open(path, 0, rights::READ),
            Err(Errno::NotCapable as u32),
            "{path}"
        );
    }
    // Also out of a directory that is not the root, although what it would lead to exists.
    let sub = program.try_open("in/sub", 2, 0).unwrap();
    let [at, length] = program.text("../a.txt");
    program.fails(Call::PathFilestatGet, &[sub, 0, at, length, 128], Errno::NotCapable);
}

#[test]
fn what_is_not_below_out_is_scratch() {
    let mut program = program();
    let fd = program.create("notes");
    assert_eq!(program.write(fd, "for later"), Ok(0));
    let fd = program.open("notes");
    assert_eq!(program.read(fd, 100), "for later");
    for (path, errno) in [("in", Errno::ReadOnly), ("out", Errno::ReadOnly)] {
        let paths = program.text(&format!("{path}x"));
        let length = path.len() as u64;
        program.fails(
            Call::PathRename,
            &[ROOT, paths[0], length, ROOT, paths[0] + length, 1],
            errno,
        );
    }
    let [at, length] = program.text("out");
    program.fails(Call::PathRemoveDirectory, &[ROOT, at, length], Errno::ReadOnly);
    assert!(program.host.take_output().files.is_empty());
}

#[test]
fn files_below_out_are_kept_in_the_order_of_their_paths() {
    let mut program = program();
    for directory in ["out/d", "out/d/e"] {
        let [at, length] = program.text(directory);
        program.ok(Call::PathCreateDirectory, &[ROOT, at, length]);
    }
    for path in ["out/z", "out/d/e/f", "out/d.x"] {
        let fd = program.create(path);
        assert_eq!(program.write(fd, path), Ok(0));
        program.ok(Call::FdClose, &[fd]);
    }
    let files = program.host.take_output().files;
    let paths: Vec<_> = files.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["d.x", "d/e/f", "z"]);
    assert_eq!(files[1].1, b"out/d/e/f");
}

#[test]
fn files_are_overwritten_extended_cut_appended_moved_and_removed() {
    let mut program = program();
    let fd = program.create("out/f");
    assert_eq!(program.write(fd, "0123456789"), Ok(0));
    program.ok(Call::FdSeek, &[fd, 2, 0, ANSWER.into()]);
    assert_eq!(program.write(fd, "ab"), Ok(0));
    program.ok(Call::FdFilestatSetSize, &[fd, 5]);
    program.text("XY");
    program.buffer(2);
    program.ok(Call::FdPwrite, &[fd, BUFFERS.into(), 1, 6, ANSWER.into()]);
    program.ok(Call::FdFdstatSetFlags, &[fd, 1]);
    assert_eq!(program.write(fd, "!"), Ok(0));
    program.buffer(100);
    program.ok(Call::FdPread, &[fd, BUFFERS.into(), 1, 0, ANSWER.into()]);
    assert_eq!(&program.memory[TEXT as usize..][..program.word(ANSWER) as usize], b"01ab4\0XY!");

    let paths = program.text("out/fout/g");
    let [at, _] = paths;
    program.ok(Call::PathRename, &[ROOT, at, 5, ROOT, at + 5, 5]);
    assert_eq!(program.try_open("out/f", 0, 0), Err(Errno::NotFound as u32));
    let [at, length] = program.text("out/g");
    program.ok(Call::PathUnlinkFile, &[ROOT, at, length]);
    // It is still there for whoever has it open.
    program.ok(Call::FdSeek, &[fd, 0, 0, ANSWER.into()]);
    assert_eq!(program.read(fd, 4), "01ab");
    program.ok(Call::FdClose, &[fd]);
    assert!(program.host.take_output().files.is_empty());
}

#[test]
fn a_directory_cannot_be_moved_into_itself() {
    let mut program = program();
    let [at, length] = program.text("out/d");
    program.ok(Call::PathCreateDirectory, &[ROOT, at, length]);
    let [at, _] = program.text("out/dout/d/e");
    program.fails(Call::PathRename, &[ROOT, at, 5, ROOT, at + 5, 7], Errno::Invalid);
}

#[test]
fn directories_are_listed_in_order_and_in_pieces() {
    let mut program = program();
    let fd = program.try_open("in", 2, 0).unwrap();
    let mut names = Vec::new();
    let mut cookie = 0;
    loop {
        // Room for one entry and a bit.
        program.ok(Call::FdReaddir, &[fd, TEXT.into(), 40, cookie, ANSWER.into()]);
        if program.word(ANSWER) == 0 {
            break;
        }
        cookie = program.long(TEXT);
        let length = program.word(TEXT + 16) as usize;
        let kind = program.memory[TEXT as usize + 20];
        names.push((
            String::from_utf8(program.memory[TEXT as usize + 24..][..length].to_vec()).unwrap(),
            kind,
        ));
    }
    let expected =
        [(".", 3), ("..", 3), ("a.txt", 4), ("sub", 3)].map(|(name, kind)| (name.to_owned(), kind));
    assert_eq!(names, expected);
}

#[test]
fn what_is_known_about_a_file_never_comes_from_the_host() {
    let mut program = program();
    let [at, length] = program.text("in/a.txt");
    program.ok(Call::PathFilestatGet, &[ROOT, 0, at, length, 128]);
    assert_eq!((program.memory[144], program.long(160)), (4, 5));
    let times = [168, 176, 184].map(|at| program.long(at));
    assert_eq!(times, [1_767_225_600_000_000_000; 3]);
}

#[test]
fn more_output_than_agreed_ends_the_program() {
    let line = "x".repeat(400);
    let mut program = program();
    let fd = program.create("out/f");
    assert_eq!(program.write(1, &line), Ok(0));
    assert_eq!(program.write(fd, &line), Ok(0));
    assert_eq!(program.write(2, &line), Err(Stop::OutputTooLarge));
    assert_eq!(program.call(Call::FdFilestatSetSize, &[fd, 1 << 40]), Err(Stop::OutputTooLarge));
    program.text("x");
    program.buffer(1);
    assert_eq!(
        program.call(Call::FdPwrite, &[fd, BUFFERS.into(), 1, 1 << 50, ANSWER.into()]),
        Err(Stop::OutputTooLarge)
    );
    // What was cut or removed does not count.
    program.ok(Call::FdFilestatSetSize, &[fd, 0]);
    assert_eq!(program.write(2, &line), Ok(0));
}

#[test]
fn a_descriptor_gets_the_lowest_free_number() {
    let mut program = program();
    let fds = [program.open("in/a.txt"), program.open("in/a.txt"), program.open("in/a.txt")];
    assert_eq!(fds, [4, 5, 6]);
    program.ok(Call::FdClose, &[5]);
    program.ok(Call::FdClose, &[0]);
    assert_eq!(
        [program.open("in/a.txt"), program.open("in/a.txt"), program.open("in/a.txt")],
        [0, 5, 7]
    );
    program.ok(Call::FdRenumber, &[7, 4]);
    program.fails(Call::FdTell, &[7, ANSWER.into()], Errno::BadDescriptor);
    assert_eq!(program.read(4, 5), "hello");
}

#[test]
fn nothing_is_unbounded() {
    let mut program = program();
    program.fuel = i64::MAX;
    let opened = (0..2_000).map_while(|_| program.try_open("in/a.txt", 0, 0).ok()).count();
    assert_eq!(opened, 1_020);
    for fd in 4..1_024 {
        program.ok(Call::FdClose, &[fd]);
    }
    let mut created = 0;
    while let Ok(fd) = program.try_open(&format!("out/{created}"), 1, rights::WRITE) {
        program.ok(Call::FdClose, &[fd]);
        created += 1;
    }
    assert_eq!(created, protocol::limits::OUTPUT_FILES_MAX);
    program.fails(Call::FdRead, &[0, BUFFERS.into(), 1_025, ANSWER.into()], Errno::Invalid);
    program.fails(Call::PollOneoff, &[0, 0, 0, 0], Errno::Invalid);
}

#[test]
fn addresses_outside_the_memory_are_faults() {
    let mut program = program();
    program.fails(Call::ClockTimeGet, &[0, 0, 65_530], Errno::Fault);
    program.fails(Call::ArgsGet, &[u32::MAX.into(), 0], Errno::Fault);
    program.fails(Call::RandomGet, &[65_000, 1_000], Errno::Fault);
    program.fails(Call::FdRead, &[0, u32::MAX.into(), 1, 0], Errno::Fault);
    program.memory[16..24].copy_from_slice(&[0xff; 8]);
    program.fuel = i64::MAX;
    assert_eq!(program.call(Call::FdRead, &[0, 16, 1, 0]), Ok(Errno::Fault as u32));
}

#[test]
fn the_clock_advances_with_fuel_and_with_sleep() {
    let mut program = program();
    program.ok(Call::ClockTimeGet, &[1, 0, 0]);
    let first = program.long(0);
    assert_eq!(first, 1_000_000 - program.fuel.unsigned_abs());
    program.fuel -= 500;
    program.ok(Call::ClockTimeGet, &[1, 0, 0]);
    assert_eq!(program.long(0) - first, 750);
    // Sleeps for a second: tag 0, monotonic clock, relative.
    program.memory[200..248].fill(0);
    program.memory[200] = 42;
    program.memory[216] = 1;
    program.memory[224..232].copy_from_slice(&1_000_000_000_u64.to_le_bytes());
    program.ok(Call::PollOneoff, &[200, 300, 1, 400]);
    assert_eq!((program.word(400), program.long(300), program.memory[310]), (1, 42, 0));
    program.ok(Call::ClockTimeGet, &[1, 0, 0]);
    assert!((1_000_000_000..1_000_010_000).contains(&(program.long(0) - first)));
    program.ok(Call::ClockTimeGet, &[0, 0, 0]);
    assert_eq!(program.long(0) / 1_000_000_000, 1_767_225_601);
    program.fails(Call::ClockTimeGet, &[9, 0, 0], Errno::Invalid);
}

#[test]
fn randomness_is_a_function_of_the_seed() {
    let take = |seed| {
        let host = Host::new(Given { seed, ..given() }).unwrap();
        let mut program = Program { host, memory: vec![0; 65_536], fuel: 1_000_000 };
        program.ok(Call::RandomGet, &[0, 16]);
        program.ok(Call::RandomGet, &[16, 16]);
        program.memory[..32].to_vec()
    };
    assert_eq!(take([1; 32]), take([1; 32]));
    assert_ne!(take([1; 32]), take([2; 32]));
    let bytes = take([1; 32]);
    assert_ne!(bytes[..16], bytes[16..]);
}

#[test]
fn every_call_costs_and_moving_bytes_costs_more() {
    let mut program = program();
    let before = program.fuel;
    program.ok(Call::SchedYield, &[]);
    let small = before - program.fuel;
    assert!(small > 0);
    let before = program.fuel;
    program.ok(Call::RandomGet, &[0, 10_000]);
    assert!(before - program.fuel >= small + 10_000);
    program.fuel = 100;
    assert_eq!(program.call(Call::SchedYield, &[]), Err(Stop::OutOfFuel));
}

#[test]
fn a_program_ends_with_its_code() {
    assert_eq!(program().call(Call::ProcExit, &[7]), Err(Stop::Exit(7)));
}

#[test]
fn what_does_not_exist_here_is_said_to() {
    let mut program = program();
    program.fails(Call::SockAccept, &[1, 0, 0], Errno::NotSocket);
    program.fails(Call::SockAccept, &[99, 0, 0], Errno::BadDescriptor);
    program.fails(Call::ProcRaise, &[9], Errno::NotSupported);
}

#[test]
fn inputs_that_cannot_be_files_are_refused() {
    for paths in [
        vec![""],
        vec!["/a"],
        vec!["a//b"],
        vec!["../a"],
        vec!["a/."],
        vec!["a", "a"],
        vec!["a", "a/b"],
        vec!["a/b", "a"],
    ] {
        let files = paths.iter().map(|path| ((*path).to_owned(), Arc::from(*b"x"))).collect();
        assert!(Host::new(Given { files, ..given() }).is_err(), "{paths:?}");
    }
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_sequence_of_calls_breaks_the_host(
            calls in prop::collection::vec((0..46_usize, prop::collection::vec(0..200_u64, 9)), 1..60),
            noise in prop::collection::vec(any::<u8>(), 200),
        ) {
            let mut program = program();
            program.memory[..200].copy_from_slice(&noise);
            program.memory[100..105].copy_from_slice(b"out/f");
            for (call, args) in calls {
                let call = Call::ALL[call];
                let before = program.fuel;
                let result = program.call(call, &args[..call.params().len()]);
                prop_assert!(program.fuel < before);
                if result.is_err() {
                    break;
                }
            }
            let output = program.host.take_output();
            let files: usize = output.files.iter().map(|(_, content)| content.len()).sum();
            prop_assert!(output.stdout.len() + output.stderr.len() + files <= 1_000);
        }
    }
}
