//! The older ConnTracker's command line, which has no commands:
//! `conntrack --c config.yaml --t 50 --iface1 A --iface2 B --log_level 3`.

use clap::Args;

/// Its options, but for `--c`, which is `--config` here.
#[derive(Debug, Default, Args)]
pub(crate) struct LegacyArgs {
    #[arg(long = "t", hide = true, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=i64::from(conntrack_core::Threshold::MAX)))]
    pub(crate) threshold: Option<u32>,
    #[arg(long, hide = true, value_name = "IFACE")]
    iface1: Option<String>,
    #[arg(long, hide = true, value_name = "IFACE")]
    iface2: Option<String>,
    #[arg(long, hide = true, value_name = "IFACE")]
    iface3: Option<String>,
    #[arg(long, hide = true, value_name = "IFACE")]
    iface4: Option<String>,
    /// 0 is the quietest.
    #[arg(long = "log_level", hide = true, value_name = "N")]
    pub(crate) log_level: Option<u8>,
}

impl LegacyArgs {
    /// The interfaces named, in order.
    pub(crate) fn interfaces(&self) -> Vec<String> {
        let given = [&self.iface1, &self.iface2, &self.iface3, &self.iface4];
        given.into_iter().flatten().cloned().collect()
    }

    /// The first of these options that was given, for messages.
    pub(crate) fn given(&self) -> Option<&'static str> {
        [
            ("--t", self.threshold.is_some()),
            ("--iface1", self.iface1.is_some()),
            ("--iface2", self.iface2.is_some()),
            ("--iface3", self.iface3.is_some()),
            ("--iface4", self.iface4.is_some()),
            ("--log_level", self.log_level.is_some()),
        ]
        .into_iter()
        .find_map(|(name, given)| given.then_some(name))
    }
}
