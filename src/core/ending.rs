//! How a container is ended, whichever way leads onto its node: look, do, look again, and never do anything to what is not the one that was
//! agreed to. Who drives it runs the programs that it asks for, and nothing else.

use stanch_commands::runtime::{Ending, Ran, Stand, Verb};

use super::step::{Failure, FailureKind, Observation, Outcome, Receipt};

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Run this program and report to [`Walk::ran`], or that nobody knows how it ended to [`Walk::lost`].
    Run(Vec<String>),
    /// It is over.
    Done(Outcome),
}

/// The ladder of one ending, and how far it was climbed.
#[derive(Clone, Debug)]
pub struct Walk<'e> {
    ending: &'e Ending,
    left: std::slice::Iter<'e, Verb>,
    at: At,
    details: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Looking,
    Doing(Verb),
}

impl<'e> Walk<'e> {
    /// Begins with a look.
    #[must_use]
    pub fn begin(ending: &'e Ending) -> (Self, Vec<String>) {
        (Self { ending, left: ending.ladder.iter(), at: At::Looking, details: vec![] }, ending.look())
    }

    /// A program ended.
    pub fn ran(&mut self, ran: &Ran) -> Next {
        match self.at {
            At::Doing(verb) => {
                let words = self.ending.argv(verb).into_iter().take_while(|word| word != self.ending.container.id.as_str());
                let words = words.collect::<Vec<_>>().join(" ");
                // What it says of itself decides nothing: the next look does.
                self.details.push(if ran.exit == 0 {
                    format!("`{words}` ended")
                } else {
                    format!("`{words}` failed: {}", ran.complaint())
                });
                self.at = At::Looking;
                Next::Run(self.ending.look())
            }
            At::Looking => self.looked(self.ending.stand(ran)),
        }
    }

    /// Nobody knows how a program ended, or whether it began.
    #[must_use]
    pub fn lost(self, why: &str) -> Outcome {
        match (self.at, self.details.is_empty()) {
            (At::Looking, true) => failed(FailureKind::Unavailable, why.to_owned(), "nothing was done; ask again"),
            (At::Doing(_), _) | (At::Looking, false) => Outcome::Unknown(why.to_owned()),
        }
    }

    /// A program could not be begun, and the outcome says why.
    #[must_use]
    pub fn not_begun(self, outcome: Outcome) -> Outcome {
        match (self.details.is_empty(), outcome) {
            (false, Outcome::Failed(failure)) => Outcome::Unknown(failure.message),
            (_, outcome) => outcome,
        }
    }

    fn looked(&mut self, stand: Stand) -> Next {
        let ending = self.ending;
        match stand {
            Stand::Gone => self.done(format!("{ending} is gone from its node")),
            Stand::Stopped if !ending.removes() => self.done(format!("{ending} does not run any more")),
            Stand::Stopped => {
                // Only what removes helps a container that has ended.
                let remove = self.left.by_ref().find(|verb| **verb == Verb::Remove);
                self.climb(remove, "its remains are still there")
            }
            Stand::Running => {
                let next = self.left.next();
                self.climb(next, "it still runs")
            }
            Stand::Another(what) => {
                Next::Done(failed(FailureKind::Stale, format!("{ending} is not what has that id: {what}"), "ask again, with a new survey"))
            }
            Stand::Unreadable(why) if self.details.is_empty() => Next::Done(failed(
                FailureKind::Refused,
                format!("the node's runtime cannot be asked about {ending}: {why}"),
                "nothing was done; look at the node, or use `redeploy` or `delete-node`",
            )),
            Stand::Unreadable(why) => Next::Done(Outcome::Unknown(format!("it could not be read back: {why}"))),
        }
    }

    fn climb(&mut self, verb: Option<&Verb>, left: &str) -> Next {
        match verb {
            Some(verb) => {
                self.at = At::Doing(*verb);
                Next::Run(self.ending.argv(*verb))
            }
            None => {
                let tried = self.details.join("; ");
                let hint = match self.ending.removes() {
                    true => "`redeploy` asks the kubelet; `delete-node` ends the whole VM",
                    false => "--force also kills and removes it; `redeploy` asks the kubelet; `delete-node` ends the whole VM",
                };
                Next::Done(failed(FailureKind::Refused, format!("{}: {left}: {tried}", self.ending), hint))
            }
        }
    }

    fn done(&mut self, summary: String) -> Next {
        let details = std::mem::take(&mut self.details);
        Next::Done(Outcome::Succeeded(Receipt { already_so: details.is_empty(), summary, details, prior: None }))
    }
}

/// What one look says about the step.
#[must_use]
pub fn observed(ending: &Ending, ran: &Ran) -> Observation {
    let in_place = |summary| Observation::InPlace(Receipt { summary, ..Receipt::default() });
    match ending.stand(ran) {
        Stand::Gone => in_place(format!("{ending} is gone from its node")),
        Stand::Stopped if !ending.removes() => in_place(format!("{ending} does not run any more")),
        Stand::Stopped | Stand::Running => Observation::NotInPlace,
        Stand::Another(what) => Observation::Gone(format!("{ending} is not what has that id: {what}")),
        Stand::Unreadable(why) => Observation::Unclear(why),
    }
}

fn failed(kind: FailureKind, message: String, hint: &str) -> Outcome {
    Outcome::Failed(Failure { kind, message, hint: Some(hint.into()) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::wildcard_enum_match_arm, reason = "test code fails by panicking")]
mod tests {
    use std::collections::VecDeque;

    use stanch_commands::runtime::{ContainerRef, Tool};
    use stanch_commands::target::{NodeRef, PodRef};

    use super::*;

    fn ending(ladder: &[Verb]) -> Ending {
        Ending {
            node: NodeRef { name: "node-1".parse().unwrap(), uid: "n1".parse().unwrap() },
            pod: PodRef { namespace: "shop".parse().unwrap(), name: "cart".parse().unwrap(), uid: "p1".parse().unwrap() },
            container: ContainerRef { name: "server".parse().unwrap(), id: "a".repeat(64).parse().unwrap(), tool: Tool::Crictl },
            ladder: ladder.to_vec(),
            waiver: None,
        }
    }

    const ALL: [Verb; 3] = [Verb::Stop { grace_s: 10 }, Verb::Kill, Verb::Remove];

    fn shows(state: &str, uid: &str) -> Ran {
        let labels = format!("\"io.kubernetes.pod.uid\": \"{uid}\", \"io.kubernetes.container.name\": \"server\"");
        let container = format!("{{\"id\": \"{}\", \"state\": \"{state}\", \"labels\": {{{labels}}}}}", "a".repeat(64));
        let list = if state.is_empty() { String::new() } else { container };
        Ran { output: format!("{{\"containers\": [{list}]}}"), ..Ran::default() }
    }

    /// What was run besides looks, and how it ended. The states are what the looks find, in order.
    fn walked(ending: &Ending, states: &[&str]) -> (Vec<String>, Outcome) {
        let (mut walk, mut argv) = Walk::begin(ending);
        let (mut states, mut done) = (VecDeque::from(states.to_vec()), vec![]);
        loop {
            let ran = if argv == ending.look() {
                shows(states.pop_front().unwrap(), "p1")
            } else {
                done.push(argv.iter().take(argv.len() - 1).cloned().collect::<Vec<_>>().join(" "));
                Ran { exit: 1, errors: "boom".into(), ..Ran::default() }
            };
            match walk.ran(&ran) {
                Next::Run(next) => argv = next,
                Next::Done(outcome) => return (done, outcome),
            }
        }
    }

    fn kind(outcome: &Outcome) -> String {
        match outcome {
            Outcome::Succeeded(receipt) if receipt.already_so => "already so".into(),
            Outcome::Succeeded(_) => "done".into(),
            Outcome::Failed(failure) => format!("{:?}", failure.kind),
            Outcome::Unknown(_) => "unknown".into(),
        }
    }

    #[test]
    fn the_ladder_is_climbed_as_far_as_it_takes_and_the_look_decides() {
        let (run, end) = ("CONTAINER_RUNNING", "CONTAINER_EXITED");
        let [stop, kill, remove] = ["crictl stop --timeout 10", "crictl stop", "crictl rm -f"];
        type Case<'c> = (&'c [Verb], &'c [&'c str], &'c [&'c str], &'c str);
        let cases: [Case<'_>; 10] = [
            (&ALL[..1], &[""], &[], "already so"),
            (&ALL[..1], &[end], &[], "already so"),
            (&ALL[..1], &[run, end], &[stop], "done"),
            (&ALL[..1], &[run, run], &[stop], "Refused"),
            (&ALL, &[""], &[], "already so"),
            (&ALL, &[end, ""], &[remove], "done"),
            (&ALL, &[run, end, ""], &[stop, remove], "done"),
            (&ALL, &[run, run, end, ""], &[stop, kill, remove], "done"),
            (&ALL, &[run, run, run, end], &[stop, kill, remove], "Refused"),
            (&ALL, &[run, ""], &[stop], "done"),
        ];
        for (ladder, states, expected, end) in cases {
            let (done, outcome) = walked(&ending(ladder), states);
            assert_eq!((done.iter().map(String::as_str).collect::<Vec<_>>().as_slice(), kind(&outcome).as_str()), (expected, end));
        }
    }

    #[test]
    fn another_container_is_left_alone_and_what_is_lost_is_not_guessed() {
        let ending = ending(&ALL);
        let (mut walk, _) = Walk::begin(&ending);
        let Next::Done(Outcome::Failed(failure)) = walk.ran(&shows("CONTAINER_RUNNING", "p2")) else { panic!("it is another one") };
        assert_eq!(failure.kind, FailureKind::Stale);

        let (walk, _) = Walk::begin(&ending);
        assert_eq!(kind(&walk.lost("cut")), "Unavailable", "nothing was done yet");
        let (mut walk, _) = Walk::begin(&ending);
        assert!(matches!(walk.ran(&shows("CONTAINER_RUNNING", "p1")), Next::Run(_)));
        assert_eq!(kind(&walk.clone().lost("cut")), "unknown", "the stop may have come through");
        assert!(matches!(walk.ran(&Ran::default()), Next::Run(_)));
        assert_eq!(kind(&walk.clone().lost("cut")), "unknown");
        let Next::Done(outcome) = walk.ran(&Ran { exit: 1, ..Ran::default() }) else { panic!("the look failed") };
        assert_eq!(kind(&outcome), "unknown");
    }
}
