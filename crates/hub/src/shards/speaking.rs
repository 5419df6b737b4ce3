//! Which nodes speak for the members of their connections, in the newest view that was heard of.

use std::collections::BTreeSet;
use std::sync::Arc;

use herenow_core::{Owner, Term};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Speaking {
    view: u64,
    owners: Arc<BTreeSet<Owner>>,
}

impl Speaking {
    /// In the view of this number.
    pub(super) fn in_view(view: u64, owners: Arc<BTreeSet<Owner>>) -> Self {
        Self { view, owners }
    }

    /// All but one.
    pub(super) fn without(&self, me: Owner) -> BTreeSet<Owner> {
        self.owners.iter().copied().filter(|owner| *owner != me).collect()
    }

    /// Those of the view that gave a term, or of a newer one; `None` if neither was heard of.
    pub(super) fn in_term(&self, term: Term) -> Option<Arc<BTreeSet<Owner>>> {
        (self.view >= term.epoch).then(|| Arc::clone(&self.owners))
    }
}
