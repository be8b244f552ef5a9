//! Names chosen by people: labels of services, and network interfaces.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::problem::{Problem, quote};

/// The name of a service; sockets are registered under it.
///
/// 1 to 255 bytes of `A-Za-z0-9._:@/-`, the first a letter or a digit, and none of the words `tcp`, `udp`, `pass` and
/// `refuse`, which would make the one-line form ambiguous. `.`, `:`, `@` and `/` count as three bytes each: a label is
/// the name of a file too, where they are spelled out. A clone shares the text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(Arc<str>);

/// The name of a network interface as a policy bears it; which device that is, is found when the policy is applied.
///
/// 1 to 15 bytes without `/`, `:`, whitespace or control characters, and neither `.` nor `..`: what Linux accepts,
/// short of control characters. A clone shares the text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interface(Arc<str>);

/// How long the name of a file may be, in bytes.
const LONGEST_NAME: usize = 255;

impl Label {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Interface {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        const ALPHABET: &str = "labels are 1 to 255 of A-Z a-z 0-9 . _ : @ / -, the first a letter or digit";
        const SPELLED_OUT: &str = ".:@/";
        if text.is_empty() {
            return Err(Problem::new("the label is empty").help(ALPHABET));
        }
        if matches!(text, "tcp" | "udp" | "pass" | "refuse") {
            return Err(Problem::new(format!("{} can't be a label, it is a word of the language", quote(text)))
                .help("choose a label other than tcp, udp, pass and refuse"));
        }
        if text.len() > LONGEST_NAME {
            return Err(Problem::new(format!("label {} has {} bytes", quote(text), text.len())).help(ALPHABET));
        }
        if !text.starts_with(|first: char| first.is_ascii_alphanumeric()) {
            return Err(
                Problem::new(format!("label {} does not start with a letter or digit", quote(text))).help(ALPHABET)
            );
        }
        if let Some(strange) = text.chars().find(|&char| !char.is_ascii_alphanumeric() && !"._:@/-".contains(char)) {
            let strange = quote(strange.encode_utf8(&mut [0; 4]));
            return Err(Problem::new(format!("label {} has a {strange} in it", quote(text))).help(ALPHABET));
        }
        let spelled_out = text.chars().filter(|&char| SPELLED_OUT.contains(char)).count();
        let name = text.len() + 2 * spelled_out;
        if name > LONGEST_NAME {
            return Err(Problem::new(format!(
                "label {} has {} bytes, {spelled_out} of them of . : @ / which count three each: {name}",
                quote(text),
                text.len()
            ))
            .help(format!("a label is the name of a file too, which has at most {LONGEST_NAME} bytes: shorten it")));
        }
        Ok(Self(text.into()))
    }
}

impl FromStr for Interface {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        const RULE: &str = "interface names are 1 to 15 bytes without / : and blanks; `ip link` lists them";
        let wrong = |why: &str| Err(Problem::new(format!("interface {} {why}", quote(text))).help(RULE));
        if text.is_empty() {
            return wrong("has no name");
        }
        if text.len() > 15 {
            return wrong("is longer than 15 bytes");
        }
        if let Some((device, _)) = text.split_once(':') {
            return Err(Problem::new(format!("interface {} has a \":\" in it", quote(text)))
                .help(format!("what follows the colon names an address: write the device, {}", quote(device))));
        }
        if matches!(text, "." | "..") || text.contains('/') {
            return wrong("can't exist: it would be a path");
        }
        if text.contains(|char: char| char.is_whitespace() || char.is_control()) {
            return wrong("has a blank or control character in it");
        }
        Ok(Self(text.into()))
    }
}

/// The derived hash, equality and order are those of the text, as `Borrow` asks.
impl Borrow<str> for Label {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// The derived hash, equality and order are those of the text, as `Borrow` asks.
impl Borrow<str> for Interface {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Label {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Interface {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_the_whole_alphabet_are_accepted() {
        let longest = "a".repeat(255);
        for text in ["w", "9", "web", "Team.web_1:blue@eu/west-2", "tcp6", "passthrough", &longest] {
            assert_eq!(text.parse::<Label>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn wrong_labels_say_what_is_wrong_with_them() {
        for (text, message) in [
            ("", "the label is empty"),
            ("tcp", "\"tcp\" can't be a label, it is a word of the language"),
            ("-web", "label \"-web\" does not start with a letter or digit"),
            ("we b", "label \"we b\" has a \" \" in it"),
            ("web\n", "label \"web\\n\" has a \"\\n\" in it"),
            ("wéb", "label \"wéb\" has a \"é\" in it"),
        ] {
            let problem = text.parse::<Label>().unwrap_err();
            assert_eq!(problem.message, message);
            assert!(problem.help.is_some());
        }
        let problem = "a".repeat(256).parse::<Label>().unwrap_err();
        assert!(problem.message.ends_with("has 256 bytes"), "{problem}");
    }

    #[test]
    fn labels_that_make_no_file_name_are_refused() {
        assert!("a.".repeat(63).parse::<Label>().is_ok(), "63 + 3 * 63 = 252");
        assert!(format!("{}aaa", "a.".repeat(63)).parse::<Label>().is_ok(), "exactly 255");
        let problem = format!("{}aaaa", "a.".repeat(63)).parse::<Label>().unwrap_err();
        assert!(
            problem.message.ends_with("has 130 bytes, 63 of them of . : @ / which count three each: 256"),
            "{problem}"
        );
        for char in [':', '@', '/'] {
            assert!(format!("a{}", char.to_string().repeat(85)).parse::<Label>().is_err(), "{char}");
        }
        for char in ['_', '-'] {
            assert!(format!("a{}", char.to_string().repeat(254)).parse::<Label>().is_ok(), "{char}");
        }
    }

    #[test]
    fn interfaces_are_those_that_linux_can_have() {
        for text in ["lo", "eth0", "eth0.100", "br-0123456789ab", "wlp2s0", "veth@x"] {
            assert_eq!(text.parse::<Interface>().unwrap().as_str(), text);
        }
        for text in ["", ".", "..", "a/b", "a b", "a\tb", "a\u{1b}", "sixteen-bytes-xx", "eth0:1"] {
            assert!(text.parse::<Interface>().is_err(), "{text:?}");
        }
        let alias = "eth0:1".parse::<Interface>().unwrap_err().to_string();
        assert!(alias.ends_with("write the device, \"eth0\""), "{alias}");
    }
}
