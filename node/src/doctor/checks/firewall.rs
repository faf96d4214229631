//! Whether this machine's packet filter drops what others send to the node.
//!
//! Rules are read as the tools print them: `nft list ruleset`, `iptables -S`, and ufw's own files. Only rules that name
//! a port, a protocol or nothing are understood; a rule with other conditions neither allows nor forbids here.

use std::collections::BTreeMap;

use super::network::{Transport, socket};
use crate::doctor::{Diagnosis, Finding, Place, Severity};

/// What some rules do with packets to a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// They arrive.
    Accepted,
    /// They do not.
    Dropped,
    /// The rules do not say.
    Unknown,
}

pub(super) fn look(place: &Place) -> Vec<Diagnosis> {
    let Ok(config) = place.config() else { return Vec::new() };
    let listen =
        place.answers.status.as_ref().map_or(config.listen, |status| status.listen.clone());
    let ports: Vec<_> = listen
        .iter()
        .filter_map(|address| socket(address))
        .filter(|(_, address)| !address.ip().is_loopback() && address.port() != 0)
        .map(|(transport, address)| (transport, address.port()))
        .collect();
    let ufw = ufw(place);
    let nft = place.output("nft", &["list", "ruleset"]);
    let iptables = place.output("iptables", &["-S"]);
    vec![judge(&ports, ufw.as_deref(), nft.as_deref(), iptables.as_deref())]
}

/// The rules of ufw's users, if it is on; an empty text if they may not be read.
fn ufw(place: &Place) -> Option<String> {
    let on = place.read("/etc/ufw/ufw.conf")?.lines().any(|line| line.trim() == "ENABLED=yes");
    let drops = place
        .read("/etc/default/ufw")
        .is_none_or(|it| !it.contains("DEFAULT_INPUT_POLICY=\"ACCEPT\""));
    (on && drops).then(|| place.read("/etc/ufw/user.rules").unwrap_or_default())
}

fn judge(
    ports: &[(Transport, u16)],
    ufw: Option<&str>,
    nft: Option<&str>,
    iptables: Option<&str>,
) -> Diagnosis {
    if ports.is_empty() {
        return Diagnosis::ok("firewall", "the node listens on this machine only");
    }
    for (transport, port) in ports {
        let by = [
            ("ufw", ufw.map(|rules| of_ufw(rules, *transport, *port))),
            ("nftables", nft.map(|rules| of_nft(rules, *transport, *port))),
            ("iptables", iptables.map(|rules| of_iptables(rules, *transport, *port))),
        ];
        if let Some((name, _)) = by.iter().find(|(_, fate)| *fate == Some(Fate::Dropped)) {
            let rule = format!("{}/{port}", transport.name());
            let text = format!("{rule} is blocked by {name}");
            let found = Diagnosis::found("firewall", Finding::Firewall, Severity::Problem, text)
                .because(format!("no rule of {name} accepts {rule} before it is dropped"));
            return found.fix(allow(name, ports));
        }
    }
    match (ufw, nft, iptables) {
        (Some(""), _, _) => Diagnosis::found(
            "firewall",
            Finding::Firewall,
            Severity::Note,
            "ufw is on, and this user may not read its rules",
        )
        .fix("run `sudo weft doctor` with the same --data-dir"),
        (None, None, None) => {
            Diagnosis::ok("firewall", "no rules, or none that this user may read")
        }
        (_, _, _) => Diagnosis::ok("firewall", "packets to the node's ports are accepted"),
    }
}

fn allow(firewall: &str, ports: &[(Transport, u16)]) -> String {
    let commands = ports.iter().map(|(transport, port)| match firewall {
        "ufw" => format!("sudo ufw allow {port}/{}", transport.name()),
        "nftables" => {
            format!(
                "sudo nft insert rule inet filter input {} dport {port} accept",
                transport.name()
            )
        }
        _ => format!("sudo iptables -I INPUT -p {} --dport {port} -j ACCEPT", transport.name()),
    });
    commands.collect::<Vec<_>>().join(" && ")
}

/// `### tuple ### allow udp 4301 0.0.0.0/0 any 0.0.0.0/0 in` for each rule.
fn of_ufw(rules: &str, transport: Transport, port: u16) -> Fate {
    if rules.is_empty() {
        return Fate::Unknown;
    }
    for line in rules.lines().filter_map(|line| line.strip_prefix("### tuple ### ")) {
        let mut fields = line.split_whitespace();
        let (Some(verb), Some(protocol), Some(ports)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let fits = protocol == "any" || protocol == transport.name();
        if fits && (ports == "any" || in_set(ports, ':', port)) {
            return if verb.starts_with("allow") || verb.starts_with("limit") {
                Fate::Accepted
            } else {
                Fate::Dropped
            };
        }
    }
    Fate::Dropped
}

/// Whether a list of ports and ranges holds a port.
fn in_set(list: &str, range: char, port: u16) -> bool {
    list.split([',', ' ', '{', '}']).filter(|part| !part.is_empty()).any(|part| {
        let (low, high) = part.split_once(range).unwrap_or((part, part));
        matches!((low.parse::<u16>(), high.parse::<u16>()), (Ok(low), Ok(high)) if (low..=high).contains(&port))
    })
}

/// One chain of rules.
#[derive(Debug, Default)]
struct Chain<'a> {
    hooked: bool,
    drops: bool,
    rules: Vec<&'a str>,
}

/// Depth of jumps that is followed.
const JUMPS_MAX: u8 = 8;

fn of_nft(rules: &str, transport: Transport, port: u16) -> Fate {
    let mut chains: BTreeMap<String, Chain<'_>> = BTreeMap::new();
    let (mut table, mut chain) = (String::new(), None);
    for line in rules.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("table ") {
            table = name.trim_end_matches(['{', ' ']).to_owned();
        } else if let Some(name) = line.strip_prefix("chain ") {
            chain = Some(format!("{table} {}", name.trim_end_matches(['{', ' '])));
        } else if line == "}" {
            chain = None;
        } else if let Some(name) = &chain {
            let chain = chains.entry(name.clone()).or_default();
            if line.starts_with("type ") {
                chain.hooked = line.contains("hook input");
                chain.drops = line.contains("policy drop");
            } else {
                chain.rules.push(line);
            }
        }
    }
    let hooked = chains.iter().filter(|(_, chain)| chain.hooked);
    let fates = hooked.map(|(name, chain)| {
        let table = name.rsplit_once(' ').map_or("", |(table, _)| table);
        match walk(&chains, table, chain, (transport, port), JUMPS_MAX) {
            Fate::Unknown if chain.drops => Fate::Dropped,
            Fate::Unknown => Fate::Accepted,
            fate @ (Fate::Accepted | Fate::Dropped) => fate,
        }
    });
    // A packet must pass all of them.
    fates.fold(Fate::Unknown, |all, fate| if all == Fate::Dropped { all } else { fate })
}

fn walk(
    chains: &BTreeMap<String, Chain<'_>>,
    table: &str,
    chain: &Chain<'_>,
    to: (Transport, u16),
    jumps: u8,
) -> Fate {
    for rule in &chain.rules {
        let words: Vec<_> = rule.split_whitespace().filter(|word| *word != "counter").collect();
        let Some(verdict) = verdict(rule) else { continue };
        if !applies(rule, &words, to) {
            continue;
        }
        let fate = match verdict {
            "accept" => Fate::Accepted,
            "drop" | "reject" => Fate::Dropped,
            target => match (chains.get(&format!("{table} {target}")), jumps.checked_sub(1)) {
                (Some(chain), Some(left)) => walk(chains, table, chain, to, left),
                (_, _) => Fate::Unknown,
            },
        };
        if fate != Fate::Unknown {
            return fate;
        }
    }
    Fate::Unknown
}

/// What a rule does: `accept`, `drop`, `reject`, or the chain that it jumps to.
fn verdict(rule: &str) -> Option<&str> {
    let words: Vec<_> = rule.split_whitespace().collect();
    for (at, word) in words.iter().enumerate() {
        match *word {
            "accept" | "drop" | "reject" => return Some(word),
            "jump" | "goto" => return words.get(at.saturating_add(1)).copied(),
            _ => {}
        }
    }
    None
}

/// Whether a rule is for all new packets to a port from anywhere: its only conditions are that protocol and port.
fn applies(rule: &str, words: &[&str], (transport, port): (Transport, u16)) -> bool {
    let other =
        ["iif", "iifname", "oif", "saddr", "daddr", "ct", "sport", "icmp", "limit", "mark", "meta"];
    if words.iter().any(|word| other.contains(word) || word.starts_with("icmp")) {
        // `meta l4proto udp udp dport …` says the same twice.
        let only_protocol = rule.contains("meta l4proto")
            && !words.iter().any(|it| *it != "meta" && other.contains(it));
        if !only_protocol {
            return false;
        }
    }
    match rule.split_once("dport") {
        None => !words.iter().any(|word| ["tcp", "udp", "th"].contains(word)),
        Some((before, after)) => {
            let fits = before.contains(transport.name()) || before.contains("th ");
            let set = match after.split_once('}') {
                Some((set, _)) if after.trim_start().starts_with('{') => set,
                _ => after.split_whitespace().next().unwrap_or_default(),
            };
            fits && in_set(set, '-', port)
        }
    }
}

fn of_iptables(rules: &str, transport: Transport, port: u16) -> Fate {
    let drops = rules.lines().any(|line| line.trim() == "-P INPUT DROP");
    for rule in rules.lines().filter_map(|line| line.trim().strip_prefix("-A INPUT ")) {
        let after = |flag: &str| {
            let (_, rest) = rule.split_once(flag)?;
            rest.split_whitespace().next()
        };
        let conditions = rule.contains(" -s ")
            || rule.starts_with("-s ")
            || rule.contains("-i ")
            || rule.contains("--ctstate")
            || rule.contains("--state")
            || rule.contains("! ");
        if conditions || after("-p ").is_some_and(|protocol| protocol != transport.name()) {
            continue;
        }
        let ports = after("--dport ").or_else(|| after("--dports "));
        if ports.is_some_and(|ports| !in_set(ports, ':', port)) {
            continue;
        }
        match after("-j ") {
            Some("ACCEPT") => return Fate::Accepted,
            Some("DROP" | "REJECT") => return Fate::Dropped,
            Some(_) | None => {}
        }
    }
    if drops { Fate::Dropped } else { Fate::Accepted }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::checks::testing::Machine;

    const UDP: (Transport, u16) = (Transport::Udp, 4_301);

    const NFT: &str = "table inet filter {\n\tset known {\n\t\ttype ipv4_addr\n\t}\n\n\tchain input {\n\
        \t\ttype filter hook input priority filter; policy drop;\n\t\tct state established,related accept\n\
        \t\tiif \"lo\" accept\n\t\ttcp dport { 22, 4300-4310 } accept\n\t\tjump mine\n\t}\n\n\
        \tchain mine {\n\t\tudp dport 53 accept\n\t}\n\n\tchain forward {\n\
        \t\ttype filter hook forward priority filter; policy drop;\n\t}\n}\n";

    #[test]
    fn nftables_drop_what_no_rule_accepts() {
        assert_eq!(of_nft(NFT, Transport::Tcp, 4_301), Fate::Accepted);
        assert_eq!(of_nft(NFT, Transport::Udp, 4_301), Fate::Dropped);
        assert_eq!(of_nft(NFT, Transport::Udp, 53), Fate::Accepted);
        assert_eq!(
            of_nft(&NFT.replace("policy drop", "policy accept"), UDP.0, UDP.1),
            Fate::Accepted
        );
        assert_eq!(of_nft("", UDP.0, UDP.1), Fate::Unknown);
        let last = NFT.replace("policy drop", "policy accept").replace("jump mine", "reject");
        assert_eq!(of_nft(&last, UDP.0, UDP.1), Fate::Dropped);
        // A chain that jumps to itself ends.
        let circle = NFT.replace("udp dport 53 accept", "jump mine");
        assert_eq!(of_nft(&circle, UDP.0, UDP.1), Fate::Dropped);
    }

    #[test]
    fn iptables_drop_what_no_rule_accepts() {
        let rules = "-P INPUT DROP\n-P FORWARD DROP\n-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
                     -A INPUT -i lo -j ACCEPT\n-A INPUT -p tcp -m tcp --dport 4301 -j ACCEPT\n";
        assert_eq!(of_iptables(rules, Transport::Tcp, 4_301), Fate::Accepted);
        assert_eq!(of_iptables(rules, Transport::Udp, 4_301), Fate::Dropped);
        assert_eq!(of_iptables("-P INPUT ACCEPT\n", UDP.0, UDP.1), Fate::Accepted);
        let last = "-P INPUT ACCEPT\n-A INPUT -p udp -m multiport --dports 22,4300:4310 -j DROP\n";
        assert_eq!(of_iptables(last, UDP.0, UDP.1), Fate::Dropped);
    }

    #[test]
    fn ufw_is_read_from_its_files() {
        let machine = Machine::new(&[("/etc/ufw/ufw.conf", "ENABLED=yes\n")]);
        assert_eq!(ufw(&machine.place).as_deref(), Some(""));
        let rules = "*filter\n### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in\n";
        machine.file("/etc/ufw/user.rules", rules);
        let found = look(&machine.place).remove(0);
        assert_eq!(found.severity, Severity::Problem);
        assert_eq!(found.text, "udp/4301 is blocked by ufw");
        assert_eq!(
            found.fix.as_deref(),
            Some("sudo ufw allow 4301/udp && sudo ufw allow 4301/tcp")
        );
        let rules = format!(
            "{rules}### tuple ### allow udp 4301 0.0.0.0/0 any 0.0.0.0/0 in\n\
             ### tuple ### allow any 4301 0.0.0.0/0 any 0.0.0.0/0 in\n"
        );
        machine.file("/etc/ufw/user.rules", &rules);
        assert_eq!(look(&machine.place)[0].severity, Severity::Ok);
        machine.file("/etc/ufw/ufw.conf", "ENABLED=no\n");
        assert_eq!(ufw(&machine.place), None);
    }

    #[test]
    fn rules_that_may_not_be_read_are_not_guessed() {
        assert_eq!(judge(&[UDP], Some(""), None, None).severity, Severity::Note);
        assert_eq!(judge(&[UDP], None, None, None).severity, Severity::Ok);
        assert_eq!(judge(&[], Some("x"), None, None).severity, Severity::Ok);
    }
}
