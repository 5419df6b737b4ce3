//! Frames that are written to cost much.

use std::time::{Duration, Instant};

use herenow_wire::{DefaultChannel, ErrorCode, decode};

fn time_to_read(text: &str) -> Duration {
    let mut out = Vec::new();
    let started = Instant::now();
    decode(text, &DefaultChannel::None, &mut out);
    let taken = started.elapsed();
    let is_json = !out[0].as_ref().is_err_and(|refusal| refusal.code == ErrorCode::InvalidJson);
    assert!(is_json, "the frame is read to its end");
    taken
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
    let state = |members: &str| {
        format!(r#"{{"type":"presence_join","channel":"presence:a","state":{{{members}"z":1}}}}"#)
    };
    let frames = [
        state(&fill(&|_| "\"a\":1,".into())),
        state(&fill(&|number| format!("\"{number}\":1,"))),
        state(&fill(&|number| format!("\"{}{number}\":1,", "x".repeat(60)))),
        state(&fill(&|_| "\"\\ud800\":\"\\ud800\",".into())),
        format!("{{\"type\":\"ping\",{}\"z\":1}}", fill(&|_| "\"state\":{\"a\":1},".into())),
        format!("{{\"type\":\"ping\",\"ref\":\"{}\"}}", fill(&|_| "\\u0000".into())),
    ];
    for frame in &frames {
        let fastest = (0..5).map(|_| time_to_read(frame)).min().expect("five times");
        // Without optimisation, to sort 1,800 keys takes about 1.4 ms and to compare all pairs 48.
        assert!(fastest < Duration::from_millis(15), "{fastest:?} for {}", &frame[..100]);
    }
}
