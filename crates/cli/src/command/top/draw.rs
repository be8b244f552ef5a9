//! The screen, from what was counted and what is looked at. Only rows that are shown are put into words.

use std::ops::Range;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Clear, Paragraph};

use super::history::{TICKS, spark};
use super::tally::{Row, Tally, errors};
use super::view::{Front, Shown, View};
use crate::counts::many;
use crate::escape::printable;

/// How many ticks a row shows.
const ROW_TICKS: usize = 16;

const HELP: &str = "\
q, Ctrl-C     leave
?             these keys; any key leaves them
Tab, 1 2 3    bindings, labels, sockets
/             show only what has this text; Enter keeps it, Esc drops it
s             sort by the next of: runs, errors, total, name
r e t n       sort by runs, errors, total, name
Up Down j k   the line above, below; PageUp, PageDown, Home, End
Enter         more about the line: who gets it, and who takes what from it
Ctrl-Z        stop; `fg` goes on

Rates are runs of the hook per second, not connections: some packets run it twice,
and those of connections that stand never do. Errors are runs that found no socket,
or could not select it.";

/// Draws all of it.
pub fn draw(frame: &mut Frame<'_>, tally: &Tally, view: &mut View) {
    let [head, titles, rows, foot] =
        Layout::vertical([Constraint::Length(3), Constraint::Length(1), Constraint::Fill(1), Constraint::Length(1)])
            .areas(frame.area());
    view.height = usize::from(rows.height).max(1);
    view.follow();
    frame.render_widget(Text::from(heading(tally, view, usize::from(head.width))), head);
    match view.shown {
        _ if view.generation.is_none() => {
            let said = "nothing is steered here; waiting until something is";
            frame.render_widget(Line::styled(said, bold()), rows);
        }
        Shown::Sockets => {
            let picked = view.sockets.iter().filter(|line| view.filter.is_empty() || line.contains(&view.filter));
            let lines: Vec<Line<'_>> =
                picked.skip(view.sockets_top).take(view.height).map(|line| Line::raw(printable(line))).collect();
            frame.render_widget(Text::from(lines), rows);
        }
        Shown::Bindings | Shown::Labels => {
            let what = if view.shown == Shown::Labels { "LABEL" } else { "BINDING" };
            let title =
                format!("{:>10} {:>9}  {:ROW_TICKS$} {:>12} {:>9}  {what}", "RUNS/s", "ERRORS/s", "", "RUNS", "ERRORS");
            frame.render_widget(Line::styled(title, Style::new().add_modifier(Modifier::REVERSED)), titles);
            frame.render_widget(Text::from(lines(tally, view)), rows);
        }
    }
    frame.render_widget(footing(view), foot);
    match &view.front {
        Some(Front::Help) => front(frame, "keys", HELP.lines().map(Line::raw).collect()),
        Some(Front::Details { title, lines, top }) => {
            let shown = lines.iter().skip(*top).map(|line| Line::raw(printable(line)));
            front(frame, &printable(title), shown.collect());
        }
        None => {}
    }
}

/// Where, how much of it all, and what is looked at.
fn heading<'a>(tally: &Tally, view: &View, width: usize) -> Vec<Line<'a>> {
    let in_effect = match view.generation {
        Some(generation) => format!(
            "generation {generation}, {}, {}",
            many(tally.bindings.len(), "binding"),
            many(tally.policy.labels().len(), "label")
        ),
        None => "nothing in effect".to_owned(),
    };
    let first = match &view.trouble {
        Some(trouble) => Line::styled(format!("sklookup: {}", printable(trouble)), bad()),
        None => Line::raw(format!("sklookup top: {in_effect}; every {} s", view.interval.as_secs_f64())),
    };
    let Row { sum, runs, errors } = tally.total;
    let sums = format!(
        "{} runs/s, {} errors/s; so far {} steered, {} refused, {} passed on",
        rate(runs),
        rate(errors),
        sum.fates.steered,
        sum.fates.refused,
        sum.fates.passed
    );
    let sums = Span::styled(sums, if errors > 0.0 { bad() } else { bold() });
    let room = width.saturating_sub(sums.width() + 2).min(TICKS);
    let sparks = spark(&tally.histories[Tally::TOTAL].last(0, room));
    let tabs = [(Shown::Bindings, "1 bindings"), (Shown::Labels, "2 labels"), (Shown::Sockets, "3 sockets")];
    let mut third: Vec<Span<'_>> = Vec::new();
    for (shown, name) in tabs {
        let style = if shown == view.shown { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
        third.extend([Span::styled(format!(" {name} "), style), Span::raw(" ")]);
    }
    third.push(Span::raw(format!("sorted by {}", view.sort.name())));
    if !view.filter.is_empty() && !view.typing {
        third.push(Span::styled(format!("  with {:?}", printable(&view.filter)), bold()));
    }
    vec![first, Line::from(vec![sums, Span::raw("  "), Span::raw(sparks)]), Line::from(third)]
}

/// The rows that fit.
fn lines<'a>(tally: &Tally, view: &View) -> Vec<Line<'a>> {
    if view.order.is_empty() {
        return vec![Line::raw("no line has this text; Esc drops the filter")];
    }
    let shown: Range<usize> = view.top..(view.top + view.height).min(view.order.len());
    let line = |&number: &usize| {
        let (row, histories) = match view.shown {
            Shown::Labels => (&tally.groups[number].row, &tally.histories[Tally::GROUPS]),
            Shown::Bindings | Shown::Sockets => (&tally.bindings[number], &tally.histories[Tally::BINDINGS]),
        };
        let spark = spark(&histories.last(number, ROW_TICKS));
        let errors = errors(&row.sum.counts);
        let text = format!(
            "{:>10} {:>9}{} {spark} {:>12} {:>9}  {}",
            rate(row.runs),
            if row.errors > 0.0 { rate(row.errors) } else { String::new() },
            // For who sees no colours.
            if row.errors > 0.0 { '!' } else { ' ' },
            row.sum.counts.hits,
            if errors > 0 { errors.to_string() } else { String::new() },
            printable(&view.text(tally, number))
        );
        let style = if row.errors > 0.0 { bad() } else { Style::new() };
        Line::styled(text, if number == view.marked { style.add_modifier(Modifier::REVERSED) } else { style })
    };
    view.order[shown].iter().map(line).collect()
}

fn footing<'a>(view: &View) -> Line<'a> {
    match view.typing {
        true => Line::styled(format!("/{}_", printable(&view.filter)), bold()),
        false => Line::raw("q leave   ? keys   Tab turn   / filter   s sort   Enter more"),
    }
}

/// Something in front of the rows.
fn front(frame: &mut Frame<'_>, title: &str, lines: Vec<Line<'_>>) {
    let area = frame.area();
    let area = Rect { x: area.x, y: area.y + area.height.min(1), height: area.height.saturating_sub(2), ..area };
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(format!(" {title} "))), area);
}

/// A rate in few characters: 0.5, 12, 1234567.
fn rate(rate: f64) -> String {
    if rate > 0.0 && rate < 10.0 { format!("{rate:.1}") } else { format!("{rate:.0}") }
}

fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

/// What should be seen at once; without colours it is bold (<https://no-color.org>).
fn bad() -> Style {
    match std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
        true => bold(),
        false => bold().fg(Color::Red),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::KeyCode;
    use sklookup_compiler::Counts;
    use sklookup_policy::{Policy, parse_file};

    use super::super::details::Subject;
    use super::super::view::Wish;
    use super::*;

    /// A tally after two looks a second apart, of bindings with so many runs and errors in between.
    fn tally(bindings: &[(&str, u64, u64)]) -> Tally {
        let lines: Vec<&str> = bindings.iter().map(|(line, ..)| *line).collect();
        let policy = Policy::new(parse_file(&format!("bindings = {lines:?}"), "p.toml").unwrap()).unwrap();
        let counts = |entry: &sklookup_policy::Entry| {
            let line = entry.binding.to_string();
            let (_, hits, no_socket) = bindings.iter().find(|(of, ..)| *of == line).unwrap();
            Counts { hits: *hits, no_socket: *no_socket, ..Counts::default() }
        };
        let mut tally = Tally::default();
        let start = Instant::now();
        tally.take(&policy, vec![Counts::default(); policy.len()], start);
        let counts = policy.entries().iter().map(counts).collect();
        tally.take(&policy, counts, start + Duration::from_secs(1));
        tally
    }

    fn view(tally: &Tally) -> View {
        let mut view = View::new(Duration::from_secs(1));
        view.generation = Some(7);
        view.arrange(tally);
        view
    }

    /// What a terminal of this size shows.
    fn screen(tally: &Tally, view: &mut View, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, tally, view)).unwrap();
        let text = terminal.backend().to_string();
        text.lines().map(|line| line.trim_matches('"').trim_end().to_owned()).collect()
    }

    fn press(view: &mut View, tally: &Tally, keys: &[KeyCode]) -> Wish {
        keys.iter().map(|&key| view.key(key.into(), tally)).last().unwrap()
    }

    const LINES: [(&str, u64, u64); 3] =
        [("web tcp 192.0.2.1 80", 5, 0), ("dns udp 192.0.2.2 53", 300, 40), ("pass tcp 192.0.2.3", 0, 0)];

    #[test]
    fn the_busiest_comes_first_and_errors_stand_out() {
        let tally = tally(&LINES);
        let shown = screen(&tally, &mut view(&tally), 90, 10);
        assert_eq!(shown[0], "sklookup top: generation 7, 3 bindings, 2 labels; every 1 s");
        assert!(
            shown[1].starts_with("305 runs/s, 40 errors/s; so far 265 steered, 40 refused, 0 passed on"),
            "{shown:#?}"
        );
        let rows: Vec<Vec<&str>> = shown[4..7].iter().map(|row| row.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["300", "40!", "█", "300", "40", "dns", "udp", "192.0.2.2", "53"]);
        assert_eq!(rows[1], ["5.0", "█", "5", "web", "tcp", "192.0.2.1", "80"]);
        assert_eq!(rows[2], ["0", "0", "pass", "tcp", "192.0.2.3"]);
    }

    #[test]
    fn keys_turn_sort_filter_and_ask() {
        let tally = tally(&LINES);
        let mut view = view(&tally);
        assert_eq!(press(&mut view, &tally, &[KeyCode::Char('n')]), Wish::Nothing);
        assert!(screen(&tally, &mut view, 90, 10)[4].contains("web tcp"));
        press(&mut view, &tally, &[KeyCode::Char('/'), KeyCode::Char('D'), KeyCode::Char('n'), KeyCode::Enter]);
        assert_eq!(view.order.len(), 1);
        assert_eq!(press(&mut view, &tally, &[KeyCode::Enter]), Wish::Details(Subject::Binding(view.order[0])));
        assert_eq!(press(&mut view, &tally, &[KeyCode::Esc, KeyCode::Tab, KeyCode::Char('n')]), Wish::Nothing);
        assert_eq!(view.order.len(), 3, "dns, pass, web");
        assert_eq!(press(&mut view, &tally, &[KeyCode::Enter]), Wish::Details(Subject::Label("dns".parse().unwrap())));
        assert_eq!(press(&mut view, &tally, &[KeyCode::Down, KeyCode::Enter]), Wish::Nothing, "a rule has no more");
        assert_eq!(press(&mut view, &tally, &[KeyCode::Tab]), Wish::Sockets);
        press(&mut view, &tally, &[KeyCode::Char('?')]);
        assert!(screen(&tally, &mut view, 90, 20).iter().any(|line| line.contains("Ctrl-Z        stop")));
        assert_eq!(press(&mut view, &tally, &[KeyCode::Char('x'), KeyCode::Char('q')]), Wish::Leave);
    }

    #[test]
    fn no_size_is_too_small() {
        let tally = tally(&LINES);
        let mut view = view(&tally);
        for width in [1, 2, 10, 300] {
            for height in 1..8 {
                screen(&tally, &mut view, width, height);
                view.front = Some(Front::Help);
                screen(&tally, &mut view, width, height);
                view.front = None;
            }
        }
    }

    #[test]
    fn the_marked_line_stays_in_sight_and_stays_marked() {
        let lines: Vec<String> = (1..=200).map(|port| format!("web tcp 192.0.2.1 {port}")).collect();
        let bindings: Vec<(&str, u64, u64)> = lines.iter().map(|line| (line.as_str(), 0, 0)).collect();
        let tally = tally(&bindings);
        let mut view = view(&tally);
        screen(&tally, &mut view, 90, 15);
        press(&mut view, &tally, &[KeyCode::End]);
        assert!(screen(&tally, &mut view, 90, 15)[13].ends_with("web tcp 192.0.2.1 200"));
        press(&mut view, &tally, &[KeyCode::Up, KeyCode::PageUp]);
        assert_eq!(view.text(&tally, view.marked), "web tcp 192.0.2.1 189");
        // A terminal made smaller.
        screen(&tally, &mut view, 90, 7);
        assert!((view.top..view.top + 2).contains(&view.place()));
        press(&mut view, &tally, &[KeyCode::Home]);
        assert!(screen(&tally, &mut view, 90, 15)[4].ends_with("web tcp 192.0.2.1 1"));
    }

    #[test]
    fn where_nothing_is_steered_that_is_said() {
        let tally = Tally::default();
        let mut view = View::new(Duration::from_secs(1));
        view.arrange(&tally);
        assert!(screen(&tally, &mut view, 80, 10).iter().any(|line| line.starts_with("nothing is steered here")));
        view.trouble = Some("x\u{1b}[2J".to_owned());
        assert_eq!(screen(&tally, &mut view, 80, 10)[0], "sklookup: x\\u{1b}[2J");
    }
}
