//! Small maps that user space writes while packets run: mapped, and written in
//! whole words, so that the packet path never sees half a change.

use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use libbpf_rs::MapCore;
use libbpf_rs::MapHandle;
use nix::sys::mman::MapFlags;
use nix::sys::mman::ProtFlags;
use nix::sys::mman::mmap;
use nix::sys::mman::munmap;

use crate::error::Context;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;

/// The values of a small mappable array, one after the other, as 64-bit words.
#[derive(Debug)]
pub(crate) struct SharedWords {
    start: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: the mapping belongs to this value alone, and is only reached through
// atomics.
unsafe impl Send for SharedWords {}
// SAFETY: as above.
unsafe impl Sync for SharedWords {}

impl SharedWords {
    /// Maps a map, whose values are whole words, for reading and writing.
    pub(crate) fn map(map: &MapHandle) -> Result<Self> {
        let bytes = map.value_size() as usize * map.max_entries() as usize;
        let words = bytes / size_of::<u64>();
        let length = bytes
            .try_into()
            .map_err(|_| Error::new(ErrorKind::AbiMismatch, "a map has values of size 0"))?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses; it is as
        // long as the map's values, which stay as long as the mapping.
        let start = unsafe {
            mmap(
                None,
                length,
                protection,
                MapFlags::MAP_SHARED,
                map.as_fd(),
                0,
            )
        };
        let start = start.with_context(|| format!("map {}", map.name().display()))?;
        Ok(Self {
            start: start.cast(),
            words,
        })
    }

    /// The words.
    pub(crate) fn words(&self) -> &[AtomicU64] {
        // SAFETY: mapped and this long until `drop`, aligned to a page, and
        // changed by others only with whole-word stores.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }

    /// Stores those of the bytes that differ, word by word; bytes beyond the
    /// map's value are left out.
    pub(crate) fn store(&self, bytes: &[u8]) {
        let (words, _) = bytes.as_chunks::<8>();
        for (to, from) in self.words().iter().zip(words) {
            let word = u64::from_ne_bytes(*from);
            if to.load(Ordering::Relaxed) != word {
                to.store(word, Ordering::Relaxed);
            }
        }
    }

    /// Stores what differs between two versions and leaves the rest to others,
    /// who may be storing as well. Fields have 8 bytes up to offset `wide` and 4
    /// from there on.
    pub(crate) fn merge(&self, before: &[u8], after: &[u8], wide: usize) {
        let (old, _) = before.as_chunks::<8>();
        let (new, _) = after.as_chunks::<8>();
        for (index, (to, (old, new))) in self.words().iter().zip(old.iter().zip(new)).enumerate() {
            let field = if index * 8 < wide { 8 } else { 4 };
            let mask = differing(old, new, field);
            let new = u64::from_ne_bytes(*new) & mask;
            if mask != 0 {
                // It never gives up, so there is nothing to look at.
                let _ = to.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
                    Some(now & !mask | new)
                });
            }
        }
    }

    /// A copy of all words, as bytes; each word is whole, the lot is not.
    pub(crate) fn load(&self) -> Vec<u8> {
        let words = self.words().iter();
        words
            .flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes())
            .collect()
    }
}

/// The bits of those fields, each of so many bytes, that are not the same.
fn differing(old: &[u8; 8], new: &[u8; 8], field: usize) -> u64 {
    let mut mask = [0; 8];
    for ((old, new), mask) in old
        .chunks(field)
        .zip(new.chunks(field))
        .zip(mask.chunks_mut(field))
    {
        mask.fill(if old == new { 0 } else { u8::MAX });
    }
    u64::from_ne_bytes(mask)
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        // SAFETY: mapped by `map` with this length; nothing refers to it any
        // more, since every reference borrows `self`.
        let unmapped = unsafe { munmap(self.start.cast(), self.words * size_of::<u64>()) };
        if let Err(errno) = unmapped {
            tracing::warn!("cannot unmap a map: {errno}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_fields_that_differ_are_stored() {
        let old = [1, 2, 3, 4, 5, 6, 7, 8];
        let (mut first, mut both) = (old, old);
        first[3] = 0;
        (both[0], both[7]) = (0, 0);
        let bytes = |old, new, field| differing(&old, &new, field).to_ne_bytes();
        assert_eq!(bytes(old, old, 8), [0; 8]);
        assert_eq!(bytes(old, first, 8), [255; 8]);
        assert_eq!(bytes(old, first, 4), [255, 255, 255, 255, 0, 0, 0, 0]);
        assert_eq!(bytes(old, both, 4), [255; 8]);
    }
}
