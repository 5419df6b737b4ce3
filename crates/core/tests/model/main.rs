//! Sessions, audiences and a shard, told whatever may happen in whatever order, against models so
//! simple that they are obviously right: a list of presences, and for every subscriber the list
//! that it folds its events to. A failing run shrinks to the shortest that fails.

mod client;
mod pace_of_talk;
mod truth;
mod world;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use self::world::World;

/// What may happen. Numbers are taken modulo what there is of their kind.
#[derive(Clone, Debug)]
enum Step {
    /// A client says something.
    Subscribe(usize, usize),
    Unsubscribe(usize, usize),
    Track(usize, usize, u8),
    Untrack(usize, usize),
    Sync(usize, usize),
    /// A connection ends and another takes its slot; it answers resyncs or is too old to.
    Break(usize, Answers),
    LeaseEnded(usize, Answers),
    /// A socket breaks and its page comes back, or comes back before the old socket has broken.
    ComeBack(usize, Answers),
    Usurp(usize, usize, Answers),
    /// The rules say yes or no to what a session has asked; a session that is claimed is found.
    Decide(usize, Says),
    /// The rules have changed.
    Review(usize),
    /// Mail moves on, up to so many pieces.
    ToShard(usize, usize),
    ToLoop(usize, usize),
    Flush(usize),
    /// A client reads up to so many frames.
    Read(usize, usize),
    /// What waits for a client of a channel is dropped, or its socket drains.
    Drop(usize, usize),
    Drain(usize),
    /// Time passes.
    Wait(u16),
    /// All maps are lost, by themselves or with the shard.
    Lose,
    Fault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answers {
    Always,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    Yes,
    No,
    Nothing,
}

fn any_step() -> impl Strategy<Value = Step> {
    let who = || any::<usize>();
    let of = || any::<usize>();
    let some = || 1..6_usize;
    let answers = || prop_oneof![4 => Just(Answers::Always), 1 => Just(Answers::Never)];
    let says = prop_oneof![8 => Just(Says::Yes), 1 => Just(Says::No), 1 => Just(Says::Nothing)];
    prop_oneof![
        4 => (who(), of()).prop_map(|(who, of)| Step::Subscribe(who, of)),
        2 => (who(), of()).prop_map(|(who, of)| Step::Unsubscribe(who, of)),
        10 => (who(), of(), 0..3_u8).prop_map(|(who, of, n)| Step::Track(who, of, n)),
        3 => (who(), of()).prop_map(|(who, of)| Step::Untrack(who, of)),
        2 => (who(), of()).prop_map(|(who, of)| Step::Sync(who, of)),
        2 => (who(), answers()).prop_map(|(who, answers)| Step::Break(who, answers)),
        1 => (who(), answers()).prop_map(|(who, answers)| Step::LeaseEnded(who, answers)),
        8 => (who(), says).prop_map(|(who, says)| Step::Decide(who, says)),
        1 => who().prop_map(Step::Review),
        8 => (of(), some()).prop_map(|(of, some)| Step::ToShard(of, some)),
        8 => (of(), some()).prop_map(|(of, some)| Step::ToLoop(of, some)),
        8 => of().prop_map(Step::Flush),
        6 => (who(), some()).prop_map(|(who, some)| Step::Read(who, some)),
        2 => (who(), of()).prop_map(|(who, of)| Step::Drop(who, of)),
        2 => who().prop_map(Step::Drain),
        3 => (0..3_000_u16).prop_map(Step::Wait),
        1 => Just(Step::Lose),
        1 => Just(Step::Fault),
        2 => (who(), answers()).prop_map(|(who, answers)| Step::ComeBack(who, answers)),
        1 => (who(), who(), answers())
            .prop_map(|(who, whose, answers)| Step::Usurp(who, whose, answers)),
    ]
}

fn take(world: &mut World, step: Step) {
    match step {
        Step::Subscribe(who, of) => world.subscribe(who, of),
        Step::Unsubscribe(who, of) => world.unsubscribe(who, of),
        Step::Track(who, of, n) => world.track(who, of, n),
        Step::Untrack(who, of) => world.untrack(who, of),
        Step::Sync(who, of) => world.sync(who, of),
        Step::Break(who, answers) => world.break_off(who, answers),
        Step::LeaseEnded(who, answers) => world.end_lease(who, answers),
        Step::Decide(who, says) => world.decide(who, says),
        Step::Review(who) => world.review(who),
        Step::ToShard(of, some) => world.carry_to_shard(of, some),
        Step::ToLoop(of, some) => world.carry_to_loop(of, some),
        Step::Flush(of) => world.flush_one(of),
        Step::Read(who, some) => world.read(who, some),
        Step::Drop(who, of) => world.drop_waiting(who, of),
        Step::Drain(who) => world.drain(who),
        Step::Wait(ms) => world.wait(ms),
        Step::Lose => world.lose_all(),
        Step::Fault => world.fault(),
        Step::ComeBack(who, answers) => world.come_back(who, answers),
        Step::Usurp(who, whose, answers) => world.usurp(who, whose, answers),
    }
}

fn config() -> ProptestConfig {
    let kept = FileFailurePersistence::Direct("proptest-regressions/model.txt");
    ProptestConfig { failure_persistence: Some(Box::new(kept)), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    // P6.1, P6.2, P6.3, P6.4, P6.6, P6.7, P6.8, P9.3, P9.4, P9.5
    #[test]
    fn whatever_happens_every_subscriber_ends_with_the_truth(
        steps in prop::collection::vec(any_step(), 1..150),
    ) {
        let mut world = World::new();
        for step in steps {
            take(&mut world, step);
        }
        world.come_to_rest();
        world.agrees();
        world.everybody_goes();
        world.is_drained();
    }
}
