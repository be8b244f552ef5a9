//! Programs that are not ours, each run once by itself: evidence beside the answer, and never a part of the account.
//!
//! A run alone has no interface, starts with nothing selected, and finds the program's maps as they are at that moment. On
//! the hook all three can be different, and that a program cares for none of them can't be told from outside. So the answer
//! stays the kernel's, and what a program did alone is told as that.

use std::collections::BTreeMap;

use sklookup_compiler::OBSERVER;
use sklookup_kernel::sock_diag::SockDiag;
use sklookup_kernel::{Context, Errno, Netns, Program, TestRun};
use sklookup_steering::status::{Attached, Unseen};

use crate::account::{Account, Verdict};
use crate::census::{Census, describe};
use crate::error::Error;
use crate::explain::{Explanation, Limit, Others};
use crate::fate::Fate;

/// What a program did with the packet when it ran alone: without an interface, and with nothing selected before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alone {
    /// It passed and selected nothing.
    Passed,
    /// It dropped.
    Dropped,
    /// It selected this socket, by its cookie.
    Selected(u64),
    /// It selected a socket of a reuseport group; the kernel does not say which (EOPNOTSUPP).
    SelectedOfGroup,
    /// It could not be run.
    NotRun(sklookup_kernel::Error),
    /// It was not run, for by its name it belongs to a `sklookup watch`: alone it does not see what the policy did, and
    /// would tell of something that never was.
    Spared,
}

impl Explanation {
    /// Runs each program on the hook that is not ours once (`BPF_PROG_TEST_RUN`), and adds what it did: [`Self::alone`].
    ///
    /// That has the side effects of the program: what it counts, it counts. Nothing is run where no program is asked
    /// about such a packet. The answer stays what it was. It takes CAP_SYS_ADMIN; who has less is told of each program
    /// that it could not be run.
    pub fn run_others(&mut self, netns: &Netns) {
        if self.others == Others::NotAsked {
            self.limits.push(Limit::NoneRun);
            return;
        }
        let Some(programs) = &self.programs else {
            self.unseen.push(Unseen {
                what: "what programs that are not ours do when run alone",
                why: "they can't be listed; running them takes CAP_SYS_ADMIN besides".to_owned(),
            });
            return;
        };
        let (source, destination) = (self.packet.source, self.packet.destination);
        let context = Context { protocol: self.packet.protocol.number(), source, destination };
        // One that is attached twice is run once.
        for program in programs.iter().filter(|program| !program.ours) {
            self.alone.entry(program.id).or_insert_with(|| match &program.info {
                Some(info) if info.name == OBSERVER => Alone::Spared,
                _ => run(program.id, &context),
            });
        }
        let ran = self.alone.values().filter(|alone| !matches!(alone, Alone::NotRun(_) | Alone::Spared)).count();
        if ran > 0 {
            self.limits.push(Limit::RanAlone(ran));
        }
        if let Ok(account) = &self.account
            && !adds_up(programs, &self.alone, account, &self.fate)
        {
            self.limits.push(Limit::DoesNotAddUp);
        }
        self.name_selected(netns);
    }

    /// Looks at the sockets that were selected and are not named yet.
    fn name_selected(&mut self, netns: &Netns) {
        let selected = self.alone.values().filter_map(|alone| match alone {
            Alone::Selected(cookie) if !self.sockets.contains_key(cookie) => Some(*cookie),
            _ => None,
        });
        let selected: Vec<u64> = selected.collect();
        if selected.is_empty() {
            return;
        }
        let census = || Ok::<_, Error>(netns.run(|| Census::take(&mut SockDiag::open()?, &self.packet))??);
        let mut unseen = Vec::new();
        match census() {
            Ok(census) => {
                let entries = selected.iter().filter_map(|cookie| census.socket(*cookie).cloned()).collect();
                self.sockets.extend(describe(entries, &mut unseen));
            }
            // The programs have run, and what they did is told all the same.
            Err(error) => unseen.push(Unseen { what: "the sockets of the namespace", why: error.to_string() }),
        }
        unseen.retain(|new| self.unseen.iter().all(|known| known.what != new.what));
        self.unseen.append(&mut unseen);
    }
}

fn run(id: u32, context: &Context) -> Alone {
    let program = match Program::by_id(id) {
        Ok(program) => program,
        Err(error) => return Alone::NotRun(error),
    };
    match program.test_run(context, 1) {
        Ok(TestRun { cookie: Some(cookie), .. }) => Alone::Selected(cookie),
        Ok(TestRun { verdict: sklookup_kernel::Verdict::Pass, .. }) => Alone::Passed,
        Ok(TestRun { verdict: sklookup_kernel::Verdict::Drop, .. }) => Alone::Dropped,
        Err(error) if error.errno() == Errno::OPNOTSUPP => Alone::SelectedOfGroup,
        Err(error) => Alone::NotRun(error),
    }
}

/// Whether the answer can come of programs that do on the hook what they do alone, and of ours as the account has it.
/// Also where nothing speaks against it because something is not known.
fn adds_up(programs: &[Attached], alone: &BTreeMap<u32, Alone>, account: &Account, fate: &Fate) -> bool {
    let (mut selected, mut dropped) = (Vec::new(), false);
    for program in programs {
        if program.ours {
            let Some(run) = &account.run else { return true };
            match run.selected {
                // Ours never asks to replace what others have selected.
                Some(_) if selected.is_empty() => selected.extend(&account.expected),
                Some(_) => {}
                None => dropped |= run.verdict == Verdict::Drop,
            }
            continue;
        }
        match alone.get(&program.id) {
            Some(Alone::Passed) => {}
            Some(Alone::Dropped) => dropped = true,
            // Behind another's it counts if the program asks to replace that: both are possible.
            Some(Alone::Selected(cookie)) => selected.push(*cookie),
            Some(Alone::SelectedOfGroup | Alone::NotRun(_) | Alone::Spared) | None => return true,
        }
    }
    match fate {
        Fate::Socket(cookie) if selected.is_empty() => !dropped && account.regular.matching.contains(cookie),
        Fate::Socket(cookie) => selected.contains(cookie),
        // A drop counts only where nobody has selected.
        Fate::Refused => selected.is_empty() && (dropped || account.regular.matching.is_empty()),
        Fate::Astray(_) | Fate::Unknown(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::{Decision, Regular, Run};

    const OURS: u32 = 7;

    /// Programs by what they did; ours stands where there is nothing.
    fn holds(chain: &[Option<Alone>], run: Option<Run>, regular: &[u64], fate: Fate) -> bool {
        let number = |index: usize| 100 + index as u32;
        let programs = chain.iter().enumerate().map(|(index, alone)| Attached {
            id: if alone.is_some() { number(index) } else { OURS },
            ours: alone.is_none(),
            info: None,
        });
        let programs: Vec<Attached> = programs.collect();
        let alone = chain.iter().enumerate().filter_map(|(index, alone)| Some((number(index), alone.clone()?)));
        let regular = Regular { matching: regular.to_vec(), exact: true };
        let expected = run.as_ref().and_then(|run| run.selected).into_iter().collect();
        let account = Account { connected: None, run, regular, expected };
        adds_up(&programs, &alone.collect(), &account, &fate)
    }

    fn ours(selected: Option<u64>, verdict: Verdict) -> Option<Run> {
        Some(Run { decision: Decision::default(), tried: Vec::new(), verdict, selected })
    }

    fn others(chain: &[Alone], regular: &[u64], fate: Fate) -> bool {
        let chain: Vec<Option<Alone>> = chain.iter().cloned().map(Some).collect();
        holds(&chain, None, regular, fate)
    }

    #[test]
    fn what_one_program_does_alone_is_what_becomes_of_the_packet() {
        use Alone::{Dropped, Passed, Selected};
        assert!(others(&[Selected(1)], &[9], Fate::Socket(1)));
        assert!(!others(&[Selected(1)], &[9], Fate::Socket(9)));
        assert!(!others(&[Selected(1)], &[], Fate::Refused));
        assert!(others(&[Dropped], &[9], Fate::Refused));
        assert!(!others(&[Dropped], &[9], Fate::Socket(9)));
        assert!(others(&[Passed], &[8, 9], Fate::Socket(9)));
        assert!(!others(&[Passed], &[9], Fate::Socket(1)));
        assert!(!others(&[Passed], &[9], Fate::Refused));
        assert!(others(&[Passed], &[], Fate::Refused));
    }

    #[test]
    fn a_drop_does_not_undo_a_selection_wherever_it_stands() {
        use Alone::{Dropped, Selected};
        for chain in [[Selected(1), Dropped], [Dropped, Selected(1)]] {
            assert!(others(&chain, &[], Fate::Socket(1)));
            assert!(!others(&chain, &[], Fate::Refused));
        }
    }

    #[test]
    fn of_two_that_select_either_may_have_the_last_word() {
        use Alone::Selected;
        let chain = [Selected(1), Selected(2)];
        assert!(others(&chain, &[], Fate::Socket(1)) && others(&chain, &[], Fate::Socket(2)));
        assert!(!others(&chain, &[3], Fate::Socket(3)));
    }

    #[test]
    fn ours_selects_only_where_nobody_has_before_it() {
        use Alone::{Passed, Selected};
        let run = || ours(Some(5), Verdict::Pass);
        assert!(!holds(&[Some(Selected(1)), None], run(), &[], Fate::Socket(5)));
        assert!(holds(&[None, Some(Selected(1))], run(), &[], Fate::Socket(5)));
        assert!(holds(&[Some(Passed), None], run(), &[], Fate::Socket(5)));
        assert!(holds(&[Some(Passed), None], ours(None, Verdict::Drop), &[9], Fate::Refused));
        assert!(!holds(&[Some(Passed), None], ours(None, Verdict::Drop), &[9], Fate::Socket(9)));
        assert!(holds(&[Some(Passed), None], None, &[], Fate::Socket(5)), "ours may not be read");
    }

    #[test]
    fn what_is_not_known_speaks_against_nothing() {
        use Alone::{Passed, SelectedOfGroup, Spared};
        assert!(others(&[SelectedOfGroup], &[], Fate::Socket(1)));
        assert!(others(&[Passed, Spared], &[], Fate::Socket(1)));
        assert!(others(&[Passed], &[9], Fate::Unknown(String::new())));
    }
}
