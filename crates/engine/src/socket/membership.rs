//! Which maps of sockets a socket may be in.

use std::sync::PoisonError;

use sklookup_bpf::MapType;
use sklookup_vm::{Errno, Map};

use super::State;
use super::sock::Sock;
use crate::packet::Protocol;

impl Sock {
    /// Whether its protocol and state let it into a map of this type now.
    pub(crate) fn is_suitable(&self, kind: MapType) -> Result<(), Errno> {
        if kind == MapType::ReuseportSockarray {
            // Only the group of a socket can be asked for it.
            let is_member = self.selectable && self.hashed && self.group.is_some();
            return if is_member { Ok(()) } else { Err(Errno::INVAL) };
        }
        let suits = match self.protocol {
            Protocol::Tcp => matches!(self.state, State::Listen | State::Established),
            Protocol::Udp => self.hashed,
        };
        if suits { Ok(()) } else { Err(Errno::OPNOTSUPP) }
    }

    /// Whether no map of the other kind has it, and remembers that this one will.
    pub(crate) fn is_free_for(&self, map: &Map) -> Result<(), Errno> {
        let mut array = self.reuseport_array.lock().unwrap_or_else(PoisonError::into_inner);
        let mut maps = self.maps.lock().unwrap_or_else(PoisonError::into_inner);
        maps.retain(|known| known.holds(self.id));
        if array.as_ref().is_some_and(|known| !known.holds(self.id)) {
            *array = None;
        }
        if array.is_some() || map.kind() == MapType::ReuseportSockarray && !maps.is_empty() {
            return Err(Errno::BUSY);
        }
        if map.kind() == MapType::ReuseportSockarray {
            *array = Some(map.clone());
        } else if !maps.contains(map) {
            maps.push(map.clone());
        }
        Ok(())
    }

    /// A reuseport array has only members of groups: who leaves its group leaves the array.
    pub(crate) fn leave_reuseport_array(&self) {
        if let Some(array) = self.reuseport_array.lock().unwrap_or_else(PoisonError::into_inner).take() {
            array.forget(self.id);
        }
    }
}
