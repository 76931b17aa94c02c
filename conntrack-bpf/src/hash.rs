//! Hash maps with their types: one entry, or all of them. Error numbers come
//! through, and batches are read to their end, which libbpf-rs does neither.

use std::marker::PhantomData;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::ptr;

use nix::errno::Errno;

use crate::sys;
use crate::wire::Wire;
use crate::wire::bytes_of;
use crate::wire::from_bytes;

/// Entries that a batch asks for at first. A bucket with more makes it ask for more.
const BATCH: usize = 1024;

/// A hash map of these keys and values.
#[derive(Debug)]
pub(crate) struct Hash<'a, K, V> {
    map: BorrowedFd<'a>,
    /// Values of a key: one, or one of each CPU.
    copies: usize,
    types: PhantomData<(K, V)>,
}

impl<'a, K: Wire, V: Wire> Hash<'a, K, V> {
    /// The map must have keys and values of these sizes: what is opened was compared
    /// before (`shape.rs`).
    pub(crate) fn new(map: BorrowedFd<'a>) -> Self {
        Self {
            map,
            copies: 1,
            types: PhantomData,
        }
    }

    /// The same of a map with a value of each possible CPU, which a walk shows one after
    /// the other. `get` and `put` are not for it.
    pub(crate) fn per_cpu(map: BorrowedFd<'a>) -> Self {
        Self {
            copies: sys::possible_cpus() as usize,
            ..Self::new(map)
        }
    }

    /// The value of a key, as it was at one moment.
    pub(crate) fn get(&self, key: &K) -> Result<Option<V>, Errno> {
        let mut value = vec![0_u8; size_of::<V>()];
        let (key, to) = (bytes_of(key).as_ptr().cast(), value.as_mut_ptr().cast());
        // SAFETY: the kernel reads a key and writes a value, which are as long as the
        // map's, and it keeps neither; the descriptor is open for the call.
        let code = unsafe { libbpf_sys::bpf_map_lookup_elem(self.map.as_raw_fd(), key, to) };
        match found(code)? {
            true => Ok(Some(from_bytes(&value))),
            false => Ok(None),
        }
    }

    /// Sets the value of a key. `E2BIG`: the map is full.
    pub(crate) fn put(&self, key: &K, value: &V) -> Result<(), Errno> {
        self.update(key, value, libbpf_sys::BPF_ANY)
    }

    /// The same of a key that has none: `EEXIST` if it has.
    pub(crate) fn put_new(&self, key: &K, value: &V) -> Result<(), Errno> {
        self.update(key, value, libbpf_sys::BPF_NOEXIST)
    }

    fn update(&self, key: &K, value: &V, flags: u32) -> Result<(), Errno> {
        let (map, flags) = (self.map.as_raw_fd(), flags.into());
        let [key, value] =
            [bytes_of(key).as_ptr(), bytes_of(value).as_ptr()].map(<*const u8>::cast);
        // SAFETY: the kernel reads both, which are as long as the map's, and keeps
        // neither; the descriptor is open for the call.
        let code = unsafe { libbpf_sys::bpf_map_update_elem(map, key, value, flags) };
        match code {
            0 => Ok(()),
            code => Err(Errno::from_raw(-code)),
        }
    }

    /// Takes a key out, with the value that it had in that moment.
    pub(crate) fn take(&self, key: &K) -> Result<Option<V>, Errno> {
        let mut value = vec![0_u8; size_of::<V>()];
        let (key, to) = (bytes_of(key).as_ptr().cast(), value.as_mut_ptr().cast());
        let map = self.map.as_raw_fd();
        // SAFETY: the kernel reads a key and writes a value, which are as long as the
        // map's, and it keeps neither; the descriptor is open for the call.
        let code = unsafe { libbpf_sys::bpf_map_lookup_and_delete_elem(map, key, to) };
        Ok(found(code)?.then(|| from_bytes(&value)))
    }

    /// Takes a key out; whether it was there.
    pub(crate) fn remove(&self, key: &K) -> Result<bool, Errno> {
        let key = bytes_of(key).as_ptr().cast();
        // SAFETY: the kernel reads a key, which is as long as the map's, and does not
        // keep it; the descriptor is open for the call.
        found(unsafe { libbpf_sys::bpf_map_delete_elem(self.map.as_raw_fd(), key) })
    }
}

fn found(code: i32) -> Result<bool, Errno> {
    match Errno::from_raw(-code) {
        _ if code >= 0 => Ok(true),
        Errno::ENOENT => Ok(false),
        errno => Err(errno),
    }
}

/// Where a walk through a hash map is. What is there all the time comes exactly once:
/// the kernel goes bucket by bucket.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    bucket: Option<u32>,
    /// Entries that a batch asks for; 0 for [`BATCH`].
    room: usize,
    done: bool,
}

impl Cursor {
    /// The next entries, in the place of those that `entries` has; none at the end.
    pub(crate) fn next<K: Wire, V: Wire>(
        &mut self,
        hash: &Hash<'_, K, V>,
        entries: &mut Vec<(K, V)>,
    ) -> Result<(), Errno> {
        entries.clear();
        while entries.is_empty() && !self.done {
            let room = if self.room == 0 { BATCH } else { self.room };
            let mut keys = vec![0_u8; room * size_of::<K>()];
            let mut values = vec![0_u8; room * hash.copies * size_of::<V>()];
            let mut count = u32::try_from(room).unwrap_or(u32::MAX);
            let mut next = 0_u32;
            let from = self.bucket.as_mut().map_or(ptr::null_mut(), ptr::from_mut);
            // SAFETY: `from` is null or a bucket number, as is what is written to
            // `next`; the two buffers hold `count` keys and values of the map's sizes, those
            // of all CPUs if it has such;
            // nothing is kept; the descriptor is open for the call.
            let code = unsafe {
                libbpf_sys::bpf_map_lookup_batch(
                    hash.map.as_raw_fd(),
                    from.cast(),
                    ptr::from_mut(&mut next).cast(),
                    keys.as_mut_ptr().cast(),
                    values.as_mut_ptr().cast(),
                    ptr::from_mut(&mut count),
                    ptr::null(),
                )
            };
            match Errno::from_raw(-code) {
                _ if code >= 0 => {}
                Errno::ENOENT => self.done = true,
                Errno::ENOSPC => {
                    self.room = room * 2;
                    continue;
                }
                errno => return Err(errno),
            }
            self.bucket = Some(next);
            let keys = keys.chunks_exact(size_of::<K>());
            let values = values.chunks_exact(hash.copies * size_of::<V>());
            for (key, values) in keys.zip(values).take(count as usize) {
                let values = values.chunks_exact(size_of::<V>());
                entries.extend(values.map(|value| (from_bytes(key), from_bytes(value))));
            }
        }
        Ok(())
    }
}

/// Gives each entry to `each`, until the end or its error.
pub(crate) fn for_each<K: Wire, V: Wire, E: From<Errno>>(
    hash: &Hash<'_, K, V>,
    mut each: impl FnMut(K, V) -> Result<(), E>,
) -> Result<(), E> {
    let (mut cursor, mut entries) = (Cursor::default(), Vec::new());
    loop {
        cursor.next(hash, &mut entries)?;
        if entries.is_empty() {
            return Ok(());
        }
        entries
            .iter()
            .try_for_each(|(key, value)| each(*key, *value))?;
    }
}
