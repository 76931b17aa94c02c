//! The values of an array map, mapped into memory.

use std::any;
use std::ffi::c_void;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::AtomicU64;

use nix::sys::mman::MapFlags;
use nix::sys::mman::ProtFlags;
use nix::sys::mman::mmap;
use nix::sys::mman::munmap;

use crate::wire::Wire;
use crate::wire::copy;
use crate::wire::words_of;

/// The `T` values of an array map, for reading. The kernel writes to them
/// meanwhile, so they are seen as words that may change at any time.
pub(crate) struct Mapped<T> {
    words: NonNull<c_void>,
    values: usize,
    value: PhantomData<T>,
}

// SAFETY: the memory is the mapping's, not a thread's, and is reached as
// atomic words only.
unsafe impl<T> Send for Mapped<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Mapped<T> {}

impl<T: Wire> Mapped<T> {
    /// Maps `values` values of a mappable array map for reading.
    ///
    /// # Errors
    /// The kernel refuses: the map is no mappable array, or has fewer values.
    pub(crate) fn read_only(map: impl AsFd, values: usize) -> io::Result<Self> {
        // Values of an array lie 8-byte aligned side by side, as T is.
        let len = values
            .checked_mul(size_of::<T>())
            .and_then(NonZeroUsize::new)
            .ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let words = unsafe {
            mmap(
                None,
                len,
                ProtFlags::PROT_READ,
                MapFlags::MAP_SHARED,
                map,
                0,
            )?
        };
        Ok(Self {
            words,
            values,
            value: PhantomData,
        })
    }

    /// How many values there are.
    pub(crate) fn len(&self) -> usize {
        self.values
    }

    /// The words of one value; `None` past the end.
    #[inline]
    pub(crate) fn words(&self, index: usize) -> Option<&[AtomicU64]> {
        if index >= self.values {
            return None;
        }
        let words = words_of::<T>();
        let first = self.words.cast::<AtomicU64>().as_ptr().cast_const();
        // SAFETY: `index` is below the number of values, so the words are in
        // the mapping, which is page-aligned and lives as long as `self`. Others
        // write to them, which is what atomics are for.
        Some(unsafe { slice::from_raw_parts(first.add(index * words), words) })
    }

    /// A copy of one value, word by word; `None` past the end.
    pub(crate) fn get(&self, index: usize) -> Option<T> {
        self.words(index).map(copy)
    }
}

impl<T> fmt::Debug for Mapped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = any::type_name::<T>();
        write!(f, "Mapped<{value}>({} at {:p})", self.values, self.words)
    }
}

impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and every reference into it borrows self.
        // It cannot fail: address and length are those of a mapping.
        let _ = unsafe { munmap(self.words, self.values * size_of::<T>()) };
    }
}
