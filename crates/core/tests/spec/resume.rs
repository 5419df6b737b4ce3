//! Connections that break and come back to their members.

use std::time::Duration;

use herenow_core::{
    ChannelSettings, Claim, Claimed, Input, Overrides, Peer, Place, Session, SessionEffect,
};

use crate::given::{
    Token, asker, at, denied, good, granted, id, limits, ping, policy, policy_but_for, settings,
    subscribe, sync, track, unavailable, user, with_ref,
};
use crate::told::{Talk, line_of};

const GRACE: Duration = Duration::from_millis(3_000);

fn with_grace(grace: Duration) -> ChannelSettings {
    let disconnect_grace_ms = grace.as_millis() as u64;
    ChannelSettings { disconnect_grace_ms, ..settings() }
}

/// Its socket breaks, and members may stay so long.
fn break_off(talk: &mut Talk, ms: u64, grace: Duration) -> Vec<String> {
    talk.policy.replace(policy(with_grace(grace)));
    talk.hear(ms, Input::SocketLost)
}

/// Tracks in lobby, watches garden, and has lost its socket at 10 s.
fn detached() -> Talk {
    let mut talk = Talk::tracking();
    talk.hear(0, subscribe("garden"));
    talk.hear(0, granted("garden"));
    break_off(&mut talk, 10_000, GRACE);
    talk
}

fn claim(letter: char, generation: u32) -> Claim {
    Claim { connection: id(letter), generation, place: Some(Place { peer: Peer(0), slot: 0 }) }
}

/// Good tokens of `name`, for jane's lost connection.
fn resume(name: &str, claim: Claim) -> Token {
    Token { claim: Some(claim), ..good(name) }
}

/// A new socket, connection `n`, that has just opened.
fn unauthenticated() -> Talk {
    Talk::opened('n', 11_000, limits())
}

/// Connection `n` claims the session: what is done about that, and the session.
fn hand_over(talk: &mut Talk) -> (Vec<String>, Option<Box<Session>>) {
    let mut effects = talk.effects(at(11_000), Input::Claimed { by: asker('n') });
    let claimed = match effects.pop() {
        Some(SessionEffect::HandedOver { to, session }) => {
            assert_eq!(to, asker('n'));
            session
        }
        other => panic!("{other:?} in the place of the session"),
    };
    (effects.into_iter().map(line_of).collect(), Some(claimed))
}

fn take_over(talk: &mut Talk, claimed: Option<Box<Session>>) -> Vec<String> {
    let claimed = claimed.map_or(Claimed::Nothing, Claimed::Session);
    talk.hear(11_000, Input::TakenOver { claimed })
}

// P7.8
#[test]
fn with_grace_the_members_of_a_broken_connection_stay_and_what_it_watched_goes() {
    let mut talk = Talk::tracking();
    talk.hear(0, subscribe("garden"));
    talk.hear(0, granted("garden"));
    let effects = break_off(&mut talk, 10_000, GRACE);
    assert_eq!(effects, ["unlisten lobby", "detach lobby", "unlisten garden", "detached"]);
    assert!(!talk.session.has_ended());
    talk.sleeps_until(13_000);
}

// P7.15
#[test]
fn the_members_of_a_page_that_was_left_stay_for_the_grace_and_15_s_at_most() {
    let within = |grace: Duration| {
        let mut talk = Talk::tracking();
        talk.policy.replace(policy(with_grace(grace)));
        let effects = talk.hear(10_000, Input::PageLeft);
        assert_eq!(effects, ["unlisten lobby", "detach lobby", "detached"]);
        talk
    };
    within(GRACE).sleeps_until(13_000);
    let mut talk = within(Duration::from_secs(600));
    talk.sleeps_until(25_000);
    talk.wakes(25_000, &["remove lobby disconnect"]);
    assert!(talk.session.has_ended());
}

// P7.15
#[test]
fn without_grace_a_page_that_was_left_leaves_at_once() {
    let mut talk = Talk::tracking();
    talk.gives(1, Input::PageLeft, &["remove lobby disconnect", "unlisten lobby"]);
    assert!(talk.session.has_ended());
}

// P7.5
#[test]
fn a_pause_of_the_process_extends_the_grace_by_its_length() {
    let mut talk = detached();
    talk.gives(11_000, Input::Paused { pause: Duration::from_secs(90) }, &[]);
    talk.sleeps_until(103_000);
    talk.wakes(102_999, &[]);
    talk.wakes(103_000, &["remove lobby disconnect"]);
}

// P7.8
#[test]
fn when_the_grace_is_over_the_members_leave() {
    let mut talk = detached();
    talk.wakes(12_999, &[]);
    talk.wakes(13_000, &["remove lobby disconnect"]);
    assert!(talk.session.has_ended());
    talk.sleeps_for_ever();
}

// P7.8
#[test]
fn each_channel_has_its_own_grace() {
    let mut talk = Talk::tracking();
    talk.hear(0, track("garden", "{}"));
    talk.hear(0, granted("garden"));
    talk.hear(0, granted("garden"));
    let own = Overrides { disconnect_grace_ms: Some(1_000), ..Overrides::default() };
    let two_seconds = with_grace(Duration::from_secs(2));
    talk.policy.replace(policy_but_for("lobby", own, two_seconds));
    talk.hear(0, Input::SocketLost);
    talk.sleeps_until(1_000);
    talk.wakes(1_000, &["remove lobby disconnect"]);
    talk.sleeps_until(2_000);
    talk.wakes(2_000, &["remove garden disconnect"]);
}

// P7.8, P7.4
#[test]
fn without_grace_or_members_a_broken_connection_ends_at_once() {
    let mut talk = Talk::tracking();
    let effects = break_off(&mut talk, 0, Duration::ZERO);
    assert_eq!(effects, ["remove lobby disconnect", "unlisten lobby"]);
    assert!(talk.session.has_ended());
    let mut talk = Talk::in_lobby();
    assert_eq!(break_off(&mut talk, 0, GRACE), ["unlisten lobby"]);
    assert!(talk.session.has_ended());
    assert_eq!(break_off(&mut talk, 0, GRACE), [""; 0]);
}

// P7.9
#[test]
fn whoever_comes_back_has_its_name_and_its_members_and_nobody_is_told() {
    let mut old = detached();
    assert!(old.session.is_claimed(claim('c', 0), &user("jane")));
    let (_, claimed) = hand_over(&mut old);
    let mut new = unauthenticated();
    new.gives(11_000, with_ref("1", resume("jane", claim('c', 0))), &["take over c 0 for jane"]);
    let effects = take_over(&mut new, claimed);
    assert_eq!(effects, ["admitted", "auth_success jane c ref 1", "may jane subscribe lobby?"]);
    new.gives(11_001, granted("lobby"), &["listen lobby", "may jane track lobby?"]);
    // The place may have been given away: the state is told again, which changes nothing if not.
    new.gives(11_002, granted("lobby"), &[r#"put lobby {"n":0} as jane"#]);
    assert_eq!(new.session.connection(), id('c'));
    new.gives(12_000, track("lobby", "{}"), &["put lobby {} as jane"]);
    new.gives(13_000, Input::Closed, &["remove lobby disconnect", "unlisten lobby"]);
}

// P7.9
#[test]
fn what_is_sent_after_the_claim_waits_for_its_outcome() {
    let mut new = unauthenticated();
    new.hear(11_000, resume("jane", claim('c', 0)));
    new.gives(11_000, ping(), &[]);
    new.gives(11_000, subscribe("lobby"), &[]);
    let effects = take_over(&mut new, None);
    assert_eq!(effects, ["admitted", "auth_success jane n", "pong", "may jane subscribe lobby?"]);
}

// P7.9
#[test]
fn a_claim_of_what_is_no_more_is_a_sign_in_like_any_other() {
    let mut new = unauthenticated();
    new.hear(11_000, resume("jane", claim('c', 0)));
    assert_eq!(take_over(&mut new, None), ["admitted", "auth_success jane n"]);
    assert_eq!(new.session.connection(), id('n'));
    assert_eq!(take_over(&mut new, None), [""; 0], "it is told once");
}

// P7.9
#[test]
fn a_claim_fits_one_connection_of_one_user_and_its_newest_token() {
    let mut talk = detached();
    for (claim, name, fits) in [
        (claim('c', 0), "jane", true),
        (claim('c', 0), "joe", false),
        (claim('c', 1), "jane", false),
        (claim('x', 0), "jane", false),
    ] {
        assert_eq!(talk.session.is_claimed(claim, &user(name)), fits, "{claim:?} of {name}");
    }
    talk.wake(13_000);
    assert!(!talk.session.is_claimed(claim('c', 0), &user("jane")), "the grace is over");
    assert!(!unauthenticated().session.is_claimed(claim('n', 0), &user("jane")), "it is nobody's");
}

// P7.9
#[test]
fn a_token_works_once() {
    let (_, claimed) = hand_over(&mut detached());
    let mut new = unauthenticated();
    new.hear(11_000, resume("jane", claim('c', 0)));
    take_over(&mut new, claimed);
    assert_eq!(new.session.generation(), 1);
    assert!(!new.session.is_claimed(claim('c', 0), &user("jane")));
    assert!(new.session.is_claimed(claim('c', 1), &user("jane")));
}

// P7.10
#[test]
fn a_socket_that_still_stands_gives_its_members_up_and_has_ended() {
    let mut old = Talk::tracking();
    let (effects, claimed) = hand_over(&mut old);
    assert_eq!(effects, ["unlisten lobby"]);
    assert!(old.session.has_ended());
    old.gives(1, Input::Closed, &[]);
    old.sleeps_for_ever();
    assert_eq!(claimed.expect("it was handed over").subscriptions().count(), 1);
}

// P7.9
#[test]
fn whoever_is_somebody_already_keeps_its_own_name() {
    let mut talk = Talk::of_jane();
    talk.gives(1, resume("jane", claim('x', 0)), &["auth_refreshed jane []"]);
    let mut watcher = Talk::new();
    watcher.hear(0, subscribe("lobby"));
    watcher.hear(0, granted("lobby"));
    let effects = ["admitted", "auth_success jane c", "may jane subscribe lobby?"];
    watcher.gives(1, resume("jane", claim('x', 0)), &effects);
}

// P7.9, P4.17
#[test]
fn rights_that_were_lost_meanwhile_are_lost_when_it_comes_back() {
    let (_, claimed) = hand_over(&mut detached());
    let mut new = unauthenticated();
    new.hear(11_000, resume("jane", claim('c', 0)));
    take_over(&mut new, claimed);
    new.gives(
        11_001,
        denied("lobby"),
        &["unsubscribed lobby CHANNEL_ACCESS_DENIED", "remove lobby kicked"],
    );
}

/// A socket stood and gave lobby and garden up to a new one, which has been told nothing yet.
fn taken_over_in_two() -> Talk {
    let mut old = Talk::tracking();
    old.hear(0, subscribe("garden"));
    old.hear(0, granted("garden"));
    let (_, claimed) = hand_over(&mut old);
    let mut new = unauthenticated();
    new.hear(11_000, resume("jane", claim('c', 0)));
    take_over(&mut new, claimed);
    new
}

// P7.9
#[test]
fn nothing_of_a_channel_is_received_before_its_own_rule_has_granted_it() {
    let mut new = taken_over_in_two();
    new.gives(11_001, granted("lobby"), &["listen lobby", "may jane track lobby?"]);
    new.gives(11_002, denied("lobby"), &["remove lobby kicked", "may jane subscribe garden?"]);
    new.gives(11_003, denied("garden"), &["unsubscribed garden CHANNEL_ACCESS_DENIED"]);
    assert_eq!(new.session.subscriptions().count(), 1);
}

// P7.9, P4.17
#[test]
fn while_nobody_can_decide_the_entry_stays_and_nothing_is_received() {
    let mut new = taken_over_in_two();
    new.gives(11_001, unavailable("lobby"), &["may jane track lobby?"]);
    let put = r#"put lobby {"n":0} as jane"#;
    new.gives(11_002, unavailable("lobby"), &[put, "may jane subscribe garden?"]);
    new.gives(11_003, granted("garden"), &["listen garden", "review later"]);
    // Neither a wish for a snapshot nor a state is a way around the rule.
    new.gives(11_004, with_ref("1", sync("lobby")), &["ack ref 1"]);
    new.gives(11_005, track("lobby", "{}"), &["put lobby {} as jane"]);
    new.gives(11_006, with_ref("2", subscribe("lobby")), &["may jane subscribe lobby?"]);
    new.gives(11_007, denied("lobby"), &["error CHANNEL_ACCESS_DENIED lobby ref 2"]);
    new.gives(11_008, with_ref("3", subscribe("lobby")), &["may jane subscribe lobby?"]);
    new.gives(11_009, granted("lobby"), &["subscribed lobby ref 3", "listen lobby"]);
    new.gives(11_010, sync("lobby"), &["request snapshot lobby"]);
}

// P7.9, P4.17
#[test]
fn what_could_not_be_decided_is_received_when_a_later_review_grants_it() {
    let mut new = taken_over_in_two();
    new.hear(11_001, unavailable("lobby"));
    new.hear(11_002, granted("lobby"));
    new.hear(11_003, unavailable("garden"));
    new.gives(12_000, Input::Review, &["may jane subscribe lobby?"]);
    new.gives(12_001, granted("lobby"), &["listen lobby", "may jane track lobby?"]);
    new.gives(12_002, granted("lobby"), &["may jane subscribe garden?"]);
    new.gives(12_003, granted("garden"), &["listen garden"]);
    new.gives(12_004, Input::Review, &["may jane subscribe lobby?"]);
    new.gives(12_005, granted("lobby"), &["may jane track lobby?"]);
}

// P9.3
#[test]
fn the_server_answers_for_what_is_shown_and_not_received() {
    let shown = |session: &Session| -> Vec<String> {
        let shown = session.tracked_without_listening();
        shown.map(|(channel, state)| format!("{} {}", channel.as_str(), state.as_str())).collect()
    };
    assert_eq!(shown(&Talk::tracking().session), [""; 0], "it answers itself");
    assert_eq!(shown(&detached().session), [r#"lobby {"n":0}"#]);
    let mut new = taken_over_in_two();
    assert_eq!(shown(&new.session), [r#"lobby {"n":0}"#]);
    new.hear(11_001, granted("lobby"));
    assert_eq!(shown(&new.session), [""; 0]);
}

// P7.12
#[test]
fn a_session_without_a_socket_keeps_its_user_and_no_claims() {
    let mut talk = Talk::tracking();
    let kept =
        |talk: &Talk| talk.session.auth().map(|auth| (auth.user.id().clone(), auth.claims.len()));
    assert_ne!(kept(&talk), Some((user("jane"), 0)), "there are claims to begin with");
    break_off(&mut talk, 10_000, GRACE);
    assert_eq!(kept(&talk), Some((user("jane"), 0)));
}

// P7.12
#[test]
fn a_session_that_gives_way_takes_its_members_with_it() {
    let mut talk = detached();
    talk.gives(10_001, Input::Closed, &["remove lobby disconnect"]);
    assert!(talk.session.has_ended());
}

// P7.11
#[test]
fn a_lease_that_ends_and_a_farewell_do_not_wait() {
    for (input, reason) in [(Input::LeaseEnded, "timeout"), (Input::Closed, "disconnect")] {
        let mut talk = Talk::tracking();
        let effects = talk.hear(1, input);
        assert_eq!(effects[0], format!("remove lobby {reason}"));
        assert!(talk.session.has_ended());
    }
}

// P7.9
#[test]
fn a_decision_that_was_not_asked_for_does_not_end_a_claim() {
    let mut new = unauthenticated();
    new.hear(11_000, resume("jane", claim('c', 0)));
    new.gives(11_001, granted("lobby"), &[]);
    assert_eq!(take_over(&mut new, None), ["admitted", "auth_success jane n"]);
}
