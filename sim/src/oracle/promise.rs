//! What each oracle promises, in one sentence: the one that its file begins with.

macro_rules! sources {
    ($($file:ident),* $(,)?) => {
        &[$((stringify!($file), include_str!(concat!(stringify!($file), ".rs")))),*]
    };
}

/// Every oracle's file, by its name: the slug with `_` for `-`.
const SOURCES: &[(&str, &str)] = sources![
    answer_matches_offer,
    at_most_once,
    backoff_as_specified,
    best_path_chosen,
    call_end_agreed,
    everyone_connected,
    ghosts_purged,
    legal_signaling_state,
    mapped_address_true,
    no_cross_room_leak,
    no_delivery_after_leave,
    no_echo_to_sender,
    no_stale_generation,
    nobody_left_ringing,
    nothing_leaked,
    one_leave_notice,
    packet_conservation,
    payload_byte_exact,
    per_pair_fifo,
    role_exclusive,
    roster_matches_model,
    rosters_converge,
    sender_identity_stamped,
    signaling_kept,
    single_glare_winner,
    states_as_specified,
    unique_live_peer_id,
];

/// The promise that an oracle keeps watch over, in one sentence, by the oracle's slug.
pub fn promise(slug: &str) -> Option<&'static str> {
    let (_, source) = SOURCES.iter().find(|(file, _)| file.replace('_', "-") == slug)?;
    source.strip_prefix("//! **")?.split_once("**").map(|(sentence, _)| sentence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::Oracle;
    use crate::oracle::signaling_kept::SignalingKept;

    #[test]
    fn every_oracle_says_what_it_promises() {
        let live: Box<dyn Oracle> = Box::new(SignalingKept::default());
        for oracle in crate::oracle::bench().into_iter().chain([live]) {
            // What a scenario expects is its own promise.
            if oracle.slug() != "expected-probes" {
                let sentence = promise(oracle.slug());
                assert!(sentence.is_some_and(|text| text.ends_with('.')), "{}: {sentence:?}", oracle.slug());
            }
        }
        assert_eq!(promise("unheard-of"), None);
    }
}
