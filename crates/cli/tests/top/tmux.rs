//! A real terminal: a tmux of our own, keys typed into it, its screen read.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use sklookup_kernel::Sandbox;
use sklookup_kernel::process::children;

/// Longer than anything on a screen takes.
const LONG: Duration = Duration::from_secs(60);

/// A terminal with a shell in it.
pub struct Tmux {
    socket: PathBuf,
    scratch: PathBuf,
    shell: u32,
}

impl Tmux {
    /// One of this size, in the namespaces of this thread.
    pub fn open(sandbox: &Sandbox, width: u32, height: u32) -> Tmux {
        let socket = sandbox.scratch.join("tmux");
        let mut tmux = Tmux { socket, scratch: sandbox.scratch.clone(), shell: 0 };
        let [width, height] = [width, height].map(|number| number.to_string());
        tmux.tell(&[
            "new-session",
            "-d",
            "-x",
            &width,
            "-y",
            &height,
            "env",
            "PS1=ready> ",
            "bash",
            "--norc",
            "--noprofile",
        ]);
        tmux.shell = tmux.ask("#{pane_pid}").parse().unwrap();
        tmux.shows("ready>");
        tmux
    }

    /// Types a line.
    pub fn line(&self, line: &str) {
        self.tell(&["send-keys", "-l", line]);
        self.keys(&["Enter"]);
    }

    /// Types keys by tmux's names: `Enter`, `C-z`, `q`.
    pub fn keys(&self, keys: &[&str]) {
        self.tell(&[&["send-keys"], keys].concat());
    }

    pub fn resize(&self, width: u32, height: u32) {
        self.tell(&["resize-window", "-x", &width.to_string(), "-y", &height.to_string()]);
    }

    /// What is on the screen.
    pub fn screen(&self) -> String {
        self.tell(&["capture-pane", "-p"])
    }

    /// Waits until the screen is as it should be; answers it.
    pub fn until(&self, what: &str, is: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + LONG;
        loop {
            let screen = self.screen();
            if is(&screen) {
                return screen;
            }
            assert!(Instant::now() < deadline, "{what}: it never came; the screen is\n{screen}");
            std::thread::yield_now();
        }
    }

    /// Waits until this is on the screen; answers it.
    pub fn shows(&self, text: &str) -> String {
        self.until(text, |screen| screen.contains(text))
    }

    /// Starts `top` and waits until it has drawn.
    pub fn top(&self, arguments: &str) {
        self.line("clear");
        self.line(&format!("{} top {arguments}", env!("CARGO_BIN_EXE_sklookup")));
        self.shows("q leave   ? keys");
    }

    /// The process that the shell has started last.
    pub fn child(&self) -> u32 {
        *children(self.shell).unwrap().last().expect("the shell has a child")
    }

    /// Sends a signal to that process.
    pub fn kill(&self, signal: &str) {
        let sent = Command::new("kill").args([&format!("-{signal}"), &self.child().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// How the terminal is set up, in words of its own: asked in the shell.
    pub fn settings(&self) -> String {
        let file = self.scratch.join("stty");
        self.line(&format!("stty -g > {0}.new; mv {0}.new {0}", file.display()));
        let settings = wait_for(&file);
        std::fs::remove_file(&file).unwrap();
        settings
    }

    /// Makes sure that the terminal is as a shell wants it, and that the last command ended so.
    pub fn is_clean(&self, settings: &str, exit: i32) {
        self.until("the shell", |screen| screen.trim_end().ends_with("ready>"));
        self.line("echo \"ended with $?.\"");
        self.shows(&format!("ended with {exit}."));
        assert_eq!(self.settings(), settings);
        assert_eq!(self.ask("#{cursor_flag} #{alternate_on} #{wrap_flag}"), "1 0 1", "cursor, other screen, line wrap");
    }

    fn ask(&self, format: &str) -> String {
        self.tell(&["display-message", "-p", format]).trim().to_owned()
    }

    fn tell(&self, arguments: &[&str]) -> String {
        let mut tmux = Command::new("tmux");
        tmux.args(["-f", "/dev/null", "-u", "-S"]).arg(&self.socket).args(arguments).env_remove("TMUX");
        let ran = tmux.env("LC_ALL", "C.UTF-8").output().unwrap();
        assert!(ran.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap()
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the screen is\n{}", self.screen());
        }
        self.tell(&["kill-server"]);
    }
}

/// Waits until a file is there, and answers what it holds.
fn wait_for(file: &Path) -> String {
    let deadline = Instant::now() + LONG;
    loop {
        if let Ok(text) = std::fs::read_to_string(file) {
            return text;
        }
        assert!(Instant::now() < deadline, "{}: it never came", file.display());
        std::thread::yield_now();
    }
}
