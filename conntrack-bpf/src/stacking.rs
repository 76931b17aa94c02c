//! What the packet path must know of stacked devices. A packet that comes in on a
//! tracked interface and then goes through a bridge, a bond or a VLAN carries
//! that device's index on its way out; the device stands for the interface then.
//! It can do so only if nothing else comes in by it.

use std::collections::BTreeSet;

use crate::devices;
use crate::devices::Device;

/// The devices by which nothing comes in but what one of `tracked` has seen.
pub(crate) fn covered(devices: &[Device], tracked: &BTreeSet<u32>) -> BTreeSet<u32> {
    let mut covered = devices::uppers(devices, tracked.iter().copied());
    loop {
        let before = covered.len();
        let known = covered.clone();
        covered.retain(|&upper| sources(devices, upper).all(|it| seen(it, tracked, &known)));
        if covered.len() == before {
            return covered;
        }
    }
}

/// What is to be said of a tracked interface: the masters above it with ports
/// that are not tracked.
pub(crate) fn caveats(
    devices: &[Device],
    tracked: &BTreeSet<u32>,
    interface: &Device,
) -> Vec<String> {
    let covered = covered(devices, tracked);
    let uppers = devices::uppers(devices, [interface.ifindex]);
    let uppers = devices
        .iter()
        .filter(|device| uppers.contains(&device.ifindex));
    let mixed = uppers.filter_map(|upper| {
        let ports = sources(devices, upper.ifindex);
        let others = ports.filter(|port| port.master == Some(upper.ifindex));
        let others = others.filter(|port| !seen(port, tracked, &covered));
        let others: Vec<&str> = others.map(|port| port.name.as_str()).collect();
        let (name, others) = (&upper.name, others.join(", "));
        let from = &interface.name;
        (!others.is_empty()).then(|| {
            format!(
                "{name} has ports that are not tracked ({others}): what is routed from {from} by \
                 {name} to another tracked interface counts twice"
            )
        })
    });
    mixed.collect()
}

fn seen(device: &Device, tracked: &BTreeSet<u32>, covered: &BTreeSet<u32>) -> bool {
    tracked.contains(&device.ifindex) || covered.contains(&device.ifindex)
}

/// Where the packets come from that come in by a device: its ports, or the one
/// beneath it.
fn sources(devices: &[Device], upper: u32) -> impl Iterator<Item = &Device> {
    let this = devices.iter().find(move |device| device.ifindex == upper);
    let lower = this.and_then(|device| device.lower);
    devices.iter().filter(move |device| {
        device.master == Some(upper) || lower.is_some_and(|lower| device.ifindex == lower)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::Framing;
    use crate::devices::XdpPresent;

    fn device(ifindex: u32, master: Option<u32>, lower: Option<u32>) -> Device {
        Device {
            ifindex,
            name: format!("d{ifindex}"),
            framing: Framing::Ethernet,
            loopback: false,
            up: true,
            mtu: 1500,
            queues: (1, 1),
            kind: None,
            xdp: XdpPresent::default(),
            master,
            lower,
        }
    }

    /// 1 and 2 in bond 3; VLANs 4 and 5 on it, 4 and 7 in bridge 6; VLAN 8 on
    /// the bridge.
    fn stack() -> [Device; 8] {
        [
            device(1, Some(3), None),
            device(2, Some(3), None),
            device(3, None, None),
            device(4, Some(6), Some(3)),
            device(5, None, Some(3)),
            device(6, None, None),
            device(7, Some(6), None),
            device(8, None, Some(6)),
        ]
    }

    #[test]
    fn all_ports_must_be_tracked() {
        let covers = |tracked: &[u32]| -> Vec<u32> {
            let tracked = tracked.iter().copied().collect();
            covered(&stack(), &tracked).into_iter().collect()
        };
        assert_eq!(covers(&[1]), [0; 0]);
        assert_eq!(covers(&[1, 2]), [3, 4, 5]);
        assert_eq!(covers(&[1, 2, 7]), [3, 4, 5, 6, 8]);
        assert_eq!(covers(&[4]), [0; 0]);
        assert_eq!(covers(&[4, 7]), [6, 8]);
        assert_eq!(covers(&[6]), [8]);
    }

    #[test]
    fn a_circle_ends() {
        let devices = [device(1, Some(2), None), device(2, Some(1), None)];
        assert_eq!(covered(&devices, &[1].into()), [1, 2].into());
    }

    #[test]
    fn ports_that_are_not_tracked_are_named() {
        let stack = stack();
        let say = |tracked: &[u32], of: usize| {
            let tracked = tracked.iter().copied().collect();
            caveats(&stack, &tracked, &stack[of - 1])
        };
        assert_eq!(say(&[1, 2, 7], 1), [""; 0]);
        assert_eq!(say(&[6], 6), [""; 0]);
        let both = say(&[1], 1);
        assert_eq!(both.len(), 2, "{both:?}");
        assert!(both[0].starts_with("d3 has ports that are not tracked (d2): "));
        assert!(both[1].starts_with("d6 has ports that are not tracked (d4, d7): "));
        let end = "routed from d7 by d6 to another tracked interface counts twice";
        assert!(say(&[7], 7)[0].ends_with(end), "{:?}", say(&[7], 7));
    }
}
