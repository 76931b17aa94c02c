//! What a tracker has mapped to be read, kept for the next reading.

use std::sync::OnceLock;
use std::sync::PoisonError;
use std::sync::RwLock;

use conntrack_bpf::counters::Meter;
use conntrack_bpf::datapath::Datapath;
use conntrack_bpf::instance::Instance;
use conntrack_bpf::table::Tables;

use crate::Result;

/// Mappings of a data path, made when they are first asked for.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    tables: RwLock<Option<Tables>>,
    meter: OnceLock<Meter>,
}

impl Reader {
    /// The tables there are. Others may have taken their place since the last time.
    pub(crate) fn tables(&self, instance: &Instance) -> Result<Tables> {
        let known = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some(tables) if !tables.are_outdated() => return Ok(tables.clone()),
            _ => drop(known),
        }
        let made = instance.tables_to_read()?;
        let mut known = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        Ok(known.insert(made).clone())
    }

    /// Reads the tables, and again as long as others take their place meanwhile.
    pub(crate) fn whole<T>(
        &self,
        instance: &Instance,
        mut read: impl FnMut(&Tables) -> Result<T>,
    ) -> Result<T> {
        loop {
            let tables = self.tables(instance)?;
            let found = read(&tables)?;
            if !tables.are_outdated() {
                return Ok(found);
            }
        }
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
