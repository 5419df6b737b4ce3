//! Sentences. Plain words for a person who operates a server, each with its subject.

use std::time::Duration;

use herenow_core::{Heard, Right};
use herenow_hub::{
    Cause, GaveWayTo, Life, Lost, PastMember, RefusedRequest, RefusedToken, RuleOutcome, Said,
    SocketEnd,
};
use herenow_wire::ErrorCode;

use super::moments::{Moments, length};
use super::{Asked, Instant, address_text};

/// Whether the user is in the list.
pub(super) fn state(asked: &Asked) -> String {
    let Asked { channel, user, member, .. } = asked;
    let user = user.as_str();
    match member.count {
        0 => format!("{user} is not in {channel}."),
        1 => format!("{user} is in {channel}."),
        count => format!("{user} is in {channel} with {count} members."),
    }
}

/// There is nothing to tell.
pub(super) fn nothing_known(asked: &Asked, moments: Moments, complete_since: Instant) -> String {
    let user = asked.user.as_str();
    let since = moments.clock(complete_since);
    let late: u64 = asked.loops.iter().map(|facts| facts.never_authenticated).sum();
    let late = match late {
        0 => String::new(),
        late => format!(
            " Since its start the server has closed connections that showed no valid token in time \
             (4001): {late}. They name no user."
        ),
    };
    format!(
        "Since {since} no connection of {user} has been here, and no token that names {user} has \
         been refused: the client has not reached this server, or its connection was refused \
         before it could show a token (the origin of its page, too many unauthenticated \
         connections of its address, a full server; see the metrics).{late}"
    )
}

/// Where a socket came from, and what it has shown.
pub(super) fn life(life: &Life, moments: Moments) -> String {
    let opened = moments.clock(life.opened);
    let agent = life.agent.as_ref().map(|agent| format!(" by \u{201c}{agent}\u{201d}"));
    let agent = agent.unwrap_or_default();
    let key = life.key.as_ref().map(|key| format!(" with a token of {key}")).unwrap_or_default();
    let signed_in =
        life.signed_in.map(|at| format!(", authenticated at {}{key}", moments.clock(at)));
    let resumed =
        if life.has_resumed { ", and resumed a session whose connection broke" } else { "" };
    let address = address_text(life.address);
    format!("opened at {opened} from {address}{agent}{}{resumed}", signed_in.unwrap_or_default())
}

/// What was heard last of a socket.
pub(super) fn last_heard(life: &Life, moments: Moments) -> String {
    let what = match life.heard {
        Heard::Opening => return "nothing was heard since it opened".into(),
        Heard::Message => "a message",
        Heard::Ping => "a ping",
        Heard::Pong => "a pong",
        Heard::Close => "a close frame",
    };
    format!("last {what} at {}", moments.clock(life.heard_at))
}

/// How a socket has ended.
pub(super) fn end(end: SocketEnd) -> String {
    match end {
        SocketEnd::ClientClosed(SocketEnd::NO_CODE) => {
            "the client closed the connection without a code".into()
        }
        SocketEnd::ClientClosed(code @ (1001 | 4010)) => format!(
            "the client closed the connection with {code}, as a page does that is left, loaded again \
             or closed"
        ),
        SocketEnd::ClientClosed(code) => format!("the client closed the connection with {code}"),
        SocketEnd::Finished => "the client's socket ended without a close frame".into(),
        SocketEnd::Broken => "the connection was reset or broke".into(),
        SocketEnd::TakenOver => "another connection took its session over".into(),
        SocketEnd::ServerClosed(code) => {
            format!("the server closed the connection with {code}: {}", meaning(code))
        }
    }
}

fn meaning(code: u16) -> &'static str {
    match code {
        1001 => "it could not verify the token at that time, or was about to end",
        1002 => "a frame broke RFC 6455",
        1003 => "a binary frame was received",
        1007 => "a text was not UTF-8",
        1009 => "a message was larger than maxFrameBytes",
        1012 => "it restarted",
        1013 => "it was overloaded, or too many messages waited for the connection",
        4001 => "no valid token was received in time",
        4002 => "the token had expired",
        4003 => "it has no key to verify tokens with",
        4005 => "a backend disconnected the user",
        4008 => "nothing was heard for the whole lease",
        4010 => "the client's page went away",
        4029 => "the client sent far more messages than allowed",
        _ => "see docs/protocol.md",
    }
}

/// Why a member has left.
pub(super) fn cause(past: &PastMember, moments: Moments) -> String {
    let last = past.life.as_ref().map(|life| format!(" ({})", last_heard(life, moments)));
    let last = last.unwrap_or_default();
    let lost = |lost: &Lost| format!("at {} {}", moments.clock(lost.at), end(lost.end));
    let kept_out = |time: &Duration| match time.is_zero() {
        true => String::new(),
        false => format!(", and keeps the user out for {}", length(*time)),
    };
    match &past.cause {
        Cause::Untracked => "the client sent presence_leave".into(),
        Cause::Unsubscribed => "the client unsubscribed".into(),
        Cause::Left => "the client sent presence_leave or unsubscribed".into(),
        Cause::SocketEnded(how) => end(*how),
        Cause::LeaseEnded { silent } => {
            format!("nothing was heard for {}{last}, so the lease ended", length(*silent))
        }
        Cause::ChannelLeaseEnded { silent } => format!(
            "nothing was heard for {}{last}, so the lease of the channel ended",
            length(*silent)
        ),
        Cause::GraceEnded(how @ Lost { end: SocketEnd::ClientClosed(_), .. }) => {
            let longest = length(herenow_core::PAGE_GRACE);
            format!(
                "{}, and the client did not reconnect within disconnectGraceMs, which for a page is \
                 at most {longest}",
                lost(how)
            )
        }
        Cause::GraceEnded(how) => {
            format!("{}, and the client did not reconnect within disconnectGraceMs", lost(how))
        }
        Cause::GaveWay(how, to) => format!("{}, and the session {}", lost(how), gave_way(*to)),
        Cause::Evicted => {
            "the channel was full, and a member that had lost its connection gave way to a new one"
                .into()
        }
        Cause::Kicked { time } => {
            format!("a backend kicked it from the channel{}", kept_out(time))
        }
        Cause::Disconnected { time } => {
            format!("a backend disconnected the user{}", kept_out(time))
        }
        Cause::RightLost(Some(outcome)) => {
            format!("when the rules were called again, {}", said(*outcome, past.pattern.as_deref()))
        }
        Cause::RightLost(None) => "the rules no longer granted it".into(),
        Cause::KeyRemoved(key) => {
            format!("a backend removed the member that it had added under the key {}", key.as_str())
        }
        Cause::KeyEnded(key) => {
            let key = key.as_str();
            format!("no backend renewed the member under the key {key} within its ttlMs")
        }
        Cause::KeyKicked(key) => {
            format!("a backend kicked the member that it had added under the key {}", key.as_str())
        }
    }
}

fn gave_way(to: GaveWayTo) -> &'static str {
    match to {
        GaveWayTo::Connection => {
            "gave way to a new connection, since the server holds maxConnections"
        }
        GaveWayTo::SessionOfUser => {
            "gave way to a later one of the same user, who has maxDetachedPerUser of them"
        }
        GaveWayTo::Claimant => "ended, since the connection that resumed it was gone by then",
    }
}

/// What an access rule has said.
pub(super) fn said(outcome: RuleOutcome, pattern: Option<&str>) -> String {
    let rule = rule(outcome.rule, pattern);
    match outcome.said {
        Said::True => format!("{rule} returned true"),
        Said::False => format!("{rule} returned false"),
        Said::Failed => format!("{rule} failed, which denies; the log says how"),
        Said::Nothing => format!("{rule} could not be run; the client may try again"),
    }
}

pub(super) fn rule(rule: Right, pattern: Option<&str>) -> String {
    let name = match rule {
        Right::Subscribe => "subscribe",
        Right::Track => "track",
    };
    match pattern {
        Some(pattern) => format!("the {name} rule of `{pattern}`"),
        None => format!("the {name} rule"),
    }
}

/// Why a request was refused, or a subscription ended.
pub(super) fn refusal(refused: &RefusedRequest, user: &str) -> String {
    if let Some(outcome) = refused.rule {
        let said = said(outcome, refused.pattern.as_deref());
        let may_subscribe = outcome.rule == Right::Track && !refused.is_end_of_subscription;
        return match may_subscribe {
            true => format!("{user} may subscribe, but {said}"),
            false => said,
        };
    }
    let why = match refused.code {
        ErrorCode::ChannelAccessDenied => "the rules do not allow it",
        ErrorCode::NotAuthenticated => "the connection had not authenticated",
        ErrorCode::NotSubscribed => "the connection did not subscribe to the channel",
        ErrorCode::MemberLimit => "the channel has as many members as allowed (maxMembers)",
        ErrorCode::ChannelLimit => {
            "the connection uses as many channels as allowed (maxChannelsPerConnection)"
        }
        ErrorCode::RateLimited => "the connection sent more than maxMessagesPerSecond",
        ErrorCode::Kicked => "a backend keeps the user or the connection out",
        ErrorCode::AuthRefreshFailed => "a later token of the connection was not accepted",
        ErrorCode::AuthUserMismatch => "a later token was another user's",
        ErrorCode::AuthExpired => "the token had expired and was not refreshed in time",
        ErrorCode::StateTooLarge => "the state has more than 1024 bytes",
        ErrorCode::InvalidState => "the state is not a JSON object",
        ErrorCode::InvalidChannel => "the message names no valid channel",
        ErrorCode::InvalidJson | ErrorCode::InvalidMessage | ErrorCode::UnknownType => {
            "the message is not one of the protocol"
        }
        ErrorCode::ServerError => "the server could not decide at that time",
        ErrorCode::AuthFailed => "the token was not accepted",
        ErrorCode::AuthTimeout => "no valid token was received in time",
    };
    why.into()
}

/// Why a token was refused.
pub(super) fn token(refused: &RefusedToken) -> String {
    let expired = refused.expired_for_ms.map(Duration::from_millis);
    let why = match expired {
        Some(before) => format!("expired {} before", length(before)),
        None => refused.reason.trim_end_matches('.').to_owned(),
    };
    let key = refused.key.as_ref().map(|key| format!(", key {key}")).unwrap_or_default();
    format!(
        "{why} (from {}{key}). A refused token proves nothing of its user",
        address_text(refused.address)
    )
}

/// What has happened more than once.
pub(super) fn times(count: u32, first: Instant, moments: Moments) -> String {
    match count {
        1 => String::new(),
        count => format!(" ({count} times since {})", moments.clock(first)),
    }
}

#[cfg(test)]
mod tests {
    use herenow_hub::{Address, MemberKey};
    use herenow_wire::{ConnectionId, UserId};

    use super::*;

    fn at(s: u64) -> Instant {
        Instant::from_millis(s * 1000)
    }

    fn left_by(cause: Cause) -> PastMember {
        let life = Life {
            opened: at(1),
            address: Address::Unix,
            agent: None,
            signed_in: None,
            key: None,
            has_resumed: false,
            heard_at: at(40),
            heard: Heard::Pong,
        };
        PastMember {
            user: UserId::parse("jane").expect("a valid id"),
            connection: ConnectionId::from_bytes([1; 16]),
            joined: None,
            cause,
            pattern: Some("presence:game-*".into()),
            life: Some(life),
        }
    }

    #[test]
    fn each_cause_of_a_leave_has_its_sentence() {
        let seconds = Duration::from_secs;
        let lost = |end| Lost { at: at(100), end };
        let key = || MemberKey::parse("bot-7").expect("a valid key");
        let rule = |said| RuleOutcome { rule: Right::Track, said };
        for (cause, sentence) in [
            (Cause::Untracked, "the client sent presence_leave"),
            (Cause::Unsubscribed, "the client unsubscribed"),
            (Cause::Left, "the client sent presence_leave or unsubscribed"),
            (
                Cause::SocketEnded(SocketEnd::ServerClosed(1013)),
                "the server closed the connection with 1013: it was overloaded, or too many messages \
                 waited for the connection",
            ),
            (
                Cause::SocketEnded(SocketEnd::ServerClosed(4002)),
                "the server closed the connection with 4002: the token had expired",
            ),
            (Cause::SocketEnded(SocketEnd::TakenOver), "another connection took its session over"),
            (
                Cause::LeaseEnded { silent: seconds(60) },
                "nothing was heard for 60.0 s (last a pong at 00:00:40.000Z), so the lease ended",
            ),
            (
                Cause::ChannelLeaseEnded { silent: seconds(600) },
                "nothing was heard for 10 min (last a pong at 00:00:40.000Z), so the lease of the \
                 channel ended",
            ),
            (
                Cause::GraceEnded(lost(SocketEnd::Broken)),
                "at 00:01:40.000Z the connection was reset or broke, and the client did not reconnect \
                 within disconnectGraceMs",
            ),
            (
                Cause::GraceEnded(lost(SocketEnd::ClientClosed(4010))),
                "at 00:01:40.000Z the client closed the connection with 4010, as a page does that is \
                 left, loaded again or closed, and the client did not reconnect within \
                 disconnectGraceMs, which for a page is at most 15.0 s",
            ),
            (
                Cause::GaveWay(lost(SocketEnd::Finished), GaveWayTo::Connection),
                "at 00:01:40.000Z the client's socket ended without a close frame, and the session \
                 gave way to a new connection, since the server holds maxConnections",
            ),
            (
                Cause::GaveWay(lost(SocketEnd::Broken), GaveWayTo::SessionOfUser),
                "at 00:01:40.000Z the connection was reset or broke, and the session gave way to a \
                 later one of the same user, who has maxDetachedPerUser of them",
            ),
            (
                Cause::GaveWay(lost(SocketEnd::Broken), GaveWayTo::Claimant),
                "at 00:01:40.000Z the connection was reset or broke, and the session ended, since the \
                 connection that resumed it was gone by then",
            ),
            (
                Cause::Evicted,
                "the channel was full, and a member that had lost its connection gave way to a new one",
            ),
            (
                Cause::Kicked { time: seconds(60) },
                "a backend kicked it from the channel, and keeps the user out for 60.0 s",
            ),
            (
                Cause::Disconnected { time: seconds(7200) },
                "a backend disconnected the user, and keeps the user out for 2 h",
            ),
            (
                Cause::RightLost(Some(rule(Said::False))),
                "when the rules were called again, the track rule of `presence:game-*` returned false",
            ),
            (
                Cause::RightLost(Some(rule(Said::Failed))),
                "when the rules were called again, the track rule of `presence:game-*` failed, which \
                 denies; the log says how",
            ),
            (Cause::RightLost(None), "the rules no longer granted it"),
            (
                Cause::KeyRemoved(key()),
                "a backend removed the member that it had added under the key bot-7",
            ),
            (
                Cause::KeyEnded(key()),
                "no backend renewed the member under the key bot-7 within its ttlMs",
            ),
            (
                Cause::KeyKicked(key()),
                "a backend kicked the member that it had added under the key bot-7",
            ),
        ] {
            let moments = Moments { started_at_unix_ms: 0, now: at(200) };
            assert_eq!(super::cause(&left_by(cause), moments), sentence);
        }
    }

    #[test]
    fn each_close_code_that_the_protocol_names_is_explained() {
        let page = include_str!("../../../../docs/protocol.md");
        let codes = page.lines().filter_map(|line| {
            let code = line.strip_prefix("| ")?.split_once(' ')?.0.parse::<u16>().ok()?;
            (1000..5000).contains(&code).then_some(code)
        });
        let codes: Vec<u16> = codes.filter(|code| *code != 1000).collect();
        assert!(codes.len() > 10, "{codes:?}");
        for code in codes {
            assert_ne!(meaning(code), "see docs/protocol.md", "{code}");
        }
    }
}
