//! Who speaks of a destination, without a look at everybody.

use std::net::IpAddr;
use std::ops::Range;

use ipnet::IpNet;

use crate::binding::Binding;
use crate::protocol::Protocol;

/// The places in a sorted list of those bindings of a protocol whose destination holds `address`: a run for each prefix
/// that there is, the longest first.
pub fn toward<'a, T>(
    sorted: &'a [T],
    binding: impl Fn(&T) -> &Binding + 'a,
    protocol: Protocol,
    address: IpAddr,
) -> impl Iterator<Item = Range<usize>> + 'a {
    let prefixes = IpNet::from(address);
    (0..=prefixes.max_prefix_len()).rev().filter_map(move |length| {
        let prefix = IpNet::new(address, length).ok()?.trunc();
        // The order of bindings begins with these two.
        let order = |item: &T| {
            let binding = binding(item);
            (binding.protocol, binding.destination).cmp(&(protocol, prefix))
        };
        let start = sorted.partition_point(|item| order(item).is_lt());
        let run = sorted[start..].partition_point(|item| order(item).is_eq());
        (run > 0).then_some(start..start + run)
    })
}
