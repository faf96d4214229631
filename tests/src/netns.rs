//! A local network of network namespaces: machines on one bridge, with multicast and nothing else.
//!
//! Works as an ordinary user where the system lets users make namespaces; needs `unshare`, `nsenter` (util-linux) and
//! `ip` (iproute2). Where one of them is missing, [`Lan::new`] says "skipped" with the reason and returns nothing.
//!
//! Each machine is a namespace that a process holds open, `cat` on a pipe of this process: when this process ends,
//! however it ends, the namespaces go with it. Files are those of the machine that the tests run on.

use std::{
    fmt::Debug,
    fs,
    io::{BufRead as _, BufReader},
    net::Ipv4Addr,
    path::Path,
    process::{Child, ChildStdin, Command, Output, Stdio},
};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use crate::{Node, Weft};

/// Machines on one network, at most.
pub const HOSTS_MAX: u8 = 200;
/// What holds a namespace: it says that it is there, and ends when this process closes its input or ends.
const HOLD: &str = "echo here; exec cat >/dev/null";

/// A local network: a bridge that machines are plugged into. It is gone when this is dropped.
#[derive(Debug)]
pub struct Lan {
    inside: Namespace,
    hosts: u8,
}

/// A machine on a [`Lan`], with the interface `eth0` and the address `10.77.0.N`. Drop its processes first.
#[derive(Debug)]
pub struct Host {
    inside: Namespace,
    /// Its end of the cable, where the bridge is.
    bridge: Entrance,
    port: String,
    ip: Ipv4Addr,
}

/// How to get into a namespace.
#[derive(Debug, Clone)]
pub(crate) struct Entrance {
    pid: u32,
}

/// A namespace, and the process that holds it open.
#[derive(Debug)]
struct Namespace {
    holder: Child,
    /// Open as long as the namespace is wanted.
    _input: ChildStdin,
}

impl Lan {
    /// A network without machines; `None`, said on the standard error, where this system does not let us make one.
    #[expect(clippy::print_stderr, reason = "why a test proves nothing here")]
    #[must_use]
    pub fn new() -> Option<Self> {
        match Self::make() {
            Ok(lan) => Some(lan),
            Err(error) => {
                eprintln!("skipped: no network namespaces here: {error:#}");
                None
            }
        }
    }

    fn make() -> anyhow::Result<Self> {
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--map-root-user", "--net", "--mount"]);
        let inside = Namespace::hold(unshare)?;
        let entrance = inside.entrance();
        entrance.ip(&["link", "set", "lo", "up"])?;
        // Every port gets every group: without somebody who asks for memberships, snooping only adds delays.
        entrance.ip(&["link", "add", "bridge", "type", "bridge", "mcast_snooping", "0"])?;
        entrance.ip(&["link", "set", "bridge", "up"])?;
        Ok(Self { inside, hosts: 0 })
    }

    /// Plugs one more machine in.
    ///
    /// # Errors
    ///
    /// If the namespace or its interface cannot be made, or there are [`HOSTS_MAX`] already.
    pub fn host(&mut self) -> anyhow::Result<Host> {
        ensure!(self.hosts < HOSTS_MAX, "at most {HOSTS_MAX} machines");
        self.hosts = self.hosts.saturating_add(1);
        let bridge = self.inside.entrance();
        let mut unshare = bridge.command("unshare");
        unshare.arg("--net");
        let inside = Namespace::hold(unshare)?;
        let host = Host {
            port: format!("port{}", self.hosts),
            ip: Ipv4Addr::new(10, 77, 0, self.hosts),
            inside,
            bridge,
        };
        host.plug_in()?;
        Ok(host)
    }

    /// Makes `server` the name server of all machines. The file that says so lies in `dir`.
    ///
    /// # Errors
    ///
    /// If the file cannot be written, or not put in place of the system's.
    pub fn resolver(&self, server: Ipv4Addr, dir: &Path) -> anyhow::Result<()> {
        let path = dir.join("resolv.conf");
        fs::write(&path, format!("nameserver {server}\n"))?;
        let mut mount = self.inside.entrance().command("mount");
        mount.arg("--bind").arg(&path).arg("/etc/resolv.conf");
        let said = mount.output()?;
        ensure!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        Ok(())
    }

    /// `count` machines.
    ///
    /// # Errors
    ///
    /// See [`Lan::host`].
    pub fn hosts(&mut self, count: usize) -> anyhow::Result<Vec<Host>> {
        (0..count).map(|_| self.host()).collect()
    }
}

impl Host {
    fn plug_in(&self) -> anyhow::Result<()> {
        let pid = self.inside.entrance().pid.to_string();
        let here = self.inside.entrance();
        let cable = ["link", "add", &self.port, "type", "veth", "peer", "name", "eth0", "netns"];
        self.bridge.ip(&[&cable[..], &[&pid]].concat())?;
        // Without IPv6 addresses nothing is sent but what the node sends.
        self.bridge.ip(&["link", "set", &self.port, "addrgenmode", "none"])?;
        self.bridge.ip(&["link", "set", &self.port, "master", "bridge", "up"])?;
        here.ip(&["link", "set", "lo", "up"])?;
        here.ip(&["link", "set", "eth0", "addrgenmode", "none"])?;
        here.ip(&["addr", "add", &format!("{}/24", self.ip), "dev", "eth0"])?;
        here.ip(&["link", "set", "eth0", "up"])
    }

    /// Its address.
    #[must_use]
    pub const fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    /// A command that runs on it.
    #[must_use]
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        self.inside.entrance().command(program)
    }

    /// The binaries, run on it.
    #[must_use]
    pub fn weft(&self, weft: &Weft) -> Weft {
        weft.inside(self.inside.entrance())
    }

    /// Starts a node on it as a person would: `weft up` with nothing but `flags`, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// See [`Node::start_plain`].
    pub fn up(&self, weft: &Weft, data_dir: &Path, flags: &[&str]) -> anyhow::Result<Node> {
        Node::start_plain(&self.weft(weft), data_dir, flags)
    }

    /// Gives it another address in the same network, as a router does that has forgotten it.
    ///
    /// # Errors
    ///
    /// If the interface cannot be changed.
    pub fn move_to(&mut self, ip: Ipv4Addr) -> anyhow::Result<()> {
        let here = self.inside.entrance();
        here.ip(&["addr", "del", &format!("{}/24", self.ip), "dev", "eth0"])?;
        self.ip = ip;
        here.ip(&["addr", "add", &format!("{ip}/24"), "dev", "eth0"])
    }

    /// Takes its IPv4 address away and gives it a unique local IPv6 address instead.
    ///
    /// # Errors
    ///
    /// If the interface cannot be changed.
    pub fn ipv6_alone(&self) -> anyhow::Result<()> {
        let here = self.inside.entrance();
        let [.., number] = self.ip.octets();
        here.ip(&["addr", "flush", "dev", "eth0"])?;
        here.ip(&["addr", "add", &format!("fd77::{number}/64"), "dev", "eth0", "nodad"])
    }

    /// Switches its Wi-Fi on or off: its interface loses its link, its address and its routes. On again, it has the
    /// same address.
    ///
    /// # Errors
    ///
    /// If the interface cannot be changed.
    pub fn link(&self, up: bool) -> anyhow::Result<()> {
        let here = self.inside.entrance();
        if up {
            here.ip(&["addr", "replace", &format!("{}/24", self.ip), "dev", "eth0"])?;
            here.ip(&["link", "set", "eth0", "up"])
        } else {
            here.ip(&["addr", "flush", "dev", "eth0"])?;
            here.ip(&["link", "set", "eth0", "down"])
        }
    }

    /// Says whether multicast reaches it. What it sends still goes out; everything else still reaches it.
    ///
    /// # Errors
    ///
    /// If the bridge cannot be changed.
    pub fn hears_multicast(&self, hears: bool) -> anyhow::Result<()> {
        let flood = if hears { "on" } else { "off" };
        self.bridge.ip(&["link", "set", &self.port, "type", "bridge_slave", "mcast_flood", flood])
    }

    /// How many packets it has sent.
    ///
    /// # Errors
    ///
    /// If the interface does not say.
    pub fn sent(&self) -> anyhow::Result<u64> {
        let said = self.inside.entrance().ip_says(&["-json", "-stats", "link", "show", "eth0"])?;
        let said: Value = serde_json::from_slice(&said)?;
        said.pointer("/0/stats64/tx/packets").and_then(Value::as_u64).context("no packet count")
    }
}

impl Entrance {
    /// A command in the namespace.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--target={}", self.pid))
            .args(["--user", "--net", "--mount", "--preserve-credentials", "--"])
            .arg(program.as_ref());
        command
    }

    fn ip(&self, args: &[impl AsRef<str> + Debug]) -> anyhow::Result<()> {
        self.ip_says(args).map(drop)
    }

    fn ip_says(&self, args: &[impl AsRef<str> + Debug]) -> anyhow::Result<Vec<u8>> {
        let mut command = self.command("ip");
        command.args(args.iter().map(AsRef::as_ref)).stdin(Stdio::null());
        let Output { status, stdout, stderr } = command.output().context("`nsenter`")?;
        let stderr = String::from_utf8_lossy(&stderr);
        ensure!(status.success(), "`ip` with {args:?}: {stderr}");
        Ok(stdout)
    }
}

impl Namespace {
    /// Starts what holds a namespace, and waits until it is there.
    fn hold(mut command: Command) -> anyhow::Result<Self> {
        let program = command.get_program().to_owned();
        command.args(["sh", "-c", HOLD]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut holder = command.spawn().with_context(|| format!("{}", program.display()))?;
        let (input, output) = (holder.stdin.take(), holder.stdout.take());
        let (Some(input), Some(output)) = (input, output) else { bail!("no pipes") };
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        if line != "here\n" {
            drop(input);
            let ended = holder.wait_with_output()?;
            bail!("{}", String::from_utf8_lossy(&ended.stderr).trim());
        }
        Ok(Self { holder, _input: input })
    }

    fn entrance(&self) -> Entrance {
        Entrance { pid: self.holder.id() }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Both fail only if it has ended, which is what is wanted.
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}
