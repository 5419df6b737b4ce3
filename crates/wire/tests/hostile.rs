//! Frames that are written to cost much.

use herenow_wire::{DefaultChannel, ErrorCode, Incoming, Refusal, decode};

fn read(text: &str) -> Result<Incoming, Refusal> {
    let mut out = Vec::new();
    decode(text, &DefaultChannel::None, &mut out);
    out.remove(0)
}

#[test]
fn a_hostile_frame_of_16_kib_costs_no_more_than_its_length_deserves() {
    const FRAME_BYTES: usize = 16 * 1024;
    let fill = |unit: &dyn Fn(usize) -> String| {
        let mut members = String::new();
        for number in 0.. {
            let member = unit(number);
            if members.len() + member.len() > FRAME_BYTES - 100 {
                break;
            }
            members.push_str(&member);
        }
        members
    };
    let same = fill(&|_| "\"a\":1,".into());
    let distinct = fill(&|number| format!("\"{number}\":1,"));
    let prefixed = fill(&|number| format!("\"{}{number}\":1,", "x".repeat(60)));
    let halves = fill(&|_| "\"\\ud800\":\"\\ud800\",".into());
    let started = std::time::Instant::now();
    const ROUNDS: u32 = 20;
    for members in [&same, &distinct, &prefixed, &halves] {
        let state = format!(
            r#"{{"type":"presence_join","channel":"presence:a","state":{{{members}"z":1}}}}"#
        );
        let states =
            format!("{{\"type\":\"ping\",{}\"z\":1}}", members.replace("\"a\"", "\"state\""));
        for _ in 0..ROUNDS {
            assert!(!matches!(read(&state), Err(Refusal { code: ErrorCode::InvalidJson, .. })));
            assert!(read(&states).is_ok());
        }
    }
    // Quadratic work would be some ten times above this in an unoptimised build.
    let each = started.elapsed() / (ROUNDS * 8);
    assert!(each < std::time::Duration::from_millis(20), "{each:?} for each frame");
}
