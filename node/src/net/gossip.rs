//! How adverts are gossiped: gossipsub with small, signed, judged messages.

use std::time::Duration;

use libp2p::{
    gossipsub::{
        self, Config, ConfigBuilder, IdentTopic, MaxCountSubscriptionFilter, Message,
        MessageAuthenticity, MessageId, PeerScoreParams, PeerScoreThresholds, TopicScoreParams,
        ValidationMode, WhitelistSubscriptionFilter,
    },
    identity::Keypair,
};
use protocol::limits::GOSSIP_BYTES_MAX;

/// What gossipsub's own envelope adds to a message, in bytes, at most: signature, key, topic, sequence number.
const ENVELOPE_BYTES: usize = 512;
/// Topics that a peer may subscribe to.
const TOPICS_MAX: usize = 8;

/// gossipsub that knows only our topics.
pub(super) type Behaviour = gossipsub::Behaviour<
    gossipsub::IdentityTransform,
    MaxCountSubscriptionFilter<WhitelistSubscriptionFilter>,
>;

/// gossipsub, subscribed to one topic.
#[expect(clippy::expect_used, reason = "made of constants; a test makes one")]
pub(super) fn behaviour(key: &Keypair, topic: &IdentTopic) -> Behaviour {
    let filter = MaxCountSubscriptionFilter {
        filter: WhitelistSubscriptionFilter([topic.hash()].into_iter().collect()),
        max_subscribed_topics: TOPICS_MAX,
        max_subscriptions_per_request: TOPICS_MAX,
    };
    let authenticity = MessageAuthenticity::Signed(key.clone());
    let mut gossip = Behaviour::new_with_subscription_filter(authenticity, config(topic), filter)
        .expect("messages are signed and their signatures are wanted");
    gossip.with_peer_score(score(topic), thresholds()).expect("scores are in their ranges");
    gossip.subscribe(topic).expect("the filter lets our own topic through");
    gossip
}

#[expect(clippy::expect_used, reason = "made of constants; a test makes one")]
fn config(topic: &IdentTopic) -> Config {
    let transmit_max = GOSSIP_BYTES_MAX.saturating_add(ENVELOPE_BYTES);
    ConfigBuilder::default()
        .validation_mode(ValidationMode::Strict)
        .validate_messages()
        .message_id_fn(message_id)
        .mesh_n(6)
        .mesh_n_low(4)
        .mesh_n_high(12)
        .heartbeat_interval(Duration::from_secs(1))
        .duplicate_cache_time(Duration::from_secs(120))
        .max_transmit_size(transmit_max)
        .max_transmit_size_for_topic(transmit_max, topic.hash())
        .max_control_message_size(16 * 1024)
        .connection_handler_queue_len(256)
        .max_publish_messages(64)
        .max_ihave_messages_heartbeat(10)
        .flood_publish(true)
        .build()
        .expect("limits are in their ranges")
}

/// Names a message by its content, so that the same advert is forwarded once, whoever wraps it.
fn message_id(message: &Message) -> MessageId {
    let mut hasher = blake3::Hasher::new();
    hasher.update(message.topic.as_str().as_bytes());
    hasher.update(&message.data);
    let mut id = [0; 20];
    hasher.finalize_xof().fill(&mut id);
    MessageId::new(&id)
}

/// Scores for honest peers that publish rarely: the crate's defaults punish them (P3, P3b). Peers are members,
/// approved one by one, and many of them may share an address: P6 is off.
fn score(topic: &IdentTopic) -> PeerScoreParams {
    let of_topic = TopicScoreParams {
        time_in_mesh_weight: 0.01,
        time_in_mesh_quantum: Duration::from_secs(1),
        time_in_mesh_cap: 600.0,
        first_message_deliveries_weight: 0.5,
        first_message_deliveries_decay: 0.97,
        first_message_deliveries_cap: 50.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -20.0,
        invalid_message_deliveries_decay: 0.9,
        ..TopicScoreParams::default()
    };
    PeerScoreParams {
        topics: [(topic.hash(), of_topic)].into_iter().collect(),
        decay_interval: Duration::from_secs(10),
        decay_to_zero: 0.01,
        retain_score: Duration::from_secs(3_600),
        // `core::reputation`, and a bonus for coordinators: told by the event loop.
        app_specific_weight: 1.0,
        ip_colocation_factor_weight: 0.0,
        behaviour_penalty_weight: -10.0,
        behaviour_penalty_threshold: 6.0,
        behaviour_penalty_decay: 0.9,
        slow_peer_weight: -0.5,
        slow_peer_threshold: 5.0,
        ..PeerScoreParams::default()
    }
}

const fn thresholds() -> PeerScoreThresholds {
    PeerScoreThresholds {
        gossip_threshold: -40.0,
        publish_threshold: -80.0,
        graylist_threshold: -160.0,
        accept_px_threshold: 1e9,
        opportunistic_graft_threshold: 5.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_one_that_gossipsub_takes() {
        let topic = IdentTopic::new("/weft/0123456789abcdef/cap/1");
        let gossip = behaviour(&Keypair::generate_ed25519(), &topic);
        assert_eq!(gossip.topics().collect::<Vec<_>>(), [&topic.hash()]);
    }

    #[test]
    fn the_same_advert_has_the_same_name_whoever_wraps_it() {
        let message = |source, sequence_number| Message {
            source,
            data: b"advert".to_vec(),
            sequence_number,
            topic: IdentTopic::new("t").hash(),
        };
        let other = Keypair::generate_ed25519().public().to_peer_id();
        assert_eq!(message_id(&message(None, None)), message_id(&message(Some(other), Some(7))));
    }
}
