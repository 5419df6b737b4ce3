//! What clients say, as frames.

use arbitrary::Arbitrary;

use super::name;

/// What a client says.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Says {
    Auth(u8),
    Subscribe(u8),
    Unsubscribe(u8),
    Track(u8, u8),
    Untrack(u8),
    Sync(u8),
    Ping,
    /// What makes no sense.
    Nonsense,
    /// A ping of the protocol below.
    Control,
    /// A part of a message.
    Fragment,
    Close,
}

/// A subscription to a channel with this bit is one to its count.
const COUNTING: u8 = 0x80;

/// A client's frame. The mask is all zeros: what it hides is no matter here.
pub fn frame(says: Says) -> Vec<u8> {
    let (first, payload) = match says {
        Says::Auth(user) => {
            let token = user % 3;
            let resume = format!("{} {}", user / 3, user % 2);
            (0x81, format!(r#"{{"type":"auth","token":"u{token}","resume":"{resume}"}}"#))
        }
        Says::Subscribe(channel) if channel & COUNTING > 0 => {
            let channel = name(channel);
            (0x81, format!(r#"{{"type":"subscribe","channel":"{channel}","mode":"count"}}"#))
        }
        Says::Subscribe(channel) => (0x81, of("subscribe", channel)),
        Says::Unsubscribe(channel) => (0x81, of("unsubscribe", channel)),
        Says::Track(channel, n) => {
            let (channel, padding) = (name(channel), "x".repeat(usize::from(n)));
            let expire = if n % 4 == 0 { r#","expire":{"n":1500}"# } else { "" };
            let json = format!(
                r#"{{"type":"presence_join","channel":"{channel}","state":{{"n":"{padding}"}}{expire}}}"#
            );
            (0x81, json)
        }
        Says::Untrack(channel) => (0x81, of("presence_leave", channel)),
        Says::Sync(channel) => (0x81, of("presence_sync", channel)),
        Says::Ping => (0x81, r#"{"type":"ping","ref":"a"}"#.to_owned()),
        Says::Nonsense => (0x81, "{}".to_owned()),
        Says::Control => (0x89, "x".repeat(100)),
        Says::Fragment => (0x01, "{".repeat(50)),
        Says::Close => (0x88, String::new()),
    };
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..126 => frame.push(0x80 | short as u8),
        long => {
            frame.push(0x80 | 126);
            frame.extend((long as u16).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload.bytes());
    frame
}

fn of(kind: &str, channel: u8) -> String {
    format!(r#"{{"type":"{kind}","channel":"{}"}}"#, name(channel))
}
