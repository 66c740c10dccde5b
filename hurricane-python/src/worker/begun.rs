//! What a worker has begun, as it is known when it has died.

use std::{fs::File, io, os::unix::fs::FileExt};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

/// The page that a worker shares to tell what each of its slots began last.
#[derive(Debug)]
pub(crate) struct Begun(pub(crate) File);

// === impl Begun ===

impl Begun {
    pub(crate) fn new(slots: usize) -> io::Result<Self> {
        let page = memfd_create("hurricane-begun", MemfdFlags::CLOEXEC)?;
        ftruncate(&page, (slots * size_of::<u32>()) as u64)?;
        Ok(Self(page.into()))
    }

    /// What the slot noted: for an event loop, how many requests it has taken.
    pub(crate) fn count(&self, slot: usize) -> u32 {
        self.read(slot).unwrap_or_default().cast_unsigned()
    }

    /// The stream that the slot began last.
    pub(crate) fn read(&self, slot: usize) -> Option<i32> {
        let mut stream = [0; 4];
        self.0.read_exact_at(&mut stream, slot as u64 * 4).ok()?;
        Some(i32::from_ne_bytes(stream)).filter(|stream| *stream != 0)
    }
}
