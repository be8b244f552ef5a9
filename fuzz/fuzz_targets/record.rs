//! The text of a generation: what is read is written as what is read as the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sklookup_steering::{Record, STATE_VERSION};

fuzz_target!(|text: &str| {
    let Ok(record) = Record::parse(text) else { return };
    let written = record.to_text();
    let again = Record::parse(&written).unwrap_or_else(|error| panic!("{error:?}\n{written}"));
    // What is written has the newest layout, whatever was read.
    assert_eq!(again, Record { layout: STATE_VERSION, ..record }, "{written}");
    assert_eq!(again.to_text(), written);
});
