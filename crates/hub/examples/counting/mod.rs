//! An allocator that counts what passes through it, for measurements alone.

#![allow(
    unsafe_code,
    reason = "the trait of allocators is unsafe; all work is handed on to the system's"
)]
#![allow(dead_code, reason = "each program that counts uses its part")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// See the module.
pub struct Counting;

/// What has been asked of the allocator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Allocations and reallocations so far.
    pub allocations: usize,
    /// Bytes that are allocated now, as they were asked for.
    pub live_bytes: usize,
}

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static LIVE_BYTES: AtomicUsize = AtomicUsize::new(0);

/// The count at this moment.
pub fn count() -> Count {
    Count {
        allocations: ALLOCATIONS.load(Ordering::Relaxed),
        live_bytes: LIVE_BYTES.load(Ordering::Relaxed),
    }
}

// SAFETY: every call goes to the system's allocator unchanged, which keeps the trait's promises.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        LIVE_BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps to the contract of `alloc`, which is the same here.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: `pointer` came from `alloc` above, and so from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        LIVE_BYTES.fetch_add(new_size, Ordering::Relaxed);
        LIVE_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: `pointer` came from `alloc` above, and so from the system's allocator.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}
