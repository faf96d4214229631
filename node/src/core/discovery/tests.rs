#![expect(clippy::arithmetic_side_effects, reason = "small numbers of a test")]

use proptest::prelude::*;
use protocol::machine::assert_deadline_contract;

use super::*;

fn at(ms: u64) -> Timestamp {
    Timestamp::after_origin(Duration::from_millis(ms))
}

const fn node(number: u8) -> NodeId {
    NodeId([number; 32])
}

fn heard(number: u8) -> Input {
    let addresses = vec![format!("/ip4/10.0.0.{number}/tcp/4301")];
    Input::Heard(NodeAddress { node: node(number), addresses })
}

fn dials(outputs: &[Output]) -> Vec<NodeId> {
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::Dial(to) => Some(to.node),
            Output::Ask | Output::Answer => None,
        })
        .collect()
}

/// Ticks at every deadline up to `end`, and says when this node asked, in ms.
fn asks(discovery: &mut Discovery, from: u64, end: u64) -> Vec<u64> {
    let mut asked = Vec::new();
    let mut now = at(from);
    loop {
        if discovery.handle(now, Input::Tick).contains(&Output::Ask) {
            let ms = now.saturating_since(Timestamp::ORIGIN).as_millis();
            asked.push(u64::try_from(ms).unwrap());
        }
        assert_deadline_contract(discovery);
        match discovery.deadline() {
            Some(next) if next <= at(end) => now = next,
            _ => return asked,
        }
    }
}

#[test]
fn without_a_network_nothing_is_asked() {
    assert_eq!(asks(&mut Discovery::new(1), 0, 100_000), [0; 0]);
}

#[test]
fn until_a_node_is_met_there_is_a_question_at_least_every_second() {
    for seed in 0..50 {
        let mut discovery = Discovery::new(seed);
        let first = discovery.handle(at(0), Input::Network(true));
        assert_eq!(first, [Output::Ask], "the first at once");
        let asked = asks(&mut discovery, 1, 5_000);
        assert!(asked.len() >= 7, "{asked:?}");
        assert!(asked.windows(2).all(|pair| pair[1] - pair[0] <= 1_000), "{asked:?}");
    }
}

#[test]
fn in_the_long_run_there_is_a_question_every_thirty_seconds() {
    let mut discovery = Discovery::new(1);
    discovery.handle(at(0), Input::Network(true));
    let asked = asks(&mut discovery, 1, 600_000);
    let last = asked.windows(2).next_back().unwrap();
    assert!((22_000..=30_000).contains(&(last[1] - last[0])), "{asked:?}");
}

#[test]
fn a_stranger_that_answers_first_does_not_end_the_quick_questions() {
    let mut discovery = Discovery::new(1);
    discovery.handle(at(0), Input::Network(true));
    assert_eq!(dials(&discovery.handle(at(10), heard(1))), [node(1)]);
    discovery.handle(at(20), Input::Connected(node(1)));
    discovery.handle(at(30), Input::Foreign(node(1)));
    assert!(asks(&mut discovery, 40, 5_000).len() >= 6);
    assert!(dials(&discovery.handle(at(5_000), heard(1))).is_empty(), "it is left alone");
    assert_eq!(dials(&discovery.handle(at(600_030), heard(1))), [node(1)], "for ten minutes");
}

#[test]
fn a_node_that_was_met_slows_the_questions_down_and_a_new_network_speeds_them_up() {
    let mut discovery = Discovery::new(1);
    discovery.handle(at(0), Input::Network(true));
    discovery.handle(at(10), Input::Met(node(1), Duration::ZERO));
    assert!(asks(&mut discovery, 300, 10_000).len() <= 3);
    discovery.handle(at(11_000), Input::Network(false));
    assert!(asks(&mut discovery, 11_000, 60_000).is_empty());
    assert_eq!(discovery.handle(at(60_000), Input::Network(true)), [Output::Ask]);
    assert!(asks(&mut discovery, 60_001, 65_000).len() >= 7);
}

#[test]
fn while_the_link_is_down_it_is_tried_every_second_and_then_as_in_a_new_network() {
    let mut discovery = Discovery::new(1);
    discovery.handle(at(0), Input::Network(true));
    discovery.handle(at(1), Input::Met(node(1), Duration::ZERO));
    for second in 1..100 {
        discovery.handle(at(second * 1_000), Input::Unheard);
        assert_eq!(discovery.deadline(), Some(at(second * 1_000 + 1_000)));
    }
    assert!(asks(&mut discovery, 100_000, 105_000).len() >= 7);
}

#[test]
fn questions_are_answered_at_once_but_a_flood_of_them_is_not() {
    let mut discovery = Discovery::new(1);
    assert_eq!(discovery.handle(at(1), Input::Question), [Output::Answer]);
    for ms in 2..100 {
        assert!(discovery.handle(at(ms), Input::Question).is_empty());
    }
    assert_eq!(discovery.deadline(), Some(at(251)));
    assert_eq!(discovery.handle(at(251), Input::Tick), [Output::Answer]);
    assert_eq!(discovery.deadline(), None);
}

#[test]
fn a_node_that_is_heard_again_is_not_dialled_again() {
    let mut discovery = Discovery::new(1);
    assert_eq!(dials(&discovery.handle(at(0), heard(1))), [node(1)]);
    assert!(discovery.handle(at(1), heard(1)).is_empty());
    discovery.handle(at(2), Input::Connected(node(1)));
    assert!(discovery.handle(at(3), heard(1)).is_empty());
}

#[test]
fn a_dial_that_failed_is_tried_again_later_and_at_once_elsewhere() {
    let mut discovery = Discovery::new(1);
    discovery.handle(at(0), heard(1));
    discovery.handle(at(5), Input::Failed(node(1)));
    assert!(discovery.handle(at(6), heard(1)).is_empty());
    assert_eq!(discovery.deadline(), Some(at(1_005)));
    let moved =
        NodeAddress { node: node(1), addresses: vec!["/ip4/10.0.0.99/tcp/4301".to_owned()] };
    assert_eq!(dials(&discovery.handle(at(7), Input::Heard(moved))), [node(1)]);
}

#[test]
fn a_node_that_was_met_is_left_alone_once_it_is_gone() {
    let mut discovery = Discovery::new(1);
    discovery.handle(at(0), heard(1));
    discovery.handle(at(5), Input::Connected(node(1)));
    discovery.handle(at(9), Input::Met(node(1), Duration::from_secs(60)));
    discovery.handle(at(1_000), Input::Disconnected(node(1)));
    assert!(dials(&discovery.handle(at(60_999), heard(1))).is_empty());
    assert_eq!(dials(&discovery.handle(at(61_000), heard(1))), [node(1)]);
}

#[test]
fn a_flood_of_nodes_neither_grows_the_table_nor_the_number_of_dials() {
    let mut discovery = Discovery::new(1);
    let mut dialled = 0;
    for number in 0..=255 {
        let outputs = discovery.handle(at(u64::from(number)), heard(number));
        for node in dials(&outputs) {
            dialled += 1;
            discovery.handle(at(u64::from(number)), Input::Failed(node));
        }
    }
    assert_eq!(dialled, DIALS_MAX);
    assert_eq!(discovery.candidates.len(), CANDIDATES_MAX);
    assert_eq!(dials(&discovery.handle(at(2_255), Input::Tick)).len(), 1, "every two seconds");
}

fn input() -> impl Strategy<Value = Input> {
    let node = || any::<u8>().prop_map(node);
    prop_oneof![
        1 => any::<bool>().prop_map(Input::Network),
        1 => Just(Input::Question),
        1 => Just(Input::Unheard),
        8 => any::<u8>().prop_map(heard),
        2 => node().prop_map(Input::Connected),
        1 => node().prop_map(Input::Disconnected),
        2 => node().prop_map(Input::Failed),
        1 => node().prop_map(|node| Input::Met(node, Duration::from_secs(60))),
        1 => node().prop_map(Input::Foreign),
        2 => Just(Input::Tick),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_the_bounds_hold(
        inputs in prop::collection::vec((0_u64..2_000, input()), 0..300),
    ) {
        let mut discovery = Discovery::new(9);
        let mut now = 0;
        let mut dialled = 0_usize;
        let mut answered = None;
        for (later, input) in inputs {
            now += later;
            let before = discovery.clone();
            let outputs = discovery.handle(at(now), input);
            for node in dials(&outputs) {
                dialled += 1;
                prop_assert!(!before.is_refused(at(now), &node));
            }
            if outputs.contains(&Output::Answer) {
                prop_assert!(answered.is_none_or(|last| now - last >= 250));
                answered = Some(now);
            }
            prop_assert!(discovery.candidates.len() <= CANDIDATES_MAX);
            prop_assert!(discovery.refused.len() <= REFUSED_MAX);
            prop_assert!(discovery.dialling() <= DIALS_MAX);
            assert_deadline_contract(&discovery);
        }
        let allowed = DIALS_MAX + usize::try_from(now / 2_000).unwrap() + 1;
        prop_assert!(dialled <= allowed, "{dialled} dials in {now} ms");
    }
}
