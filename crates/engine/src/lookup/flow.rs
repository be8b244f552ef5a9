//! What a lookup is for.

use std::net::{IpAddr, SocketAddr};

use crate::machine::mix;
use crate::packet::Protocol;
use crate::tables::{Place, Tuple};

/// Addresses, ports and interfaces, from the receiver's side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    pub(super) protocol: Protocol,
    pub(super) remote: IpAddr,
    pub(super) remote_port: u16,
    pub(super) local: IpAddr,
    pub(super) local_port: u16,
    /// The interface, or the VRF in front of it.
    pub(super) dif: u32,
    /// The interface behind a VRF, else 0.
    pub(super) sdif: u32,
    pub(super) cpu: u32,
}

impl Flow {
    pub(super) fn new(
        protocol: Protocol,
        remote: SocketAddr,
        local: SocketAddr,
        (dif, sdif): (u32, u32),
        cpu: u32,
    ) -> Flow {
        Flow {
            protocol,
            remote: remote.ip(),
            remote_port: remote.port(),
            local: local.ip(),
            local_port: local.port(),
            dif,
            sdif,
            cpu,
        }
    }

    pub(super) fn tuple(&self) -> Tuple {
        Tuple { local: Place::new(self.local, self.local_port), remote: Place::new(self.remote, self.remote_port) }
    }

    /// Whether a socket bound to a device sees it; `any_vrf`: unbound sockets see what comes in through a VRF.
    pub(super) fn is_on(&self, device: u32, any_vrf: bool) -> bool {
        match device {
            0 => self.sdif == 0 || any_vrf,
            device => device == self.dif || device == self.sdif,
        }
    }

    /// The number by which reuseport groups spread flows: keyed by a secret, one for TCP and one for UDP.
    pub(super) fn hash(&self, seed: u64) -> u32 {
        let bits = |address: IpAddr| match address {
            IpAddr::V4(v4) => u128::from(v4.to_bits()),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        let (local, remote) = (bits(self.local), bits(self.remote));
        let ports = u64::from(self.local_port) << 16 | u64::from(self.remote_port);
        let secret = mix(seed ^ u64::from(self.protocol.number()) << 56);
        let words = [(local >> 64) as u64, local as u64, (remote >> 64) as u64, remote as u64, ports];
        (words.into_iter().fold(secret, |hash, word| mix(hash ^ word)) >> 32) as u32
    }
}
