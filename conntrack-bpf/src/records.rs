//! The two records that user space keeps for itself in maps: what an instance
//! is (`ct_meta`) and where it is attached (`ct_attach`).

use conntrack_core::Hook;
use conntrack_core::Hooks;
use libbpf_rs::MapCore;
use libbpf_rs::MapFlags;
use libbpf_rs::MapHandle;
use plain::Plain;

use crate::error::Context;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::skel::types::ct_attach;
use crate::skel::types::ct_hook;
use crate::skel::types::ct_meta;
use crate::skel::types::ct_resize;

// SAFETY: nothing but integers, and no padding (types.h asserts the size).
unsafe impl Plain for ct_meta {}
// SAFETY: as above.
unsafe impl Plain for ct_attach {}

/// What an instance is: written by the process that loaded it, read by those
/// that open it.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct Meta {
    /// Version of the layout, [`crate::ABI`] of the writer.
    pub abi: u32,
    /// Set-up has come to its end.
    pub ready: bool,
    /// Buckets of the IPv4 table.
    pub buckets4: u32,
    /// Buckets of the IPv6 table.
    pub buckets6: u32,
    /// Seed of the flow hash.
    pub hash_seed: [u32; 12],
    /// Inode number of the network namespace; 0 while not attached anywhere.
    pub netns_ino: u64,
    /// Device of that inode.
    pub netns_dev: u64,
    /// When it was loaded: nanoseconds of `CLOCK_BOOTTIME`.
    pub created: u64,
    /// IPv4 flows it is sized for.
    pub max_flows4: u64,
    /// IPv6 flows it is sized for.
    pub max_flows6: u64,
    /// How far its tables' replacement by others has come.
    pub phase: Phase,
    /// Buckets of the IPv4 table that takes the place of the one there is; 0 if it
    /// stays.
    pub next_buckets4: u32,
    /// The same of IPv6.
    pub next_buckets6: u32,
    /// IPv4 flows it is going to be sized for.
    pub next_flows4: u64,
    /// IPv6 flows it is going to be sized for.
    pub next_flows6: u64,
    /// It ends with the process that holds its lock.
    pub foreground: bool,
    /// What is measured of connections: groups, one a bit.
    pub health: u32,
    /// Version of the crate that its programs are of.
    pub version: String,
    /// How the user named the namespace; empty for the current one.
    pub netns: String,
    /// Folder in which bans are kept over a restart; empty if they are not.
    pub state: String,
}

/// How far the replacement of tables has come: which programs may sit on the hooks.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
#[repr(u32)]
pub enum Phase {
    /// None is under way.
    #[default]
    None = ct_resize::CT_RESIZE_NONE.0,
    /// Those that know both tables come, and create flows in the old one.
    Prepare = ct_resize::CT_RESIZE_PREPARE.0,
    /// Those that create flows in the new one come, and flows move there.
    Move = ct_resize::CT_RESIZE_MOVE.0,
    /// Nothing is left in the old one; those that know the new one only come.
    Finish = ct_resize::CT_RESIZE_FINISH.0,
}

impl Phase {
    fn from_number(number: u32) -> Option<Self> {
        let all = [Self::None, Self::Prepare, Self::Move, Self::Finish];
        all.into_iter().find(|phase| *phase as u32 == number)
    }
}

const KEY: [u8; 4] = [0; 4];

impl Meta {
    /// What it is when the tables to come are its tables.
    pub(crate) fn resized(&self) -> Self {
        let or = |next, now| if next == 0 { now } else { next };
        Self {
            buckets4: or(self.next_buckets4, self.buckets4),
            buckets6: or(self.next_buckets6, self.buckets6),
            max_flows4: self.next_flows4,
            max_flows6: self.next_flows6,
            ..self.unchanged()
        }
    }

    /// What it is when no tables are to come.
    pub(crate) fn unchanged(&self) -> Self {
        Self {
            phase: Phase::None,
            next_buckets4: 0,
            next_buckets6: 0,
            next_flows4: 0,
            next_flows6: 0,
            ..self.clone()
        }
    }

    /// Reads the record of an instance.
    pub(crate) fn read(map: &MapHandle) -> Result<Self> {
        let value = map.lookup(&KEY, MapFlags::ANY).context("read ct_meta")?;
        let bytes = value.unwrap_or_default();
        let mut raw = ct_meta::default();
        raw.copy_from_bytes(&bytes)
            .map_err(|_| Error::new(ErrorKind::AbiMismatch, "ct_meta has another size"))?;
        Ok(Self {
            abi: raw.abi,
            ready: raw.ready != 0,
            buckets4: raw.buckets4,
            buckets6: raw.buckets6,
            hash_seed: raw.hash_seed,
            netns_ino: raw.netns_ino,
            netns_dev: raw.netns_dev,
            created: raw.created,
            max_flows4: raw.max_flows4,
            max_flows6: raw.max_flows6,
            phase: Phase::from_number(raw.phase).ok_or_else(|| {
                let message = format!("ct_meta has an unknown phase ({})", raw.phase);
                Error::new(ErrorKind::AbiMismatch, message)
            })?,
            next_buckets4: raw.next_buckets4,
            next_buckets6: raw.next_buckets6,
            next_flows4: raw.next_flows4,
            next_flows6: raw.next_flows6,
            foreground: raw.foreground != 0,
            health: raw.health,
            version: from_chars(&raw.version),
            netns: from_chars(&raw.netns),
            state: from_chars(&raw.state),
        })
    }

    /// Writes the record.
    pub(crate) fn write(&self, map: &MapHandle) -> Result<()> {
        let mut raw = ct_meta {
            abi: self.abi,
            ready: u32::from(self.ready),
            buckets4: self.buckets4,
            buckets6: self.buckets6,
            hash_seed: self.hash_seed,
            netns_ino: self.netns_ino,
            netns_dev: self.netns_dev,
            created: self.created,
            max_flows4: self.max_flows4,
            max_flows6: self.max_flows6,
            phase: self.phase as u32,
            next_buckets4: self.next_buckets4,
            next_buckets6: self.next_buckets6,
            next_flows4: self.next_flows4,
            next_flows6: self.next_flows6,
            foreground: u32::from(self.foreground),
            health: self.health,
            ..Default::default()
        };
        to_chars(&self.version, &mut raw.version);
        to_chars(&self.netns, &mut raw.netns);
        to_chars(&self.state, &mut raw.state);
        // SAFETY: see the `Plain` implementation.
        let bytes = unsafe { plain::as_bytes(&raw) };
        map.update(&KEY, bytes, MapFlags::ANY)
            .context("write ct_meta")
    }
}

/// Where an instance is attached, and why so. It is written before anything is
/// attached and again afterwards, so that a killed process leaves a trace of
/// whatever it may have left.
#[derive(Clone, Eq, PartialEq, Debug)]
#[non_exhaustive]
pub struct AttachRecord {
    /// Index of the interface in the instance's namespace.
    pub ifindex: u32,
    /// Its name then.
    pub name: String,
    /// The hooks.
    pub hooks: Hooks,
    /// The clsact qdisc was not there before.
    pub made_clsact: bool,
    /// When: nanoseconds of `CLOCK_BOOTTIME`.
    pub since: u64,
    /// Why not the hooks one would expect; empty if they are.
    pub why: String,
}

impl AttachRecord {
    /// Reads every record, by interface.
    pub(crate) fn read_all(map: &MapHandle) -> Result<Vec<Self>> {
        let mut records = Vec::new();
        for key in map.keys() {
            let value = map.lookup(&key, MapFlags::ANY).context("read ct_attach")?;
            let Some(value) = value else {
                continue; // taken away meanwhile
            };
            let ifindex = key.first_chunk().map_or(0, |key| u32::from_ne_bytes(*key));
            let mut raw = ct_attach::default();
            raw.copy_from_bytes(&value)
                .map_err(|_| Error::new(ErrorKind::AbiMismatch, "ct_attach has another size"))?;
            records.push(Self {
                ifindex,
                name: from_chars(&raw.name),
                hooks: Hooks {
                    ingress: from_raw_hook(raw.ingress),
                    egress: from_raw_hook(raw.egress),
                },
                made_clsact: raw.made_clsact != 0,
                since: raw.since,
                why: from_chars(&raw.why),
            });
        }
        records.sort_by_key(|record| record.ifindex);
        Ok(records)
    }

    /// Writes or replaces the record.
    pub(crate) fn write(&self, map: &MapHandle) -> Result<()> {
        let mut raw = ct_attach {
            ingress: to_raw_hook(self.hooks.ingress),
            egress: to_raw_hook(self.hooks.egress),
            made_clsact: u32::from(self.made_clsact),
            since: self.since,
            ..Default::default()
        };
        to_chars(&self.name, &mut raw.name);
        to_chars(&self.why, &mut raw.why);
        // SAFETY: see the `Plain` implementation.
        let bytes = unsafe { plain::as_bytes(&raw) };
        map.update(&self.ifindex.to_ne_bytes(), bytes, MapFlags::ANY)
            .context("write ct_attach")
    }

    /// Takes the record of an interface away, if there is one.
    pub(crate) fn remove(map: &MapHandle, ifindex: u32) -> Result<()> {
        match map.delete(&ifindex.to_ne_bytes()) {
            Err(error) if error.kind() == libbpf_rs::ErrorKind::NotFound => Ok(()),
            result => result.context("delete from ct_attach"),
        }
    }
}

const HOOKS: [(ct_hook, Hook); 5] = [
    (ct_hook::CT_HOOK_XDP_NATIVE, Hook::XdpNative),
    (ct_hook::CT_HOOK_XDP_GENERIC, Hook::XdpGeneric),
    (ct_hook::CT_HOOK_XDP_OFFLOAD, Hook::XdpOffload),
    (ct_hook::CT_HOOK_TCX, Hook::Tcx),
    (ct_hook::CT_HOOK_CLSACT, Hook::Clsact),
];

fn to_raw_hook(hook: Option<Hook>) -> u32 {
    let known = HOOKS.iter().find(|(_, known)| Some(*known) == hook);
    known.map_or(ct_hook::CT_HOOK_NONE.0, |(raw, _)| raw.0)
}

fn from_raw_hook(raw: u32) -> Option<Hook> {
    let known = HOOKS.iter().find(|(known, _)| known.0 == raw);
    known.map(|(_, hook)| *hook)
}

/// A C string in an array, up to its NUL.
pub(crate) fn from_chars(chars: &[i8]) -> String {
    let bytes = chars
        .iter()
        .map(|&c| c.cast_unsigned())
        .take_while(|&b| b != 0);
    String::from_utf8_lossy(&bytes.collect::<Vec<_>>()).into_owned()
}

/// Cuts the text at a character so that a NUL fits behind it.
pub(crate) fn to_chars(text: &str, chars: &mut [i8]) {
    let room = chars.len().saturating_sub(1);
    let end = (0..=room.min(text.len()))
        .rev()
        .find(|&end| text.is_char_boundary(end));
    let bytes = text.as_bytes().iter().take(end.unwrap_or(0));
    for (to, from) in chars.iter_mut().zip(bytes) {
        *to = from.cast_signed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hooks_round_trip() {
        for hook in Hook::ALL {
            assert_eq!(from_raw_hook(to_raw_hook(Some(hook))), Some(hook));
        }
        assert_eq!(from_raw_hook(to_raw_hook(None)), None);
        assert_eq!(from_raw_hook(99), None);
    }

    #[test]
    fn texts_are_cut_at_characters() {
        let mut chars = [0; 4];
        to_chars("abé", &mut chars);
        assert_eq!(from_chars(&chars), "ab");
        let mut chars = [0; 5];
        to_chars("abé", &mut chars);
        assert_eq!(from_chars(&chars), "abé");
        let mut chars = [0; 3];
        to_chars("", &mut chars);
        assert_eq!(from_chars(&chars), "");
    }
}
