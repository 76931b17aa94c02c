//! Limits as packets have them, and why they ban, as `banned` says.

use std::time::Duration;

use conntrack_core::BanOn;
use conntrack_core::Threshold;
use conntrack_core::ThresholdAction;
use conntrack_core::ban::REASON_MAX;

use crate::clock::nanos;
use crate::wire::ct_limit_kind;
use crate::wire::ct_limits;

/// In the place of what a reason has no room for.
const MORE: &str = ", ...";

/// What `banned` says of them.
pub(super) fn reason(threshold: &Threshold) -> String {
    let limits = [
        ("new", threshold.new),
        ("new_per_prefix", threshold.new_per_prefix),
        ("new_per_port", threshold.new_per_port),
        ("half_open", threshold.half_open),
        ("half_open_per_prefix", threshold.half_open_per_prefix),
        ("half_open_per_port", threshold.half_open_per_port),
    ];
    let limits = limits.into_iter().filter(|(_, limit)| *limit != 0);
    let limits: Vec<_> = limits
        .map(|(name, limit)| format!("{name} {limit}"))
        .collect();
    let window = threshold.get("window").unwrap_or_default();
    let mut text = format!("more connections in {window} than {}", limits.join(", "));
    while text.len() > REASON_MAX {
        // The last of them goes for those that were left out.
        let end = text.trim_end_matches(MORE).rfind(", ").unwrap_or(0);
        text.truncate(end);
        text += MORE;
    }
    text
}

pub(super) fn encode(threshold: &Threshold) -> ct_limits {
    let mut limits = ct_limits {
        action: threshold.action as u32,
        on_syn: u32::from(threshold.ban_on == BanOn::Syn),
        half_ns: nanos(threshold.window) / 2,
        prefix: [threshold.prefix_v4.into(), threshold.prefix_v6.into()],
        forget_ns: nanos(threshold.ban_forget),
        ttls: threshold.ban_ttl.len() as u32,
        ..ct_limits::default()
    };
    let kinds = [
        (ADDR, threshold.new, threshold.half_open),
        (
            PREFIX,
            threshold.new_per_prefix,
            threshold.half_open_per_prefix,
        ),
        (
            TO_PORT,
            threshold.new_per_port,
            threshold.half_open_per_port,
        ),
    ];
    for (kind, most, half_open) in kinds {
        (limits.most[kind], limits.half_open[kind]) = (most, half_open);
    }
    for (to, time) in limits.ttl.iter_mut().zip(&threshold.ban_ttl) {
        *to = nanos(*time);
    }
    limits
}

const ADDR: usize = ct_limit_kind::CT_LIMIT_ADDR.0 as usize;
const PREFIX: usize = ct_limit_kind::CT_LIMIT_PREFIX.0 as usize;
const TO_PORT: usize = ct_limit_kind::CT_LIMIT_PORT.0 as usize;

pub(super) fn decode(limits: &ct_limits) -> Option<Threshold> {
    let mut threshold = Threshold::default();
    threshold.action = ThresholdAction::from_number(limits.action)?;
    threshold.ban_on = match limits.on_syn {
        0 => BanOn::Handshake,
        _ => BanOn::Syn,
    };
    threshold.new = limits.most[ADDR];
    threshold.new_per_prefix = limits.most[PREFIX];
    threshold.new_per_port = limits.most[TO_PORT];
    threshold.half_open = limits.half_open[ADDR];
    threshold.half_open_per_prefix = limits.half_open[PREFIX];
    threshold.half_open_per_port = limits.half_open[TO_PORT];
    threshold.window = Duration::from_nanos(limits.half_ns * 2);
    [threshold.prefix_v4, threshold.prefix_v6] = limits.prefix.map(|bits| bits as u8);
    let times = limits.ttl.iter().take(limits.ttls as usize);
    threshold.ban_ttl = times.map(|time| Duration::from_nanos(*time)).collect();
    threshold.ban_forget = Duration::from_nanos(limits.forget_ns);
    Some(threshold)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut threshold = Threshold::new(50);
        for (number, key) in (1..).zip(Threshold::KEYS) {
            let value = match key {
                "action" => "ban".to_owned(),
                "ban_on" => "syn".to_owned(),
                "window" => "1700ms".to_owned(),
                "ban_ttl" => "1m,2m,3h,4d".to_owned(),
                "ban_forget" => "5d".to_owned(),
                "prefix_v4" => "27".to_owned(),
                "prefix_v6" => "99".to_owned(),
                _ => number.to_string(),
            };
            threshold.set(key, &value).unwrap();
        }
        assert_eq!(decode(&encode(&threshold)), Some(threshold));
        assert_eq!(decode(&ct_limits::default()), None);
    }

    #[test]
    fn a_reason_fits() {
        let mut threshold = Threshold::new(Threshold::MAX);
        for key in Threshold::KEYS
            .into_iter()
            .filter(|key| key.contains("new") || key.contains("half"))
        {
            threshold.set(key, &Threshold::MAX.to_string()).unwrap();
        }
        let text = reason(&threshold);
        assert!(text.len() <= REASON_MAX, "{text}");
        assert!(text.ends_with("half_open 1000000, ..."), "{text}");
        let mut threshold = Threshold::new(0);
        threshold.half_open_per_port = 7;
        let text = reason(&threshold);
        assert_eq!(text, "more connections in 1s than half_open_per_port 7");
    }
}
