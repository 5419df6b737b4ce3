//! Sends a fixed script of 10,000 commands through the core and the wire: the same each time, to
//! the byte. Run under callgrind it says how many instructions they cost, which no other load of
//! the machine can blur; `crates/core/benches/count-instructions` does that.

use std::time::Duration;

use bare_loop::{BareLoop, track_text};

mod bare_loop;

const COMMANDS: usize = 10_000;
const CONNECTIONS: u64 = 200;
const CHANNELS: u64 = 10;
const STATE_BYTES: usize = 120;
/// Commands between two flushes, and the time in which they come.
const COMMANDS_PER_FLUSH: usize = 8;
const FLUSH_PERIOD: Duration = Duration::from_millis(2);

/// What a connection does.
struct Step {
    slot: u32,
    command: Command,
}

enum Command {
    Say(String),
    Reconnect,
}

fn main() {
    let mut one_loop = BareLoop::new();
    let script = script();
    for _ in 0..CONNECTIONS {
        one_loop.connect();
    }
    play(&mut one_loop, &script);
    let written = one_loop.written();
    println!("{} commands", script.len());
    println!("{} deliveries", written.deliveries);
    println!("{} snapshots", written.snapshots);
    println!("{} bytes encoded", written.encoded_bytes);
}

/// What is counted. Never inlined, since callgrind finds it by its name.
#[inline(never)]
fn play(one_loop: &mut BareLoop, script: &[Step]) {
    for commands in script.chunks(COMMANDS_PER_FLUSH) {
        for step in commands {
            match &step.command {
                Command::Say(text) => one_loop.receive(step.slot, text),
                Command::Reconnect => one_loop.reconnect(step.slot),
            }
        }
        one_loop.flush();
        one_loop.wait(FLUSH_PERIOD);
    }
}

/// Mostly updates, and some of everything else that a client may ask.
fn script() -> Vec<Step> {
    let mut dice = Dice(20_261_125);
    (0..COMMANDS as u64)
        .map(|number| {
            let slot = dice.below(CONNECTIONS);
            // Everybody has two channels, so that most messages meet a subscription.
            let channel = (slot + dice.below(2)) % CHANNELS;
            let say = |kind: &str| {
                Command::Say(format!(
                    r#"{{"type":"{kind}","channel":"presence:{channel}","ref":{number}}}"#
                ))
            };
            let command = match dice.below(100) {
                0..80 => Command::Say(track_text(&channel.to_string(), number, STATE_BYTES)),
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

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % bound
    }
}
