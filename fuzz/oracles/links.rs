//! Packets between nodes: any bytes are one packet or refused, and what was read says the same when
//! it is written and read again, in batches of any size.

use herenow_wire::link::{Assembler, Body, Item, MIN_BODY_BYTES, Packet, bodies};

/// More than an input has.
const MAX_ITEM_BYTES: usize = 64 * 1024;

/// The input is one packet.
pub fn check(input: &[u8]) {
    let Ok(packet) = Packet::decode(input) else { return };
    let again = packet.encode();
    assert_eq!(Packet::decode(&again).as_ref(), Ok(&packet));
    let Body::Batch { items: body, .. } = packet.body else { return };
    assert_eq!(again, input, "a batch has one form");
    let mut assembler = Assembler::new(MAX_ITEM_BYTES);
    let mut items = Vec::new();
    if assembler.read(body, &mut items).is_err() {
        assert!(items.is_empty(), "nothing of a broken batch counts");
        return;
    }
    assert!(assembler.held_bytes() <= body.len(), "a decoder holds no more than it was given");
    for max_bytes in [MIN_BODY_BYTES, usize::MAX] {
        assert_eq!(cut_and_read(&items, max_bytes), items, "in bodies of {max_bytes} bytes");
    }
}

fn cut_and_read(items: &[Item], max_bytes: usize) -> Vec<Item> {
    let mut assembler = Assembler::new(MAX_ITEM_BYTES * 2);
    let mut read = Vec::new();
    for body in bodies(items, max_bytes) {
        assert!(body.len() <= max_bytes, "no body is larger than it may be");
        assert_eq!(assembler.read(&body, &mut read), Ok(0));
    }
    assert!(!assembler.has_begun(), "every item ends");
    read
}
