//! Order and number of flows.

use std::cmp::Ordering;

use conntrack_core::Flow;

use crate::args::SortKey;
use crate::args::SortOrder;

/// Takes flows as they come and gives them in order. With a limit it holds
/// twice as many at most.
#[derive(Debug)]
pub(crate) struct Selection {
    order: SortOrder,
    limit: usize,
    flows: Vec<Flow>,
}

impl Selection {
    /// The first `limit` flows in an order; all of them without a limit.
    pub(crate) fn new(order: SortOrder, limit: Option<usize>) -> Self {
        Self {
            order,
            limit: limit.unwrap_or(usize::MAX),
            flows: Vec::new(),
        }
    }

    /// One more flow.
    pub(crate) fn add(&mut self, flow: Flow) {
        self.flows.push(flow);
        if self.flows.len() >= self.limit.saturating_mul(2).max(1024) {
            self.cut();
        }
    }

    /// Drops those that can't be shown any more.
    fn cut(&mut self) {
        if self.flows.len() > self.limit {
            let order = self.order;
            if self.limit > 0 {
                self.flows
                    .select_nth_unstable_by(self.limit - 1, |a, b| compare(order, a, b));
            }
            self.flows.truncate(self.limit);
        }
    }

    /// The flows, in order.
    pub(crate) fn finish(mut self) -> Vec<Flow> {
        self.cut();
        let order = self.order;
        self.flows.sort_unstable_by(|a, b| compare(order, a, b));
        self.flows
    }
}

/// Largest and latest first, lowest address first. Equal ones are in the order
/// of their keys, so that a watched list stands still.
fn compare(order: SortOrder, a: &Flow, b: &Flow) -> Ordering {
    let by = match order.key {
        SortKey::Bytes => b.bytes().cmp(&a.bytes()),
        SortKey::Packets => b.packets().cmp(&a.packets()),
        SortKey::Duration => b.duration.cmp(&a.duration),
        SortKey::Timeout => b.timeout.cmp(&a.timeout),
        SortKey::LastSeen => b.last_seen.cmp(&a.last_seen),
        SortKey::Start => b.start.cmp(&a.start),
        SortKey::Src => {
            let end = |flow: &Flow| (flow.original.tuple.src, flow.original.tuple.ports());
            end(a).cmp(&end(b))
        }
        SortKey::Dst => {
            let end = |flow: &Flow| {
                let tuple = &flow.original.tuple;
                (tuple.dst, tuple.ports().map(|(_, port)| port))
            };
            end(a).cmp(&end(b))
        }
    };
    let by = if order.reverse { by.reverse() } else { by };
    by.then_with(|| a.original.tuple.cmp(&b.original.tuple))
}

#[cfg(test)]
mod tests {
    use conntrack_core::L4;
    use conntrack_core::Protocol;
    use conntrack_core::Side;
    use conntrack_core::Tuple;

    use super::*;

    fn flow(port: u16, bytes: u64) -> Flow {
        let tuple = Tuple {
            src: "10.0.0.1".parse().unwrap(),
            dst: "10.0.0.2".parse().unwrap(),
            protocol: Protocol::UDP,
            l4: L4::Ports { src: port, dst: 53 },
        };
        let mut flow = Flow::new(Side::new(tuple), Side::new(tuple.inverted().unwrap()));
        flow.original.bytes = bytes;
        flow
    }

    fn chosen(text: &str, limit: Option<usize>) -> Vec<u64> {
        let mut selection = Selection::new(text.parse().unwrap(), limit);
        for number in 0..5000 {
            // Every value from 0 to 4999 once, mixed.
            selection.add(flow(number, u64::from(number) * 1_237 % 5_000));
        }
        selection.finish().iter().map(Flow::bytes).collect()
    }

    #[test]
    fn a_limit_keeps_the_right_ones() {
        assert_eq!(chosen("bytes", Some(3)), [4999, 4998, 4997]);
        assert_eq!(chosen("-bytes", Some(3)), [0, 1, 2]);
        assert_eq!(chosen("bytes", Some(0)), [0_u64; 0]);
        assert_eq!(chosen("-bytes", None), (0..5000).collect::<Vec<_>>());
        assert_eq!(chosen("src", Some(2)), [0, 1237]);
        assert_eq!(chosen("-src", Some(1)), [4999 * 1_237 % 5_000]);
    }

    #[test]
    fn a_limit_bounds_what_is_held() {
        let mut selection = Selection::new("bytes".parse().unwrap(), Some(1000));
        for number in 0..20_000 {
            selection.add(flow(number, 1));
            assert!(selection.flows.len() < 2000);
        }
    }
}
