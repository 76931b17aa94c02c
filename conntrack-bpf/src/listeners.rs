//! The listeners' slots that the packet path looks at. A slot is held by a
//! locked file: what a listener that was killed leaves costs the packet path a
//! refused record an event, and goes when the next one comes or leaves.

use std::mem::offset_of;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use conntrack_core::EventType;
use conntrack_core::Family;
use conntrack_core::FlowFilter;
use conntrack_core::LostCounts;
use conntrack_core::PortRange;
use ipnet::IpNet;
use libbpf_rs::MapCore;
use libbpf_rs::MapFlags;
use libbpf_rs::MapHandle;

use crate::bpffs;
use crate::bpffs::Locks;
use crate::datapath::Datapath;
use crate::defines::LISTENERS;
use crate::error::Context;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::events::Wish;
use crate::lock::Lock;
use crate::records::Meta;
use crate::shared::SharedWords;
use crate::skel::types::ct_settings;
use crate::wire::bytes_of;
use crate::wire::ct_listener;
use crate::wire::words_of;

/// `types` and what shares its word.
const TYPES: usize = offset_of!(ct_listener, types) / 8;
const SEQ: usize = offset_of!(ct_listener, seq) / 8;
const LOST: usize = offset_of!(ct_listener, lost) / 8;
/// `event_types` of the settings and what shares its word.
const EVENT_TYPES: usize = offset_of!(ct_settings, event_types) / 8;

/// A slot of our own. Dropping it gives it up.
#[derive(Debug)]
pub(crate) struct Place {
    index: u32,
    slots: Slots,
    rings: MapHandle,
    _lock: Lock,
}

/// All slots, and the settings that say whether anybody listens at all.
#[derive(Debug)]
struct Slots {
    listeners: SharedWords,
    settings: SharedWords,
    locks: Locks,
    /// What the locks of this instance are called.
    name: String,
}

impl Place {
    /// Takes a free slot. Nothing is told there yet.
    pub(crate) fn take(datapath: &Datapath) -> Result<Self> {
        let maps = &datapath.maps;
        let slots = Slots {
            listeners: SharedWords::map(&maps.listeners)?,
            settings: SharedWords::map(&maps.settings)?,
            locks: bpffs::locks(),
            name: name_of(&datapath.meta),
        };
        let rings = MapHandle::try_from(&maps.rings).context("take over ct_rings")?;
        let _changing = slots.lock()?;
        let found = (0..LISTENERS).find_map(|index| Some((index, slots.hold(index)?)));
        let Some((index, lock)) = found else {
            let message = format!("{LISTENERS} processes listen to events already, which is all");
            return Err(Error::new(ErrorKind::InUse, message));
        };
        slots.clear(index, &rings);
        Ok(Self {
            index,
            slots,
            rings,
            _lock: lock,
        })
    }

    /// From here on events go to the ring.
    pub(crate) fn listen(&self, ring: &MapHandle, wish: &Wish) -> Result<()> {
        let _changing = self.slots.lock()?;
        let fd = std::os::fd::AsFd::as_fd(ring).as_raw_fd();
        let value = fd.cast_unsigned().to_ne_bytes();
        self.rings
            .update(&self.index.to_ne_bytes(), &value, MapFlags::ANY)
            .context("hand a ring buffer over")?;
        let record = encode(wish);
        let (words, _) = bytes_of(&record).as_chunks::<8>();
        let slot = self.slots.of(self.index);
        // Counters start at zero; the types come last, for they open the slot.
        for (to, from) in slot.iter().zip(words).skip(1) {
            to.store(u64::from_ne_bytes(*from), Ordering::Relaxed);
        }
        slot[TYPES].store(u64::from_ne_bytes(words[TYPES]), Ordering::Release);
        self.slots.renew(self.index, &self.rings);
        Ok(())
    }

    /// What the ring had no room for, by type.
    pub(crate) fn lost(&self) -> LostCounts {
        let slot = self.slots.of(self.index);
        let types = EventType::ALL.map(|kind| LOST + kind as usize);
        LostCounts::new(types.map(|at| slot[at].load(Ordering::Relaxed)))
    }

    /// Events that met the wish.
    pub(crate) fn wished(&self) -> u64 {
        self.slots.of(self.index)[SEQ].load(Ordering::Relaxed)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let changing = self.slots.lock();
        self.slots.clear(self.index, &self.rings);
        self.slots.renew(self.index, &self.rings);
        if let Err(error) = changing {
            tracing::debug!("end of listening: {error:#}");
        }
    }
}

impl Slots {
    fn of(&self, index: u32) -> &[AtomicU64] {
        let words = words_of::<ct_listener>();
        let begin = index as usize * words;
        &self.listeners.words()[begin..begin + words]
    }

    /// One process at a time changes the slots.
    fn lock(&self) -> Result<Lock> {
        Lock::take(&self.locks, &self.name, "listening")
    }

    /// Takes a slot's own lock, if nobody alive has it.
    fn hold(&self, index: u32) -> Option<Lock> {
        let name = format!("{}-{index}", self.name);
        Lock::take_if_free(&self.locks, &name, "listening")
    }

    /// Closes a slot and takes its ring away.
    fn clear(&self, index: u32, rings: &MapHandle) {
        self.of(index)[TYPES].store(0, Ordering::Release);
        // There may be none.
        let _ = rings.delete(&index.to_ne_bytes());
    }

    /// Clears slots of the dead, and says anew whether anybody listens. `own` is
    /// left alone.
    fn renew(&self, own: u32, rings: &MapHandle) {
        let mut types = [0; 4];
        for index in 0..LISTENERS {
            let word = self.of(index)[TYPES].load(Ordering::Relaxed).to_ne_bytes();
            let wished = &word[..4];
            if wished == [0; 4] {
                continue;
            }
            if index != own && self.hold(index).is_some() {
                tracing::info!("a listener was killed: its place is cleared");
                self.clear(index, rings);
                continue;
            }
            for (to, from) in types.iter_mut().zip(wished) {
                *to |= from;
            }
        }
        let mut word = [0; 8];
        word[..4].copy_from_slice(&types);
        self.settings.words()[EVENT_TYPES].store(u64::from_ne_bytes(word), Ordering::Release);
    }
}

/// No instance's name begins with a dot, and no two instances have one seed.
fn name_of(meta: &Meta) -> String {
    let [a, b, ..] = meta.hash_seed;
    format!(".events-{a:08x}{b:08x}")
}

/// The wish as the packet path reads it. A condition that it cannot look at is
/// left out.
fn encode(wish: &Wish) -> ct_listener {
    let FlowFilter {
        protocol,
        ifindex,
        addr,
        src,
        dst,
        port,
        sport,
        dport,
        ..
    } = wish.filter;
    let types = wish
        .types
        .iter()
        .fold(0, |types, kind| types | 1 << *kind as u32);
    let nets = [addr, src, dst];
    let ports = [port, sport, dport];
    ct_listener {
        types,
        family: family(&wish.filter, &nets),
        proto_set: u8::from(protocol.is_some()),
        proto: protocol.map_or(0, |protocol| protocol.0),
        port_lo: ports.map(|range| range.map_or(0, PortRange::first)),
        port_hi: ports.map(|range| range.map_or(u16::MAX, PortRange::last)),
        ifindex: ifindex.unwrap_or(0),
        owner: u64::from(std::process::id()),
        addr: nets.map(|net| net.map_or([0; 4], |net| words(net.network()))),
        mask: nets.map(|net| net.map_or([0; 4], |net| words(net.netmask()))),
        ..ct_listener::default()
    }
}

/// 4, 6, or 0 for both.
fn family(filter: &FlowFilter, nets: &[Option<IpNet>]) -> u8 {
    let of_net = nets.iter().flatten().next();
    let family = filter.family.or(of_net.map(|net| Family::of(net.addr())));
    match family {
        None => 0,
        Some(Family::Ipv4) => 4,
        Some(Family::Ipv6) => 6,
    }
}

/// An address as the packet path loads it from a packet.
fn words(addr: IpAddr) -> [u32; 4] {
    let mut words = [0; 4];
    match addr {
        IpAddr::V4(addr) => words[0] = u32::from_ne_bytes(addr.octets()),
        IpAddr::V6(addr) => {
            let octets = addr.octets();
            let (chunks, _) = octets.as_chunks::<4>();
            for (to, from) in words.iter_mut().zip(chunks) {
                *to = u32::from_ne_bytes(*from);
            }
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use conntrack_core::Protocol;

    use super::*;

    #[test]
    fn a_wish_for_everything_has_no_conditions() {
        let record = encode(&Wish::default());
        assert_eq!(record.types, 0b111_0111, "all but INVALID");
        assert_eq!((record.family, record.proto_set, record.ifindex), (0, 0, 0));
        assert_eq!((record.port_lo, record.port_hi), ([0; 3], [u16::MAX; 3]));
        assert_eq!(record.mask, [[0; 4]; 3]);
    }

    #[test]
    fn conditions_are_handed_over() {
        let filter = FlowFilter {
            protocol: Some(Protocol::UDP),
            src: Some("10.1.0.0/16".parse().unwrap()),
            dport: Some("53-54".parse().unwrap()),
            ..FlowFilter::default()
        };
        let record = encode(&Wish {
            filter,
            types: vec![EventType::Destroy],
            ..Wish::default()
        });
        assert_eq!((record.types, record.family), (0b100, 4));
        assert_eq!((record.proto_set, record.proto), (1, 17));
        assert_eq!(record.port_lo, [0, 0, 53]);
        assert_eq!(record.port_hi, [u16::MAX, u16::MAX, 54]);
        assert_eq!(record.addr[1][0], u32::from_ne_bytes([10, 1, 0, 0]));
        assert_eq!(
            record.mask[1],
            [u32::from_ne_bytes([255, 255, 0, 0]), 0, 0, 0]
        );
    }
}
