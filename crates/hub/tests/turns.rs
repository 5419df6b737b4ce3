//! Turns under many sockets, as the fuzzer drives them: what it has kept, and sequences drawn here.

#[path = "../../../fuzz/oracles/turns/mod.rs"]
mod turns;

use std::fs;
use std::path::Path;

use arbitrary::{Arbitrary, Unstructured};
use proptest::prelude::*;

use turns::{Granted, Operation, Says};

fn run(input: &[u8]) {
    if let Ok(operations) = Vec::<Operation>::arbitrary_take_rest(Unstructured::new(input)) {
        turns::run(operations);
    }
}

#[test]
fn kept_sequences_stay_within_the_bounds() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/turns");
    let mut count = 0;
    for file in fs::read_dir(&corpus).expect("the corpus is kept") {
        run(&fs::read(file.expect("it is listed").path()).expect("it can be read"));
        count += 1;
    }
    assert!(count > 0, "nothing is kept in {corpus:?}");
}

/// Mostly what gets somewhere: sockets open, sign in, talk, and are read by some.
fn any_operation() -> impl Strategy<Value = Operation> {
    let who = any::<u8>;
    let granted = || prop_oneof![4 => Just(Granted::Yes), 1 => Just(Granted::No)];
    let says = prop_oneof![
        4 => any::<u8>().prop_map(Says::Auth),
        4 => any::<u8>().prop_map(Says::Subscribe),
        1 => any::<u8>().prop_map(Says::Unsubscribe),
        6 => any::<(u8, u8)>().prop_map(|(channel, n)| Says::Track(channel, n)),
        1 => any::<u8>().prop_map(Says::Untrack),
        2 => any::<u8>().prop_map(Says::Sync),
        2 => Just(Says::Ping),
        2 => Just(Says::Nonsense),
        2 => Just(Says::Control),
        1 => Just(Says::Fragment),
        1 => Just(Says::Close),
    ];
    let times = prop_oneof![3 => 1..3_u8, 1 => 0..100_u8];
    prop_oneof![
        6 => who().prop_map(Operation::Open),
        12 => (who(), says, times)
            .prop_map(|(who, says, times)| Operation::Send { who, says, times }),
        1 => (who(), any::<[u8; 6]>())
            .prop_map(|(who, bytes)| Operation::SendAnything(who, bytes)),
        12 => (who(), 0..5_000_u16).prop_map(|(who, bytes)| Operation::Arrive(who, bytes)),
        4 => (who(), 0..5_000_u16).prop_map(|(who, bytes)| Operation::Take(who, bytes)),
        1 => who().prop_map(Operation::Break),
        6 => granted().prop_map(Operation::Answer),
        1 => granted().prop_map(Operation::Late),
        6 => who().prop_map(Operation::Mail),
        12 => who().prop_map(Operation::Turn),
        4 => (0..600_u16).prop_map(Operation::Wait),
        1 => Just(Operation::Reload),
        1 => any::<u8>().prop_map(Operation::Fault),
    ]
}

fn some_operations() -> impl Strategy<Value = Vec<Operation>> {
    prop::collection::vec(any_operation(), 0..600)
}

proptest! {
    #[test]
    fn whatever_sockets_do_a_hub_holds_no_more_than_is_promised(operations in some_operations()) {
        turns::run(operations);
    }
}
