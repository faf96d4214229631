//! A *native* program in the runner's jail that tries to get out.
//!
//! This is what is left where a guest has broken out of WebAssembly and owns its process. It tries files, sockets,
//! other processes, new processes, code of its own making, and all the memory of the machine; every attempt must
//! fail, and a file of the host's must be as it was.
#![expect(unsafe_code, reason = "system calls as an attacker makes them")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_sign_loss,
    clippy::cast_possible_truncation,
    clippy::cast_lossless,
    reason = "a test whose numbers are those of system calls"
)]

use std::{
    ffi::{CString, c_long},
    io::Write as _,
    net::TcpListener,
    os::fd::AsRawFd as _,
    path::Path,
    process::{Command, ExitCode, Stdio},
    ptr,
};

use protocol::wire::advert::Isolation;
use sandbox::jail::{Jail, Kind};

/// The name that test runners know it by.
const NAME: &str = "a_native_program_in_the_jail_gets_nowhere";
/// The first argument of the process that is locked up.
const INSIDE: &str = "--inside";

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let has = |wanted: &str| args.iter().any(|arg| arg == wanted);
    if args.first().is_some_and(|arg| arg == INSIDE) {
        return inside(&args[1..]);
    }
    if has("--list") {
        if !has("--ignored") {
            println!("{NAME}: test");
        }
        return ExitCode::SUCCESS;
    }
    let wanted = args.iter().find(|arg| !arg.starts_with('-'));
    if wanted.is_some_and(|wanted| !NAME.contains(wanted.as_str())) || has("--ignored") {
        return ExitCode::SUCCESS;
    }
    outside();
    println!("test {NAME} ... ok");
    ExitCode::SUCCESS
}

fn outside() {
    let directory = tempfile::tempdir().unwrap();
    let canary = directory.path().join("canary");
    std::fs::write(&canary, "alive").unwrap();
    let open_to_all = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(directory.path(), open_to_all).unwrap();
    let open_to_all = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    std::fs::set_permissions(&canary, open_to_all).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    // Somebody else's process, of the same user.
    let mut neighbour = Command::new("sleep")
        .arg("60")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Left open on purpose, as a careless node would: it must not be there inside.
    let leaked = std::fs::File::open(&canary).unwrap();
    rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).unwrap();
    for kind in ["exec", "compile"] {
        let output = Command::new(std::env::current_exe().unwrap())
            .args([INSIDE, kind, &canary.to_string_lossy()])
            .args([
                listener.local_addr().unwrap().port().to_string(),
                std::process::id().to_string(),
                neighbour.id().to_string(),
                leaked.as_raw_fd().to_string(),
            ])
            .env_clear()
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        println!("{text}{}", String::from_utf8_lossy(&output.stderr));
        if text.contains("grade C") {
            println!("skipped: this system has no Landlock or no seccomp");
        } else {
            assert!(!text.contains("GOT OUT"), "{kind}: {text}");
            assert!(text.ends_with("end\n"), "{kind}: {text}");
        }
    }
    assert_eq!(std::fs::read_to_string(&canary).unwrap(), "alive");
    assert!(neighbour.try_wait().unwrap().is_none(), "the neighbour is gone");
    assert!(listener.accept().is_err(), "somebody connected");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    neighbour.kill().unwrap();
    neighbour.wait().unwrap();
}

/// A system call with up to six arguments; its result, below zero for an error.
fn call(number: c_long, args: &[usize]) -> c_long {
    let arg = |at: usize| args.get(at).copied().unwrap_or_default();
    // SAFETY: that it is not safe is the point. Pointers among the arguments are to what lives until it returns.
    let result = unsafe { libc::syscall(number, arg(0), arg(1), arg(2), arg(3), arg(4), arg(5)) };
    if result < 0 {
        -c_long::from(std::io::Error::last_os_error().raw_os_error().unwrap())
    } else {
        result
    }
}

fn report(what: &str, failed: bool) {
    println!("{what}: {}", if failed { "no" } else { "GOT OUT" });
    std::io::stdout().flush().unwrap();
}

fn denied(what: &str, number: c_long, args: &[usize]) {
    report(what, call(number, args) < 0);
}

fn inside(args: &[String]) -> ExitCode {
    let [kind, canary, port, parent, neighbour, leaked] = args else { panic!("{args:?}") };
    let kind = if kind == "exec" { Kind::Exec } else { Kind::Compile };
    let number = |text: &str| text.parse::<usize>().unwrap();
    let jail = Jail::enter(kind).unwrap();
    rustix::process::setrlimit(
        rustix::process::Resource::Data,
        rustix::process::Rlimit { current: Some(1 << 30), maximum: Some(1 << 30) },
    )
    .unwrap();
    let confinement = jail.lock().unwrap();
    println!("grade {}", confinement);
    files(canary, number(leaked));
    sockets(port.parse().unwrap());
    processes(number(neighbour), number(parent), kind);
    memory(kind);
    if confinement.grade == Isolation::A {
        report(
            "root is not empty",
            !Path::new("/proc/self").exists() && !Path::new("/etc").exists(),
        );
        report("own pid is not 1", std::process::id() == 1);
    }
    println!("end");
    ExitCode::SUCCESS
}

fn files(canary: &str, leaked: usize) {
    let path = CString::new(canary).unwrap();
    let at = path.as_ptr() as usize;
    let cwd = libc::AT_FDCWD as usize;
    let buffer = [0_u8; 256];
    let to = buffer.as_ptr() as usize;
    denied("read an inherited descriptor", libc::SYS_read, &[leaked, to, 1]);
    denied("open to read", libc::SYS_openat, &[cwd, at, libc::O_RDONLY as usize]);
    denied(
        "open to write",
        libc::SYS_openat,
        &[cwd, at, (libc::O_WRONLY | libc::O_TRUNC) as usize],
    );
    for name in [c"/etc/passwd", c"/proc/self/mem", c"/proc/1/environ", c"/dev/mem", c".", c"/"] {
        denied(&format!("open {name:?}"), libc::SYS_openat, &[cwd, name.as_ptr() as usize, 0]);
    }
    denied("unlink", libc::SYS_unlinkat, &[cwd, at, 0]);
    denied("make a directory", libc::SYS_mkdirat, &[cwd, c"/tmp/x".as_ptr() as usize, 0o777]);
    denied("rename", libc::SYS_renameat, &[cwd, at, cwd, c"/tmp/x".as_ptr() as usize]);
    denied("change the mode", libc::SYS_fchmodat, &[cwd, at, 0]);
    denied("truncate", libc::SYS_truncate, &[at, 0]);
    denied("link", libc::SYS_linkat, &[cwd, at, cwd, c"/tmp/y".as_ptr() as usize, 0]);
    denied("stat", libc::SYS_newfstatat, &[cwd, at, to, 0]);
    denied("make a file in memory", libc::SYS_memfd_create, &[c"x".as_ptr() as usize, 0]);
    denied(
        "mount",
        libc::SYS_mount,
        &[c"none".as_ptr() as usize, c"/".as_ptr() as usize, c"tmpfs".as_ptr() as usize, 0, 0],
    );
    denied("chroot", libc::SYS_chroot, &[c"/".as_ptr() as usize]);
    denied("ioctl on the terminal", libc::SYS_ioctl, &[0, libc::TIOCSTI as usize, to]);
}

fn sockets(port: u16) {
    for (name, domain, kind) in [
        ("TCP", libc::AF_INET, libc::SOCK_STREAM),
        ("UDP", libc::AF_INET6, libc::SOCK_DGRAM),
        ("Unix", libc::AF_UNIX, libc::SOCK_STREAM),
        ("raw packet", libc::AF_PACKET, libc::SOCK_RAW),
        ("netlink", libc::AF_NETLINK, libc::SOCK_RAW),
        ("vsock", libc::AF_VSOCK, libc::SOCK_STREAM),
    ] {
        denied(&format!("{name} socket"), libc::SYS_socket, &[domain as usize, kind as usize, 0]);
    }
    let mut pair = [0_i32; 2];
    denied(
        "pair of sockets",
        libc::SYS_socketpair,
        &[libc::AF_UNIX as usize, libc::SOCK_STREAM as usize, 0, pair.as_mut_ptr() as usize],
    );
    report("connect", std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    report("bind", TcpListener::bind("0.0.0.0:0").is_err());
    denied("io_uring", libc::SYS_io_uring_setup, &[8, pair.as_ptr() as usize]);
}

fn processes(neighbour: usize, parent: usize, kind: Kind) {
    for (name, pid) in [("neighbour", neighbour), ("parent", parent), ("everybody", usize::MAX)] {
        denied(&format!("kill {name}"), libc::SYS_kill, &[pid, libc::SIGKILL as usize]);
        denied(&format!("tgkill {name}"), libc::SYS_tgkill, &[pid, pid, libc::SIGKILL as usize]);
        denied(
            &format!("ptrace {name}"),
            libc::SYS_ptrace,
            &[libc::PTRACE_ATTACH as usize, pid, 0, 0],
        );
        denied(
            &format!("read the memory of {name}"),
            libc::SYS_process_vm_readv,
            &[pid, 0, 0, 0, 0, 0],
        );
        denied(&format!("open {name}"), libc::SYS_pidfd_open, &[pid, 0]);
        let limit = libc::rlimit { rlim_cur: 1, rlim_max: 1 };
        denied(
            &format!("limit {name}"),
            libc::SYS_prlimit64,
            &[pid, libc::RLIMIT_CPU as usize, &raw const limit as usize, 0],
        );
        denied(&format!("renice {name}"), libc::SYS_setpriority, &[0, pid, 0]);
    }
    // A fork bomb: not even the first.
    #[cfg(target_arch = "x86_64")]
    for (name, number) in [("fork", libc::SYS_fork), ("vfork", libc::SYS_vfork)] {
        // If it worked, both halves say so.
        denied(name, number, &[]);
    }
    denied("clone", libc::SYS_clone, &[libc::SIGCHLD as usize, 0, 0, 0, 0]);
    denied(
        "clone into a new namespace",
        libc::SYS_clone,
        &[(libc::CLONE_NEWUSER | libc::SIGCHLD) as usize, 0, 0, 0, 0],
    );
    let arguments = [0_u64; 8];
    denied("clone3", libc::SYS_clone3, &[arguments.as_ptr() as usize, size_of_val(&arguments)]);
    denied("unshare", libc::SYS_unshare, &[libc::CLONE_NEWUSER as usize]);
    let path = c"/bin/sh";
    let list = [path.as_ptr(), ptr::null()];
    denied("execve", libc::SYS_execve, &[path.as_ptr() as usize, list.as_ptr() as usize, 0]);
    report("start a program", Command::new("/bin/true").spawn().is_err());
    if kind == Kind::Exec {
        report("start a thread", std::thread::Builder::new().spawn(|| ()).is_err());
    }
    for (name, number) in [
        ("bpf", libc::SYS_bpf),
        ("perf_event_open", libc::SYS_perf_event_open),
        ("userfaultfd", libc::SYS_userfaultfd),
        ("keyctl", libc::SYS_keyctl),
        ("reboot", libc::SYS_reboot),
        ("setuid", libc::SYS_setuid),
        ("setns", libc::SYS_setns),
        ("init_module", libc::SYS_init_module),
        ("settimeofday", libc::SYS_settimeofday),
        ("sethostname", libc::SYS_sethostname),
        ("swapon", libc::SYS_swapon),
        ("personality", libc::SYS_personality),
        ("seccomp", libc::SYS_seccomp),
    ] {
        denied(name, number, &[0, 0, 0, 0, 0, 0]);
    }
}

fn memory(kind: Kind) {
    let page = 4_096_usize;
    let private = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as usize;
    let shared = (libc::MAP_SHARED | libc::MAP_ANONYMOUS) as usize;
    let (read, write, execute) =
        (libc::PROT_READ as usize, libc::PROT_WRITE as usize, libc::PROT_EXEC as usize);
    let nowhere = usize::MAX;
    if kind == Kind::Exec {
        denied("map code", libc::SYS_mmap, &[0, page, read | write | execute, private, nowhere, 0]);
        let mapped = call(libc::SYS_mmap, &[0, page, read | write, private, nowhere, 0]);
        assert!(mapped > 0);
        denied("make memory code", libc::SYS_mprotect, &[mapped as usize, page, read | execute]);
        denied(
            "by a key",
            libc::SYS_pkey_mprotect,
            &[mapped as usize, page, read | execute, nowhere],
        );
        denied("share memory", libc::SYS_mmap, &[0, page, read | write, shared, nowhere, 0]);
    }
    // A memory bomb: what it gets is bounded, and the rest is refused.
    let mut got = 0_usize;
    let step = 64 << 20;
    while got < 4 << 30 && call(libc::SYS_mmap, &[0, step, read | write, private, nowhere, 0]) > 0 {
        got += step;
    }
    report(&format!("more memory than the limit ({} MiB)", got >> 20), got <= 1 << 30);
    let raised = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    denied(
        "raise the limit",
        libc::SYS_prlimit64,
        &[0, libc::RLIMIT_DATA as usize, &raw const raised as usize, 0],
    );
    report("the address space", got > 0);
}
