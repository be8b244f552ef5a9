//! The terminal: taken, and given back as it was, however the program ends.

use std::io::{self, Stdout, Write, stdout};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::terminal::{
    DisableLineWrap, EnableLineWrap, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{execute, queue};
use ratatui::{Frame, Terminal};

/// The terminal while it is drawn on. Dropped, or when something panics, it is as it was.
pub struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    /// Takes the terminal.
    pub fn enter() -> io::Result<Screen> {
        give_back_on_panic();
        take()?;
        // From here on it has to be given back.
        let terminal = Terminal::new(CrosstermBackend::new(stdout())).inspect_err(|_| drop(give_back()))?;
        Ok(Screen { terminal })
    }

    /// Draws; what is there already is not sent again.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(draw).map(drop)
    }

    /// Gives the terminal back for a while.
    pub fn leave(&mut self) -> io::Result<()> {
        give_back()
    }

    /// Takes it again; nothing of what was drawn is there any more.
    pub fn enter_again(&mut self) -> io::Result<()> {
        take()?;
        // Not `clear`: it asks the terminal where the cursor is, and who reads the keys would get the answer.
        self.terminal = Terminal::new(CrosstermBackend::new(stdout()))?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = give_back();
    }
}

/// Whether the terminal is taken. Given back twice it would lose its place: the cursor goes where it was on taking it.
static TAKEN: AtomicBool = AtomicBool::new(false);

fn take() -> io::Result<()> {
    enable_raw_mode()?;
    TAKEN.store(true, Ordering::Relaxed);
    execute!(stdout(), EnterAlternateScreen, DisableLineWrap, Hide).inspect_err(|_| drop(give_back()))
}

fn give_back() -> io::Result<()> {
    if !TAKEN.swap(false, Ordering::Relaxed) {
        return Ok(());
    }
    let mut out = stdout();
    let shown = queue!(out, EnableLineWrap, LeaveAlternateScreen, Show).and_then(|()| out.flush());
    disable_raw_mode().and(shown)
}

/// What a panic says is to be read: on the terminal as it was, below what was there.
fn give_back_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let _ = give_back();
            before(panic);
        }));
    });
}
