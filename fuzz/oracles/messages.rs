//! Messages: any text is one message or one refusal, and what was read says the same when it is
//! read again in the form in which it is sent on.

use herenow_wire::{ChannelName, ClientMessage, DefaultChannel, Incoming, Refusal, State, decode};

/// The first line is the query of the upgrade, the rest is the text of a frame.
pub fn check(input: &[u8]) {
    let Ok(input) = std::str::from_utf8(input) else { return };
    let (query, text) = input.split_once('\n').unwrap_or(("", input));
    let default = DefaultChannel::from_query(Some(query));
    match read(text, &default) {
        Err(refusal) => assert!(!refusal.message.is_empty(), "a refusal says why"),
        Ok(Incoming { message, reference }) => {
            if let Some(reference) = reference {
                let ping = format!(r#"{{"type":"ping","ref":{}}}"#, reference.as_json());
                let again = read(&ping, &default).map(|incoming| incoming.reference);
                assert_eq!(again, Ok(Some(reference)), "a ref is given back as it was read");
            }
            says_the_same_again(message);
        }
    }
}

fn says_the_same_again(message: ClientMessage) {
    match message {
        ClientMessage::Track { channel, state, .. } => {
            name_is_stable(&channel);
            let text = state.as_str();
            assert!(text.len() <= State::MAX_BYTES, "no state is longer than may be");
            assert_eq!(State::parse(text), Ok(state.clone()), "the compact form is its own");
            is_json(text);
        }
        ClientMessage::Subscribe { channel, .. }
        | ClientMessage::Unsubscribe { channel }
        | ClientMessage::Untrack { channel }
        | ClientMessage::Sync { channel } => name_is_stable(&channel),
        ClientMessage::SubscribeAll { channels, .. } => channels.iter().for_each(name_is_stable),
        ClientMessage::Auth { .. } | ClientMessage::Ping => {}
    }
}

fn name_is_stable(channel: &ChannelName) {
    assert_eq!(ChannelName::parse(&channel.to_string()).as_ref(), Ok(channel));
}

/// Another parser agrees that it is an object. Half of a surrogate pair it refuses, and that may
/// stand in a state.
fn is_json(text: &str) {
    if !text.contains("\\ud") {
        let value: serde_json::Value = serde_json::from_str(text).expect("a state is JSON");
        assert!(value.is_object(), "a state is an object");
    }
}

fn read(text: &str, default: &DefaultChannel) -> Result<Incoming, Refusal> {
    let mut out = Vec::new();
    decode(text, default, &mut out);
    let [one] = out.try_into().expect("a frame holds one message or one refusal");
    one
}
