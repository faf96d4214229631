#![expect(clippy::arithmetic_side_effects, reason = "small numbers of a test")]

use proptest::prelude::*;
use protocol::{machine::assert_deadline_contract, wire::genesis::Joining};

use super::*;

fn at(ms: u64) -> Timestamp {
    Timestamp::after_origin(Duration::from_millis(ms))
}

const fn node(number: u8) -> NodeId {
    NodeId([number; 32])
}

const fn mesh(number: u8) -> MeshId {
    MeshId([number; 32])
}

const fn facts(number: u8, members: u32, pristine: bool, founded: u64) -> Facts {
    Facts { mesh: mesh(number), members, pristine, founded: UnixMillis(founded) }
}

fn hello(facts: Facts, name: &str) -> MeshHello {
    MeshHello {
        mesh: facts.mesh,
        name: name.to_owned(),
        epoch: 0,
        joining: Joining::Approval,
        founded: facts.founded,
        members: facts.members,
        pristine: facts.pristine,
    }
}

fn met(number: u8, facts: Facts) -> Input {
    Input::Met(node(number), hello(facts, "home"))
}

#[test]
fn more_members_win_then_content_then_age_then_the_id() {
    let (small, large) = (facts(1, 1, true, 1), facts(2, 2, true, 9));
    assert_eq!(meet(&small, &large), Meeting::Ask);
    assert_eq!(meet(&large, &small), Meeting::Asked);
    let (empty, full) = (facts(1, 1, true, 1), facts(2, 1, false, 9));
    assert_eq!(meet(&empty, &full), Meeting::Ask);
    let (young, old) = (facts(1, 1, true, 9), facts(2, 1, true, 1));
    assert_eq!(meet(&young, &old), Meeting::Ask);
    let (low, high) = (facts(1, 1, true, 1), facts(2, 1, true, 1));
    assert_eq!(meet(&high, &low), Meeting::Ask);
    assert_eq!(meet(&low, &low), Meeting::Same);
}

#[test]
fn a_mesh_that_holds_something_never_asks() {
    let (small, large) = (facts(1, 1, false, 1), facts(2, 9, false, 1));
    assert_eq!(meet(&small, &large), Meeting::Apart);
    assert_eq!(meet(&large, &small), Meeting::Apart);
    let empty_but_larger = facts(3, 2, true, 1);
    assert_eq!(meet(&small, &empty_but_larger), Meeting::Apart);
    assert_eq!(meet(&empty_but_larger, &small), Meeting::Apart);
}

fn pristine() -> Seeker {
    Seeker::new(Mine::Mesh(facts(9, 1, true, 100)))
}

#[test]
fn a_pristine_mesh_asks_the_one_it_meets_again_and_again_until_it_is_decided() {
    let mut seeker = pristine();
    let out = seeker.handle(at(0), met(1, facts(1, 1, false, 200)));
    assert_eq!(out, [Output::Ask(node(1), mesh(1))]);
    assert!(seeker.handle(at(1), met(1, facts(1, 1, false, 200))).is_empty(), "one at a time");
    assert!(seeker.handle(at(10), Input::Wait(node(1), Duration::from_secs(1))).is_empty());
    assert_eq!(seeker.deadline(), Some(at(1_010)));
    assert_eq!(seeker.handle(at(1_010), Input::Tick), [Output::Ask(node(1), mesh(1))]);
}

#[test]
fn it_no_longer_asks_once_it_holds_something() {
    let mut seeker = pristine();
    seeker.handle(at(0), met(1, facts(1, 1, false, 200)));
    seeker.handle(at(10), Input::Wait(node(1), Duration::from_secs(1)));
    seeker.handle(at(20), Input::Mine(Mine::Mesh(facts(9, 1, false, 100))));
    assert_eq!(seeker.deadline(), None);
    assert!(seeker.handle(at(5_000), Input::Tick).is_empty());
}

#[test]
fn whoever_refuses_is_left_in_peace_and_the_next_best_is_asked() {
    let mut seeker = pristine();
    seeker.handle(at(0), met(1, facts(1, 5, false, 1)));
    seeker.handle(at(1), met(2, facts(2, 2, false, 1)));
    let next = seeker.handle(at(2), Input::Refused(node(1)));
    assert_eq!(next, [Output::Ask(node(2), mesh(2))]);
    seeker.handle(at(3), Input::Refused(node(2)));
    assert_eq!(seeker.deadline(), None);
    let forgiven = seeker.handle(at(10_000), Input::Forgive);
    assert_eq!(forgiven, [Output::Ask(node(1), mesh(1))]);
}

#[test]
fn a_node_that_does_not_answer_gives_way_to_another_of_its_mesh() {
    let mut seeker = pristine();
    seeker.handle(at(0), met(1, facts(1, 2, false, 1)));
    seeker.handle(at(1), met(2, facts(1, 2, false, 1)));
    let next = seeker.handle(at(2), Input::Failed(node(1)));
    assert_eq!(next, [Output::Ask(node(2), mesh(1))]);
    assert!(seeker.handle(at(30_001), Input::Tick).is_empty());
    let next = seeker.handle(at(30_002), Input::Tick);
    assert_eq!(next, [Output::Ask(node(1), mesh(1))], "silence counts as failure");
}

#[test]
fn who_waits_for_a_name_asks_no_other() {
    let mut seeker = Seeker::new(Mine::Wants(Wanted::Name("lab".to_owned())));
    assert!(seeker.handle(at(0), met(1, facts(1, 9, false, 1))).is_empty());
    let lab = hello(facts(2, 1, true, 1), "lab");
    let out = seeker.handle(at(1), Input::Met(node(2), lab));
    assert_eq!(out, [Output::Ask(node(2), mesh(2))]);
}

#[test]
fn a_node_that_joined_forgets_that_it_met_its_mesh() {
    let mut seeker = pristine();
    seeker.handle(at(0), met(1, facts(1, 1, false, 200)));
    seeker.handle(at(10), Input::Mine(Mine::Mesh(facts(1, 2, false, 200))));
    seeker.handle(at(20), met(1, facts(1, 2, false, 200)));
    assert_eq!(seeker.best(), None);
    assert!(seeker.nodes(&mesh(1)).is_empty());
}

fn any_facts() -> impl Strategy<Value = Facts> {
    (0_u8..4, 0_u32..4, any::<bool>(), 0_u64..3)
        .prop_map(|(number, members, pristine, founded)| facts(number, members, pristine, founded))
}

fn input() -> impl Strategy<Value = Input> {
    let node = || (0_u8..100).prop_map(node);
    let wait = || (0_u64..20_000).prop_map(Duration::from_millis);
    prop_oneof![
        1 => any_facts().prop_map(|facts| Input::Mine(Mine::Mesh(facts))),
        1 => Just(Input::Mine(Mine::Wants(Wanted::Name("home".to_owned())))),
        6 => (0_u8..100, any_facts()).prop_map(|(number, facts)| met(number, facts)),
        3 => (node(), wait()).prop_map(|(node, after)| Input::Wait(node, after)),
        2 => node().prop_map(Input::Refused),
        2 => node().prop_map(Input::Failed),
        1 => Just(Input::Forgive),
        3 => Just(Input::Tick),
    ]
}

proptest! {
    #[test]
    fn both_sides_come_to_the_same(mine in any_facts(), theirs in any_facts()) {
        prop_assume!(mine.mesh != theirs.mesh);
        let there = match meet(&mine, &theirs) {
            Meeting::Ask => Meeting::Asked,
            Meeting::Asked => Meeting::Ask,
            other @ (Meeting::Same | Meeting::Apart) => other,
        };
        prop_assert_eq!(meet(&theirs, &mine), there);
        prop_assert!(meet(&mine, &theirs) != Meeting::Ask || mine.pristine);
    }

    #[test]
    fn whatever_happens_one_question_is_under_way_and_the_bounds_hold(
        inputs in prop::collection::vec((0_u64..5_000, input()), 0..200),
    ) {
        let mut seeker = pristine();
        let mut now = 0;
        for (later, input) in inputs {
            now += later;
            let busy = seeker.under_way;
            for Output::Ask(node, mesh) in seeker.handle(at(now), input) {
                prop_assert!(!seeker.refused.contains_key(&mesh));
                prop_assert!(seeker.met.contains_key(&node));
                prop_assert!(busy.is_none_or(|(before, until)| before != node || until <= at(now))
                    || seeker.under_way.is_some());
            }
            prop_assert!(seeker.met.len() <= MET_MAX);
            prop_assert!(seeker.refused.len() <= REFUSALS_MAX);
            assert_deadline_contract(&seeker);
        }
    }
}
