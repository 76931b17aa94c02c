//! What a tracker has mapped to be read, kept for the next reading.

use std::sync::OnceLock;

use conntrack_bpf::counters::Meter;
use conntrack_bpf::datapath::Datapath;
use conntrack_bpf::table::Tables;

use crate::Result;

/// Mappings of a data path, made when they are first asked for.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    tables: OnceLock<Tables>,
    meter: OnceLock<Meter>,
}

impl Reader {
    pub(crate) fn tables(&self, datapath: &Datapath) -> Result<&Tables> {
        once(&self.tables, || Tables::map(datapath))
    }

    pub(crate) fn meter(&self, datapath: &Datapath) -> Result<&Meter> {
        once(&self.meter, || Meter::map(datapath))
    }
}

/// What is in the cell; if it is empty, what `make` puts there. Of two threads
/// that make it at once one does so in vain.
fn once<T>(cell: &OnceLock<T>, make: impl FnOnce() -> Result<T>) -> Result<&T> {
    if let Some(made) = cell.get() {
        return Ok(made);
    }
    let made = make()?;
    Ok(cell.get_or_init(|| made))
}
