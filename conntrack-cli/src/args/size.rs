//! Sizes of tables, for `attach` and `resize`.

use clap::Args;
use conntrack_core::ByteSize;
use conntrack_core::TableConfig;

use super::text;
use super::values;

/// How large the tables are to be.
#[derive(Debug, Args)]
pub(crate) struct SizeArgs {
    /// IPv4 flows to make room for [default: 262144, about 171 bytes each]
    #[arg(long, value_name = "N", value_parser = values::max_flows())]
    pub(crate) max_flows: Option<u32>,

    /// IPv6 flows to make room for [default: half of IPv4, about 251 bytes each]
    #[arg(long, value_name = "N", value_parser = values::max_flows())]
    pub(crate) max_flows_v6: Option<u32>,

    /// Size both tables by memory instead: 64M, 1G. Twice as many IPv4 as IPv6 flows
    ///
    /// The kernel's memory for all maps stays within it; the buffers of those who
    /// listen to events come on top.
    #[arg(long, value_name = "SIZE", conflicts_with_all = ["max_flows", "max_flows_v6"])]
    pub(crate) max_memory: Option<ByteSize>,
}

impl SizeArgs {
    /// Puts what was said here over the tables there are, or a configuration's.
    pub(crate) fn apply(&self, table: &mut TableConfig) {
        if let Some(memory) = self.max_memory {
            *table = TableConfig::within(memory);
        }
        if self.max_flows.is_some() || self.max_flows_v6.is_some() {
            table.max_memory = None;
        }
        table.max_flows = self.max_flows.unwrap_or(table.max_flows);
        table.max_flows_v6 = self.max_flows_v6.or(table.max_flows_v6);
    }

    /// Whether a size was given.
    pub(crate) fn given(&self) -> bool {
        self.max_memory.is_some() || self.max_flows.is_some() || self.max_flows_v6.is_some()
    }
}

#[derive(Debug, Args)]
#[command(after_help = text::RESIZE)]
pub(crate) struct ResizeArgs {
    #[command(flatten)]
    pub(crate) size: SizeArgs,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::Cli;
    use crate::args::Command;

    /// The tables of `attach` with these options over a configuration's.
    fn sized(options: &[&str], mut table: TableConfig) -> TableConfig {
        let args = [&["conntrack", "attach", "lo"], options].concat();
        let Ok(Some(Command::Attach(args))) = Cli::try_parse_from(args).map(|cli| cli.command)
        else {
            panic!("{options:?}");
        };
        assert_eq!(args.size.given(), !options.is_empty(), "{options:?}");
        args.size.apply(&mut table);
        table
    }

    #[test]
    fn sizes_win_over_the_configuration() {
        let mut flows = TableConfig::default();
        (flows.max_flows, flows.max_flows_v6) = (500, Some(7));
        let memory = TableConfig::within(ByteSize(1 << 30));
        for table in [flows, memory] {
            assert_eq!(sized(&[], table), table);
            let within = sized(&["--max-memory", "64M"], table);
            assert_eq!(within, TableConfig::within(ByteSize(64 << 20)));
            let counted = sized(&["--max-flows", "9"], table);
            assert_eq!((counted.max_flows, counted.max_memory), (9, None));
        }
        let counted = sized(&["--max-flows-v6", "9"], memory);
        assert_eq!(counted.max_flows, TableConfig::default().max_flows);
        assert_eq!((counted.flows_v6(), counted.max_memory), (9, None));
    }
}
