//! What is applied, as far as it may be read, and what is on the hook.

use sklookup_kernel::Netns;
use sklookup_policy::Label;
use sklookup_steering::status::{Hook, Unseen};
use sklookup_steering::{Generation, Record, Slots, State};

/// What steers in a namespace.
pub(crate) struct Steered {
    /// The generation in effect with the sockets under some of its labels; `None` where nothing of ours is attached.
    pub(crate) applied: Result<Option<(Generation, Vec<Slots>)>, Hidden>,
    /// The programs, and what could not be seen of all this.
    pub(crate) hook: Hook,
}

/// It may not be read, or could not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hidden;

impl Steered {
    /// Looks. `state` is where ours would be, if it can be looked at; `labels` says whose sockets are wanted.
    pub(crate) fn look(netns: &Netns, state: Option<&State>, labels: impl Fn(&Record) -> Vec<Label>) -> Steered {
        let mut unseen = Vec::new();
        let applied = match state.map(|state| state.generation_with(labels)) {
            None => Ok(None),
            Some(Ok(applied)) => Ok(applied),
            Some(Err(error)) => {
                unseen.push(Unseen { what: "what is steered", why: error.to_string() });
                Err(Hidden)
            }
        };
        let own = applied.as_ref().ok().and_then(|applied| applied.as_ref()?.0.program.info().ok());
        let mut hook = Hook::of(netns, own.as_ref());
        if let (Err(Hidden), Some(state)) = (&applied, state) {
            // Who may not read it can still be told which it is.
            let id = state.live_id().ok().flatten();
            hook.programs.iter_mut().flatten().for_each(|program| program.ours = Some(program.id) == id);
        }
        unseen.append(&mut hook.unseen);
        hook.unseen = unseen;
        Steered { applied, hook }
    }
}
