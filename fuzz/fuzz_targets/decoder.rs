//! Bytes as instructions: what decodes is what the bytes say, and its listing says the same; what doesn't is told with the
//! first slot that is none.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sklookup_bpf::{Code, ProgramSpec, decode, encode, parse};

fuzz_target!(|bytes: &[u8]| {
    let insns = match decode(bytes) {
        Ok(insns) => insns,
        Err(error) => {
            assert!(error.to_string().len() < 200, "{error}");
            assert!(decode(&bytes[..8 * error.slot]).is_ok(), "there is an earlier one than {error}");
            return;
        }
    };
    assert_eq!(encode(&insns), bytes);

    let code = Code { insns, notes: [].into() };
    let spec = ProgramSpec::sk_lookup("fuzzed", code, vec!["one".into(), "two".into()]);
    for listing in [format!("{}", spec.listing()), format!("{:#}", spec.listing())] {
        let parsed = parse(&listing).unwrap_or_else(|error| panic!("{error}\n{listing}"));
        assert_eq!(parsed.insns, spec.insns, "{listing}");
    }
});
