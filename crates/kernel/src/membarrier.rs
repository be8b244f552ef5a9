//! Waiting until every CPU has left what it was doing.

use std::os::fd::AsFd;

use rustix::thread::{MembarrierCommand, membarrier};
use sklookup_bpf::{MapSpec, MapType};

use crate::error::Result;
use crate::map::Map;

/// Waits until every program that was running on any CPU has ended: an RCU grace period, 8 to 15 ms on a small machine.
///
/// Since: Linux 4.3. Source: membarrier(2), `MEMBARRIER_CMD_GLOBAL`. It is refused where CPUs run without the tick
/// (`nohz_full`), in kernels built without it, and by some seccomp filters; there a map of maps is changed instead,
/// which waits for the same before it returns.
///
/// # Errors
/// Neither way is open.
#[doc(alias = "membarrier")]
pub fn grace_period() -> Result<()> {
    match membarrier(MembarrierCommand::Global) {
        Ok(()) => Ok(()),
        Err(_) => change_map_of_maps(),
    }
}

/// An update of a map of maps returns when no program can still see the old inner map.
fn change_map_of_maps() -> Result<()> {
    let inner = MapSpec::new("grace_inner", MapType::Array, 4, 4, 1);
    let outer =
        MapSpec { inner: Some(Box::new(inner.clone())), ..MapSpec::new("grace", MapType::ArrayOfMaps, 4, 4, 1) };
    let (inner, outer) = (Map::create(&inner)?, Map::create(&outer)?);
    outer.fill_maps(&[inner.as_fd()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caps::{self, Cap};

    #[test]
    fn where_membarrier_is_refused_a_map_of_maps_does_it() {
        // Both are bpf(2) calls: without the rights there is nothing to show.
        if caps::missing(&[Cap::Bpf, Cap::NetAdmin]).is_ok_and(|missing| missing.is_empty()) {
            change_map_of_maps().unwrap();
        }
    }
}
