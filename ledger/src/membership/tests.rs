//! Stories and properties of the membership.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::unwrap_in_result,
    reason = "the world of a test fails as tests do"
)]

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A group that does what it is told, and the nodes around it.
#[derive(Debug, Clone)]
struct World {
    now: Timestamp,
    steward: Steward,
    own: u64,
    next_id: u64,
    voters: BTreeSet<u64>,
    members: BTreeMap<u64, MemberView>,
    candidates: Vec<Candidate>,
    /// Nodes that do not answer.
    down: BTreeSet<NodeId>,
    changes: Vec<Change>,
}

fn node(number: u8) -> NodeId {
    NodeId([number; 32])
}

fn candidate(number: u8) -> Candidate {
    Candidate {
        node: node(number),
        incarnation: [number; 16],
        owner: AccountId([number; 32]),
        up: 60 * 60 * SECOND,
        direct: true,
        mobile: false,
        disk_free: u64::MAX,
        sync: None,
        clock_offset: None,
        asked: false,
        leaving: false,
    }
}

impl World {
    /// A group of node 1, with `others` beside it that want in.
    fn with(others: impl IntoIterator<Item = u8>) -> Self {
        let mut this = Self {
            now: Timestamp::after_origin(Duration::from_secs(1_000)),
            steward: Steward::new(Policy::LAN),
            own: 1,
            next_id: 2,
            voters: BTreeSet::from([1]),
            members: BTreeMap::new(),
            candidates: vec![candidate(1)],
            down: BTreeSet::new(),
            changes: Vec::new(),
        };
        this.admit(1, node(1), [1; 16]);
        this.candidates.extend(others.into_iter().map(candidate));
        this
    }

    fn admit(&mut self, raft_id: u64, node: NodeId, incarnation: [u8; 16]) {
        let member = MemberView { raft_id, node, incarnation, lag: None, silent: None };
        self.members.insert(raft_id, member);
    }

    fn candidate(&mut self, number: u8) -> &mut Candidate {
        let node = node(number);
        self.candidates.iter_mut().find(|candidate| candidate.node == node).unwrap()
    }

    fn answers(&self, member: &MemberView) -> bool {
        let known = self.candidates.iter().find(|candidate| candidate.node == member.node);
        !self.down.contains(&member.node)
            && known.is_some_and(|candidate| candidate.incarnation == member.incarnation)
    }

    fn view(&self) -> GroupView {
        let mut members: Vec<_> = self.members.values().copied().collect();
        for member in &mut members {
            if self.answers(member) {
                (member.lag, member.silent) = (Some(0), Some(Duration::ZERO));
            }
        }
        GroupView { own: self.own, committed: true, voters: vec![self.voters.clone()], members }
    }

    /// A second passes; what is decided is done.
    fn step(&mut self) -> Option<Change> {
        self.now = self.now.saturating_add(SECOND);
        let view = self.view();
        let change = self.steward.decide(self.now, &view, &self.candidates)?;
        self.changes.push(change.clone());
        match change.clone() {
            Change::Admit(node, incarnation) => {
                let id = self.next_id;
                self.next_id += 1;
                self.admit(id, node, incarnation);
            }
            Change::Voters(voters) => {
                assert!(voters.iter().all(|id| self.members.contains_key(id)));
                self.voters = voters;
                if !self.voters.contains(&self.own) {
                    let answers = |id: &&u64| self.answers(&self.members[*id]);
                    self.lead(*self.voters.iter().find(answers).unwrap());
                }
            }
            Change::HandOver(to) => {
                assert!(self.voters.contains(&to));
                self.lead(to);
            }
            Change::Remove(id) => {
                assert!(!self.voters.contains(&id));
                self.members.remove(&id).unwrap();
            }
        }
        Some(change)
    }

    fn lead(&mut self, id: u64) {
        self.own = id;
        self.steward = Steward { wanted: self.steward.wanted, ..Steward::new(Policy::LAN) };
    }

    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.step();
        }
    }

    fn voting_nodes(&self) -> Vec<NodeId> {
        self.voters.iter().map(|id| self.members[id].node).collect()
    }
}

#[test]
fn one_node_alone_stays_alone() {
    let mut world = World::with([]);
    world.pass(100);
    assert_eq!(world.changes, []);
}

#[test]
fn two_nodes_are_a_voter_and_a_learner() {
    let mut world = World::with([2]);
    world.pass(1_000);
    assert_eq!(world.changes, [Change::Admit(node(2), [2; 16])]);
    assert_eq!(world.voters.len(), 1);
}

#[test]
fn three_nodes_become_three_voters_in_one_change() {
    let mut world = World::with([2, 3]);
    world.pass(30);
    assert_eq!(
        world.changes,
        [
            Change::Admit(node(2), [2; 16]),
            Change::Admit(node(3), [3; 16]),
            Change::Voters(BTreeSet::from([1, 2, 3])),
        ]
    );
}

#[test]
fn a_learner_waits_until_it_has_been_caught_up_for_a_while_unless_it_was_asked_for() {
    let mut world = World::with([2, 3]);
    world.pass(4);
    assert_eq!(world.voters.len(), 1);
    let mut world = World::with([2, 3]);
    (world.candidate(2).asked, world.candidate(3).asked) = (true, true);
    world.pass(3);
    assert_eq!(world.voters.len(), 3);
}

#[test]
fn five_nodes_are_three_voters_unless_five_are_asked_for_and_seven_are_five() {
    let mut world = World::with(2..=5);
    world.pass(60);
    assert_eq!((world.voters.len(), world.members.len()), (3, 5));
    world.steward.want(Some(5));
    world.pass(60);
    assert_eq!(world.voters.len(), 5);
    world.steward.want(Some(3));
    world.pass(60);
    assert_eq!(world.voters, BTreeSet::from([1, 2, 3]));

    let mut world = World::with(2..=9);
    world.pass(120);
    assert_eq!((world.voters.len(), world.members.len()), (5, 9));
}

#[test]
fn a_dead_voter_is_replaced_in_one_change_when_there_is_somebody_else() {
    let mut world = World::with(2..=4);
    world.pass(60);
    assert_eq!(world.voters, BTreeSet::from([1, 2, 3]));
    world.down.insert(node(2));
    world.pass(299);
    assert_eq!(world.voters, BTreeSet::from([1, 2, 3]));
    world.pass(5);
    assert_eq!(world.voters, BTreeSet::from([1, 3, 4]));
}

#[test]
fn a_dead_voter_that_nobody_replaces_stays() {
    let mut world = World::with(2..=3);
    world.pass(60);
    world.down.insert(node(3));
    world.changes.clear();
    world.pass(10_000);
    assert_eq!(world.changes, []);
    assert_eq!(world.voters.len(), 3);
}

#[test]
fn five_of_which_two_are_lost_become_three() {
    let mut world = World::with(2..=5);
    world.steward.want(Some(5));
    world.pass(60);
    world.steward.want(None);
    world.down.extend([node(2), node(3)]);
    world.pass(600);
    assert_eq!(world.voters, BTreeSet::from([1, 4, 5]));
}

#[test]
fn a_wiped_voter_comes_back_under_a_new_number_and_the_old_one_goes() {
    let mut world = World::with(2..=3);
    world.pass(60);
    world.candidate(3).incarnation = [33; 16];
    world.changes.clear();
    world.pass(60);
    assert_eq!(
        world.changes,
        [
            Change::Admit(node(3), [33; 16]),
            Change::Voters(BTreeSet::from([1, 2, 4])),
            Change::Remove(3),
        ]
    );
}

#[test]
fn a_leader_that_leaves_hands_over_first_and_is_then_removed() {
    let mut world = World::with(2..=4);
    world.pass(60);
    world.candidate(1).leaving = true;
    world.changes.clear();
    world.pass(30);
    assert_eq!(
        world.changes,
        [Change::HandOver(2), Change::Voters(BTreeSet::from([2, 3, 4])), Change::Remove(1),]
    );
}

#[test]
fn when_one_of_three_leaves_and_nobody_replaces_it_one_votes_and_one_learns() {
    let mut world = World::with(2..=3);
    world.pass(60);
    world.candidate(2).leaving = true;
    world.pass(30);
    assert_eq!(world.voters, BTreeSet::from([1]));
    assert_eq!(world.members.keys().copied().collect::<Vec<_>>(), [1, 3]);
}

#[test]
fn the_only_voter_leaves_only_when_somebody_has_caught_up() {
    let mut world = World::with([2]);
    world.candidate(1).leaving = true;
    world.down.insert(node(2));
    world.pass(600);
    assert_eq!(world.voters, BTreeSet::from([1]));
    world.down.clear();
    world.pass(30);
    assert_eq!(world.voting_nodes(), [node(2)]);
}

#[test]
fn a_change_that_was_begun_is_completed() {
    let mut world = World::with(2..=3);
    world.pass(2);
    let (old, coming) = (BTreeSet::from([1]), BTreeSet::from([1, 2, 3]));
    let joint = GroupView { voters: vec![old, coming.clone()], ..world.view() };
    let decided = world.steward.decide(world.now, &joint, &world.candidates);
    assert_eq!(decided, Some(Change::Voters(coming)));
    let uncommitted = GroupView { committed: false, ..joint };
    assert_eq!(world.steward.decide(world.now, &uncommitted, &world.candidates), None);
}

#[test]
fn a_leader_that_does_not_vote_hands_over() {
    let mut world = World::with(2..=4);
    world.pass(60);
    world.own = 4;
    assert_eq!(world.step(), Some(Change::HandOver(1)));
}

#[test]
fn another_owners_machine_is_preferred() {
    let mut world = World::with(2..=4);
    world.candidate(2).owner = AccountId([1; 32]);
    world.candidate(3).owner = AccountId([1; 32]);
    world.candidate(4).owner = AccountId([4; 32]);
    // All three are ready before any of them may vote.
    world.steward.want(Some(1));
    world.pass(30);
    world.steward.want(None);
    world.pass(30);
    assert!(world.voting_nodes().contains(&node(4)));
}

#[test]
fn who_does_not_fit_stays_outside_and_is_told_why() {
    let policy = Policy::LAN;
    let good = candidate(2);
    let reasons = [
        (Candidate { direct: false, ..good }, Ineligible::NotDirect),
        (Candidate { mobile: true, ..good }, Ineligible::Mobile),
        (Candidate { disk_free: 1, ..good }, Ineligible::DiskFull),
        (Candidate { sync: Some(SECOND), ..good }, Ineligible::DiskSlow),
        (Candidate { clock_offset: Some(3 * SECOND), ..good }, Ineligible::ClockOff),
        (Candidate { up: SECOND, ..good }, Ineligible::JustStarted),
        (Candidate { leaving: true, ..good }, Ineligible::Leaving),
    ];
    assert_eq!(good.eligible(&policy), Ok(()));
    for (bad, reason) in reasons {
        assert_eq!(bad.eligible(&policy), Err(reason));
        let mut world = World::with([]);
        world.candidates.push(bad);
        world.pass(20);
        assert_eq!(world.changes, []);
    }
}

/// What happens to the nodes around.
#[derive(Debug, Clone)]
enum Event {
    Down(u8),
    Up(u8),
    Wiped(u8),
    Leaves(u8),
    Returns(u8),
    Want(Option<usize>),
    Time(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let number = 1_u8..=8;
    prop_oneof![
        number.clone().prop_map(Event::Down),
        number.clone().prop_map(Event::Up),
        number.clone().prop_map(Event::Wiped),
        number.clone().prop_map(Event::Leaves),
        number.prop_map(Event::Returns),
        proptest::option::of(0_usize..8).prop_map(Event::Want),
        (1_u64..700).prop_map(Event::Time),
    ]
}

impl World {
    fn happen(&mut self, event: &Event) {
        let leader = self.members[&self.own].node;
        match event {
            // Its leader is there, or nobody decides.
            Event::Down(number) if node(*number) != leader => {
                self.down.insert(node(*number));
            }
            Event::Up(number) => {
                self.down.remove(&node(*number));
            }
            Event::Wiped(number) if node(*number) != leader => {
                let candidate = self.candidate(*number);
                candidate.incarnation[0] = candidate.incarnation[0].wrapping_add(16);
            }
            Event::Leaves(number) => self.candidate(*number).leaving = true,
            Event::Returns(number) => self.candidate(*number).leaving = false,
            Event::Want(voters) => self.steward.want(*voters),
            Event::Time(seconds) => {
                for _ in 0..*seconds {
                    self.checked_step();
                }
            }
            Event::Down(_) | Event::Wiped(_) => {}
        }
    }

    fn checked_step(&mut self) {
        let before = self.clone();
        let Some(change) = self.step() else { return };
        assert!(matches!(self.voters.len(), 1 | 3 | 5), "{} voters", self.voters.len());
        assert!(self.members.len() - self.voters.len() <= LEARNERS_MAX + VOTERS_MAX);
        if let Change::Voters(now) = change {
            for new in now.difference(&before.voters) {
                assert!(self.answers(&self.members[new]), "a voter that does not answer");
            }
            let leaves = before.candidates.iter().any(|candidate| candidate.leaving);
            if before.voters.len() == 3 && before.steward.wanted.is_none() && !leaves {
                assert!(now.len() >= 3, "the group was made smaller");
            }
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_the_voters_are_odd_and_answer(
        events in proptest::collection::vec(event(), 1..40),
    ) {
        let mut world = World::with(2..=8);
        for event in &events {
            world.happen(event);
        }
        // When all is well again it comes to rest, with as many voters as there should be.
        world.down.clear();
        for candidate in &mut world.candidates {
            candidate.leaving = false;
        }
        world.steward.want(Some(5));
        world.pass(2_000);
        prop_assert_eq!(world.voters.len(), 5);
        world.changes.clear();
        world.pass(1_000);
        prop_assert_eq!(&world.changes, &[]);
        let answering = world.members.values().all(|member| world.answers(member));
        prop_assert!(answering, "a member that is gone was kept");
    }
}
