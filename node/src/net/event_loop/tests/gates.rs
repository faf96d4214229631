//! Who is kept out, and what it takes.

use super::*;
use crate::core::reputation::{BAN_AT, Fault};

fn hello() -> HelloResponse {
    HelloResponse { version: 1, mesh: None }
}

/// Answers hellos and enrolments for as long as it is polled.
async fn answer(inbound: &mut mpsc::Receiver<Inbound>) {
    while let Some(event) = inbound.recv().await {
        if let Inbound::Hello { respond, .. } = event {
            respond.respond(hello());
        } else if let Inbound::Enroll { respond, .. } = event {
            respond.respond(EnrollResponse::Refused(RejectReason::Blacklisted));
        }
    }
}

/// Reports a fault so many times.
fn report(host: &NetHandle, node: NodeId, fault: Fault, times: usize) {
    for _ in 0..times {
        host.report(node, fault);
    }
}

/// Waits until a host has a peer, or has it no more.
async fn has(host: &NetHandle, node: NodeId, wanted: bool) {
    let here = async || host.peers().await.iter().any(|peer| peer.node == node);
    until(async || (here().await == wanted).then_some(())).await;
}

/// Whether a node gets an answer from a host to which it connects anew.
async fn is_answered(node: &Node, address: &Multiaddr) -> bool {
    match node.handle.connect(address.clone()).await {
        Ok(host) => node.handle.hello(host).await.is_ok(),
        Err(_) => false,
    }
}

#[tokio::test]
async fn a_stranger_that_asks_too_often_is_kept_out_and_nobody_else_is() {
    let (host, flooder, honest) = (node(1).await, node(2).await, node(3).await);
    let Node { id: to, handle, address, mut inbound, .. } = host;
    flooder.handle.connect(address.clone()).await.unwrap();
    honest.handle.connect(address.clone()).await.unwrap();
    let attack = async {
        until(async || {
            drop(flooder.handle.hello(to).await);
            let peers = handle.peers().await;
            (!peers.iter().any(|peer| peer.node == flooder.id)).then_some(())
        })
        .await;
        assert!(!is_answered(&flooder, &address).await);
        assert_eq!(honest.handle.hello(to).await, Ok(hello()));
    };
    tokio::select! {
        () = attack => {}
        () = answer(&mut inbound) => panic!("the network ended"),
    }
}

#[tokio::test]
async fn a_member_that_misbehaves_is_cut_off_until_it_is_approved_again() {
    let (one, other) = members().await;
    report(&one.handle, other.id, Fault::Malformed, 5);
    has(&one.handle, other.id, false).await;
    assert_eq!(one.bans.borrow().len(), 1);
    other.handle.connect(one.address.clone()).await.ok();
    has(&one.handle, other.id, false).await;

    one.handle.set_roll(Roll::default()).await;
    one.handle.set_roll(Roll::of([other.id].into())).await;
    assert!(one.bans.borrow().is_empty());
    until(async || {
        drop(other.handle.connect(one.address.clone()).await);
        one.handle.peers().await.iter().any(|peer| peer.node == other.id).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_coordinator_is_never_cut_off() {
    let (one, other) = members().await;
    let roll = Roll { coordinators: [other.id].into(), ..Roll::of([other.id].into()) };
    one.handle.set_roll(roll).await;
    report(&one.handle, other.id, Fault::BadSignature, 6);
    let peers = one.handle.peers().await;
    let score = peers.iter().find(|peer| peer.node == other.id).map(|peer| peer.score);
    assert_eq!(score, Some(BAN_AT - 10));
    assert!(one.bans.borrow().is_empty());
}

#[tokio::test]
async fn a_blocked_member_is_cut_off_at_once_and_hears_why_from_a_coordinator_only() {
    for coordinates in [false, true] {
        let (one, other) = members().await;
        let Node { id, handle, address, mut inbound, .. } = one;
        let blocked = Roll {
            blocked: [other.id].into(),
            coordinators: if coordinates { [id].into() } else { BTreeSet::new() },
            ..Roll::default()
        };
        let attack = async {
            handle.set_roll(blocked).await;
            has(&handle, other.id, false).await;
            let asked = until(async || {
                drop(other.handle.connect(address.clone()).await);
                match other.handle.enroll(id, enroll_request(2)).await {
                    Ok(EnrollResponse::Refused(reason)) => Some(Some(reason)),
                    Ok(answer) => panic!("{answer:?}"),
                    // Not let in: whatever the other side of it looks like.
                    Err(_) if !coordinates => Some(None),
                    Err(_) => None,
                }
            });
            assert_eq!(asked.await, coordinates.then_some(RejectReason::Blacklisted));
            has(&handle, other.id, false).await;
        };
        tokio::select! {
            () = attack => {}
            () = answer(&mut inbound) => panic!("the network ended"),
        }
    }
}

#[tokio::test]
async fn strangers_cannot_take_the_place_of_a_member() {
    let (host, member) = (node(1).await, node(2).await);
    host.join(&[&member]).await;
    let mut strangers = Vec::new();
    for seed in 10..40 {
        let stranger = node(seed).await;
        drop(stranger.handle.connect(host.address.clone()).await);
        strangers.push(stranger);
    }
    member.connect(&host).await;
    has(&host.handle, member.id, true).await;
    let peers = host.handle.peers().await;
    assert!(peers.len() <= 16 + 1, "{} peers", peers.len());
}

#[tokio::test]
async fn a_member_that_asks_in_a_loop_is_slowed_down_and_never_refused() {
    let (one, mut other) = members().await;
    let to = other.id;
    let answer = ClientResponse::rejected(RejectReason::NotLeader, "ask another");
    let asking = async {
        for _ in 0..1_200 {
            let asked = one.handle.client(to, ClientRequest::Query(Query::Mesh)).await;
            assert_eq!(asked, Ok(answer.clone()));
        }
    };
    let answering = async {
        loop {
            let respond = other.next(only!(Inbound::Client { respond, .. } => respond)).await;
            respond.respond(answer.clone());
        }
    };
    tokio::select! {
        () = asking => {}
        () = answering => {}
    }
}
