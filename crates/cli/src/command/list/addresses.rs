//! `list --addresses`: per destination what is taken of it, prefixes inside others below them.

use ipnet::IpNet;
use serde_json::{Value, json};
use sklookup_steering::Sum;

use super::Listed;
use super::order::Sort;
use super::table::Table;
use super::taken::{Destination, Line, by_destination, some};
use crate::counts;
use crate::escape::printable;
use crate::rows::Rows;

/// Neighbours of which the same is taken.
struct Row<'a> {
    /// Prefixes that are next to each other put together.
    prefixes: Vec<IpNet>,
    /// How many prefixes the policy has for them.
    count: usize,
    /// In how many others of the list they are.
    depth: usize,
    /// What is taken of each.
    lines: Vec<Line<'a>>,
}

/// For machines.
pub fn json(listed: &[Listed<'_>], sort: Option<Sort>) -> Rows {
    let address = |row: Row<'_>| {
        let prefixes: Vec<String> = row.prefixes.iter().map(IpNet::to_string).collect();
        let taken: Vec<Value> = row.lines.iter().map(|line| line.what.json(&line.sum).into()).collect();
        json!({ "prefixes": prefixes, "count": row.count, "depth": row.depth, "taken": taken })
    };
    rows(listed, sort).into_iter().map(address).collect()
}

/// For people.
pub fn text(listed: &[Listed<'_>], sort: Option<Sort>) -> String {
    /// How many prefixes that are not next to each other stand in a row.
    const NAMED: usize = 4;
    let mut table = Table::new(["destination", "takes", "for", ""]);
    for row in rows(listed, sort) {
        let count = if row.count > row.prefixes.len() { format!(" ({} prefixes)", row.count) } else { String::new() };
        let mut destination = format!("{:1$}{2}{count}", "", 2 * row.depth, some(&row.prefixes, NAMED));
        for line in &row.lines {
            let receiver = line.what.receiver();
            let cells = [destination, printable(&line.what.to_string()), receiver, counts::text(&line.sum)];
            table.row(cells);
            destination = String::new();
        }
    }
    table.to_string()
}

fn rows<'a>(listed: &[Listed<'a>], sort: Option<Sort>) -> Vec<Row<'a>> {
    let mut rows: Vec<Row<'a>> = Vec::new();
    // The prefixes that the one at hand is in, the widest first.
    let mut around: Vec<IpNet> = Vec::new();
    for Destination { prefix, lines } in by_destination(listed) {
        while around.last().is_some_and(|outer| !outer.contains(&prefix)) {
            around.pop();
        }
        let depth = around.len();
        around.push(prefix);
        // The one before it in the list is beside it, not around it, if it is as deep; and nothing is between them.
        match rows.last_mut().filter(|last| last.depth == depth && alike(&last.lines, &lines)) {
            Some(last) => {
                last.prefixes.push(prefix);
                last.count += 1;
                for (sum, line) in last.lines.iter_mut().zip(&lines) {
                    sum.sum.add(&line.sum);
                }
            }
            None => rows.push(Row { prefixes: vec![prefix], count: 1, depth, lines }),
        }
    }
    for row in &mut rows {
        row.prefixes = IpNet::aggregate(&row.prefixes);
    }
    if let Some(sort) = sort {
        sort.sort(&mut rows, |row| (row.sum(), row.lines[0].what.receiver(), row.prefixes[0]));
        // Out of the order of addresses nothing is below anything.
        rows.iter_mut().for_each(|row| row.depth = 0);
    }
    rows
}

fn alike(some: &[Line<'_>], others: &[Line<'_>]) -> bool {
    some.len() == others.len() && some.iter().zip(others).all(|(one, other)| one.what == other.what)
}

impl Row<'_> {
    fn sum(&self) -> Sum {
        let mut sum = Sum::default();
        self.lines.iter().for_each(|line| sum.add(&line.sum));
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{counted, policy};
    use super::*;

    fn shown(lines: &[&str], sort: Option<Sort>) -> String {
        let policy = policy(lines);
        text(&counted(&policy), sort)
    }

    #[test]
    fn prefixes_inside_others_stand_below_them() {
        let text = shown(
            &[
                "web tcp 192.0.2.0/24 80,443",
                "pass tcp 192.0.2.0/24 22",
                "refuse tcp 192.0.2.7 80 from 198.51.100.0/24",
                "dns udp 203.0.113.1 when-empty pass",
            ],
            None,
        );
        assert_eq!(
            text,
            "\
destination   takes                        for
192.0.2.0/24  tcp 80,443                   web                    0 hook runs
              tcp 22                       pass                   0 hook runs
  192.0.2.7   tcp 80 from 198.51.100.0/24  refuse                 0 hook runs
203.0.113.1   udp *                        dns (when-empty pass)  0 hook runs
"
        );
    }

    #[test]
    fn neighbours_of_which_the_same_is_taken_are_one_row_unless_another_is_between() {
        let hosts: Vec<String> = (0..8).map(|n| format!("web tcp 10.0.0.{n} 80")).collect();
        let mut lines: Vec<&str> = hosts.iter().map(String::as_str).collect();
        assert!(shown(&lines, None).contains("\n10.0.0.0/29 (8 prefixes)  tcp 80"));
        lines[3] = "refuse tcp 10.0.0.3 80";
        let policy = policy(&lines);
        let counts: Vec<usize> = rows(&counted(&policy), None).iter().map(|row| row.count).collect();
        assert_eq!(counts, [3, 1, 4]);
    }

    #[test]
    fn what_is_below_a_prefix_is_not_taken_for_its_neighbour() {
        let policy = policy(&["web tcp 10.0.0.0/24 80", "web tcp 10.0.0.0/28 80", "web tcp 10.0.1.0/24 80"]);
        let depths: Vec<(usize, usize)> =
            rows(&counted(&policy), None).iter().map(|row| (row.depth, row.count)).collect();
        assert_eq!(depths, [(0, 1), (1, 1), (0, 1)]);
    }

    #[test]
    fn ports_that_touch_are_one_interval() {
        let text = shown(&["a tcp ::1 80", "a tcp ::1 81-90", "a tcp ::1 85", "a tcp ::1 100"], None);
        assert!(text.contains("tcp 80-90,100  a"), "{text}");
        assert!(shown(&["a tcp ::1 80", "a tcp ::1"], None).contains("tcp *  a"));
    }
}
