//! A namespace with servers, what is in effect there, and commands that change it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use rustix::net::sockopt::socket_cookie;
use sklookup_kernel::{Link, Netns, Object};
use sklookup_policy::{Policy, parse_file};
use sklookup_steering::{State, digest};
use sklookup_testbed::leftovers::{attached, names};
use sklookup_testbed::trace::Call;
use sklookup_testbed::{Fault, Leftovers, Sandbox, Trace, name_netns};

use crate::command::{Ran, command, document};
use crate::services::{REFUSED, Server, reached};

/// What is in effect, as far as a command can change it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// The bindings; `None`: nothing is attached.
    pub bindings: Option<BTreeSet<String>>,
    /// The server under each label that has one.
    pub servers: BTreeMap<String, String>,
}

/// A command that changes something. Every binding covers one of the [`PROBES`].
#[derive(Clone, Debug)]
pub enum Step {
    /// A policy of these bindings.
    Apply(&'static [&'static str]),
    Bind(&'static str),
    Unbind(&'static str),
    /// A server under a label.
    Register(&'static str, &'static str),
    Unregister(&'static str),
    Unload,
    Upgrade,
    /// To an earlier policy, of these bindings.
    Rollback(&'static [&'static str]),
    /// A server, from its start to its end; it has a file of its own here.
    Run,
    /// No command: the link dies, as with its namespace.
    Die,
    /// No command: `ip netns` knows the namespace, so that what is in effect there is kept on disk.
    Name,
}

/// One address of each binding that the tests use, by the beginning of its prefix.
const PROBES: [&str; 3] = ["127.7.", "127.8.", "127.9."];

/// What tests start from.
pub struct World<'a> {
    pub sandbox: &'a Sandbox,
    state: State,
    servers: Vec<Registrable>,
    /// Everything that a command made.
    made: BTreeSet<Object>,
    /// How many commands ran.
    pub runs: usize,
}

/// A server with a process of its own that has its socket and no other.
struct Registrable {
    server: Server,
    cookie: u64,
    holder: Child,
}

impl Registrable {
    fn new(name: &str) -> Registrable {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let cookie = socket_cookie(&listener).unwrap();
        let fd: OwnedFd = listener.try_clone().unwrap().into();
        let holder = Command::new("sleep").arg("1000").stdin(fd).spawn().unwrap();
        Registrable { server: Server::of(name, listener), cookie, holder }
    }
}

impl Drop for Registrable {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

impl Effect {
    /// What it is after a command.
    pub fn after(&self, step: &Step) -> Effect {
        let mut after = self.clone();
        match step {
            Step::Apply(lines) | Step::Rollback(lines) => {
                after.bindings = Some(lines.iter().map(ToString::to_string).collect());
            }
            Step::Bind(line) => drop(after.bindings.get_or_insert_default().insert((*line).to_owned())),
            Step::Unbind(line) => {
                after.bindings.as_mut().map(|bindings| bindings.remove(*line));
            }
            Step::Register(label, server) => {
                after.bindings.get_or_insert_default();
                after.servers.insert((*label).to_owned(), (*server).to_owned());
            }
            Step::Unregister(label) => drop(after.servers.remove(*label)),
            Step::Upgrade | Step::Run | Step::Name => {}
            Step::Unload | Step::Die => after = Effect::default(),
        }
        after
    }

    /// The same, if a first command that died has attached the policy that passes everything, and nothing more: to a
    /// packet that is what was there before.
    pub fn to_packets(&self, before: &Effect) -> Effect {
        let nothing = Effect { bindings: Some(BTreeSet::new()), ..Effect::default() };
        if *self == nothing && before.bindings.is_none() { before.clone() } else { self.clone() }
    }

    /// The same without the bindings of a `run`.
    pub fn without_runs(&self) -> Effect {
        let mut without = self.clone();
        if let Some(bindings) = &mut without.bindings {
            bindings.retain(|line| !line.starts_with("run:"));
        }
        without
    }

    /// Who gets a connection to an address that begins so.
    fn target(&self, probe: &str) -> &str {
        let mut bindings = self.bindings.iter().flatten();
        let label = bindings.find(|line| line.contains(probe)).and_then(|line| line.split(' ').next());
        label.and_then(|label| self.servers.get(label)).map_or(REFUSED, String::as_str)
    }
}

impl Step {
    /// As it is typed.
    pub fn name(&self) -> &'static str {
        match self {
            Step::Apply(_) => "apply",
            Step::Bind(_) => "bind",
            Step::Unbind(_) => "unbind",
            Step::Register(..) => "register",
            Step::Unregister(_) => "unregister",
            Step::Unload => "unload",
            Step::Upgrade => "upgrade",
            Step::Rollback(_) => "rollback",
            Step::Run => "run",
            Step::Die | Step::Name => unreachable!("no command"),
        }
    }

    /// Whether it takes litter away, whatever else there is to do.
    pub fn sweeps(&self) -> bool {
        match self {
            Step::Apply(_) | Step::Rollback(_) | Step::Bind(_) | Step::Unbind(_) | Step::Unload | Step::Upgrade => true,
            // A label that is there is written to, and nothing else is looked at.
            Step::Register(..) | Step::Unregister(_) | Step::Run | Step::Die | Step::Name => false,
        }
    }

    /// Whether it answers "no" where there is nothing to take away.
    pub fn may_be_moot(&self) -> bool {
        matches!(self, Step::Unbind(_) | Step::Unregister(_))
    }
}

/// A command line whose answer will be read.
fn typed(words: &[&str]) -> Command {
    let mut command = command(words);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl<'a> World<'a> {
    /// Nothing is applied yet.
    pub fn new(sandbox: &'a Sandbox) -> World<'a> {
        let state = State::new(&sandbox.bpffs, Netns::current().unwrap()).unwrap();
        let servers = ["first", "second"].map(Registrable::new).into();
        World { sandbox, state, servers, made: BTreeSet::new(), runs: 0 }
    }

    /// The command line of a step, not yet run.
    pub fn command(&self, step: &Step) -> Command {
        let file;
        let number;
        let pid;
        let socket;
        let words: Vec<&str> = match step {
            Step::Apply(lines) => {
                file = self.policy(*lines);
                vec!["apply", &file, "--allow", "shrink"]
            }
            Step::Bind(line) => ["bind"].into_iter().chain(line.split(' ')).collect(),
            Step::Unbind(line) => ["unbind"].into_iter().chain(line.split(' ')).collect(),
            Step::Register(label, name) => {
                let server = self.servers.iter().find(|server| server.server.name == *name).unwrap();
                (pid, socket) = (server.holder.id().to_string(), server.server.described());
                vec!["register", label, "--pid", &pid, "--match", &socket]
            }
            Step::Unregister(label) => vec!["unregister", label],
            Step::Unload => vec!["unload"],
            Step::Upgrade => vec!["upgrade"],
            Step::Rollback(lines) => {
                number = self.kept_as(lines);
                vec!["rollback", &number, "--allow", "shrink"]
            }
            Step::Run | Step::Die | Step::Name => unreachable!("not as a step"),
        };
        typed(&words)
    }

    /// The number under which a policy of these bindings is kept, as a user finds it: the list is read.
    fn kept_as(&self, lines: &[&str]) -> String {
        let bindings = parse_file(&format!("bindings = {lines:?}"), "").unwrap();
        let digest = digest(&Policy::new(bindings).unwrap());
        let (_, list) = document(&["rollback"]);
        let policies = list["policies"].as_array().expect("a list");
        let kept = policies.iter().find(|policy| policy["number"] != 0 && policy["digest"] == digest);
        kept.unwrap_or_else(|| panic!("{lines:?} is not kept: {list}"))["number"].to_string()
    }

    /// A file of these bindings.
    fn policy<T: AsRef<str>>(&self, lines: impl IntoIterator<Item = T>) -> String {
        let text: Vec<String> = lines.into_iter().map(|line| format!("{:?},\n", line.as_ref())).collect();
        let file = self.sandbox.scratch.join("policy.toml");
        std::fs::write(&file, format!("bindings = [\n{}]\n", text.concat())).unwrap();
        file.to_str().unwrap().to_owned()
    }

    /// Makes this what is in effect, from whatever is.
    pub fn go_to(&mut self, wanted: &Effect) {
        let seen = self.seen();
        let mut lines: Vec<Vec<String>> = Vec::new();
        let mut line = |words: &[&str]| lines.push(words.iter().map(ToString::to_string).collect());
        match &wanted.bindings {
            None => line(&["unload"]),
            Some(bindings) if seen.bindings.as_ref() != Some(bindings) => {
                line(&["apply", &self.policy(bindings), "--allow", "shrink"]);
            }
            Some(_) => {}
        }
        let gone = |label: &&String| wanted.bindings.is_some() && !wanted.servers.contains_key(*label);
        for label in seen.servers.keys().filter(gone) {
            line(&["unregister", label]);
        }
        for (label, name) in wanted.servers.iter().filter(|(label, name)| seen.servers.get(*label) != Some(*name)) {
            let server = self.servers.iter().find(|server| server.server.name == *name).expect("a server of ours");
            line(&["register", label, "--pid", &server.holder.id().to_string()]);
        }
        for line in lines {
            let words: Vec<&str> = line.iter().map(String::as_str).collect();
            let (ran, _) = self.run_traced(typed(&words), None);
            assert!(ran.exit == 0, "{words:?}: {ran:?}");
        }
        assert_eq!(self.seen(), *wanted);
    }

    /// Runs a step, with a fault or without; answers what came of it, and its calls.
    pub fn run(&mut self, step: &Step, fault: Option<Fault>) -> (Ran, Vec<Call>) {
        self.run_traced(self.command(step), fault)
    }

    fn run_traced(&mut self, mut command: Command, fault: Option<Fault>) -> (Ran, Vec<Call>) {
        let trace = self.trace();
        trace.of(&mut command);
        if let Some(fault) = fault {
            fault.in_command(&mut command);
        }
        let ran = command.output().unwrap().into();
        (ran, self.read(&trace))
    }

    /// A trace for the next command.
    pub fn trace(&mut self) -> Trace {
        self.runs += 1;
        Trace::new(self.sandbox.scratch.join(format!("trace-{}", self.runs)))
    }

    /// What a command wrote to its trace, which goes.
    pub fn read(&mut self, trace: &Trace) -> Vec<Call> {
        let calls = trace.calls();
        trace.remove();
        self.made.extend(calls.iter().filter_map(Call::made));
        calls
    }

    /// Runs steps that have to work.
    pub fn done(&mut self, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Die => Link::open(&self.state.dir().join("link")).unwrap().detach().unwrap(),
                Step::Name => name_netns(&self.sandbox.netns, "blue"),
                _ => {
                    let (ran, _) = self.run(step, None);
                    assert_eq!(ran.exit, 0, "{step:?}: {ran:?}");
                }
            }
        }
    }

    /// What is in effect, by the state, by the answer of the command, and by who gets connections.
    pub fn seen(&self) -> Effect {
        let Some(generation) = self.state.generation().unwrap() else { return Effect::default() };
        let entries = generation.record.policy.entries();
        let mut servers = BTreeMap::new();
        // A `run` has a label and a server of its own.
        for label in generation.record.labels.iter().filter(|label| !label.as_str().starts_with("run:")) {
            for slot in generation.live.registered(label).unwrap() {
                let server = self.servers.iter().find(|server| server.cookie == slot.cookie).expect("a server of ours");
                assert_eq!(servers.insert(label.to_string(), server.server.name.clone()), None, "one socket each");
            }
        }
        Effect { bindings: Some(entries.iter().map(|entry| entry.binding.to_string()).collect()), servers }
    }

    /// Makes sure that the command says what the state says, and that connections go where it says.
    pub fn agrees(&self, seen: &Effect, doing: &str) {
        let exported: Ran = command(&["export"]).output().unwrap().into();
        let bindings = seen.bindings.iter().flatten();
        assert_eq!(exported.exit, if seen.bindings.is_some() { 0 } else { exported.exit }, "{doing}: {exported:?}");
        for binding in bindings {
            assert!(exported.stdout.contains(binding.as_str()), "{doing}: {binding}: {exported:?}");
        }
        let servers: Vec<&Server> = self.servers.iter().map(|server| &server.server).collect();
        for probe in PROBES {
            let to = reached(&servers, &format!("tcp 127.0.0.1 > {probe}0.1:80"));
            assert_eq!(to, seen.target(probe), "{doing}: {probe}0.1:80 with {seen:?}");
        }
    }

    /// Makes sure that there is nothing but what is in effect.
    pub fn is_tidy(&self, doing: &str) {
        let root = names(&self.sandbox.bpffs);
        let Some(generation) = self.state.generation().unwrap() else {
            assert_eq!((root, attached(self.sandbox)), (vec![], vec![]), "{doing}: names, and programs attached");
            return;
        };
        let (live, parent) = (generation.live.id, generation.record.parent);
        let mut expected = vec!["current".to_owned(), format!("gen-{live}"), "link".to_owned()];
        expected.extend((parent != 0).then(|| format!("gen-{parent}")));
        expected.sort();
        let state = self.state.dir().strip_prefix(&self.sandbox.bpffs).unwrap();
        let found = root.iter().filter_map(|name| name.strip_prefix(state.to_str().unwrap())?.strip_prefix('/'));
        let found: Vec<&str> = found.filter(|name| !name.contains('/')).collect();
        assert_eq!(found, expected, "{doing}: names in the state directory");
        assert!(!root.iter().any(|name| name.ends_with("/leaving")), "{doing}: labels are leaving: {root:?}");
        let current = std::fs::read_link(self.state.dir().join("current")).unwrap();
        assert_eq!(current.to_str(), Some(&format!("gen-{live}")[..]), "{doing}: what `current` points at");
        assert_eq!(attached(self.sandbox), [live], "{doing}: programs attached");
    }

    /// Takes everything away, and makes sure that it is.
    pub fn end(&mut self) {
        self.done(&[Step::Unload]);
        assert_eq!(Leftovers::among(self.sandbox, &self.made), Leftovers::default());
    }
}
