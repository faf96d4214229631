//! Somebody else on the network: a libp2p node that is none of ours, or a name server. For tests in namespaces.
//!
//! ```text
//! neighbour foreign               answers multicast DNS, is found, and speaks identify and ping of another family
//! neighbour nonsense IP…          sends packets that mean nothing to the port of multicast DNS there
//! neighbour dns IP NAME TEXT…     answers TXT questions for NAME on port 53
//! ```
//!
//! Prints `ready` once it listens, and runs until it is killed.

use std::{
    env,
    io::Write as _,
    net::{IpAddr, UdpSocket},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use futures::StreamExt as _;
use libp2p::{
    Swarm, SwarmBuilder, identify, identity::Keypair, mdns, noise, ping, swarm::NetworkBehaviour,
    swarm::SwarmEvent, tcp, yamux,
};
use protocol::{ids::NodeId, mdns as mdns_packet, testing::Numbers};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["foreign"] => tokio::runtime::Runtime::new()?.block_on(foreign()),
        ["nonsense", ref targets @ ..] => nonsense(targets),
        ["dns", ip, name, ref texts @ ..] => dns(ip.parse()?, name, texts),
        _ => {
            bail!("usage: neighbour foreign | neighbour nonsense IP… | neighbour dns IP NAME TEXT…")
        }
    }
}

fn ready() -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "ready")?;
    Ok(out.flush()?)
}

/// What Kubo and its like speak, as far as it matters to a neighbour.
#[derive(NetworkBehaviour)]
struct Foreign {
    mdns: mdns::tokio::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
}

impl Foreign {
    fn new(key: &Keypair) -> std::io::Result<Self> {
        let peer = key.public().to_peer_id();
        Ok(Self {
            mdns: mdns::tokio::Behaviour::new(mdns::Config::default(), peer)?,
            identify: identify::Behaviour::new(identify::Config::new(
                "/ipfs/0.1.0".to_owned(),
                key.public(),
            )),
            ping: ping::Behaviour::default(),
        })
    }
}

async fn foreign() -> anyhow::Result<()> {
    let mut swarm: Swarm<Foreign> = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)?
        .with_quic()
        .with_behaviour(|key| Ok(Foreign::new(key)?))?
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(60)))
        .build();
    swarm.listen_on("/ip4/0.0.0.0/tcp/4001".parse()?)?;
    swarm.listen_on("/ip4/0.0.0.0/udp/4001/quic-v1".parse()?)?;
    let mut told = false;
    loop {
        if let SwarmEvent::NewListenAddr { .. } = swarm.select_next_some().await
            && !told
        {
            told = true;
            ready()?;
        }
    }
}

/// Packets that break parsers, a few thousand in a second: the question and the answer of multicast DNS, changed.
fn nonsense(targets: &[&str]) -> anyhow::Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    // Nobody answers: this is the pause between two rounds.
    socket.set_read_timeout(Some(Duration::from_millis(10)))?;
    let targets: Vec<IpAddr> =
        targets.iter().map(|target| target.parse()).collect::<Result<_, _>>()?;
    let node = NodeId([7; 32]);
    let places = ["/ip4/10.77.0.99/tcp/4301".to_owned(), "/ip4/10.77.0.99/tcp/4302".to_owned()];
    let answer = mdns_packet::answer([b'n'; mdns_packet::LABEL_BYTES], &node, &places);
    let packets = [mdns_packet::question(), answer];
    let mut numbers = Numbers::default();
    ready()?;
    loop {
        for target in &targets {
            for _ in 0..20 {
                let mut packet = numbers.pick(&packets).cloned().unwrap_or_default();
                for _ in 0..numbers.below(4) {
                    let at = numbers.below(packet.len());
                    if let Some(byte) = packet.get_mut(at) {
                        *byte = numbers.byte();
                    }
                }
                packet.truncate(numbers.below(packet.len()).saturating_mul(2).max(1));
                // A machine that is not there yet answers with an error, which is nobody's concern.
                let _unheard = socket.send_to(&packet, (*target, mdns_packet::PORT));
            }
        }
        let _pause = socket.recv(&mut [0]);
    }
}

/// A name server that knows one name, and nothing about others.
fn dns(ip: IpAddr, name: &str, texts: &[&str]) -> anyhow::Result<()> {
    let socket = UdpSocket::bind((ip, 53)).context("the port of name servers")?;
    ready()?;
    let mut buffer = [0; 1_500];
    loop {
        let (length, from) = socket.recv_from(&mut buffer)?;
        let question = buffer.get(..length).unwrap_or_default();
        if let Ok(answer) = answer(question, name, texts) {
            socket.send_to(&answer, from)?;
        }
    }
}

/// The answer to a question of one name (RFC 1035, section 4).
fn answer(question: &[u8], name: &str, texts: &[&str]) -> anyhow::Result<Vec<u8>> {
    let id = question.get(..2).context("an id")?;
    let body = question.get(12..).context("a question")?;
    let mut wanted = Vec::new();
    for label in name.split('.') {
        wanted.push(u8::try_from(label.len())?);
        wanted.extend(label.bytes());
    }
    wanted.extend([0, 0, 16, 0, 1]);
    let asked = body.get(..wanted.len()).unwrap_or(body);
    let known = asked.eq_ignore_ascii_case(&wanted);
    // The question ends after its name, its type and its class; what follows is not repeated.
    let end = body.iter().position(|byte| *byte == 0).context("a name")?;
    let end = end.checked_add(5).context("a type and a class")?;
    let question = body.get(..end).context("a type and a class")?;
    let count = if known { u16::try_from(texts.len())? } else { 0 };
    let flags: u16 = if known { 0x8580 } else { 0x8583 };
    let mut packet = id.to_vec();
    for value in [flags, 1, count, 0, 0] {
        packet.extend(value.to_be_bytes());
    }
    packet.extend(question);
    for text in texts.iter().filter(|_| known) {
        ensure!(text.len() < 256, "a string of at most 255 bytes");
        // A pointer to the name in the question, TXT, IN, one minute.
        packet.extend([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60]);
        let length = u16::try_from(text.len())?.saturating_add(1);
        packet.extend(length.to_be_bytes());
        packet.push(u8::try_from(text.len())?);
        packet.extend(text.bytes());
    }
    Ok(packet)
}
