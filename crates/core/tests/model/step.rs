//! What may happen in the model's world. Drawn by properties and by the fuzzer alike.

use arbitrary::Arbitrary;

use crate::world::World;

/// What may happen. Numbers are taken modulo what there is of their kind.
#[derive(Clone, Debug, Arbitrary)]
pub enum Step {
    /// What a subscriber's connection does in a channel.
    Subscribe(u8, u8),
    Unsubscribe(u8, u8),
    Track(u8, u8, u8),
    Untrack(u8, u8),
    Sync(u8, u8),
    /// A connection ends and another takes its slot; it answers resyncs or is too old to.
    End(u8, Answers),
    /// A connection loses its socket and comes back on another one at once, with its id.
    ComeBack(u8, Answers),
    /// Mail moves on, up to so many pieces.
    ToShard(u8, u8),
    ToPeer(u8, u8),
    Flush(u8),
    /// A client reads up to so many frames.
    Read(u8, u8),
    /// What waits for a client of a channel is dropped, or its socket drains.
    Drop(u8, u8),
    Drain(u8),
    /// Time passes.
    Wait(u16),
    /// All maps are lost, by themselves or with the shard.
    Lose,
    Fault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Arbitrary)]
pub enum Answers {
    Always,
    Never,
}

impl World {
    /// Lets all of it happen, then lets everything come to rest, and sees that everybody agrees.
    pub fn run(steps: Vec<Step>) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
        }
        world.come_to_rest();
        world.agrees();
        world.everybody_goes();
        world.is_drained();
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Subscribe(who, of) => self.subscribe(who.into(), of.into()),
            Step::Unsubscribe(who, of) => self.unsubscribe(who.into(), of.into()),
            Step::Track(who, of, n) => self.track(who.into(), of.into(), n),
            Step::Untrack(who, of) => self.untrack(who.into(), of.into()),
            Step::Sync(who, of) => self.sync(who.into(), of.into()),
            Step::End(who, answers) => self.end(who.into(), answers),
            Step::ComeBack(who, answers) => self.come_back(who.into(), answers),
            Step::ToShard(of, some) => self.carry_to_shard(of.into(), some.into()),
            Step::ToPeer(of, some) => self.carry_to_peer(of.into(), some.into()),
            Step::Flush(of) => self.flush_one(of.into()),
            Step::Read(who, some) => self.read(who.into(), some.into()),
            Step::Drop(who, of) => self.drop_waiting(who.into(), of.into()),
            Step::Drain(who) => self.drain(who.into()),
            Step::Wait(ms) => self.wait(ms),
            Step::Lose => self.lose_all(),
            Step::Fault => self.fault(),
        }
    }
}
