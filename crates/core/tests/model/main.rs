//! Audiences and a shard, told whatever may happen in whatever order, against models so simple that
//! they are obviously right: a list of presences, and for every subscriber the list that it folds
//! its events to. A failing run shrinks to the shortest that fails.
//!
//! What a loop decides around them is the hub's, and the simulation of `crates/hub` drives that.

mod client;
mod corpus;
mod pace_of_talk;
mod step;
mod truth;
mod world;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use self::step::{Answers, Step};
use self::world::World;

fn any_step() -> impl Strategy<Value = Step> {
    let who = || any::<u8>();
    let of = || any::<u8>();
    let some = || 1..6_u8;
    let answers = || prop_oneof![4 => Just(Answers::Always), 1 => Just(Answers::Never)];
    prop_oneof![
        4 => (who(), of()).prop_map(|(who, of)| Step::Subscribe(who, of)),
        2 => (who(), of()).prop_map(|(who, of)| Step::Unsubscribe(who, of)),
        10 => (who(), of(), 0..3_u8).prop_map(|(who, of, n)| Step::Track(who, of, n)),
        3 => (who(), of()).prop_map(|(who, of)| Step::Untrack(who, of)),
        2 => (who(), of()).prop_map(|(who, of)| Step::Sync(who, of)),
        2 => (who(), answers()).prop_map(|(who, answers)| Step::End(who, answers)),
        8 => (of(), some()).prop_map(|(of, some)| Step::ToShard(of, some)),
        8 => (of(), some()).prop_map(|(of, some)| Step::ToPeer(of, some)),
        8 => of().prop_map(Step::Flush),
        6 => (who(), some()).prop_map(|(who, some)| Step::Read(who, some)),
        2 => (who(), of()).prop_map(|(who, of)| Step::Drop(who, of)),
        2 => who().prop_map(Step::Drain),
        3 => (0..3_000_u16).prop_map(Step::Wait),
        1 => Just(Step::Lose),
        1 => Just(Step::Fault),
        2 => (who(), answers()).prop_map(|(who, answers)| Step::ComeBack(who, answers)),
    ]
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
        World::run(steps);
    }
}
