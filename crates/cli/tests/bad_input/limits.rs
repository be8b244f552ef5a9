//! Input that is too much.

use std::fmt::Write;
use std::time::{Duration, Instant};

use sklookup_testbed::{Sandbox, Trial, kernel_trial};

use crate::world::{file, refused};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("100_mb_of_noise_end_quickly", noise),
        kernel_trial("one_binding_more_than_a_million_is_refused", bindings),
        kernel_trial("one_label_more_than_10000_is_refused", labels),
        kernel_trial("a_product_of_10_to_the_12_is_refused_by_its_size", product),
    ]
}

/// Long for a machine that does other things too, and short for one that counts to 10^12.
const QUICKLY: Duration = Duration::from_secs(120);

fn quickly(sandbox: &Sandbox, policy: &str, facts: &[&str]) {
    let started = Instant::now();
    refused(sandbox, 2, &["apply", policy], facts);
    assert!(started.elapsed() < QUICKLY, "{:?}", started.elapsed());
}

fn noise(sandbox: &Sandbox) {
    // xorshift64*, so that it is the same noise each time.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    };
    let bytes: Vec<u8> = (0..100_000_000 / 8).flat_map(|_| next().to_ne_bytes()).collect();
    quickly(sandbox, &file(sandbox, "noise.toml", &bytes), &["noise.toml:1: ", "not UTF-8"]);
    let text: Vec<u8> = bytes.into_iter().map(|byte| b' ' + byte % 95).collect();
    quickly(sandbox, &file(sandbox, "noise.toml", &text), &["noise.toml:1: "]);
    quickly(sandbox, "/dev/zero", &["/dev/zero", "256 MiB"]);
}

fn bindings(sandbox: &Sandbox) {
    let ports: Vec<String> = (1..=50_000).map(|port: u32| port.to_string()).collect();
    let ports = ports.join(",");
    let mut text = String::from("bindings = [\n");
    for host in 0..20 {
        writeln!(text, "  \"web tcp 127.7.0.{host} {ports}\",").unwrap();
    }
    text.push_str("  \"web tcp 127.8.0.0/16\",\n]\n");
    quickly(sandbox, &file(sandbox, "policy.toml", text), &["policy.toml:22: ", "1 bindings more than the 1000000"]);
}

fn labels(sandbox: &Sandbox) {
    let mut text = String::from("bindings = [\n");
    for n in 0..=10_000 {
        writeln!(text, "  \"label-{n} tcp 127.7.{}.{} 80\",", n / 250, n % 250).unwrap();
    }
    text.push_str("]\n");
    quickly(sandbox, &file(sandbox, "policy.toml", text), &["10001 labels", "at most 10000"]);
}

fn product(sandbox: &Sandbox) {
    let list = |item: &dyn Fn(u32) -> String| (0..10_000).map(item).collect::<Vec<_>>().join(", ");
    let text = format!(
        "[[binding]]\nlabel = \"web\"\nprotocol = \"tcp\"\ndestination = [{}]\nports = [{}]\nsource = [{}]\n",
        list(&|n| format!("\"127.7.{}.{}\"", n / 250, n % 250)),
        list(&|n| (n + 1).to_string()),
        list(&|n| format!("\"127.8.{}.{}\"", n / 250, n % 250)),
    );
    quickly(
        sandbox,
        &file(sandbox, "policy.toml", text),
        &["policy.toml:1: ", "1000000000000 bindings", "at most 1000000"],
    );
}
