//! Canonical bindings, read back fast: a state has up to a million of them, and every command reads them.

use crate::binding::{Binding, Outcome, WhenEmpty};
use crate::expand::Names;
use crate::ports::Ports;
use crate::prefix::parse_prefix;

/// Reads bindings as their `Display` writes them, one after the other.
///
/// The words mean what they mean to [`parse_binding`](crate::parse_binding). There are no lists in them, and nobody to
/// whom a mistake would have to be explained. Equal names share their text.
#[derive(Debug, Default)]
pub struct CanonicalReader {
    names: Names,
}

impl CanonicalReader {
    /// The binding of this text; `None` for what no binding is written as.
    pub fn read(&mut self, text: &str) -> Option<Binding> {
        let mut words = text.split(' ');
        let outcome = match words.next()? {
            "pass" => Outcome::Pass,
            "refuse" => Outcome::Refuse,
            label => Outcome::Steer { label: self.names.label(label).ok()?, when_empty: WhenEmpty::Refuse },
        };
        let mut binding = Binding {
            protocol: words.next()?.parse().ok()?,
            destination: parse_prefix(words.next()?).ok()?,
            ports: Ports::Every,
            source: None,
            interface: None,
            outcome,
        };
        let mut word = words.next();
        if let Some(ports) = word.filter(|word| word.starts_with(|first: char| first.is_ascii_digit())) {
            binding.ports = ports.parse().ok()?;
            word = words.next();
        }
        if word == Some("from") {
            let source = parse_prefix(words.next()?).ok()?;
            let possible = source.prefix_len() > 0 && source.addr().is_ipv4() == binding.destination.addr().is_ipv4();
            binding.source = possible.then_some(source);
            binding.source?;
            word = words.next();
        }
        if word == Some("dev") {
            binding.interface = Some(self.names.interface(words.next()?).ok()?);
            word = words.next();
        }
        if word == Some("when-empty") {
            match &mut binding.outcome {
                Outcome::Steer { when_empty, .. } if words.next() == Some("pass") => *when_empty = WhenEmpty::Pass,
                _ => return None,
            }
            word = words.next();
        }
        word.is_none().then_some(binding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Origin;
    use crate::line::parse_binding;

    fn read(text: &str) -> Option<Binding> {
        CanonicalReader::default().read(text)
    }

    #[test]
    fn canonical_text_is_read_as_the_language_reads_it() {
        for text in [
            "web tcp 192.0.2.7",
            "pass udp 192.0.2.0/24 53",
            "refuse tcp ::/0 1-65535 from 2001:db8::/32",
            "web tcp 2001:db8::7 80 from 2001:db8::9 dev eth\"\\0 when-empty pass",
            "web udp 0.0.0.0/0 dev 80",
            "web udp 0.0.0.0/0 when-empty pass",
            "from tcp 192.0.2.7 from 10.0.0.0/8 dev from",
        ] {
            let entries = parse_binding(text, Origin::Command("test".into())).unwrap();
            assert_eq!(read(text).as_ref(), Some(&entries[0].binding));
            assert_eq!(entries[0].binding.to_string(), text);
        }
    }

    #[test]
    fn what_no_binding_is_written_as_is_not_read() {
        for text in [
            "",
            "web",
            "web tcp",
            "web sctp 192.0.2.7",
            "tcp tcp 192.0.2.7",
            "web tcp,udp 192.0.2.7",
            "web tcp 192.0.2.7/24",
            "web tcp ::ffff:192.0.2.7",
            "web tcp 192.0.2.7 *",
            "web tcp 192.0.2.7 0",
            "web tcp 192.0.2.7 9-8",
            "web tcp 192.0.2.7  80",
            "web tcp 192.0.2.7 80 ",
            "web tcp 192.0.2.7 80 443",
            "web tcp 192.0.2.7 from ::1",
            "web tcp 192.0.2.7 from 0.0.0.0/0",
            "web tcp 192.0.2.7 from",
            "web tcp 192.0.2.7 dev a/b",
            "web tcp 192.0.2.7 dev x from 10.0.0.0/8",
            "web tcp 192.0.2.7 when-empty refuse",
            "pass tcp 192.0.2.7 when-empty pass",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }
}
