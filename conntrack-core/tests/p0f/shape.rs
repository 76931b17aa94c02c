//! Packets to order.

/// TCP flags.
pub(crate) const SYN: u8 = 0x02;
pub(crate) const PSH: u8 = 0x08;
pub(crate) const ACK: u8 = 0x10;
pub(crate) const URG: u8 = 0x20;
pub(crate) const ECE: u8 = 0x40;
pub(crate) const CWR: u8 = 0x80;

/// IPv4 flags.
pub(crate) const DF: u16 = 0x4000;
pub(crate) const RESERVED: u16 = 0x8000;

/// What most stacks send, and Linux.
pub(crate) const MSS: [u8; 4] = [2, 4, 0x05, 0xb4];
pub(crate) const LINUX: [u8; 20] = [
    2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 3, 7,
];

/// A TCP segment in an IP packet. What is not set is a plain IPv4 SYN.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) v6: bool,
    pub(crate) ttl: u8,
    /// IPv4's type of service, IPv6's traffic class.
    pub(crate) class: u8,
    pub(crate) id: u16,
    /// IPv4's flags and fragment offset.
    pub(crate) ip_flags: u16,
    pub(crate) ip_options: Vec<u8>,
    pub(crate) label: u32,
    pub(crate) ports: (u16, u16),
    /// The last bytes of the addresses.
    pub(crate) hosts: (u16, u16),
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: u8,
    /// The bits beside the data offset.
    pub(crate) reserved: u8,
    pub(crate) window: u16,
    pub(crate) urgent: u16,
    /// A multiple of four bytes.
    pub(crate) options: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            v6: false,
            ttl: 64,
            class: 0,
            id: 1,
            ip_flags: DF,
            ip_options: Vec::new(),
            label: 0,
            ports: (40_000, 80),
            hosts: (1, 2),
            seq: 1,
            ack: 0,
            flags: SYN,
            reserved: 0,
            window: 14_600,
            urgent: 0,
            options: MSS.to_vec(),
            payload: Vec::new(),
        }
    }
}

impl Shape {
    /// A plain SYN+ACK: id 0, as Linux has it.
    pub(crate) fn answer() -> Self {
        Self {
            flags: SYN | ACK,
            ack: 2,
            id: 0,
            ports: (80, 40_000),
            hosts: (2, 1),
            ..Self::default()
        }
    }

    /// From its IP header on. Sums are 0.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let tcp = self.tcp();
        let mut packet = if self.v6 {
            self.ipv6(&tcp)
        } else {
            self.ipv4(&tcp)
        };
        packet.extend(tcp);
        packet
    }

    fn ipv4(&self, tcp: &[u8]) -> Vec<u8> {
        let header = 20 + self.ip_options.len();
        let total = u16::try_from(header + tcp.len()).unwrap();
        let mut ip = vec![0x40 | u8::try_from(header / 4).unwrap(), self.class];
        ip.extend(total.to_be_bytes());
        ip.extend(self.id.to_be_bytes());
        ip.extend(self.ip_flags.to_be_bytes());
        ip.extend([self.ttl, 6, 0, 0]);
        for host in [self.hosts.0, self.hosts.1] {
            ip.extend([10, 0]);
            ip.extend(host.to_be_bytes());
        }
        ip.extend(&self.ip_options);
        ip
    }

    fn ipv6(&self, tcp: &[u8]) -> Vec<u8> {
        let first = 6 << 28 | u32::from(self.class) << 20 | self.label;
        let mut ip = first.to_be_bytes().to_vec();
        ip.extend(
            u16::try_from(self.ip_options.len() + tcp.len())
                .unwrap()
                .to_be_bytes(),
        );
        // With extension headers the first must be one for the destination.
        ip.extend([if self.ip_options.is_empty() { 6 } else { 60 }, self.ttl]);
        for host in [self.hosts.0, self.hosts.1] {
            ip.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            ip.extend(host.to_be_bytes());
        }
        ip.extend(&self.ip_options);
        ip
    }

    fn tcp(&self) -> Vec<u8> {
        assert!(self.options.len().is_multiple_of(4) && self.options.len() <= 40);
        let mut tcp = self.ports.0.to_be_bytes().to_vec();
        tcp.extend(self.ports.1.to_be_bytes());
        tcp.extend(self.seq.to_be_bytes());
        tcp.extend(self.ack.to_be_bytes());
        let words = u8::try_from(5 + self.options.len() / 4).unwrap();
        tcp.extend([words << 4 | self.reserved, self.flags]);
        tcp.extend(self.window.to_be_bytes());
        tcp.extend([0, 0]);
        tcp.extend(self.urgent.to_be_bytes());
        tcp.extend(&self.options);
        tcp.extend(&self.payload);
        tcp
    }
}
