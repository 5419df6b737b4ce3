//! Sends a fixed script of 10,000 messages through a whole hub, from their frames to what is
//! written: the same each time, to the byte. Run under callgrind it says how many instructions they
//! cost, which no other load of the machine can blur; `crates/hub/benches/count-instructions` does
//! that.

use std::time::Duration;

use one_hub::fixed::Dice;
use one_hub::{OneHub, masked, track};

mod one_hub;

const MESSAGES: usize = 10_000;
const CONNECTIONS: u64 = 200;
const CHANNELS: u64 = 10;
const STATE_BYTES: usize = 120;
/// Messages of one turn, and the time from one to the next.
const MESSAGES_PER_TURN: usize = 8;
const TURN_PERIOD: Duration = Duration::from_millis(2);

/// What a connection does.
struct Step {
    slot: u32,
    command: Command,
}

enum Command {
    Say(Vec<u8>),
    Reconnect,
}

fn main() {
    let mut one_hub = OneHub::new();
    let script = script();
    for _ in 0..CONNECTIONS {
        one_hub.connect();
    }
    one_hub.turn();
    play(&mut one_hub, &script);
    let written = one_hub.written();
    println!("{} messages", script.len());
    println!("{} writes", written.writes);
    println!("{} bytes written", written.bytes);
}

/// What is counted. Never inlined, since callgrind finds it by its name.
#[inline(never)]
fn play(one_hub: &mut OneHub, script: &[Step]) {
    for steps in script.chunks(MESSAGES_PER_TURN) {
        for step in steps {
            match &step.command {
                Command::Say(frame) => one_hub.receive(step.slot, frame),
                Command::Reconnect => one_hub.reconnect(step.slot),
            }
        }
        one_hub.shell_turn();
        one_hub.wait(TURN_PERIOD);
    }
}

/// Mostly updates, and some of everything else that a client may ask.
fn script() -> Vec<Step> {
    let mut dice = Dice(20_261_125);
    (0..MESSAGES as u64)
        .map(|number| {
            let slot = dice.below(CONNECTIONS);
            // Everybody has two channels, so that most messages meet a subscription.
            let channel = (slot + dice.below(2)) % CHANNELS;
            let say = |kind: &str| {
                Command::Say(masked(&format!(
                    r#"{{"type":"{kind}","channel":"presence:{channel}","ref":{number}}}"#
                )))
            };
            let command = match dice.below(100) {
                0..80 => Command::Say(track(&channel.to_string(), number, STATE_BYTES)),
                80..84 => say("subscribe"),
                84..88 => say("presence_leave"),
                88..91 => say("presence_sync"),
                91..94 => say("ping"),
                94..96 => say("unsubscribe"),
                96..98 => say("unheard-of"),
                _ => Command::Reconnect,
            };
            Step { slot: slot as u32, command }
        })
        .collect()
}
