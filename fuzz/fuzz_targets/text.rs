//! Programs as text: what parses is printed as what parses to the same, and is what its bytes say; what doesn't is told with
//! line, column and a short message.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sklookup_bpf::{Code, ProgramSpec, decode, encode, parse};

fuzz_target!(|text: &str| {
    let parsed = match parse(text) {
        Ok(parsed) => parsed,
        Err(error) => {
            let line = text.split('\n').nth(error.line - 1).expect("the line is one of the text");
            assert!((1..=line.chars().count() + 1).contains(&error.column), "{error}");
            assert!(error.to_string().len() < 400, "{error}");
            return;
        }
    };
    assert_eq!(decode(&encode(&parsed.insns)).as_ref(), Ok(&parsed.insns));

    let code = Code { insns: parsed.insns.clone(), notes: [].into() };
    let listing = ProgramSpec::sk_lookup("fuzzed", code, parsed.maps.clone()).listing().to_string();
    let again = parse(&listing).unwrap_or_else(|error| panic!("{error}\n{listing}"));
    assert_eq!(again, parsed, "{listing}");
});
