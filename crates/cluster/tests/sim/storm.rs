//! What goes wrong, and what the nodes' connections do meanwhile.

use herenow_cluster::{Event as ToExchange, Key};

use crate::clock::{MS, SECOND};
use crate::world::{Event, World};

impl World {
    /// One thing goes wrong.
    pub fn suffer(&mut self) {
        let slot = self.chance.index(self.slots.len());
        let what = self.chance.below(16);
        let (now, until) = (self.now, self.now + self.chance.between(200, 9_000) * MS);
        self.note(|| format!("suffering {what} of {slot} until {}", until / MS));
        match what {
            0 | 1 if self.slots[slot].process.is_some() => {
                self.kill(slot);
                let again = now + self.chance.between(0, 20_000) * MS;
                self.at(again, Event::Start(slot));
            }
            2 => self.pause(slot, 2 * SECOND),
            3 | 4 => self.pause(slot, 4 * SECOND),
            5 if self.chance.one_in(3) => self.pause(slot, 90 * SECOND),
            6 => self.slots[slot].cut_out_until = until,
            7 => self.slots[slot].cut_in_until = until,
            8 | 9 => {
                self.slots[slot].cut_out_until = until;
                self.slots[slot].cut_in_until = until;
            }
            10 => {
                self.engine.is_down = true;
                self.at(until, Event::EngineUp);
            }
            11 | 12 => {
                let one = &self.slots[slot];
                if one.process.is_some() && one.paused_until <= now {
                    self.tally.drains += 1;
                    self.tell(slot, ToExchange::Drain);
                    let leave = now + self.chance.between(0, 5_000) * MS;
                    let life = self.slots[slot].life;
                    self.at(leave, Event::Leave(slot, life));
                }
            }
            13 => self.engine.back_up(),
            14 | 15 if self.plan.bucket_suffers => self.bucket_suffers(),
            _ => {}
        }
    }

    fn bucket_suffers(&mut self) {
        self.tally.buckets_lost += 1;
        self.was_bucket_lost = true;
        self.history.is_torn = true;
        self.is_bucket_torn = true;
        if self.chance.one_in(2) {
            self.engine.restore();
        } else {
            self.engine.forget();
        }
        let view = self.engine.read(&Key::View);
        self.note(|| {
            format!("the bucket is another one: {}", matches!(view, herenow_cluster::Read::Absent))
        });
    }
}
