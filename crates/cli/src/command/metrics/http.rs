//! As much of HTTP/1.1 as a scraper needs (RFC 9110, RFC 9112): the head of a GET, and one answer to a connection.

use super::exposition::Format;

/// The longest head of a request that is read, in bytes.
pub const MAX_HEAD: usize = 8 << 10;

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// For which page.
    pub page: Page,
    /// Only for the head of the answer (HEAD).
    pub head_only: bool,
}

/// What there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// `/metrics`, in this form.
    Metrics(Format),
    /// `/`: says where the metrics are.
    Index,
}

/// The status and reason of an answer, of one that there is no page for above all.
pub type Refusal = (u16, &'static str);

/// The end of the head of a request, if it has come.
pub fn head_end(bytes: &[u8]) -> Option<usize> {
    // A lone LF ends a line too (RFC 9112, 2.2).
    let ends = [&b"\r\n\r\n"[..], b"\n\n"];
    ends.iter().filter_map(|end| bytes.windows(end.len()).position(|window| window == *end)).min()
}

/// Reads the head of a request.
///
/// # Errors
/// The status that says what is wrong with it.
pub fn request(head: &[u8]) -> Result<Request, Refusal> {
    const BAD: Refusal = (400, "Bad Request");
    let head = std::str::from_utf8(head).map_err(|_| BAD)?;
    let mut lines = head.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(BAD);
    };
    if !version.starts_with("HTTP/1.") {
        return Err(if version.starts_with("HTTP/") { (505, "HTTP Version Not Supported") } else { BAD });
    }
    let head_only = match method {
        "GET" => false,
        "HEAD" => true,
        _ => return Err((405, "Method Not Allowed")),
    };
    let mut accept = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(BAD)?;
        if name.eq_ignore_ascii_case("accept") {
            accept.push(value);
        }
    }
    // What is behind a question mark is for others; so is the host of a proxy's absolute form.
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let page = match path {
        "/metrics" => Page::Metrics(format(&accept)),
        "/" => Page::Index,
        _ => return Err((404, "Not Found")),
    };
    Ok(Request { page, head_only })
}

/// The form that is wanted more (RFC 9110, 12.5.1); Prometheus text where both are as welcome, or nothing is said.
fn format(accept: &[&str]) -> Format {
    let (mut open_metrics, mut text) = (0.0, 0.0);
    for range in accept.iter().flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let (mut weight, mut version) = (1.0, None);
        for (name, value) in parts.filter_map(|parameter| parameter.split_once('=')) {
            match name.trim().to_ascii_lowercase().as_str() {
                "q" => {
                    weight =
                        value.trim().parse::<f32>().ok().filter(|weight| (0.0..=1.0).contains(weight)).unwrap_or(0.0)
                }
                "version" => version = Some(value.trim().trim_matches('"')),
                _ => {}
            }
        }
        match kind.as_str() {
            "application/openmetrics-text" if version.is_none_or(|version| version == "1.0.0") => {
                open_metrics = weight.max(open_metrics);
            }
            "text/plain" if version.is_none_or(|version| version == "0.0.4") => text = weight.max(text),
            _ => {}
        }
    }
    if open_metrics > text { Format::OpenMetrics } else { Format::Text }
}

/// The head of an answer, after which the connection is closed; its body has so many bytes.
pub fn head((code, reason): Refusal, kind: &str, length: usize) -> Vec<u8> {
    let allow = if code == 405 { "Allow: GET, HEAD\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {code} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\n{allow}Connection: close\r\n\r\n"
    );
    head.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(head: &str) -> Result<Request, u16> {
        request(head.as_bytes()).map_err(|(code, _)| code)
    }

    fn accepting(accept: &str) -> Format {
        match asked(&format!("GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: {accept}")).unwrap().page {
            Page::Metrics(format) => format,
            Page::Index => panic!("another page"),
        }
    }

    #[test]
    fn the_form_is_the_one_that_is_wanted_more() {
        // What Prometheus 2.42 sends.
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(accepting(prometheus), Format::OpenMetrics);
        assert_eq!(
            accepting("Application/OpenMetrics-Text; version=\"1.0.0\"; q=0.9, text/plain; q=0.8"),
            Format::OpenMetrics
        );
        for text in [
            "",
            "*/*",
            "text/plain",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;version=2.0.0",
            "application/openmetrics-text;q=0.5,text/plain;q=0.9",
            "application/openmetrics-text;q=x",
            ",;=,;q",
        ] {
            assert_eq!(accepting(text), Format::Text, "{text}");
        }
    }

    #[test]
    fn a_request_is_for_a_page_or_says_what_is_wrong() {
        assert_eq!(asked("GET / HTTP/1.0"), Ok(Request { page: Page::Index, head_only: false }));
        assert!(asked("HEAD /metrics?x=1 HTTP/1.1\nHost: x").unwrap().head_only);
        assert_eq!(asked("GET /metricsx HTTP/1.1"), Err(404));
        assert_eq!(asked("POST /metrics HTTP/1.1"), Err(405));
        assert_eq!(asked("GET /metrics HTTP/2.0"), Err(505));
        for bad in
            ["", "GET", "GET /metrics", "GET  /metrics HTTP/1.1", "GET /metrics HTTP/1.1\r\nno colon", "GET /metrics x"]
        {
            assert_eq!(asked(bad), Err(400), "{bad}");
        }
        assert_eq!(request(b"GET /\xff HTTP/1.1"), Err((400, "Bad Request")));
    }

    #[test]
    fn a_head_ends_with_an_empty_line() {
        assert_eq!(head_end(b"GET / HTTP/1.1\r\nA: b\r\n\r\nmore"), Some(20));
        assert_eq!(head_end(b"GET / HTTP/1.1\n\n"), Some(14));
        assert_eq!(head_end(b"GET / HTTP/1.1\r\n"), None);
    }

    #[test]
    fn whatever_comes_is_a_request_or_has_a_status() {
        let head =
            b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: application/openmetrics-text;version=1.0.0;q=0.9,*/*;q=0.1";
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..50_000 {
            let mut bytes = head.to_vec();
            for _ in 0..random.usize(1..8) {
                let at = random.usize(..bytes.len());
                match random.u8(..3) {
                    0 => bytes[at] = random.u8(..),
                    1 => bytes.truncate(at + 1),
                    _ => bytes.insert(at, *random.choice(b" ;,=:\r\n\xff").expect("not empty")),
                }
            }
            head_end(&bytes);
            if let Err((code, _)) = request(&bytes) {
                assert!([400, 404, 405, 505].contains(&code), "{code}: {bytes:?}");
            }
        }
    }
}
