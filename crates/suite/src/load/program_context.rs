//! The context of a test run: a packet, and bytes that are otherwise.

use sklookup_bpf::abi::context;
use sklookup_kernel::Context;
use sklookup_policy::reading::quote;

use super::map::bytes;
use super::packet::packet;
use super::tree::{Keys, Read, Wrong};

/// The longest context: more than the kernel takes, so that a case can show that it refuses it.
const MAX: usize = 8192; // bytes

/// Reads `context`, a packet, then `patch`, bytes at offsets, then `length`, to which it is cut or filled with zeros.
pub(super) fn read(keys: &mut Keys) -> Read<Vec<u8>> {
    let node = keys.required("context", "\"tcp 127.0.0.1:40000 > 127.0.0.1:7007\"")?;
    let packet = packet(&node, "context")?;
    let made_up = Context {
        protocol: packet.protocol.number(),
        source: (packet.source, packet.source_port.unwrap_or(0)).into(),
        destination: packet.destination,
    };
    let mut written = made_up.to_bytes().expect("a packet is of one family").to_vec();
    debug_assert_eq!(written.len(), context::SIZE);
    for (offset, node) in keys.named("patch", "{ 64 = \"u32:1\" }")? {
        let value = bytes(&node, "patch")?.of_width(4);
        let start = offset.parse().ok().filter(|start| start + value.len() <= MAX);
        let start: usize = start.ok_or_else(|| {
            Wrong::new(
                node.line,
                format!("{} is no offset into a context", quote(&offset)),
                format!("a context has at most {MAX} bytes"),
            )
        })?;
        let end = start + value.len();
        written.resize(written.len().max(end), 0);
        written[start..end].copy_from_slice(&value);
    }
    if let Some(length) = keys.number::<u16>("length", "a number of bytes")? {
        written.resize(usize::from(length).min(MAX), 0);
    }
    Ok(written)
}
