//! The two text forms of metrics: Prometheus text 0.0.4 and OpenMetrics 1.0.
//!
//! Sources: "Exposition formats" of the Prometheus documentation; the OpenMetrics specification, 1.0.

use std::fmt::{Display, Write};

/// A form of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Prometheus text, version 0.0.4.
    Text,
    /// OpenMetrics, version 1.0.0.
    OpenMetrics,
}

/// What the values of a family are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A count that only grows; its samples bear `_total`.
    Counter,
    /// A number that goes up and down.
    Gauge,
    /// 1, and labels that say something; its samples bear `_info`.
    Info,
}

/// A family of metrics.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Its name, without what its kind adds.
    pub name: &'static str,
    /// What its values are.
    pub kind: Kind,
    /// In which unit, where it has one; the name ends in it.
    pub unit: Option<&'static str>,
    /// What it means.
    pub help: &'static str,
}

/// Labels of a sample; those without a value are left out.
pub type Labels = [(&'static str, String)];

/// A text being written: each family at once, all its samples behind its head.
pub struct Exposition {
    format: Format,
    text: String,
}

impl Format {
    /// As HTTP names it.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

impl Family {
    /// What its samples are called.
    pub fn sample_name(&self) -> String {
        format!("{}{}", self.name, self.suffix())
    }

    fn suffix(&self) -> &'static str {
        match self.kind {
            Kind::Counter => "_total",
            Kind::Gauge => "",
            Kind::Info => "_info",
        }
    }
}

impl Exposition {
    /// Nothing yet.
    pub fn new(format: Format) -> Exposition {
        Exposition { format, text: String::new() }
    }

    /// Writes a family with one sample for each item.
    pub fn family<L: AsRef<Labels>, V: Display>(&mut self, family: &Family, samples: impl IntoIterator<Item = (L, V)>) {
        self.head(family);
        for (labels, value) in samples {
            self.sample(family, labels.as_ref(), value);
        }
    }

    /// Writes a family with one sample, which has no labels.
    pub fn one(&mut self, family: &Family, value: impl Display) {
        self.head(family);
        self.sample(family, &[], value);
    }

    /// The text.
    pub fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    fn head(&mut self, family: &Family) {
        let Family { name, kind, unit, help } = family;
        let (name, kind) = match (self.format, kind) {
            (Format::OpenMetrics, Kind::Counter) => ((*name).to_owned(), "counter"),
            (Format::OpenMetrics, Kind::Info) => ((*name).to_owned(), "info"),
            (Format::Text, Kind::Counter) => (family.sample_name(), "counter"),
            // The older form has no such kind.
            (Format::Text, Kind::Info) => (family.sample_name(), "gauge"),
            (_, Kind::Gauge) => ((*name).to_owned(), "gauge"),
        };
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
        if let (Format::OpenMetrics, Some(unit)) = (self.format, unit) {
            self.line(format_args!("# UNIT {name} {unit}"));
        }
    }

    fn sample(&mut self, family: &Family, labels: &Labels, value: impl Display) {
        self.text.push_str(family.name);
        self.text.push_str(family.suffix());
        let mut before = '{';
        for (name, value) in labels.iter().filter(|(_, value)| !value.is_empty()) {
            self.text.push(before);
            self.text.push_str(name);
            self.text.push_str("=\"");
            escape(&mut self.text, value);
            self.text.push('"');
            before = ',';
        }
        if before == ',' {
            self.text.push('}');
        }
        self.line(format_args!(" {value}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.text, "{line}").expect("a String takes all");
    }
}

/// A label's value, in quotes.
fn escape(text: &mut String, value: &str) {
    if !value.contains(['\\', '"', '\n']) {
        return text.push_str(value);
    }
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNS: Family = Family { name: "x_runs", kind: Kind::Counter, unit: None, help: "Runs." };
    const TIME: Family = Family { name: "x_time_seconds", kind: Kind::Gauge, unit: Some("seconds"), help: "When." };
    const BUILD: Family = Family { name: "x_build", kind: Kind::Info, unit: None, help: "Which." };

    fn written(format: Format) -> String {
        let mut text = Exposition::new(format);
        text.family(&RUNS, [(vec![("label", "a\"b\\\n".to_owned()), ("source", String::new())], 7)]);
        text.one(&TIME, 0.25);
        text.family(&BUILD, [(vec![("version", "0.1.0".to_owned())], 1)]);
        text.finish()
    }

    #[test]
    fn prometheus_text_names_what_its_samples_are_called() {
        assert_eq!(
            written(Format::Text),
            "\
# HELP x_runs_total Runs.
# TYPE x_runs_total counter
x_runs_total{label=\"a\\\"b\\\\\\n\"} 7
# HELP x_time_seconds When.
# TYPE x_time_seconds gauge
x_time_seconds 0.25
# HELP x_build_info Which.
# TYPE x_build_info gauge
x_build_info{version=\"0.1.0\"} 1
"
        );
    }

    #[test]
    fn open_metrics_names_the_family_its_unit_and_the_end() {
        assert_eq!(
            written(Format::OpenMetrics),
            "\
# HELP x_runs Runs.
# TYPE x_runs counter
x_runs_total{label=\"a\\\"b\\\\\\n\"} 7
# HELP x_time_seconds When.
# TYPE x_time_seconds gauge
# UNIT x_time_seconds seconds
x_time_seconds 0.25
# HELP x_build Which.
# TYPE x_build info
x_build_info{version=\"0.1.0\"} 1
# EOF
"
        );
    }
}
