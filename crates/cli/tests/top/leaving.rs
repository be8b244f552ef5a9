//! However it ends, the terminal is as it was.

use std::process::Stdio;

use sklookup_kernel::Sandbox;
use sklookup_testbed::{Trial, kernel_trial_with, plain_trial};

use crate::command::{command, sklookup};
use crate::screen::Screen;
use crate::tmux::Tmux;

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial_with("tmux", "a_signal_that_ends_it_leaves_the_terminal_clean", signals),
        kernel_trial_with("tmux", "q_and_ctrl_c_leave", keys),
        kernel_trial_with("tmux", "ctrl_z_gives_the_terminal_back_and_fg_goes_on", stopped),
        kernel_trial_with("tmux", "a_panic_leaves_the_terminal_clean_and_is_read_on_it", panicked),
        kernel_trial_with("tmux", "a_terminal_that_is_gone_ends_it", gone),
        plain_trial("without_a_terminal_it_is_refused", no_terminal),
    ]
}

fn signals(sandbox: &Sandbox) {
    let tmux = Tmux::open(sandbox, 100, 20);
    let settings = tmux.settings();
    for (signal, exit) in [("TERM", 143), ("INT", 130), ("HUP", 129), ("QUIT", 131)] {
        tmux.top("");
        tmux.kill(signal);
        tmux.is_clean(&settings, exit);
    }
}

fn keys(sandbox: &Sandbox) {
    let tmux = Tmux::open(sandbox, 100, 20);
    let settings = tmux.settings();
    for key in ["q", "C-c"] {
        tmux.top("");
        tmux.keys(&[key]);
        tmux.is_clean(&settings, 0);
    }
}

fn stopped(sandbox: &Sandbox) {
    let tmux = Tmux::open(sandbox, 100, 20);
    let settings = tmux.settings();
    tmux.top("--interval 0.2");
    for stop in ["key", "signal"] {
        match stop {
            "key" => tmux.keys(&["C-z"]),
            _ => tmux.kill("TSTP"),
        }
        tmux.shows("Stopped");
        tmux.is_clean(&settings, 128 + 19); // SIGSTOP
        tmux.line("clear");
        tmux.line("fg");
        tmux.shows("q leave   ? keys");
        // It takes keys and draws as before.
        tmux.keys(&["?"]);
        tmux.shows("Ctrl-Z        stop");
        tmux.keys(&["x"]);
        tmux.until("the keys are gone", |screen| !screen.contains("Ctrl-Z"));
    }
    tmux.keys(&["q"]);
    tmux.is_clean(&settings, 0);
}

fn panicked(sandbox: &Sandbox) {
    let tmux = Tmux::open(sandbox, 100, 20);
    let settings = tmux.settings();
    tmux.line("clear");
    tmux.line(&format!("{} panic-on-terminal", std::env::current_exe().unwrap().display()));
    tmux.shows("something went wrong on purpose");
    tmux.is_clean(&settings, 101);
}

/// What this program does when it is started so.
pub fn panic_on_terminal() -> ! {
    let mut screen = Screen::enter().unwrap();
    screen.draw(|frame| frame.render_widget("drawn", frame.area())).unwrap();
    panic!("something went wrong on purpose");
}

fn gone(sandbox: &Sandbox) {
    let tmux = Tmux::open(sandbox, 100, 20);
    tmux.top("");
    let top = sklookup_kernel::process::Process::open(tmux.child()).unwrap();
    drop(tmux);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while top.is_alive() {
        assert!(std::time::Instant::now() < deadline, "it goes on without a terminal");
        std::thread::yield_now();
    }
}

fn no_terminal() {
    let ran = sklookup(&["top"]);
    assert_eq!((ran.exit, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("no terminal that can be drawn on"), "{ran:?}");
    let ran = sklookup(&["--json", "top"]);
    assert_eq!(ran.exit, 2, "{ran:?}");
    for interval in ["0", "0.01", "nan", "3601", "x"] {
        let ran = command(&["top", "--interval", interval]).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(ran.status.code(), Some(2), "{interval}: {ran:?}");
    }
}
