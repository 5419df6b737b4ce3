//! That no two nodes decide about one channel at once, by what their hubs would do: each within its lease.

use crate::world::World;

impl World {
    /// Looks at every channel after something by which more nodes may decide than before.
    pub(crate) fn meet_new_homes(&mut self) {
        if !std::mem::take(&mut self.stage.has_new_homes) || self.stage.history.is_torn {
            return;
        }
        let Some(cluster) = &self.cluster else { return };
        for channel in &self.stage.plan.channels {
            let servers = self.servers.iter().enumerate();
            let deciding: Vec<_> = servers
                .filter_map(|(at, server)| Some((at, server.as_ref()?.decides(channel)?)))
                .collect();
            self.stage.tally.contested += u64::from(deciding.len() > 1);
            let may_act = |(at, owner): &_| cluster.may_act(*at, *owner, self.stage.now);
            let homes: Vec<usize> =
                deciding.iter().filter(|it| may_act(it)).map(|it| it.0).collect();
            assert!(homes.len() < 2, "{channel} has the homes {homes:?}");
        }
    }
}
