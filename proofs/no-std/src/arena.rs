//! The smallest allocator that serves: it hands out a fixed arena from front to back.

use core::{
    alloc::{GlobalAlloc, Layout},
    cell::UnsafeCell,
    ptr,
    sync::atomic::{AtomicUsize, Ordering},
};

/// Size of the arena in bytes.
const ARENA_BYTES: usize = 256 * 1024;

/// Memory that is handed out once and never taken back.
pub struct Arena {
    bytes: UnsafeCell<[u8; ARENA_BYTES]>,
    /// Offset of the first byte that is free.
    free: AtomicUsize,
}

impl Arena {
    /// All of it free.
    pub const fn new() -> Self {
        Self {
            bytes: UnsafeCell::new([0; ARENA_BYTES]),
            free: AtomicUsize::new(0),
        }
    }
}

// SAFETY: `bytes` is only reached through `alloc`, which gives every caller a range of its own:
// `free` grows by compare-and-swap and never shrinks.
unsafe impl Sync for Arena {}

// SAFETY: a block is aligned as asked for, lies within `bytes`, which is static, and overlaps no
// other block, since `free` never shrinks. Nothing here panics or unwinds.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let base = self.bytes.get().cast::<u8>();
        let mut free = self.free.load(Ordering::Relaxed);
        loop {
            let address = base.addr().wrapping_add(free);
            let padding = address.wrapping_neg() & (layout.align() - 1);
            let range = free
                .checked_add(padding)
                .and_then(|start| Some((start, start.checked_add(layout.size())?)));
            let Some((start, end)) = range.filter(|(_, end)| *end <= ARENA_BYTES) else {
                return ptr::null_mut();
            };
            let swap =
                self.free
                    .compare_exchange_weak(free, end, Ordering::Relaxed, Ordering::Relaxed);
            match swap {
                // SAFETY: `start` is at most `end`, which is at most the length of the arena.
                Ok(_) => return unsafe { base.add(start) },
                Err(now) => free = now,
            }
        }
    }

    unsafe fn dealloc(&self, _block: *mut u8, _layout: Layout) {}
}
