//! From the start of the command to its end: waiting until it listens, steering to it, following it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;
use sklookup_kernel::spawn::Exit;
use sklookup_steering::Error;
use sklookup_steering::find::Found;

use crate::args::Run;
use crate::command::register::described;
use crate::command::run::asked::Asked;
use crate::command::run::child::Child;
use crate::command::run::report;
use crate::command::run::service::{Seen, Service};
use crate::command::run::steering::Steering;
use crate::command::run::watch::Watch;
use crate::output::{Failure, Said};

/// Between two looks at a command that does not listen yet: at first, growing up to.
const EAGER: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(100)];

/// How long what was seen has to stay the same: servers open one socket after another.
const SETTLED: Duration = Duration::from_millis(50);

/// Between two looks at a server that is being served.
const CALM: Duration = Duration::from_millis(200);

/// Between two looks at the label, while the sockets stay the same: another command may have emptied it.
const LABEL: Duration = Duration::from_secs(1);

/// How long a daemon, whose starter has ended, may be without a socket until it counts as gone too.
const REOPENED: Duration = Duration::from_secs(2);

/// How long those that a command leaves behind have to end as well.
const PARTING: Duration = Duration::from_millis(500);

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// How the command ended.
    pub exit: Exit,
    /// The sockets that were steered to at first, for machines.
    pub found: Vec<Value>,
}

/// A command under our eyes.
#[derive(Debug)]
pub struct Supervisor<'a> {
    args: &'a Run,
    asked: &'a Asked,
    steering: &'a Steering<'a>,
    watch: Watch<'a>,
    child: Child<'a>,
    /// What serves now.
    service: Service,
    /// The same, and what served before those kinds that nothing serves now.
    remembered: Service,
    /// The label may be behind the server.
    behind: bool,
    /// When the label was last looked at.
    checked: Instant,
    /// That not every socket has a slot was said.
    crowded: bool,
    /// What was said last: what happens at each look is said once.
    said: Vec<Said>,
}

impl<'a> Supervisor<'a> {
    /// The command was just started.
    pub fn new(
        args: &'a Run,
        asked: &'a Asked,
        steering: &'a Steering<'a>,
        watch: Watch<'a>,
        child: Child<'a>,
    ) -> Supervisor<'a> {
        let (service, remembered) = (Service::default(), Service::default());
        Supervisor {
            args,
            asked,
            steering,
            watch,
            child,
            service,
            remembered,
            behind: false,
            checked: Instant::now(),
            crowded: false,
            said: Vec::new(),
        }
    }

    /// Stays with it until it has ended. When it can't be served, it is ended.
    pub fn run(mut self) -> Result<Outcome, Failure> {
        let outcome = self.supervise();
        if outcome.is_err() {
            self.child.end(&self.watch)?;
        }
        outcome
    }

    fn supervise(&mut self) -> Result<Outcome, Failure> {
        let Some(found) = self.begin()? else {
            let exit = self.child.exit().expect("only what has ended does not begin");
            report::say([report::never_listened(&self.args.command, exit)]);
            return Ok(Outcome { exit, found: Vec::new() });
        };
        let exit = self.follow()?;
        if exit != Exit::Code(0) {
            self.say_left_behind()?;
        }
        Ok(Outcome { exit, found })
    }

    /// Says what lives on without being steered to. Whoever ends together with the command is given a moment for it.
    fn say_left_behind(&mut self) -> Result<(), Failure> {
        let ended = Instant::now();
        while !self.watch.is_alone()? && ended.elapsed() < PARTING {
            self.child.attend(PARTING.saturating_sub(ended.elapsed()), &self.watch)?;
        }
        let left = self.watch.pids()?;
        report::say((!left.is_empty()).then(|| report::left_behind(&left)));
        Ok(())
    }

    /// Waits until it listens and steers to it; `None`: it ended before.
    fn begin(&mut self) -> Result<Option<Vec<Value>>, Failure> {
        let (timeout, begun) = (Duration::from_secs(self.args.timeout), Instant::now());
        let mut pause = EAGER[0];
        let mut seen = Vec::new();
        let mut since = Instant::now();
        loop {
            let now = self.watch.look()?;
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
            let complete = self.is_complete(&seen);
            if complete && since.elapsed() >= SETTLED {
                if let Some(found) = self.steer(&seen)? {
                    return Ok(Some(found));
                }
                since = Instant::now();
            }
            if self.has_ended()? {
                return Ok(None);
            }
            let left = timeout.saturating_sub(begun.elapsed());
            if left.is_zero() {
                let search = self.watch.search()?;
                let said = report::timed_out(&search, &self.watch, self.asked, self.args, self.child.pid());
                return Err(Failure::new(said));
            }
            let next = if complete { SETTLED.saturating_sub(since.elapsed()) } else { pause };
            pause = (pause * 2).min(EAGER[1]);
            self.child.attend(next.min(left), &self.watch)?;
        }
    }

    /// Whether every protocol that was asked for has a socket.
    fn is_complete(&self, seen: &[Seen]) -> bool {
        let protocols: BTreeSet<_> = seen.iter().map(|socket| socket.protocol).collect();
        self.asked.protocols().is_subset(&protocols)
    }

    /// Steers to what was seen; `None`: it closed meanwhile.
    fn steer(&mut self, seen: &[Seen]) -> Result<Option<Vec<Value>>, Failure> {
        let (service, several) = Service::choose(seen, &Service::default());
        if !several.is_empty() {
            return Err(Failure::new(report::several(several, self.child.pid())));
        }
        let found = self.watch.take(&service)?;
        if !is_whole(&found, &service) {
            return Ok(None);
        }
        let for_people = report::steering(&self.args.bindings, &found);
        let for_machines = found.iter().map(described).collect();
        self.steering.begin(found)?;
        report::say([for_people]);
        report::say(report::unserved(self.asked, &service));
        self.say_left_out(&service);
        self.remembered = service.clone();
        self.service = service;
        Ok(Some(for_machines))
    }

    /// Keeps the label in step with the server until that has ended. What goes wrong here is said, and a server that
    /// works is left in peace.
    fn follow(&mut self) -> Result<Exit, Failure> {
        let mut open = Instant::now();
        loop {
            self.child.attend(CALM, &self.watch)?;
            if let Err(error) = self.keep_up() {
                let failure = Failure::from(error);
                self.say_once(failure.said);
            }
            if !self.service.is_empty() {
                open = Instant::now();
            }
            let Some(exit) = self.child.exit() else { continue };
            match self.has_ended() {
                Ok(ended) if ended || open.elapsed() >= REOPENED => return Ok(exit),
                Ok(_) => {}
                Err(error) => self.say_once(Failure::from(error).said),
            }
        }
    }

    /// Brings the label up to date. One that somebody else took away stays away.
    fn keep_up(&mut self) -> Result<(), Error> {
        let changed = self.behind || self.watch.changed()?;
        if !changed && self.checked.elapsed() < LABEL {
            return Ok(());
        }
        let registered = self.steering.registered()?;
        self.checked = Instant::now();
        let Some(registered) = registered else {
            self.say_once(vec![report::taken_away()]);
            return Ok(());
        };
        // Somebody may have emptied the label by hand; as long as this runs, the server belongs in it.
        let in_place = self.service.cookies().is_subset(&registered);
        if in_place && !changed {
            return Ok(());
        }
        self.behind = true;
        let seen = self.watch.look()?;
        let (service, several) = Service::choose(&seen, &self.remembered);
        if !several.is_empty() {
            self.say_once(vec![report::several(several, self.child.pid())]);
        }
        // What has closed left its label by itself.
        if !service.cookies().is_subset(&registered) {
            let found = self.watch.take(&service)?;
            if !is_whole(&found, &service) {
                return Ok(()); // too late for this one: once more
            }
            let said = report::followed(&found);
            self.steering.replace(found)?;
            report::say([said]);
            self.say_left_out(&service);
        }
        self.remembered = service.clone().or(&self.remembered);
        self.service = service;
        self.behind = false;
        Ok(())
    }

    /// Whether the command has ended for good. One that ended well may have left a server in the background: as long as
    /// anything it started is there, that is what runs.
    fn has_ended(&self) -> Result<bool, Error> {
        match self.child.exit() {
            None => Ok(false),
            Some(Exit::Code(0)) => self.watch.is_alone(),
            Some(_) => Ok(true),
        }
    }

    fn say_left_out(&mut self, service: &Service) {
        let sockets = service.left_out();
        if sockets > 0 && !self.crowded {
            report::say([report::left_out(sockets)]);
            self.crowded = true;
        }
    }

    fn say_once(&mut self, said: Vec<Said>) {
        if self.said != said {
            report::say(said.iter().cloned());
            self.said = said;
        }
    }
}

/// Whether every socket of a service was found.
fn is_whole(found: &[Found], service: &Service) -> bool {
    found.iter().map(|found| found.member.cookie).collect::<BTreeSet<u64>>() == service.cookies()
}
