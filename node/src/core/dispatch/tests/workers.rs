//! Stories of workers: what they hand back, withhold and miss.

use super::*;

/// A heartbeat that gives leases back.
pub(super) fn returning(node: NodeId, leases: &[LeaseId]) -> Input {
    let beat = Heartbeat { returned: leases.to_vec(), ..beat(1, &[]) };
    Input::Heartbeat(node, Box::new(beat), None)
}

/// A heartbeat of a worker that has nothing for others, because it is on battery.
fn paused(node: NodeId) -> Input {
    let reasons = vec![Reason::of(Cause::OnBattery)];
    let availability =
        Availability { others: Openness::Closed, reasons, ..Availability::open(1, 1 << 30) };
    Input::Heartbeat(node, Box::new(Heartbeat { availability, ..beat(1, &[]) }), None)
}

#[test]
fn what_is_handed_back_goes_to_another_at_once_and_does_not_count_as_tried() {
    let mut dispatch = leading(&[W1]);
    let out = dispatch.handle(at(10), Input::JobOpened(Box::new(open(1))));
    let (lease, ..) = offers(&out)[0].clone();
    dispatch.handle(at(20), Input::Heartbeat(W1, Box::new(beat(1, &[lease])), None));
    dispatch.handle(at(30), Input::Member(member(W2)));
    dispatch.handle(at(30), Input::Advert(Box::new(advert(W2))));
    dispatch.handle(at(30), Input::Connected(W2));
    dispatch.handle(at(30), Input::Heartbeat(W2, Box::new(beat(1, &[])), None));
    let mut back = Heartbeat { returned: vec![lease], ..beat(1, &[]) };
    back.availability.others = Openness::Closed;
    let out = dispatch.handle(at(40), Input::Heartbeat(W1, Box::new(back), None));
    match &out[..] {
        [Output::Lost(W1, lost), Output::Offer { worker, items, .. }] => {
            assert!(lost.is_empty());
            assert_eq!((*worker, items[0].attempt), (W2, 1));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(dispatch.job_info(&JOB).unwrap().retried, 0);
}

#[test]
fn a_worker_that_gives_everything_back_does_not_keep_a_task_for_ever() {
    let mut dispatch = leading(&[W1]);
    let mut out = dispatch.handle(at(10), Input::JobOpened(Box::new(open(1))));
    for turn in 0..100 {
        let Some((lease, ..)) = offers(&out).first().cloned() else { break };
        out = dispatch.handle(at(20 + turn), returning(W1, &[lease]));
    }
    assert!(out.iter().any(|output| matches!(output, Output::GiveUp { .. })), "{out:?}");
}

#[test]
fn only_the_holder_can_hand_a_lease_back() {
    let mut dispatch = leading(&[W1, W2]);
    let out = dispatch.handle(at(10), Input::JobOpened(Box::new(open(1))));
    let (lease, holder, _) = offers(&out)[0].clone();
    let other = if holder == W1 { W2 } else { W1 };
    let out = dispatch.handle(at(20), returning(other, &[lease]));
    assert!(offers(&out).is_empty() && dispatch.holds(&lease, &holder));
}

#[test]
fn a_job_that_waits_for_a_paused_node_says_so_by_name() {
    let mut dispatch = leading(&[]);
    dispatch.handle(at(1), Input::Member(member(W1)));
    dispatch.handle(at(1), Input::Advert(Box::new(advert(W1))));
    dispatch.handle(at(2), paused(W1));
    let out = dispatch.handle(at(10), Input::JobOpened(Box::new(open(1))));
    assert!(offers(&out).is_empty());
    let explained = dispatch.explain(at(20), &JOB).unwrap();
    assert_eq!(explained.obstacles.len(), 1);
    assert_eq!(explained.obstacles[0].code, "on_battery");
    assert_eq!(explained.obstacles[0].detail, "node-1 is paused (on battery) until plugged in");
    assert!(!explained.obstacles[0].permanent);
}

#[test]
fn a_paused_machine_still_does_its_owners_work() {
    let mut dispatch = leading(&[]);
    dispatch.handle(at(1), Input::Member(Member { account: AccountId([9; 32]), ..member(W1) }));
    dispatch.handle(at(1), Input::Advert(Box::new(advert(W1))));
    dispatch.handle(at(2), paused(W1));
    let out = dispatch.handle(at(10), Input::JobOpened(Box::new(open(1))));
    assert_eq!(offers(&out).len(), 1);
}

#[test]
fn a_worker_becomes_suspect_then_offline_and_is_well_again_when_it_is_heard() {
    let mut dispatch = leading(&[W1]);
    let info = |dispatch: &Dispatch, second: u64| {
        let info = dispatch.node_info(at(second * 1_000), &W1).unwrap();
        (info.liveness, info.healthy)
    };
    assert_eq!(info(&dispatch, 14), (Liveness::Healthy, true));
    assert_eq!(info(&dispatch, 16), (Liveness::Suspect, true));
    assert_eq!(info(&dispatch, 31), (Liveness::Offline, true));
    assert_eq!(info(&dispatch, 61), (Liveness::Offline, false));
    let advice = dispatch.node_info(at(3_700_000), &W1).unwrap().advice;
    assert_eq!(advice, Some(Advice::Decommission));
    dispatch.handle(at(3_700_000), Input::Heartbeat(W1, Box::new(beat(1, &[])), None));
    assert_eq!(info(&dispatch, 3_700), (Liveness::Healthy, true));
}

#[test]
fn a_worker_that_came_back_gets_nothing_before_it_says_what_it_holds() {
    let mut dispatch = leading(&[W1]);
    dispatch.handle(at(100), Input::Disconnected(W1));
    dispatch.handle(at(200), Input::Connected(W1));
    assert_eq!(dispatch.node_info(at(300), &W1).unwrap().condition, Condition::Syncing);
    let out = dispatch.handle(at(300), Input::JobOpened(Box::new(open(1))));
    assert!(offers(&out).is_empty());
    let out = dispatch.handle(at(400), Input::Heartbeat(W1, Box::new(beat(1, &[])), None));
    assert_eq!(offers(&out).len(), 1);
}

#[test]
fn an_overloaded_worker_is_degraded() {
    let mut dispatch = leading(&[W1]);
    let mut overloaded = beat(1, &[]);
    overloaded.availability.overloaded = true;
    dispatch.handle(at(100), Input::Heartbeat(W1, Box::new(overloaded), None));
    let info = dispatch.node_info(at(100), &W1).unwrap();
    assert_eq!((info.condition, info.healthy), (Condition::Degraded, false));
    let out = dispatch.handle(at(300), Input::JobOpened(Box::new(open(1))));
    assert!(offers(&out).is_empty());
}

#[test]
fn a_worker_that_comes_and_goes_is_flapping_until_it_has_stayed() {
    let mut dispatch = leading(&[W1]);
    let mut now = 1_000;
    for _ in 0..2 {
        dispatch.handle(at(now), Input::Disconnected(W1));
        dispatch.handle(at(now + 500), Input::Connected(W1));
        dispatch.handle(at(now + 501), Input::Heartbeat(W1, Box::new(beat(1, &[])), None));
        now += 1_000;
    }
    let info = dispatch.node_info(at(now), &W1).unwrap();
    assert_eq!((info.flapping, info.advice), (true, Some(Advice::Reboot)));
    for _ in 0..9 {
        now += 5_000;
        dispatch.handle(at(now), Input::Heartbeat(W1, Box::new(beat(1, &[])), None));
    }
    assert!(!dispatch.node_info(at(now), &W1).unwrap().flapping);
}
