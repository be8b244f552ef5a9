//! The arguments of `metrics`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

/// Serve or write counters and gauges for Prometheus.
#[derive(Debug, Args)]
#[command(after_help = "\
Prometheus text (0.0.4), or OpenMetrics 1.0 for who asks for it. docs/metrics.md explains each metric; \
examples/metrics has alert rules and a Grafana dashboard. Counted are runs of the hook, not connections.

A bare port is one of 127.0.0.1. Who can reach another address can read labels, addresses and counts: naming one brings a \
warning. A unix socket gets mode 0660. With --listen-fds the sockets are those that systemd passes \
(examples/metrics/sklookup-metrics.socket).

Before it answers anybody it gives up every capability, and says what it keeps: its user, which has to own the state. It \
follows what is applied, across `apply`, `unload` and `upgrade`. SIGTERM or SIGINT ends it.

Examples:
  sudo sklookup metrics --listen 9999
  curl -s http://127.0.0.1:9999/metrics
  sudo sklookup metrics --listen unix:/run/sklookup-metrics.sock
  sudo sklookup metrics --netns blue --listen 9998       the port is one of this namespace
  sudo sklookup metrics --textfile /var/lib/prometheus/node-exporter/sklookup.prom
  sudo sklookup metrics --textfile -

Exit status: 0 done, 2 could not. With --textfile: 2 too if the state could not be read; the file then says so (sklookup_up 0).")]
pub struct Metrics {
    /// Serve them over HTTP here: `PORT`, `ADDRESS:PORT` or `unix:PATH`; may be given several times
    #[arg(long, value_name = "ADDRESS", required_unless_present_any = ["textfile", "listen_fds"], conflicts_with = "textfile")]
    pub listen: Vec<Listen>,
    /// Serve them on the sockets that systemd passes (LISTEN_FDS)
    #[arg(long, conflicts_with_all = ["textfile", "listen"])]
    pub listen_fds: bool,
    /// Write them to this file once, for the textfile collector of node_exporter; `-` for standard output
    #[arg(long, value_name = "FILE")]
    pub textfile: Option<PathBuf>,
    /// How many bindings have series of their own; all others are one
    #[arg(long, value_name = "NUMBER", default_value_t = 1000)]
    pub max_bindings: usize,
    /// How many labels have series of their own; all others are one
    #[arg(long, value_name = "NUMBER", default_value_t = 1000)]
    pub max_labels: usize,
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// TCP.
    Tcp(SocketAddr),
    /// A unix socket under this path.
    Unix(PathBuf),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Listen, String> {
        const FORM: &str = "write PORT, ADDRESS:PORT (IPv6 in brackets) or unix:PATH";
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err(format!("unix: names no path; {FORM}")),
                path => Ok(Listen::Unix(path.into())),
            };
        }
        // `:9999` means every address to some programs; here nobody gets more than was written.
        if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse() {
            return Ok(Listen::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)));
        }
        text.parse().map(Listen::Tcp).map_err(|_| format!("{text:?} is no address to listen at; {FORM}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_one_of_loopback() {
        for text in ["9999", ":9999", "127.0.0.1:9999"] {
            assert_eq!(text.parse(), Ok(Listen::Tcp("127.0.0.1:9999".parse().unwrap())), "{text}");
        }
        assert_eq!("[::]:1".parse(), Ok(Listen::Tcp("[::]:1".parse().unwrap())));
        assert_eq!("unix:/run/x".parse(), Ok(Listen::Unix("/run/x".into())));
    }

    #[test]
    fn what_is_no_address_says_what_one_looks_like() {
        for text in ["", "localhost:9999", "99999", "unix:", "::1:9999x", "127.0.0.1"] {
            let error = text.parse::<Listen>().unwrap_err();
            assert!(error.contains("write PORT, ADDRESS:PORT"), "{text}: {error}");
        }
    }
}
