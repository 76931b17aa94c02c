//! What is said where how connections do is not measured.

use conntrack_core::HealthConfig;

use crate::failure::say;

/// Says what is shown as nothing because it is switched off.
pub(super) fn say_what_is_off(health: HealthConfig) {
    what_is_off(health).iter().for_each(say);
}

/// The same, to be said; `None` if all is measured.
pub(super) fn what_is_off(health: HealthConfig) -> Option<String> {
    if !health.enabled {
        let text = "how connections do is not measured: the configuration has it switched off \
                    (health.enabled)";
        return Some(text.to_owned());
    }
    let groups = [
        ("rtt", health.rtt),
        ("loss", health.loss),
        ("window", health.window),
    ];
    let off = groups.into_iter().filter(|(_, on)| !on);
    let off: Vec<_> = off.map(|(group, _)| format!("health.{group}")).collect();
    (!off.is_empty()).then(|| {
        let off = off.join(", ");
        format!(
            "not all of how connections do is measured: the configuration has switched off {off}"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_named() {
        let mut health = HealthConfig::default();
        assert_eq!(what_is_off(health), None);
        (health.rtt, health.window) = (false, false);
        let some = what_is_off(health).unwrap();
        assert!(some.ends_with("off health.rtt, health.window"), "{some}");
        health.enabled = false;
        let all = what_is_off(health).unwrap();
        assert!(all.ends_with("(health.enabled)"), "{all}");
    }
}
