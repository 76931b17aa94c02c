//! Names of the interfaces in flows.

use std::sync::Arc;

use nix::net::if_::if_indextoname;

use crate::error::Result;
use crate::instance::Instance;
use crate::netns::Netns;

/// Names of interfaces by index. Each is looked up once, so that one listing
/// does not call one interface by two names.
#[derive(Debug, Default)]
pub struct Names {
    known: Vec<(u32, Option<Arc<str>>)>,
    netns: Option<Arc<Netns>>,
}

impl Names {
    /// Those that an instance is attached to; others are asked for in its
    /// namespace.
    ///
    /// # Errors
    /// What the kernel says to reading the records.
    pub fn of(instance: &Instance) -> Result<Self> {
        let records = instance.records()?.into_iter();
        let known = records.map(|record| (record.ifindex, Some(record.name.into())));
        Ok(Self {
            known: known.collect(),
            netns: instance.netns.clone(),
        })
    }

    /// The name of an interface; `None` if it has none any more, or its
    /// namespace is gone.
    pub fn get(&mut self, ifindex: u32) -> Option<Arc<str>> {
        let place = self.known.iter().position(|(known, _)| *known == ifindex);
        let place = place.unwrap_or_else(|| {
            self.known.push((ifindex, self.ask(ifindex)));
            self.known.len() - 1
        });
        // Flows of one interface come in runs.
        self.known.swap(0, place);
        self.known[0].1.clone()
    }

    fn ask(&self, ifindex: u32) -> Option<Arc<str>> {
        if ifindex == 0 {
            return None;
        }
        let netns = self.netns.as_ref()?;
        let name = netns.run(|| if_indextoname(ifindex)).ok()?.ok()?;
        // nix takes the null pointer of an index without a name for success.
        Some(name.to_string_lossy())
            .filter(|name| !name.is_empty())
            .map(Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns::NetnsRef;

    #[test]
    fn unknown_names_are_asked_for_once() {
        let netns = Netns::open(&NetnsRef::Current).expect("this namespace");
        let mut names = Names {
            known: vec![(7, Some("gone7".into())), (0x7fff_0000, None)],
            netns: Some(Arc::new(netns)),
        };
        assert_eq!(names.get(1).as_deref(), Some("lo"));
        assert_eq!(names.get(7).as_deref(), Some("gone7"));
        assert_eq!(names.get(0x7fff_0000), None);
        assert_eq!(names.get(0x7fff_0001), None);
        names.netns = None;
        assert_eq!(names.get(1).as_deref(), Some("lo"));
        assert_eq!(names.get(2), None);
        assert_eq!(names.get(0), None);
        let mut indices: Vec<_> = names.known.iter().map(|(ifindex, _)| *ifindex).collect();
        indices.sort_unstable();
        assert_eq!(indices, [0, 1, 2, 7, 0x7fff_0000, 0x7fff_0001]);
    }
}
