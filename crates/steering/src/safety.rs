//! The safety catches: what a new policy would take away from somebody.
//!
//! Each can be overridden by name, and says what it protects. Only what changes is looked at: what the applied policy
//! takes already was agreed to when it was applied.

mod ephemeral;
mod session;
mod takeover;

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use ipnet::IpNet;
use sklookup_kernel::route::LocalRoutes;
use sklookup_policy::{Binding, Difference, Interface, Outcome, Packet, Policy, Protocol, difference, winner};

pub use session::{Hidden, Session, Whose};
pub use takeover::Listener;

/// What could go wrong, by the name under which it can be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hazard {
    /// The port of the ssh session the command was typed in would be taken.
    Ssh,
    /// The policy has no bindings.
    Empty,
    /// More than half of the applied bindings would go.
    Shrink,
    /// Packets for the prefix are not delivered to this machine.
    NotLocal,
    /// Another service listens there already.
    Takeover,
    /// Answers to this machine's own questions would be taken.
    Ephemeral,
}

impl Hazard {
    /// Every hazard, in the order in which they are reported.
    pub const ALL: [Hazard; 6] =
        [Hazard::Ssh, Hazard::Empty, Hazard::Shrink, Hazard::NotLocal, Hazard::Takeover, Hazard::Ephemeral];

    /// The name that allows it.
    pub fn name(self) -> &'static str {
        match self {
            Hazard::Ssh => "ssh",
            Hazard::Empty => "empty",
            Hazard::Shrink => "shrink",
            Hazard::NotLocal => "not-local",
            Hazard::Takeover => "takeover",
            Hazard::Ephemeral => "ephemeral",
        }
    }
}

impl fmt::Display for Hazard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Hazard {
    type Err = String;

    fn from_str(name: &str) -> Result<Hazard, String> {
        Hazard::ALL.into_iter().find(|hazard| hazard.name() == name).ok_or_else(|| {
            let known: Vec<&str> = Hazard::ALL.iter().map(|hazard| hazard.name()).collect();
            format!("no safety catch has this name; there are {}", known.join(", "))
        })
    }
}

/// A catch that closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catch {
    /// Which one.
    pub hazard: Hazard,
    /// What would happen, in a sentence.
    pub message: String,
    /// What to do instead of overriding it.
    pub help: Option<String>,
}

/// What the catches have to know about the machine.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The ssh session that the command was typed in, or those that may be it.
    pub ssh: Vec<Session>,
    /// One that could not be looked at.
    pub hidden: Option<Hidden>,
    /// Listening sockets.
    pub listeners: Vec<Listener>,
    /// Prefixes that are delivered locally.
    pub local: Vec<IpNet>,
    /// Addresses that interfaces have.
    pub addresses: Vec<IpAddr>,
    /// Ports the kernel gives to sockets that did not ask for one.
    pub ephemeral: Option<RangeInclusive<u16>>,
    /// Cookies of the sockets that steering delivers to: taking from these is no theft.
    pub registered: HashSet<u64>,
    /// The command that changes this namespace's routes: `ip`, `ip -n blue`.
    pub ip: String,
}

/// How many catches of one kind are spelled out; the rest is counted.
const SHOWN: usize = 5;

/// How many packets it is tried for who wins: each try reads the whole policy.
const TRIED: usize = 100;

/// All catches that `new` closes, given that `old` is applied.
///
/// `replaces` says whether `new` was given as a whole (`apply`) and not made by adding and removing a binding.
pub fn review(old: &Policy, new: &Policy, world: &World, replaces: bool) -> Vec<Catch> {
    let mut catches = Vec::new();
    if replaces {
        size(old, new, &mut catches);
    }
    let difference = difference(old, new);
    let added = come(&difference);
    let taking = taking(&difference);
    session::catches(old, new, world, &mut catches);
    some(Hazard::NotLocal, not_local(&added, world), &mut catches);
    some(Hazard::Takeover, takeover::catches(old, new, &taking, world), &mut catches);
    some(Hazard::Ephemeral, ephemeral::catches(old, new, &taking, world), &mut catches);
    catches.sort_by_key(|catch| catch.hazard);
    catches
}

/// What could not be found out, and matters to what `new` changes.
pub fn unseen(old: &Policy, new: &Policy, world: &World) -> Option<String> {
    session::unseen(old, new, world)
}

/// What takes packets from the regular lookup by the change: a binding that comes, and a carve-out that goes.
fn taking<'a>(difference: &Difference<'a>) -> Vec<&'a Binding> {
    let come = come(difference).into_iter().filter(|binding| binding.outcome != Outcome::Pass);
    let gone = difference.removed.iter().copied().chain(difference.changed.iter().map(|change| change.before));
    come.chain(gone.filter(|binding| binding.outcome == Outcome::Pass)).collect()
}

/// The bindings that come, in order.
fn come<'a>(difference: &Difference<'a>) -> Vec<&'a Binding> {
    let changed = difference.changed.iter().map(|change| change.after);
    let mut come: Vec<&Binding> = difference.added.iter().copied().chain(changed).collect();
    come.sort();
    come
}

/// How many bindings two ascending lists have in common.
fn common<'a>(some: impl Iterator<Item = &'a Binding>, others: impl Iterator<Item = &'a Binding>) -> usize {
    let mut others = others.peekable();
    let mut common = 0;
    for binding in some {
        while others.next_if(|other| *other < binding).is_some() {}
        common += usize::from(others.next_if_eq(&binding).is_some());
    }
    common
}

/// Keeps the first few of a kind and counts the rest.
fn some(hazard: Hazard, mut found: Vec<Catch>, catches: &mut Vec<Catch>) {
    let more = found.len().saturating_sub(SHOWN);
    found.truncate(SHOWN);
    catches.append(&mut found);
    if more > 0 {
        catches.push(Catch { hazard, message: format!("and {more} more of this kind"), help: None });
    }
}

fn size(old: &Policy, new: &Policy, catches: &mut Vec<Catch>) {
    // What a living `run` added comes and goes with it: it is neither kept nor dropped by a policy.
    fn lasting(policy: &Policy) -> impl Iterator<Item = &Binding> {
        policy.entries().iter().filter(|entry| entry.owner.is_none()).map(|entry| &entry.binding)
    }
    let (before, after) = (lasting(old).count(), lasting(new).count());
    if after == 0 && before > 0 {
        catches.push(Catch {
            hazard: Hazard::Empty,
            message: format!("the policy has no bindings; {before} are applied and would go"),
            help: Some("`sklookup unload` takes steering away on purpose".to_owned()),
        });
        return;
    }
    let gone = before - common(lasting(old), lasting(new));
    if gone * 2 > before {
        catches.push(Catch {
            hazard: Hazard::Shrink,
            message: format!("{gone} of {before} applied bindings would go, more than half"),
            help: Some("`sklookup diff` shows which".to_owned()),
        });
    }
}

/// The binding that takes a packet away from the regular lookup, over any interface that the policy speaks of.
fn taker(policy: &Policy, protocol: Protocol, source: SocketAddr, destination: SocketAddr) -> Option<&Binding> {
    let over = |interface| taker_over(policy, protocol, source, destination, interface);
    over(None).or_else(|| policy.interfaces().iter().find_map(|interface| over(Some(interface.clone()))))
}

/// The same over one interface; `None`: over one that the policy does not speak of.
fn taker_over(
    policy: &Policy,
    protocol: Protocol,
    source: SocketAddr,
    destination: SocketAddr,
    interface: Option<Interface>,
) -> Option<&Binding> {
    let packet = Packet { protocol, source, destination, interface };
    let binding = &policy.entries()[winner(policy, &packet)?].binding;
    (binding.outcome != Outcome::Pass).then_some(binding)
}

fn not_local(added: &[&Binding], world: &World) -> Vec<Catch> {
    let local: LocalRoutes = world.local.iter().copied().collect();
    let mut seen = HashSet::new();
    let mut catches = Vec::new();
    for binding in added {
        let prefix = binding.destination;
        // Every address means every address of this machine: those are local by definition.
        if prefix.prefix_len() == 0 || binding.outcome == Outcome::Pass || local.covers(&prefix) {
            continue;
        }
        if !seen.insert(prefix) {
            continue;
        }
        let part = world.local.iter().any(|net| prefix.contains(net));
        let extent = if part { "only in part local" } else { "not local" };
        catches.push(Catch {
            hazard: Hazard::NotLocal,
            message: format!("{prefix} is {extent} on this machine: other packets for it never reach the hook"),
            help: Some(format!("{} route add local {prefix} dev lo", world.ip)),
        });
    }
    catches
}

#[cfg(test)]
mod tests {
    use super::*;
    use sklookup_policy::{Origin, parse_binding};

    fn policy(lines: &[&str]) -> Policy {
        let origin = || Origin::Command("test".into());
        Policy::new(lines.iter().flat_map(|line| parse_binding(line, origin()).unwrap()).collect()).unwrap()
    }

    fn hazards(old: &[&str], new: &[&str], world: &World, replaces: bool) -> Vec<Hazard> {
        review(&policy(old), &policy(new), world, replaces).iter().map(|catch| catch.hazard).collect()
    }

    fn world() -> World {
        World {
            local: vec!["127.0.0.0/8".parse().unwrap(), "192.0.2.7/32".parse().unwrap()],
            addresses: vec!["127.0.0.1".parse().unwrap(), "192.0.2.7".parse().unwrap()],
            ephemeral: Some(32768..=60999),
            ..World::default()
        }
    }

    fn session(whose: Whose) -> Session {
        Session { remote: "198.51.100.9:4000".parse().unwrap(), local: "192.0.2.7:22".parse().unwrap(), whose }
    }

    fn listener(protocol: Protocol, address: &str) -> Listener {
        Listener {
            interface: None,
            protocol,
            address: address.parse().unwrap(),
            dual_stack: true,
            cookie: 9,
            owner: "nginx (pid 7)".to_owned(),
        }
    }

    #[test]
    fn an_empty_policy_and_a_halved_one_are_caught_only_when_the_whole_is_replaced() {
        let three = ["a tcp 127.0.0.1 1", "a tcp 127.0.0.1 2", "a tcp 127.0.0.1 3"];
        assert_eq!(hazards(&three, &[], &world(), true), [Hazard::Empty]);
        assert_eq!(hazards(&three, &three[..1], &world(), true), [Hazard::Shrink]);
        assert_eq!(hazards(&three, &three[..2], &world(), true), []);
        assert_eq!(hazards(&three, &[], &world(), false), []);
    }

    #[test]
    fn the_port_of_an_ssh_session_is_not_taken_unless_carved_out() {
        let world = World { ssh: vec![session(Whose::Yours)], ..world() };
        assert_eq!(hazards(&[], &["web tcp 192.0.2.7 1-1000"], &world, false), [Hazard::Ssh]);
        assert_eq!(hazards(&[], &["web tcp 192.0.2.7 1-1000 dev eth0"], &world, false), [Hazard::Ssh]);
        assert_eq!(hazards(&[], &["web tcp 192.0.2.7 1-1000", "pass tcp 192.0.2.7 22"], &world, false), []);
        assert_eq!(hazards(&["web tcp 192.0.2.7 1-1000"], &["web tcp 192.0.2.7 1-1000"], &world, true), []);
    }

    #[test]
    fn a_carve_out_that_goes_is_caught_like_a_binding_that_comes() {
        let all = ["web tcp 192.0.2.7 1-1000", "pass tcp 192.0.2.7 22", "pass tcp 192.0.2.7 80"];
        let mut world = World { ssh: vec![session(Whose::Yours)], ..world() };
        assert_eq!(hazards(&all, &[all[0], all[2]], &world, false), [Hazard::Ssh]);
        world.listeners = vec![listener(Protocol::Tcp, "192.0.2.7:80")];
        assert_eq!(hazards(&all, &all[..2], &world, false), [Hazard::Takeover]);
        assert_eq!(hazards(&all, &all, &world, true), []);
    }

    #[test]
    fn what_a_living_run_added_is_not_counted_among_what_goes() {
        let mut entries = parse_binding("web tcp 192.0.2.7 1", Origin::Command("test".into())).unwrap();
        let mut run = parse_binding("run tcp 192.0.2.7 2,3,4", Origin::Command("run".into())).unwrap();
        run.iter_mut()
            .for_each(|entry| entry.owner = Some(sklookup_policy::Owner { pid: 1, start: 1, pid_namespace: None }));
        let only_run = Policy::new(run.clone()).unwrap();
        entries.extend(run);
        let both = Policy::new(entries).unwrap();
        let catches = review(&both, &only_run, &world(), true);
        assert_eq!(catches.iter().map(|catch| catch.hazard).collect::<Vec<_>>(), [Hazard::Empty]);
        assert_eq!(review(&only_run, &only_run, &world(), true), []);
    }

    #[test]
    fn a_prefix_that_is_not_delivered_here_is_caught_with_the_route_that_is_missing() {
        assert_eq!(hazards(&[], &["web tcp 127.3.0.0/16 80"], &world(), false), []);
        assert_eq!(hazards(&[], &["web tcp 0.0.0.0/0 80"], &world(), false), []);
        let world = World { ip: "ip -n blue".to_owned(), ..world() };
        let catches = review(&policy(&[]), &policy(&["web tcp 192.0.2.0/24 80"]), &world, false);
        assert_eq!(catches[0].hazard, Hazard::NotLocal);
        assert!(catches[0].message.contains("only in part local"), "{}", catches[0].message);
        assert_eq!(catches[0].help.as_deref(), Some("ip -n blue route add local 192.0.2.0/24 dev lo"));
    }

    #[test]
    fn another_services_listener_is_named_and_a_registered_one_is_not() {
        let mut world = world();
        for address in ["192.0.2.7:80", "0.0.0.0:80", "[::]:80"] {
            world.listeners = vec![listener(Protocol::Tcp, address)];
            let catches = review(&policy(&[]), &policy(&["web tcp 192.0.2.7 80"]), &world, false);
            assert_eq!(catches.len(), 1, "{address}: {catches:?}");
            assert!(catches[0].message.contains("nginx (pid 7)"), "{}", catches[0].message);
        }
        assert_eq!(
            hazards(
                &[],
                &[
                    "web tcp 192.0.2.7 80",
                    "pass tcp 192.0.2.7 80 from 0.0.0.0/1",
                    "pass tcp 192.0.2.7 80 from 128.0.0.0/1"
                ],
                &world,
                false
            ),
            []
        );
        assert_eq!(hazards(&[], &["web udp 192.0.2.7 80"], &world, false), []);
        world.registered.insert(9);
        assert_eq!(hazards(&[], &["web tcp 192.0.2.7 80"], &world, false), []);
    }

    #[test]
    fn a_session_that_may_be_yours_is_guarded_and_one_that_is_hidden_is_said() {
        let perhaps = World { ssh: vec![session(Whose::Perhaps("tmux".to_owned()))], ..world() };
        let catches = review(&policy(&[]), &policy(&["web tcp 192.0.2.7 22"]), &perhaps, false);
        assert!(catches[0].message.ends_with("came in; it may be yours: tmux"), "{}", catches[0].message);

        let connections = vec![(session(Whose::Yours).remote, session(Whose::Yours).local)];
        let hidden = World { hidden: Some(Hidden { daemon: "sshd (pid 7)".to_owned(), connections }), ..world() };
        let said = |lines: &[&str]| unseen(&policy(&[]), &policy(lines), &hidden);
        assert!(said(&["web tcp 192.0.2.7 22"]).unwrap().contains("sshd (pid 7) can't be looked at"));
        assert_eq!(said(&["web tcp 192.0.2.7 80"]), None);
        assert_eq!(hazards(&[], &["web tcp 192.0.2.7 22"], &hidden, false), []);
    }

    #[test]
    fn a_listener_bound_to_an_interface_loses_only_what_arrives_over_it() {
        let mut bound = listener(Protocol::Udp, "0.0.0.0:53");
        bound.interface = Some("eth0".parse().unwrap());
        let world = World { listeners: vec![bound], ..world() };
        assert_eq!(hazards(&[], &["dns udp 192.0.2.7 53 dev eth1"], &world, false), []);
        for lines in [&["dns udp 192.0.2.7 53"][..], &["dns udp 192.0.2.7 53 dev eth0"]] {
            let catches = review(&policy(&[]), &policy(lines), &world, false);
            assert!(catches[0].message.ends_with("listens on udp 0.0.0.0:53 dev eth0"), "{catches:?}");
        }
        assert_eq!(hazards(&[], &["dns udp 192.0.2.7 53", "pass udp 192.0.2.7 53 dev eth0"], &world, false), []);
    }

    #[test]
    fn a_carve_out_of_the_first_address_does_not_hide_a_listener_on_every_address() {
        let world = World { listeners: vec![listener(Protocol::Tcp, "0.0.0.0:80")], ..world() };
        let lines = ["web tcp 192.0.2.0/28 80", "pass tcp 192.0.2.0 80"];
        let catches = review(&policy(&[]), &policy(&lines), &world, false);
        assert!(catches.iter().any(|catch| catch.message.contains("takes packets to 192.0.2.7:80")), "{catches:?}");
    }

    #[test]
    fn ephemeral_ports_can_be_carved_out_and_the_carve_out_is_kept() {
        let (all, pass) = ("game udp 192.0.2.7", "pass udp 192.0.2.7 32768-60999");
        assert_eq!(hazards(&[], &[all, pass], &world(), false), []);
        assert_eq!(hazards(&[], &[all, "pass udp 192.0.2.7 32768-60998"], &world(), false), [Hazard::Ephemeral]);
        assert_eq!(hazards(&[], &[all, "pass udp 192.0.2.7 32769-60999"], &world(), false), [Hazard::Ephemeral]);
        assert_eq!(hazards(&[all, pass], &[all], &world(), false), [Hazard::Ephemeral]);
        assert_eq!(hazards(&[all], &[all, "other udp 192.0.2.7 40000"], &world(), false), []);
        assert_eq!(hazards(&[], &["game udp 192.0.2.7 60999-65535"], &world(), false), [Hazard::Ephemeral]);
    }

    #[test]
    fn udp_over_ephemeral_ports_of_an_address_of_this_machine_is_caught() {
        assert_eq!(hazards(&[], &["game udp 127.0.0.0/8"], &world(), false), [Hazard::Ephemeral]);
        assert_eq!(hazards(&[], &["game udp 127.0.0.0/8 53,1000-2000"], &world(), false), []);
        assert_eq!(hazards(&[], &["web tcp 127.0.0.0/8"], &world(), false), []);
        assert_eq!(hazards(&[], &["refuse tcp 127.0.0.0/8"], &world(), false), [Hazard::Ephemeral]);
        assert_eq!(hazards(&[], &["game udp 127.7.0.0/16"], &world(), false), []);
    }

    #[test]
    fn many_catches_of_a_kind_are_counted_and_not_all_printed() {
        let lines: Vec<String> = (0..100).map(|n| format!("web tcp 203.0.113.{n} 80")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let catches = review(&policy(&[]), &policy(&lines), &world(), false);
        assert_eq!(catches.len(), SHOWN + 1);
        assert_eq!(catches[SHOWN].message, "and 95 more of this kind");
    }
}
