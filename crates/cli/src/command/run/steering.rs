//! What a `run` changes in the namespace, and how it takes that back.

use std::cell::OnceCell;
use std::collections::BTreeSet;

use sklookup_kernel::interface;
use sklookup_policy::Policy;
use sklookup_steering::find::Found;
use sklookup_steering::safety::Catch;
use sklookup_steering::{Current, Error, Placement, Presence, Review, State};

use crate::args::Allow;
use crate::command::apply::refuse;
use crate::command::run::asked::Asked;
use crate::output::{COULD_NOT, Failure, Said};

/// The bindings and the label of a `run` in a namespace.
#[derive(Debug)]
pub struct Steering<'a> {
    state: &'a State,
    asked: &'a Asked,
    /// From the first binding on, and until none is left: others take for dead who does not say that it lives.
    presence: OnceCell<Presence>,
}

impl<'a> Steering<'a> {
    /// Nothing is changed yet.
    pub fn new(state: &'a State, asked: &'a Asked) -> Steering<'a> {
        Steering { state, asked, presence: OnceCell::new() }
    }

    /// Makes sure that the bindings can be applied, so that a server is not started in vain.
    ///
    /// They are held against what is applied, and a generation without them, but with the empty label, is put into
    /// effect: rights, bpffs, kernel and verifier show what they are worth, and no packet sees a difference.
    ///
    /// # Errors
    /// Everything that stands against it. What a catch would have refused and was allowed is answered, to be said.
    pub fn prove(&self, allow: &Allow) -> Result<Vec<Said>, Failure> {
        let mut review = Review::default();
        let label = Placement { label: self.asked.label.clone(), members: Vec::new() };
        let proved = self.state.commit(&[label], &mut |current| {
            let new = self.with_ours(current)?;
            self.interfaces(&new)?;
            review = self.state.review(current.policy, &new, false, &[])?;
            if review.catches.iter().any(|catch| !allow.allow.contains(&catch.hazard)) {
                // The words are chosen below.
                return Err(Error::Refused(String::new()));
            }
            Ok(current.policy.clone())
        });
        let (allowed, refusals): (Vec<Catch>, Vec<Catch>) =
            review.catches.into_iter().partition(|catch| allow.allow.contains(&catch.hazard));
        if !refusals.is_empty() {
            return Err(Failure { exit: COULD_NOT, said: refuse(&refusals) });
        }
        proved?;
        let unseen = review.unseen.into_iter().map(|unseen| Said::new(format!("not seen: {unseen}")));
        Ok(allowed.iter().map(|catch| Said::new(format!("allowed: {}", catch.message))).chain(unseen).collect())
    }

    /// Puts the bindings into effect, with the sockets in their label before the first packet comes. Once.
    pub fn begin(&self, sockets: Vec<Found>) -> Result<(), Error> {
        let placements = [self.placement(sockets)];
        loop {
            let presence = self.state.announce(self.asked.owner)?;
            self.state.commit(&placements, &mut |current| self.with_ours(current))?;
            // Had an unload taken it away in between, others might drop the bindings as those of a dead run.
            if presence.is_there()? {
                let first = self.presence.set(presence).is_ok();
                debug_assert!(first, "a run begins once");
                return Ok(());
            }
        }
    }

    /// The cookies of the sockets in the label; `None` where somebody has taken the label away.
    pub fn registered(&self) -> Result<Option<BTreeSet<u64>>, Error> {
        let slots = self.state.registered(&self.asked.label)?;
        Ok(slots.map(|slots| slots.iter().map(|slot| slot.cookie).collect()))
    }

    /// Puts other sockets into the label.
    pub fn replace(&self, sockets: Vec<Found>) -> Result<(), Error> {
        self.state.register(self.placement(sockets))
    }

    /// Takes everything back that was added; the rest, and what others added meanwhile, stays.
    pub fn end(&self) -> Result<(), Error> {
        match self.state.unregister(&self.asked.label, &|_| true) {
            // Never begun, or taken away by somebody else.
            Ok(_) | Err(Error::NoLabel { .. } | Error::NotLoaded { .. }) => {}
            Err(error) => return Err(error),
        }
        // With nothing else applied all of it goes at once.
        if !self.state.unload_if_idle()? && self.is_applied()? {
            self.state.withdraw(&mut |current| Ok(self.without_ours(current)))?;
            self.state.unload_if_idle()?;
        }
        Ok(())
    }

    /// Whether anything in effect is ours.
    fn is_applied(&self) -> Result<bool, Error> {
        let Some(generation) = self.state.generation()? else { return Ok(false) };
        Ok(generation.record.labels.contains(&self.asked.label)
            || generation.record.policy.entries().iter().any(|entry| entry.owner == Some(self.asked.owner)))
    }

    fn without_ours(&self, current: &Current<'_>) -> Policy {
        current.policy.filtered(|entry| entry.owner != Some(self.asked.owner))
    }

    fn with_ours(&self, current: &Current<'_>) -> Result<Policy, Error> {
        self.without_ours(current).with(self.asked.entries.clone()).map_err(Error::Policy)
    }

    fn placement(&self, sockets: Vec<Found>) -> Placement {
        Placement { label: self.asked.label.clone(), members: sockets.into_iter().map(|found| found.member).collect() }
    }

    /// Makes sure that the namespace has every interface that a policy names.
    fn interfaces(&self, policy: &Policy) -> Result<(), Error> {
        let names = policy.interfaces();
        if names.is_empty() {
            return Ok(());
        }
        let there: BTreeSet<String> =
            self.state.netns().run(interface::list)??.into_iter().map(|interface| interface.name).collect();
        match names.iter().find(|name| !there.contains(name.as_str())) {
            Some(missing) => {
                Err(Error::Interface { interface: missing.clone(), netns: self.state.netns().describe().to_owned() })
            }
            None => Ok(()),
        }
    }
}
