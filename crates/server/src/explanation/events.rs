//! What the loops remember, event by event.

use herenow_hub::{
    Cause, MemberFacts, Past, PastMember, PresentConnection, PresentMember, RefusedRequest,
    RefusedToken, SocketEnd, UserEvent,
};

use super::moments::{Moments, length};
use super::{Asked, Event, Kind, words};

/// What has happened.
pub(super) fn past(asked: &Asked, moments: Moments) -> Vec<Event> {
    let mut events: Vec<Event> =
        asked.member.left.iter().map(|past| left(asked, past, moments)).collect();
    for facts in &asked.loops {
        events.extend(facts.events.iter().map(|past| of_user(asked, past, moments)));
        events.extend(facts.refused_tokens.iter().map(|past| token(asked, past, moments)));
    }
    events
}

/// How it is now.
pub(super) fn present(asked: &Asked, moments: Moments) -> Vec<Event> {
    let mut events = Vec::new();
    for member in &asked.member.members {
        let mut connections = asked.loops.iter().flat_map(|facts| &facts.connections);
        let own = connections.rfind(|one| one.connection == member.connection);
        events.push(shown(asked, (member, own), moments));
    }
    let is_told = |id| asked.member.members.iter().any(|member| member.connection == id);
    for connection in asked.loops.iter().flat_map(|facts| &facts.connections) {
        if !is_told(connection.connection) {
            events.push(connected(asked, connection, moments));
        }
    }
    events.extend(kept_out(asked, moments));
    let left_out = asked.left_out();
    if let (Some(last), true) = (events.last_mut(), left_out > 0) {
        last.sentence += &format!(" There are {left_out} more members and connections.");
    }
    events
}

fn event(kind: Kind, at: herenow_core::Instant, sentence: String) -> Event {
    Event {
        kind,
        at,
        sentence,
        connection: None,
        life: None,
        close_code: None,
        error: None,
        pattern: None,
        count: 1,
    }
}

fn left(asked: &Asked, Past { at, what }: &Past<PastMember>, moments: Moments) -> Event {
    let (user, channel) = (asked.user.as_str(), &asked.channel);
    let cause = words::cause(what, moments);
    let sentence = format!("{user} left {channel} at {}: {cause}.", moments.clock(*at));
    let (kind, close_code) = kind_of(&what.cause);
    Event {
        connection: Some(what.connection),
        life: what.life.clone(),
        close_code,
        pattern: what.pattern.clone(),
        ..event(kind, *at, sentence)
    }
}

fn kind_of(cause: &Cause) -> (Kind, Option<u16>) {
    let kind = match cause {
        Cause::Untracked => Kind::Untracked,
        Cause::Unsubscribed => Kind::Unsubscribed,
        Cause::Left => Kind::Left,
        Cause::SocketEnded(end) => return (Kind::ConnectionClosed, code_of(*end)),
        Cause::LeaseEnded { .. } => Kind::LeaseEnded,
        Cause::ChannelLeaseEnded { .. } => Kind::ChannelLeaseEnded,
        Cause::GraceEnded(lost) => return (Kind::GraceEnded, code_of(lost.end)),
        Cause::GaveWay(lost, _) => return (Kind::GaveWay, code_of(lost.end)),
        Cause::Evicted => Kind::Evicted,
        Cause::Kicked { .. } => Kind::Kicked,
        Cause::Disconnected { .. } => Kind::Disconnected,
        Cause::RightLost(_) => Kind::RightLost,
        Cause::KeyRemoved(_) => Kind::KeyRemoved,
        Cause::KeyEnded(_) => Kind::KeyEnded,
        Cause::KeyKicked(_) => Kind::KeyKicked,
    };
    (kind, None)
}

fn code_of(end: SocketEnd) -> Option<u16> {
    match end {
        SocketEnd::ClientClosed(code) | SocketEnd::ServerClosed(code) => Some(code),
        SocketEnd::TakenOver => Some(1001),
        SocketEnd::Finished | SocketEnd::Broken => None,
    }
}

fn of_user(asked: &Asked, Past { at, what }: &Past<UserEvent>, moments: Moments) -> Event {
    let user = asked.user.as_str();
    let when = moments.clock(*at);
    match what {
        UserEvent::Ended { connection, end, life } => {
            let (how, life_text) = (words::end(*end), words::life(life, moments));
            let sentence = format!(
                "A connection of {user} ended at {when}: {how}. It had been {life_text} ({}).",
                words::last_heard(life, moments)
            );
            Event {
                connection: Some(*connection),
                life: Some(life.clone()),
                close_code: code_of(*end),
                ..event(Kind::ConnectionEnded, *at, sentence)
            }
        }
        UserEvent::Refused(refused) => {
            let (kind, sentence) = refusal(asked, refused, (&when, moments));
            Event {
                connection: Some(refused.connection),
                error: Some(refused.code),
                pattern: refused.pattern.clone(),
                count: refused.count,
                ..event(kind, *at, sentence)
            }
        }
    }
}

fn refusal(
    asked: &Asked,
    refused: &RefusedRequest,
    (when, moments): (&str, Moments),
) -> (Kind, String) {
    let (user, channel) = (asked.user.as_str(), &asked.channel);
    let why = words::refusal(refused, user);
    let (code, times) = (refused.code, words::times(refused.count, refused.first, moments));
    let place = if refused.channel.is_some() { format!(" in {channel}") } else { String::new() };
    if refused.is_end_of_subscription {
        let sentence = format!(
            "The subscription of {user} to {channel} was ended at {when} with {code}{times}: {why}."
        );
        return (Kind::SubscriptionEnded, sentence);
    }
    let sentence =
        format!("A request of {user}{place} was refused at {when} with {code}{times}: {why}.");
    (Kind::RequestRefused, sentence)
}

fn token(asked: &Asked, Past { at, what }: &Past<RefusedToken>, moments: Moments) -> Event {
    let sentence = format!(
        "A token that names {} was refused at {}{}: {}.",
        asked.user.as_str(),
        moments.clock(*at),
        words::times(what.count, what.first, moments),
        words::token(what)
    );
    Event { count: what.count, ..event(Kind::TokenRefused, *at, sentence) }
}

fn shown(
    asked: &Asked,
    (member, own): (&PresentMember, Option<&PresentConnection>),
    moments: Moments,
) -> Event {
    let (user, channel) = (asked.user.as_str(), &asked.channel);
    let joined = member.joined.instant();
    let since = moments.clock(joined);
    let connection = Some(member.connection);
    let pattern = asked.member.pattern.clone();
    if let Some((key, until)) = &member.key {
        let (key, until) = (key.as_str(), moments.clock(*until));
        let sentence = format!(
            "A backend shows {user} in {channel} since {since} under the key {key}, until {until} \
             unless it is put again."
        );
        return Event { connection, pattern, ..event(Kind::KeyedMember, joined, sentence) };
    }
    let granted = granted(asked);
    let begin = format!("A connection of {user} is a member of {channel} since {since}");
    let Some(own) = own else {
        let sentence = format!("{begin}; {granted}.");
        return Event { connection, pattern, ..event(Kind::Member, joined, sentence) };
    };
    let life_text = words::life(&own.life, moments);
    let life = Some(own.life.clone());
    let (kind, tail) = match own.lost {
        None => (Kind::Member, words::last_heard(&own.life, moments)),
        Some(lost) => (
            Kind::AwaitsReturn,
            format!(
                "at {} {}, and the member stays for disconnectGraceMs",
                moments.clock(lost.at),
                words::end(lost.end)
            ),
        ),
    };
    let sentence = format!("{begin}: {life_text}; {granted}; {tail}.");
    let close_code = own.lost.and_then(|lost| code_of(lost.end));
    Event { connection, life, pattern, close_code, ..event(kind, joined, sentence) }
}

/// What lets a user track.
fn granted(asked: &Asked) -> String {
    match &asked.rule {
        Some((right, pattern)) => {
            format!("{} granted it", words::rule(*right, Some(pattern)))
        }
        None => "no rule limits who may track there".into(),
    }
}

fn connected(asked: &Asked, one: &PresentConnection, moments: Moments) -> Event {
    let (user, channel) = (asked.user.as_str(), &asked.channel);
    let does = match (one.is_tracking, one.is_subscriber) {
        (true, _) => format!(
            "has tracked in {channel} but is not in the list: it was refused, or the list is being \
             rebuilt"
        ),
        (false, true) => format!("subscribes to {channel} and tracks no state there"),
        (false, false) => format!("does not subscribe to {channel}"),
    };
    let life_text = words::life(&one.life, moments);
    let last = words::last_heard(&one.life, moments);
    let sentence = format!("A connection of {user} {does}: {life_text}; {last}.");
    let life = Some(one.life.clone());
    let connection = Some(one.connection);
    Event { connection, life, ..event(Kind::Connected, one.life.opened, sentence) }
}

fn kept_out(asked: &Asked, moments: Moments) -> Vec<Event> {
    let Asked { channel, user, member, loops, .. } = asked;
    let user = user.as_str();
    let MemberFacts { kept_out, .. } = member;
    let of_channel = kept_out.map(|time| {
        let sentence =
            format!("A backend keeps {user} out of {channel} for {} more.", length(time));
        event(Kind::KeptOutOfChannel, moments.now, sentence)
    });
    let of_server = loops.iter().filter_map(|facts| facts.kept_out).max().map(|time| {
        let sentence =
            format!("A backend keeps {user} out of the server for {} more.", length(time));
        event(Kind::KeptOutOfServer, moments.now, sentence)
    });
    of_channel.into_iter().chain(of_server).collect()
}
