//! Multicast DNS as libp2p speaks it: who is on this network, and where.
//!
//! A question for `_p2p._udp.local` and the answers to it, to the byte ([specification]); of DNS (RFC 1035, RFC 6762)
//! only what they need. Anybody on the network can send anything, so nothing here is believed: an answer is a hint
//! where to dial, and who is dialled proves its key.
//!
//! # Invariants
//!
//! 1. [`parse`] answers, whatever it is given, and never runs in circles.
//! 2. It returns at most [`NODES_MAX`] nodes with at most [`ADDRESSES_MAX`] addresses each.
//! 3. What [`answer`] wrote, [`parse`] reads.
//!
//! [specification]: https://github.com/libp2p/specs/blob/master/discovery/mdns.md

use crate::{
    ids::NodeId,
    limits::{ADDRESS_BYTES_MAX, ADDRESSES_MAX},
    wire::enroll::NodeAddress,
};

/// Where questions and answers are sent: the IPv4 group of RFC 6762.
pub const GROUP: [u8; 4] = [224, 0, 0, 251];
/// The IPv6 group of RFC 6762, on one link: `ff02::fb`.
pub const GROUP_V6: [u16; 8] = [0xff02, 0, 0, 0, 0, 0, 0, 0xfb];
/// The UDP port of RFC 6762.
pub const PORT: u16 = 5353;
/// A packet, in bytes: RFC 6762, section 17.
pub const PACKET_BYTES_MAX: usize = 9_000;
/// How long an answer is good for, in seconds.
pub const TTL_SECONDS: u32 = 120;
/// Nodes that one packet may tell of; more are left out.
pub const NODES_MAX: usize = 16;
/// The length of the random name that an answer carries instead of the node's own.
pub const LABEL_BYTES: usize = 32;

/// The service that libp2p nodes ask for and answer to.
const SERVICE: [&[u8]; 3] = [b"_p2p", b"_udp", b"local"];
/// Questions and records that are read of one packet.
const ENTRIES_MAX: u16 = 64;
/// A name as it is on the wire, in bytes (RFC 1035, section 2.3.4).
const NAME_BYTES_MAX: usize = 255;
/// Pointers that are followed to read one name.
const POINTERS_MAX: u8 = 16;
/// A string in a TXT record, in bytes.
const STRING_BYTES_MAX: usize = 255;
/// What our strings begin with.
const KEY: &[u8] = b"dnsaddr=";

const CLASS_IN: u16 = 1;
const TYPE_PTR: u16 = 12;
const TYPE_TXT: u16 = 16;
const TYPE_ANY: u16 = 255;
/// Answer, authoritative: what RFC 6762 asks for.
const FLAGS_ANSWER: u16 = 0x8400;
const FLAG_ANSWER: u16 = 0x8000;

/// What somebody said on this network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// Who is there?
    Question,
    /// These are. Ed25519 peers only: no other is a node of ours.
    Answer(Vec<NodeAddress>),
}

/// The question.
#[must_use]
pub fn question() -> Vec<u8> {
    let mut packet = header(0, 1, 0, 0);
    packet.extend(service());
    put_u16(&mut packet, TYPE_PTR);
    put_u16(&mut packet, CLASS_IN);
    packet
}

/// The answer: a node and where it listens, as multiaddresses without `/p2p/`. `label` is random letters and digits:
/// the specification wants no node's name in the clear. Addresses that do not fit a string are left out, and those
/// beyond [`ADDRESSES_MAX`].
#[must_use]
pub fn answer(label: [u8; LABEL_BYTES], node: &NodeId, addresses: &[String]) -> Vec<u8> {
    let texts: Vec<_> = addresses
        .iter()
        .map(|address| format!("dnsaddr={address}/p2p/{node}"))
        .filter(|text| text.len() <= STRING_BYTES_MAX)
        .take(ADDRESSES_MAX)
        .collect();
    let [first, second, third] = SERVICE;
    let instance = name(&[&label, first, second, third]);
    let mut packet = header(FLAGS_ANSWER, 0, 1, texts.len());
    record(&mut packet, &service(), TYPE_PTR, &instance);
    for text in texts {
        let mut data = Vec::with_capacity(text.len().saturating_add(1));
        put_string(&mut data, text.as_bytes());
        record(&mut packet, &instance, TYPE_TXT, &data);
    }
    packet
}

/// Reads a packet; nothing if it is not one of ours.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<Packet> {
    if bytes.len() > PACKET_BYTES_MAX {
        return None;
    }
    let mut reader = Reader { packet: bytes, at: 0 };
    let _id = reader.u16()?;
    let flags = reader.u16()?;
    let (questions, answers) = (reader.u16()?, reader.u16()?);
    let (authorities, additionals) = (reader.u16()?, reader.u16()?);
    if flags & FLAG_ANSWER == 0 {
        return is_asked(&mut reader, questions).then_some(Packet::Question);
    }
    for _ in 0..questions.min(ENTRIES_MAX) {
        reader.name()?;
        reader.skip(4)?;
    }
    let records = answers.saturating_add(authorities).saturating_add(additionals);
    Some(Packet::Answer(nodes(&mut reader, records.min(ENTRIES_MAX))))
}

/// Whether the service is among the questions.
fn is_asked(reader: &mut Reader<'_>, questions: u16) -> bool {
    let mut asked = || {
        let asked = reader.name()?;
        let (kind, _class) = (reader.u16()?, reader.u16()?);
        Some(asked == service() && matches!(kind, TYPE_PTR | TYPE_ANY))
    };
    (0..questions.min(ENTRIES_MAX)).map_while(|_| asked()).any(|asked| asked)
}

/// The nodes that records tell of, as far as they can be read.
fn nodes(reader: &mut Reader<'_>, records: u16) -> Vec<NodeAddress> {
    let mut instances = Vec::new();
    let mut texts = Vec::new();
    for _ in 0..records {
        let Some(record) = reader.record() else { break };
        match record.kind {
            TYPE_PTR if record.owner == service() => instances.extend(record.pointed_to()),
            TYPE_TXT => texts.push(record),
            _ => {}
        }
    }
    let mut nodes: Vec<NodeAddress> = Vec::new();
    let ours = texts.iter().filter(|record| instances.contains(&record.owner));
    for (node, address) in ours.flat_map(Record::addresses) {
        let has_room = nodes.len() < NODES_MAX;
        match nodes.iter_mut().find(|known| known.node == node) {
            Some(known) if known.addresses.len() >= ADDRESSES_MAX => {}
            Some(known) => known.addresses.push(address),
            None if has_room => nodes.push(NodeAddress { node, addresses: vec![address] }),
            None => {}
        }
    }
    nodes
}

/// A place in a packet.
#[derive(Debug, Clone, Copy)]
struct Reader<'a> {
    packet: &'a [u8],
    at: usize,
}

/// A resource record.
#[derive(Debug)]
struct Record<'a> {
    owner: Vec<u8>,
    kind: u16,
    /// Its data.
    data: &'a [u8],
    /// Where the data begins: names in it may point back into the packet.
    begin: Reader<'a>,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.packet.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.take(count).map(drop)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    /// A name, written out and in lower case. It has at most 255 bytes, and at most [`POINTERS_MAX`] pointers lead
    /// through it.
    fn name(&mut self) -> Option<Vec<u8>> {
        let mut name = Vec::new();
        let mut reader = *self;
        let mut pointers = 0_u8;
        while name.len() <= NAME_BYTES_MAX && pointers <= POINTERS_MAX {
            let length = reader.u8()?;
            match length >> 6 {
                0 => {
                    let label = reader.take(length.into())?;
                    name.push(length);
                    name.extend(label.iter().map(u8::to_ascii_lowercase));
                }
                3 => {
                    let to = u16::from_be_bytes([length & 0x3f, reader.u8()?]);
                    if pointers == 0 {
                        self.at = reader.at;
                    }
                    pointers = pointers.saturating_add(1);
                    reader.at = to.into();
                }
                _ => return None,
            }
            if length == 0 {
                if pointers == 0 {
                    self.at = reader.at;
                }
                return Some(name);
            }
        }
        None
    }

    fn record(&mut self) -> Option<Record<'a>> {
        let owner = self.name()?;
        let (kind, _class) = (self.u16()?, self.u16()?);
        self.skip(4)?;
        let length = self.u16()?.into();
        let begin = *self;
        let data = self.take(length)?;
        Some(Record { owner, kind, data, begin })
    }
}

impl Record<'_> {
    /// The name in its data.
    fn pointed_to(&self) -> Option<Vec<u8>> {
        let mut reader = self.begin;
        reader.name()
    }

    /// The addresses in its strings, each with whose it is.
    fn addresses(&self) -> Vec<(NodeId, String)> {
        let mut found = Vec::new();
        let mut strings = Reader { packet: self.data, at: 0 };
        while found.len() < ADDRESSES_MAX
            && let Some(length) = strings.u8()
            && let Some(string) = strings.take(length.into())
        {
            found.extend(address(string));
        }
        found
    }
}

/// Reads `dnsaddr=<address>/p2p/<id>`.
fn address(string: &[u8]) -> Option<(NodeId, String)> {
    let text = str::from_utf8(string.strip_prefix(KEY)?).ok()?;
    let (address, id) = text.rsplit_once("/p2p/")?;
    let sane = address.starts_with('/') && address.len() <= ADDRESS_BYTES_MAX;
    sane.then_some((id.parse().ok()?, address.to_owned()))
}

fn header(flags: u16, questions: u16, answers: u16, additionals: usize) -> Vec<u8> {
    let mut packet = Vec::with_capacity(512);
    // The id is zero in multicast (RFC 6762, section 18.1).
    let additionals = u16::try_from(additionals).unwrap_or(u16::MAX);
    for value in [0, flags, questions, answers, 0, additionals] {
        put_u16(&mut packet, value);
    }
    packet
}

fn record(packet: &mut Vec<u8>, owner: &[u8], kind: u16, data: &[u8]) {
    packet.extend(owner);
    put_u16(packet, kind);
    put_u16(packet, CLASS_IN);
    packet.extend(TTL_SECONDS.to_be_bytes());
    put_u16(packet, u16::try_from(data.len()).unwrap_or(u16::MAX));
    packet.extend(data);
}

fn service() -> Vec<u8> {
    name(&SERVICE)
}

/// A name as it is on the wire. Labels are ours: at most 63 bytes each, in lower case.
fn name(labels: &[&[u8]]) -> Vec<u8> {
    let mut name = Vec::new();
    for label in labels {
        put_string(&mut name, &label.to_ascii_lowercase());
    }
    name.push(0);
    name
}

/// A length and that many bytes; at most 255.
fn put_string(to: &mut Vec<u8>, string: &[u8]) {
    let length = u8::try_from(string.len()).unwrap_or(u8::MAX);
    to.push(length);
    to.extend(string.iter().take(length.into()));
}

fn put_u16(packet: &mut Vec<u8>, value: u16) {
    packet.extend(value.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NODE: NodeId = NodeId([7; 32]);
    const LABEL: [u8; LABEL_BYTES] = *b"0123456789abcdefghijklmnopqrstuv";

    fn addresses(count: usize) -> Vec<String> {
        (0..count).map(|port| format!("/ip4/10.0.0.1/udp/{port}/quic-v1")).collect()
    }

    #[test]
    fn the_question_is_that_of_the_specification() {
        let bytes = b"\0\0\0\0\0\x01\0\0\0\0\0\0\x04_p2p\x04_udp\x05local\0\0\x0c\0\x01";
        assert_eq!(question(), bytes);
        assert_eq!(parse(bytes), Some(Packet::Question));
    }

    #[test]
    fn a_question_for_something_else_is_not_ours() {
        let mut other = question();
        other[13..17].copy_from_slice(b"_ipp");
        assert_eq!(parse(&other), None);
    }

    #[test]
    fn what_is_answered_is_read() {
        let packet = answer(LABEL, &NODE, &addresses(3));
        let node = NodeAddress { node: NODE, addresses: addresses(3) };
        assert_eq!(parse(&packet), Some(Packet::Answer(vec![node])));
    }

    #[test]
    fn an_answer_with_too_many_addresses_is_cut() {
        let node = NodeAddress { node: NODE, addresses: addresses(ADDRESSES_MAX) };
        let packet = answer(LABEL, &NODE, &addresses(20));
        assert_eq!(parse(&packet), Some(Packet::Answer(vec![node])));
    }

    #[test]
    fn a_text_that_no_answer_points_to_is_not_believed() {
        let mut packet = answer(LABEL, &NODE, &addresses(1));
        // The service's name in the first record becomes another's.
        packet[13..17].copy_from_slice(b"_ipp");
        assert_eq!(parse(&packet), Some(Packet::Answer(Vec::new())));
    }

    #[test]
    fn names_may_point_to_others_but_not_in_circles() {
        // A question for something else under `_udp.local`, then one whose name points there for its end.
        let mut packet = question();
        packet[5] = 2;
        packet[13..17].copy_from_slice(b"_ipp");
        packet.extend(b"\x04_P2P\xc0\x11\0\x0c\0\x01");
        assert_eq!(parse(&packet), Some(Packet::Question));
        let mut circle = question();
        circle.truncate(12);
        circle.extend(b"\xc0\x0c\0\x0c\0\x01");
        assert_eq!(parse(&circle), None);
    }

    #[test]
    fn a_packet_tells_of_so_many_nodes_and_no_more() {
        let mut packet = header(FLAGS_ANSWER, 0, 1, 40);
        let instance = name(&[b"x"]);
        record(&mut packet, &service(), TYPE_PTR, &instance);
        for number in 0..40 {
            let mut data = Vec::new();
            let text = format!("dnsaddr=/ip4/10.0.0.1/tcp/1/p2p/{}", NodeId([number; 32]));
            put_string(&mut data, text.as_bytes());
            record(&mut packet, &instance, TYPE_TXT, &data);
        }
        let Some(Packet::Answer(nodes)) = parse(&packet) else { panic!("no answer") };
        assert_eq!(nodes.len(), NODES_MAX);
    }

    proptest! {
        #[test]
        fn garbage_is_answered(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _any = parse(&bytes);
        }

        #[test]
        fn a_damaged_answer_is_answered_and_stays_bounded(
            changes in prop::collection::vec((0_usize..600, any::<u8>()), 0..8),
        ) {
            let mut packet = answer(LABEL, &NODE, &addresses(4));
            for (at, byte) in changes {
                if let Some(place) = packet.get_mut(at) {
                    *place = byte;
                }
            }
            if let Some(Packet::Answer(nodes)) = parse(&packet) {
                prop_assert!(nodes.len() <= NODES_MAX);
                prop_assert!(nodes.iter().all(|node| node.addresses.len() <= ADDRESSES_MAX));
            }
        }
    }
}
