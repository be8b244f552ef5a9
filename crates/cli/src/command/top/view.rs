//! What is looked at: which rows in which order, and what keys do to it.

use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::details::Subject;
use super::tally::{Row, Tally};

/// What is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    Bindings,
    Labels,
    Sockets,
}

/// What comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Who has the most runs.
    Runs,
    /// The most errors, or else runs.
    Errors,
    /// The most runs since it was applied.
    Total,
    /// As the policy has them; labels by name.
    Name,
}

/// What stands in front of the rows.
#[derive(Debug)]
pub enum Front {
    /// All keys.
    Help,
    /// More about something.
    Details { title: String, lines: Vec<String>, top: usize },
}

/// What a key asks of who holds the counts.
#[derive(Debug, PartialEq, Eq)]
pub enum Wish {
    Nothing,
    Leave,
    Suspend,
    Sockets,
    Details(Subject),
}

/// The state of the screen.
#[derive(Debug)]
pub struct View {
    /// Which program is ours; `None`: nothing is steered.
    pub generation: Option<u32>,
    /// Why the last look failed.
    pub trouble: Option<String>,
    /// How often is looked.
    pub interval: Duration,
    pub shown: Shown,
    pub sort: Sort,
    /// Only rows with this in their text.
    pub filter: String,
    /// It is being typed.
    pub typing: bool,
    pub front: Option<Front>,
    /// The numbers of the rows, in order.
    pub order: Vec<usize>,
    /// What is known of sockets, and the first line that is shown of it.
    pub sockets: Vec<String>,
    pub sockets_top: usize,
    /// The row that is marked, by its number, and the first place that is shown.
    pub marked: usize,
    pub top: usize,
    /// Somebody has marked it; else it is the first one, whichever that is.
    chosen: bool,
    /// How many rows fit; drawing says so.
    pub height: usize,
    /// Looks since sockets were last asked for.
    since_sockets: u32,
}

impl View {
    pub fn new(interval: Duration) -> View {
        View {
            generation: None,
            trouble: None,
            interval,
            shown: Shown::Bindings,
            sort: Sort::Runs,
            filter: String::new(),
            typing: false,
            front: None,
            order: Vec::new(),
            sockets: Vec::new(),
            sockets_top: 0,
            marked: 0,
            top: 0,
            chosen: false,
            height: 1,
            since_sockets: 0,
        }
    }

    /// Whether sockets are to be looked at again. Who has them is found in /proc, process by process: not at each look.
    pub fn wants_sockets(&mut self) -> bool {
        const SECONDS: f64 = 3.0;
        self.since_sockets += 1;
        self.shown == Shown::Sockets && f64::from(self.since_sockets) * self.interval.as_secs_f64() >= SECONDS
    }

    /// Takes what there is to know of sockets.
    pub fn show_sockets(&mut self, text: &str) {
        self.since_sockets = 0;
        self.sockets = text.lines().map(str::to_owned).collect();
        self.sockets_top = self.sockets_top.min(self.sockets.len().saturating_sub(1));
    }

    /// Puts more about something in front.
    pub fn show_details(&mut self, title: String, text: &str) {
        self.front = Some(Front::Details { title, lines: text.lines().map(str::to_owned).collect(), top: 0 });
    }

    /// Picks and sorts rows anew.
    pub fn arrange(&mut self, tally: &Tally) {
        let count = match self.shown {
            Shown::Bindings => tally.bindings.len(),
            Shown::Labels => tally.groups.len(),
            Shown::Sockets => 0,
        };
        let filter = self.filter.to_lowercase();
        let picked = |row: &usize| filter.is_empty() || self.text(tally, *row).to_lowercase().contains(&filter);
        let mut order: Vec<usize> = (0..count).filter(picked).collect();
        let row = |number: usize| match self.shown {
            Shown::Labels => &tally.groups[number].row,
            Shown::Bindings | Shown::Sockets => &tally.bindings[number],
        };
        // Stable: what is equal stays as the policy has it, and most of many is.
        let most = |key: fn(&Row) -> f64| move |a: &usize, b: &usize| key(row(*b)).total_cmp(&key(row(*a)));
        match self.sort {
            Sort::Runs => order.sort_by(most(|row| row.runs)),
            Sort::Errors => order.sort_by(|a, b| most(|row| row.errors)(a, b).then(most(|row| row.runs)(a, b))),
            Sort::Total => order.sort_by(most(|row| row.sum.counts.hits as f64)),
            Sort::Name if self.shown == Shown::Labels => {
                order.sort_by(|a, b| tally.groups[*a].name.cmp(&tally.groups[*b].name));
            }
            Sort::Name => {}
        }
        self.order = order;
        self.chosen &= self.order.contains(&self.marked);
        if !self.chosen {
            self.marked = self.order.first().copied().unwrap_or_default();
        }
        self.follow();
    }

    /// What a row is about.
    pub fn text(&self, tally: &Tally, row: usize) -> String {
        match self.shown {
            Shown::Labels => tally.groups[row].name.clone(),
            Shown::Bindings | Shown::Sockets => tally.policy.entries()[row].binding.to_string(),
        }
    }

    /// The place of the marked row.
    pub fn place(&self) -> usize {
        self.order.iter().position(|row| *row == self.marked).unwrap_or_default()
    }

    /// Keeps the marked row among those that are shown, and the screen full.
    pub fn follow(&mut self) {
        let place = self.place();
        let last = self.order.len().saturating_sub(self.height);
        self.top = self.top.min(last).clamp((place + 1).saturating_sub(self.height), place);
    }

    /// Does what a key asks for, or says who has to.
    pub fn key(&mut self, key: KeyEvent, tally: &Tally) -> Wish {
        if key.kind == KeyEventKind::Release {
            return Wish::Nothing;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            match key.code {
                KeyCode::Char('c') => return Wish::Leave,
                KeyCode::Char('z') => return Wish::Suspend,
                _ => {}
            }
        }
        if self.typing {
            self.type_filter(key.code);
            self.arrange(tally);
            return Wish::Nothing;
        }
        if self.front.is_some() {
            self.key_in_front(key.code);
            return Wish::Nothing;
        }
        let page = isize::try_from(self.height).unwrap_or(isize::MAX);
        match key.code {
            KeyCode::Char('q') => return Wish::Leave,
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.front = Some(Front::Help),
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Tab | KeyCode::BackTab => return self.turn(key.code == KeyCode::Tab, tally),
            KeyCode::Char('1') => return self.show(Shown::Bindings, tally),
            KeyCode::Char('2') => return self.show(Shown::Labels, tally),
            KeyCode::Char('3') => return self.show(Shown::Sockets, tally),
            KeyCode::Char('s') => self.sort = self.sort.next(),
            KeyCode::Char('r') => self.sort = Sort::Runs,
            KeyCode::Char('e') => self.sort = Sort::Errors,
            KeyCode::Char('t') => self.sort = Sort::Total,
            KeyCode::Char('n') => self.sort = Sort::Name,
            KeyCode::Enter => return self.ask(tally),
            KeyCode::Up | KeyCode::Char('k') => self.go(-1),
            KeyCode::Down | KeyCode::Char('j') => self.go(1),
            KeyCode::PageUp => self.go(-page),
            KeyCode::PageDown | KeyCode::Char(' ') => self.go(page),
            KeyCode::Home | KeyCode::Char('g') => self.go(isize::MIN),
            KeyCode::End | KeyCode::Char('G') => self.go(isize::MAX),
            _ => return Wish::Nothing,
        }
        self.arrange(tally);
        Wish::Nothing
    }

    fn type_filter(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => {
                self.typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(char) => self.filter.push(char),
            _ => {}
        }
    }

    fn key_in_front(&mut self, code: KeyCode) {
        let page = self.height.max(1);
        match (&mut self.front, code) {
            (Some(Front::Details { top, .. }), KeyCode::Up | KeyCode::Char('k')) => *top = top.saturating_sub(1),
            (Some(Front::Details { top, .. }), KeyCode::PageUp) => *top = top.saturating_sub(page),
            (Some(Front::Details { lines, top, .. }), KeyCode::Down | KeyCode::Char('j')) => {
                *top = (*top + 1).min(lines.len().saturating_sub(1));
            }
            (Some(Front::Details { lines, top, .. }), KeyCode::PageDown | KeyCode::Char(' ')) => {
                *top = (*top + page).min(lines.len().saturating_sub(1));
            }
            _ => self.front = None,
        }
    }

    fn turn(&mut self, forward: bool, tally: &Tally) -> Wish {
        let shown = match (self.shown, forward) {
            (Shown::Bindings, true) | (Shown::Sockets, false) => Shown::Labels,
            (Shown::Labels, true) | (Shown::Bindings, false) => Shown::Sockets,
            (Shown::Sockets, true) | (Shown::Labels, false) => Shown::Bindings,
        };
        self.show(shown, tally)
    }

    fn show(&mut self, shown: Shown, tally: &Tally) -> Wish {
        if self.shown != shown {
            (self.shown, self.chosen, self.top) = (shown, false, 0);
        }
        self.arrange(tally);
        if shown == Shown::Sockets { Wish::Sockets } else { Wish::Nothing }
    }

    fn go(&mut self, by: isize) {
        if self.shown == Shown::Sockets {
            let last = self.sockets.len().saturating_sub(1);
            self.sockets_top = self.sockets_top.saturating_add_signed(by).min(last);
            return;
        }
        let place = self.place().saturating_add_signed(by).min(self.order.len().saturating_sub(1));
        self.marked = self.order.get(place).copied().unwrap_or_default();
        self.chosen = true;
    }

    fn ask(&self, tally: &Tally) -> Wish {
        if !self.order.contains(&self.marked) {
            return Wish::Nothing;
        }
        match self.shown {
            Shown::Bindings => Wish::Details(Subject::Binding(self.marked)),
            Shown::Labels => {
                let group = &tally.groups[self.marked];
                let label = group.is_label.then(|| group.name.parse().ok()).flatten();
                label.map_or(Wish::Nothing, |label| Wish::Details(Subject::Label(label)))
            }
            Shown::Sockets => Wish::Nothing,
        }
    }
}

impl Sort {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Sort::Runs => "runs",
            Sort::Errors => "errors",
            Sort::Total => "total",
            Sort::Name => "name",
        }
    }

    fn next(self) -> Sort {
        match self {
            Sort::Runs => Sort::Errors,
            Sort::Errors => Sort::Total,
            Sort::Total => Sort::Name,
            Sort::Name => Sort::Runs,
        }
    }
}
