use proptest::prelude::*;
use protocol::machine::assert_deadline_contract;

use super::*;

const PEER: NodeId = NodeId([1; 32]);
const FAR: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 7));

fn at(second: u64) -> Timestamp {
    Timestamp::after_origin(Duration::from_secs(second))
}

fn fault(node: NodeId, rank: Rank, fault: Fault) -> Input {
    Input::Fault { node, rank, address: Some(FAR), fault }
}

fn new() -> Reputation {
    Reputation::new(Config::default())
}

/// The same fault, so many times at the same moment; all that came out.
fn times(reputation: &mut Reputation, count: usize, input: &Input) -> Vec<Output> {
    let out = (0..count).flat_map(|_| reputation.handle(at(0), input.clone())).collect();
    assert_deadline_contract(reputation);
    out
}

#[test]
fn two_garbled_messages_disconnect_and_five_ban() {
    let mut reputation = new();
    let garbled = fault(PEER, Rank::Stranger, Fault::Malformed);
    assert_eq!(times(&mut reputation, 1, &garbled), [Output::Scored(PEER)]);
    assert!(!reputation.is_refused(at(0), &PEER));
    let second = times(&mut reputation, 1, &garbled);
    assert_eq!(second, [Output::Scored(PEER), Output::Disconnect(PEER)]);
    assert!(reputation.is_refused(at(0), &PEER) && !reputation.is_banned(&PEER));
    let rest = times(&mut reputation, 3, &garbled);
    assert!(rest.ends_with(&[Output::Banned(PEER), Output::BansChanged]), "{rest:?}");
    assert_eq!(reputation.score(at(0), &PEER), BAN_AT);
}

#[test]
fn half_of_a_score_is_forgiven_in_ten_minutes() {
    let mut reputation = new();
    times(&mut reputation, 4, &fault(PEER, Rank::Member, Fault::Malformed));
    for (second, score) in [(0, -40), (300, -28), (600, -20), (610, -19), (1_200, -10), (86_400, 0)]
    {
        assert_eq!(reputation.score(at(second), &PEER), score, "after {second} s");
    }
    assert!(reputation.is_refused(at(599), &PEER) && !reputation.is_refused(at(610), &PEER));
}

#[test]
fn a_ban_lasts_half_a_day_and_then_everything_is_forgiven() {
    let mut reputation = new();
    times(&mut reputation, 5, &fault(PEER, Rank::Member, Fault::BadSignature));
    let end = 12 * 3_600;
    assert_eq!(reputation.handle(at(end - 1), Input::Tick), []);
    assert!(reputation.is_banned(&PEER));
    assert_eq!(reputation.handle(at(end), Input::Tick), [Output::BansChanged]);
    assert!(!reputation.is_refused(at(end), &PEER));
}

#[test]
fn a_coordinator_raises_an_alarm_once_and_is_never_banned() {
    let mut reputation = new();
    let out = times(&mut reputation, 20, &fault(PEER, Rank::Coordinator, Fault::Malformed));
    let alarms = out.iter().filter(|out| **out == Output::Alarm(PEER, Fault::Malformed)).count();
    let scored = out.iter().filter(|out| **out == Output::Scored(PEER)).count();
    assert_eq!((alarms, scored, out.len()), (1, 20, 21));
    assert!(!reputation.is_banned(&PEER));
    assert_eq!(reputation.score(at(0), &PEER), -100, "the lowest score");
}

#[test]
fn a_burst_of_a_member_costs_once_but_a_flood_of_a_stranger_bans_it() {
    let mut reputation = new();
    times(&mut reputation, 1_000, &fault(PEER, Rank::Member, Fault::Flooding));
    assert_eq!(reputation.score(at(0), &PEER), -1);
    let stranger = NodeId([2; 32]);
    times(&mut reputation, 50, &fault(stranger, Rank::Stranger, Fault::Flooding));
    assert!(reputation.is_banned(&stranger));
}

#[test]
fn who_is_slow_now_and_then_is_forgiven() {
    let mut reputation = new();
    for minute in 0..1_000_u64 {
        let slow = fault(PEER, Rank::Member, Fault::Stalled);
        assert_eq!(reputation.handle(at(minute.saturating_mul(60)), slow), [Output::Scored(PEER)]);
    }
}

#[test]
fn who_comes_back_only_to_go_on_is_banned_the_third_time() {
    let mut reputation = new();
    for (second, banned) in [(0, false), (600, false), (1_200, true)] {
        while !reputation.is_refused(at(second), &PEER) {
            reputation.handle(at(second), fault(PEER, Rank::Stranger, Fault::Flooding));
        }
        assert_eq!(reputation.is_banned(&PEER), banned, "after {second} s");
    }
}

#[test]
fn a_person_who_approves_a_node_forgives_it() {
    let mut reputation = new();
    times(&mut reputation, 5, &fault(PEER, Rank::Stranger, Fault::Malformed));
    let out = reputation.handle(at(1), Input::Approved(PEER));
    assert_eq!(out, [Output::Scored(PEER), Output::BansChanged]);
    assert!(!reputation.is_refused(at(1), &PEER));
}

#[test]
fn five_banned_peers_ban_their_address_unless_anybody_may_sit_behind_it() {
    let near: IpAddr = "192.168.1.4".parse().unwrap();
    for (address, banned) in [(FAR, vec![FAR]), (near, vec![])] {
        let mut reputation = new();
        for peer in 1..=5 {
            assert!(reputation.banned_addresses().is_empty());
            let (node, fault) = (NodeId([peer; 32]), Fault::Malformed);
            let input = Input::Fault { node, rank: Rank::Stranger, address: Some(address), fault };
            times(&mut reputation, 5, &input);
        }
        assert_eq!(reputation.banned_addresses(), banned);
    }
}

#[test]
fn bans_of_an_earlier_run_hold_if_they_are_not_over() {
    let mut reputation = new();
    let ban = |number, until| Ban { node: NodeId([number; 32]), address: None, until: at(until) };
    reputation.handle(at(10), Input::Restored(vec![ban(1, 9), ban(2, 20)]));
    assert!(!reputation.is_banned(&NodeId([1; 32])) && reputation.is_banned(&NodeId([2; 32])));
}

#[test]
fn many_peers_cannot_fill_the_memory_nor_wash_a_low_score_away() {
    let config = Config { peers_max: 3, bans_max: 2, ..Config::default() };
    let mut reputation = Reputation::new(config);
    times(&mut reputation, 4, &fault(PEER, Rank::Member, Fault::Malformed));
    for number in 2..200 {
        times(&mut reputation, 1, &fault(NodeId([number; 32]), Rank::Member, Fault::Stalled));
    }
    assert_eq!((reputation.scores.len(), reputation.score(at(0), &PEER)), (3, -40));
    for number in 2..9 {
        times(&mut reputation, 5, &fault(NodeId([number; 32]), Rank::Member, Fault::Malformed));
    }
    assert_eq!(reputation.bans().len(), 2);
}

#[test]
fn a_source_is_an_address_or_the_network_that_a_provider_hands_out() {
    for (address, expected, near) in [
        ("203.0.113.9", "203.0.113.9", false),
        ("::ffff:203.0.113.9", "203.0.113.9", false),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::", false),
        ("127.0.0.1", "127.0.0.1", true),
        ("::1", "::", true),
        ("10.1.2.3", "10.1.2.3", true),
        ("100.64.0.1", "100.64.0.1", true),
        ("100.128.0.1", "100.128.0.1", false),
        ("169.254.3.4", "169.254.3.4", true),
        ("fe80::1", "fe80::", true),
        ("fd00::7", "fd00::", true),
    ] {
        let (address, expected): (IpAddr, IpAddr) =
            (address.parse().unwrap(), expected.parse().unwrap());
        assert_eq!((source(address), is_near(address)), (expected, near), "{address}");
    }
}

proptest! {
    #[test]
    fn scores_stay_in_their_range_and_only_time_raises_them(
        steps in prop::collection::vec((0_u64..2_000, 0_usize..Fault::ALL.len(), any::<bool>()), 1..100),
    ) {
        let mut reputation = new();
        let mut now = 0;
        for (pause, kind, member) in steps {
            let rank = if member { Rank::Member } else { Rank::Stranger };
            let before = reputation.score(at(now), &PEER);
            now = now.saturating_add(pause);
            let later = reputation.score(at(now), &PEER);
            prop_assert!(before <= later && later <= 0);
            reputation.handle(at(now), fault(PEER, rank, Fault::ALL[kind]));
            assert_deadline_contract(&reputation);
            prop_assert!(reputation.score(at(now), &PEER) >= -100);
        }
    }
}
