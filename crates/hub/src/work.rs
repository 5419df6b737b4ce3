//! A hub at work: the hub, the outside and the time of one call, so that none of the three is
//! handed from function to function.

use herenow_core::Instant;

use crate::hub::Hub;

/// See the module. Every decision of a hub is a method of it.
pub(crate) struct Work<'a, I> {
    pub(crate) hub: &'a mut Hub,
    pub(crate) io: &'a mut I,
    pub(crate) now: Instant,
}
