//! What can be found, by a code that never changes its meaning.

use std::fmt;

macro_rules! findings {
    ($($name:ident = $code:literal, $title:literal, $meaning:literal, $help:literal;)*) => {
        /// Something that keeps a node from being as useful as it could be.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Finding {
            $(#[doc = $title] $name,)*
        }

        impl Finding {
            /// All of them, in the order of their codes.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The stable code: `WD-014`.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// A few words.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }

            /// What it means and where it comes from.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* }
            }

            /// The way out.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self { $(Self::$name => $help,)* }
            }
        }
    };
}

findings! {
    Daemon = "WD-001", "No node runs here, or it does not answer",
        "Nothing holds the lock of the data directory, or what holds it does not answer on its socket.",
        "Start it with `weft up`; if it runs and does not answer, its log says why: `weft config path` names it.";
    Socket = "WD-002", "A socket was left behind",
        "A node that was killed left its socket. The next start removes it.",
        "`weft doctor --fix` removes it too.";
    IdentityKey = "WD-003", "The node's key cannot be used",
        "`identity.key` is missing, is no key, or can be read by other users, who could then pass for this node.",
        "Keep it for yourself with `chmod 600`, or restore it from a backup. Without it the node has to join anew.";
    OwnerKey = "WD-004", "The owner's key cannot be used",
        "`owner.key` is missing, is no key, or can be read by other users, who could then spend its credits.",
        "Keep it for yourself with `chmod 600`, or restore it from a backup.";
    Token = "WD-005", "The token of the API can be read by others",
        "Whoever can read `api.token` can change everything on this node over the loopback address.",
        "`chmod 600` on it. If others may have read it, stop the node, delete the file and start it again.";
    Directory = "WD-006", "The data directory cannot be used",
        "It is no directory, cannot be written, or can be written by other users, who could replace the keys.",
        "`chmod 700` on it, or choose another with `--data-dir`.";
    Disk = "WD-007", "The disk is nearly full",
        "A ledger that cannot be written stops, and so does everything that waits for it.",
        "Free some space, or lower `limits.blobs`.";
    FileSystem = "WD-008", "The file system does not fit a ledger",
        "The ledger needs a disk that keeps what was synced. File systems in memory lose it with the machine, and \
         those over a network may lose it or lock badly.",
        "Choose a directory on a local disk with `--data-dir`.";
    Descriptors = "WD-009", "Too few files may be open",
        "Connections, the ledger and blobs need open files; at the limit connections are refused.",
        "Raise it: `ulimit -n 65536`, or `LimitNOFILE=65536` in the unit.";
    Clock = "WD-010", "The clock is wrong",
        "The newest entry of the ledger, which carries the time of the coordinator, is from this machine's future. \
         What this machine signs is then refused as too old.",
        "Set the clock, and let a time service keep it: `timedatectl set-ntp true`.";
    TimeService = "WD-011", "Nothing keeps the clock right",
        "No time service is seen at work. Clocks drift by seconds a day, and signed statements that are two minutes \
         off are refused.",
        "`timedatectl set-ntp true`, or install chrony.";
    PortTaken = "WD-012", "A port is in use by another program",
        "A port that the settings name, or a default one, is taken. From a default port the node goes to the next.",
        "Stop the other program, or choose another port in `p2p.listen` or `api.listen`.";
    ListenAddress = "WD-013", "An address to listen on is not of this machine",
        "The settings name an address that no interface of this machine has, so that the node cannot start.",
        "Use an address of this machine, or 0.0.0.0 for all of them, in `p2p.listen`.";
    Firewall = "WD-014", "A firewall drops what others send",
        "The rules of this machine's packet filter drop packets to the node's port. Others cannot reach it; it can \
         reach them.",
        "Allow the port: `sudo ufw allow 4301/udp && sudo ufw allow 4301/tcp`, or the like for your firewall.";
    Multicast = "WD-015", "Multicast does not work",
        "Nodes find each other on a network by multicast. Without it they have to be told addresses.",
        "Join by address: `weft up --bootstrap ADDRESS`. On Wi-Fi look for a setting that isolates clients.";
    Ipv6 = "WD-016", "No IPv6",
        "IPv6 is off or has no address beyond this link. Nodes reach each other over IPv4 alone.",
        "Nothing has to be done.";
    Dns = "WD-017", "Names cannot be looked up",
        "An address to join is a name, and no name server is configured.",
        "Name a server in `/etc/resolv.conf`, or use a numeric address in `p2p.bootstrap`.";
    Bootstrap = "WD-018", "A node to join through is not reached",
        "The running node has no connection to a node that `p2p.bootstrap` names, or the address is no address.",
        "Compare it with what `weft id` prints there, and look at firewalls on both sides.";
    Runner = "WD-019", "The program that runs guests is missing",
        "`weft-runner` is installed beside `weft`; without it no task can run here.",
        "Install both from the same package, or name it in `WEFT_RUNNER`.";
    Sandbox = "WD-020", "A guest cannot run",
        "A tiny module was compiled and run as a task would be, and that failed: the kernel or a policy forbids to make \
         memory executable, or the runner does not start.",
        "In a systemd unit remove `MemoryDenyWriteExecute=true`; with SELinux allow `execmem`.";
    Isolation = "WD-021", "Guests are isolated less well than possible",
        "The grade that was measured is below the best one. Jobs may ask for a better grade, and then do not run here.",
        "The evidence says what the kernel or the container lacks.";
    Landlock = "WD-022", "The kernel has no Landlock",
        "Landlock keeps a runner from files and connections. Linux has it since 5.13, if it is switched on.",
        "Boot with `lsm=landlock,…`, or use a newer kernel.";
    Seccomp = "WD-023", "The kernel has no seccomp filters",
        "seccomp keeps a runner from system calls that it does not need.",
        "Use a kernel with `CONFIG_SECCOMP_FILTER`.";
    Namespaces = "WD-024", "No namespaces for users",
        "User namespaces let a runner without privileges see no other process and no network: grade A needs them.",
        "`sysctl user.max_user_namespaces=10000`; on Ubuntu also `kernel.apparmor_restrict_unprivileged_userns=0`.";
    ControlGroups = "WD-025", "No control group of its own",
        "Without a delegated cgroup the memory of guests is bounded by the runner's own accounting.",
        "Run it as a service with `Delegate=yes`.";
    Memory = "WD-026", "Little memory",
        "The node shares more memory than this machine, or its container, has left for it.",
        "Share less: `limits.memory`.";
    Processor = "WD-027", "The processor lacks something",
        "Guests are compiled for x86-64 with SSE4.1, or for 64-bit ARM.",
        "Give this machine another role: `weft up --roles coordinator`.";
    Config = "WD-028", "The settings make no sense",
        "A file or a variable names a setting that does not exist, or a value that is none. The node does not start.",
        "`weft config check` names the line.";
    Unit = "WD-029", "The service's unit gets in the way",
        "A line of the systemd unit forbids what the node needs.",
        "Change the line, then `systemctl daemon-reload` and restart it.";
    Versions = "WD-030", "Nodes run different versions",
        "Members of the mesh, or peers, run another version than this node. Within a protocol version they work \
         together.",
        "Install the same version everywhere, coordinators last.";
    Coordinator = "WD-031", "No coordinator is reached",
        "This node is a member and knows nobody who leads. Nothing can be submitted until it does.",
        "Is the coordinator up? `weft peers` shows whom this node reaches.";
    Ledger = "WD-032", "The copy of the ledger is not sound",
        "Entries are numbered and chained by their hashes; the copy on this disk is not readable, or breaks that chain.",
        "Stop the node and keep the directory for whoever looks into it. A worker can be removed and join anew.";
    BlobStore = "WD-033", "The store of contents is nearly full",
        "At the quota, contents that nothing needs are removed; if all are needed, uploads are refused.",
        "Raise `limits.blobs`, or remove old results.";
    Membership = "WD-034", "This node is not a member",
        "It runs and waits to be approved, or was refused. Until it is approved it gets no work and can submit none.",
        "On a node of an operator: `weft node list`, then `weft node approve NAME`.";
    Power = "WD-035", "This machine runs on battery",
        "Work of others uses power.",
        "Plug it in, or let the node rest.";
    TimeZone = "WD-036", "The time zone is not known",
        "`TZ` names a zone that this machine does not have, so that local times are shown in UTC.",
        "Set `TZ` to a zone of `/usr/share/zoneinfo`, such as `Europe/Madrid`.";
    Entropy = "WD-037", "No random numbers",
        "Keys and nonces come from the operating system, which has none to give.",
        "Give the virtual machine a source of randomness (`virtio-rng`).";
    Remembered = "WD-038", "The file of remembered peers is damaged",
        "It holds addresses at which peers were found before. It is a hint, and written anew.",
        "`weft doctor --fix` removes it.";
    Hung = "WD-039", "A check did not end",
        "Looking took longer than it may: a disk, a mount or a program hangs.",
        "The name of the check says where to look.";
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_count_from_one_without_a_gap() {
        for (number, finding) in (1..).zip(Finding::ALL) {
            assert_eq!(finding.code(), format!("WD-{number:03}"));
        }
    }
}
