//! What has happened in a run, so that it can be seen that nothing rare is missed.

/// What has happened in a run, so that it can be seen that nothing rare is missed.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Tally {
    pub runs: u64,
    pub views: u64,
    pub exclusions: u64,
    pub homes: u64,
    pub lost: u64,
    pub drains: u64,
    pub left: u64,
    pub buckets_lost: u64,
    pub gaps: u64,
    pub resets: u64,
    pub unknown_senders: u64,
    pub old_collects: u64,
    pub late_mail: u64,
    pub held_mail: u64,
    pub answered: u64,
    pub refused: u64,
    pub superseded: u64,
    pub taken: u64,
    pub deltas: u64,
    pub snapshots: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.views += other.views;
        self.exclusions += other.exclusions;
        self.homes += other.homes;
        self.lost += other.lost;
        self.drains += other.drains;
        self.left += other.left;
        self.buckets_lost += other.buckets_lost;
        self.gaps += other.gaps;
        self.resets += other.resets;
        self.unknown_senders += other.unknown_senders;
        self.old_collects += other.old_collects;
        self.late_mail += other.late_mail;
        self.held_mail += other.held_mail;
        self.answered += other.answered;
        self.refused += other.refused;
        self.superseded += other.superseded;
        self.taken += other.taken;
        self.deltas += other.deltas;
        self.snapshots += other.snapshots;
    }

    pub fn misses_nothing(&self) -> bool {
        let all = [
            self.views,
            self.exclusions,
            self.homes,
            self.lost,
            self.left,
            self.buckets_lost,
            self.gaps,
            self.resets,
            self.unknown_senders,
            self.late_mail,
            self.held_mail,
            self.answered,
            self.refused,
            self.superseded,
            self.taken,
            self.deltas,
            self.snapshots,
        ];
        self.runs < 100 || all.iter().all(|count| *count > 0)
    }
}
