//! `allow-ssh`: a way into an isolated VM for the people who investigate, from one intermediate VM and with one key.

use std::collections::BTreeSet;

use crate::abandon;
use crate::action::{ComputeAction, SshAccess};
use crate::definition::{Argument, Context, Definition, Does, Phase};
use crate::facts::{ComputeFacts, Facts, InterfaceFacts, NeighbourFacts};
use crate::firewall;
use crate::firewall_rule::{Direction, FirewallRule, Verdict};
use crate::guard;
use crate::plan::{Consequences, Draft, Edge, Form, Steps};
use crate::refusal::Refusal;
use crate::ssh_key::SshKey;
use crate::target::{ComputeName, InstanceRef, NetworkRef};

/// The command.
pub static DEFINITION: Definition = Definition {
    name: "allow-ssh",
    phase: Phase::Contain,
    summary: "let one SSH key in from one intermediate VM, beside the deny rules",
    details: "Adds the public key to the VM's metadata, admits tcp:22 from the intermediate VM alone by tags and a rule of priority 0, reads all \
              of it back and prints the ssh command. Refused where OS Login is on, which ignores such keys. `revoke-ssh` takes it back.",
    arguments: &[
        Argument::PodOrNode,
        Argument::Key,
        Argument::Via,
        Argument::Cluster,
        Argument::Incident,
        Argument::Reason,
        Argument::DryRun,
    ],
    examples: &[
        "node gke-prod-pool-1-abcd via:bastion key:\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f rosa\"",
    ],
    does: Does::Mitigate(plan),
};

/// The guide's tag of an intermediate VM.
const GUIDE_SOURCE: &str = "intermediate";

/// Most intermediates that a refusal suggests: enough to find the bastion among.
const SUGGESTIONS: usize = 5;

/// Tags and rule that let an intermediate in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// Tag of the intermediate.
    pub source: ComputeName,
    /// Tag of the instance. Under the guide's form that of the quarantine itself.
    pub target: ComputeName,
    /// The rule between them.
    pub rule: FirewallRule,
}

/// The way into an instance on one of its networks. The numeric id in its names keeps two instances apart: each has its own door.
#[expect(clippy::expect_used, reason = "an id has at most 20 digits, so the longest name has 46 of the 63 characters")]
#[must_use]
pub fn way(form: Form, instance: &InstanceRef, network: &NetworkRef) -> Way {
    let named = |guide: &str, strict: String| -> ComputeName {
        match form {
            Form::Guide => guide.parse(),
            Form::Strict => strict.parse(),
        }
        .expect("a fixed prefix and a number are a valid name")
    };
    let id = instance.id;
    let source = named(GUIDE_SOURCE, format!("stanch-via-{id}"));
    let target = named(firewall::PREFIX, format!("stanch-ssh-{id}"));
    let rule = FirewallRule {
        network: network.clone(),
        name: named("quarantine-ingress-allow", format!("{}-ingress-allow-{id}", firewall::PREFIX)),
        direction: Direction::Ingress,
        verdict: Verdict::Allow,
        protocols: BTreeSet::from(["tcp:22".to_owned()]),
        ranges: BTreeSet::new(),
        source_tags: BTreeSet::from([source.to_string()]),
        target_tags: BTreeSet::from([target.to_string()]),
        // Above the deny of ingress, which has priority 1.
        priority: 0,
        disabled: false,
        unusual: BTreeSet::new(),
    };
    Way { source, target, rule }
}

fn plan(facts: &Facts, context: &Context) -> Result<Draft, Refusal> {
    let compute = guard::settled_instance(facts)?;
    guard::suspect(facts, context)?;
    let Some(key) = &context.arguments.key else { return Err(Refusal::Unsound(vec!["no key was parsed".into()])) };
    if let Some(by) = &compute.ssh.os_login {
        return Err(Refusal::OsLogin(by.clone()));
    }
    let (via, interface) = intermediate(compute, context)?;
    let way = way(context.form, &compute.instance, &interface.network);
    check_names(compute, via, &way, context)?;
    let has_key = compute.ssh.keys.iter().any(|line| key.is_on(line));
    let tagged = compute.tags.contains(way.target.as_str()) && via.tags.contains(way.source.as_str());
    if has_key && tagged && compute.firewall.contains(&way.rule) {
        return Err(Refusal::AlreadySo(format!("{} may log in to {} from {}", key.user(), compute.instance.name, via.instance.name)));
    }
    let consequences = describe(compute, via, &way, key, context);
    let access = access(compute, via, interface, &way, key);
    let mut steps = Steps::default();
    add(&mut steps, compute, &way, access, context);
    Ok(guard::draft(DEFINITION.name, facts, context, consequences, steps.finish()))
}

/// The door of the instance itself opens last.
fn add(steps: &mut Steps, compute: &ComputeFacts, way: &Way, access: SshAccess, context: &Context) {
    let saved = abandon::save_prior_state(steps, compute);
    let instance = &compute.instance;
    let add_key = ComputeAction::AddSshKey { instance: instance.clone(), key: access.key.clone(), request: context.request.clone() };
    let key = steps.add(add_key, [Edge::Requires(saved)]);
    let tag = ComputeAction::TagIntermediate { intermediate: access.intermediate.clone(), tag: way.source.clone() };
    let source = steps.add(tag, [Edge::Requires(saved)]);
    let mut last = steps.add(ComputeAction::EnsureFirewallRule(way.rule.clone()), [Edge::Requires(key), Edge::Requires(source)]);
    if context.form == Form::Strict {
        let open = ComputeAction::TagForSsh { instance: instance.clone(), tag: way.target.clone() };
        last = steps.add(open, [Edge::Requires(last)]);
    }
    steps.add(ComputeAction::VerifySsh(Box::new(access)), [Edge::Requires(last)]);
}

/// The VM to come from, and the interface that it reaches. Without a name only one that was set up for this is taken.
fn intermediate<'f>(compute: &'f ComputeFacts, context: &Context) -> Result<(&'f NeighbourFacts, &'f InterfaceFacts), Refusal> {
    let no = |why: String| Err(Refusal::NoIntermediate(why));
    let fits = |neighbour: &&NeighbourFacts| match &context.arguments.via {
        Some(name) => neighbour.instance.name == *name,
        None => neighbour.status == "RUNNING" && (neighbour.made_by.is_some() || neighbour.tags.contains(GUIDE_SOURCE)),
    };
    let found: Vec<&NeighbourFacts> = compute.ssh.neighbours.iter().filter(fits).collect();
    let via = match (found.as_slice(), &context.arguments.via) {
        ([via], _) => *via,
        ([], Some(name)) if *name == compute.instance.name => return no(format!("`{name}` is the instance itself")),
        ([], Some(name)) => {
            return no(format!("project {} has no instance `{name}` in a network of {}", compute.instance.project, compute.instance.name));
        }
        ([], None) => return no(format!("none was named, and none is set up for it; there are {}", suggestions(compute))),
        (several, _) => {
            let names: Vec<String> = several.iter().map(|via| format!("{}/{}", via.instance.zone, via.instance.name)).collect();
            return no(format!("several fit: {}", names.join(", ")));
        }
    };
    let name = &via.instance.name;
    if via.status != "RUNNING" {
        return no(format!("`{name}` is {}", via.status));
    }
    if context.isolated_instances.contains(&via.instance.id) {
        return no(format!("`{name}` is isolated itself"));
    }
    match compute.interfaces.iter().find(|interface| via.address_on(&interface.network).is_some()) {
        Some(interface) => Ok((via, interface)),
        None => no(format!("`{name}` is in none of the instance's networks: source tags match only there")),
    }
}

fn suggestions(compute: &ComputeFacts) -> String {
    let running = compute.ssh.neighbours.iter().filter(|neighbour| neighbour.status == "RUNNING");
    let names: Vec<&str> = running.map(|neighbour| neighbour.instance.name.as_str()).take(SUGGESTIONS).collect();
    if names.is_empty() { "no running neighbours".into() } else { format!("for example {}", names.join(", ")) }
}

/// Nothing of another kind stands under our names, and nobody else would be opened.
fn check_names(compute: &ComputeFacts, via: &NeighbourFacts, way: &Way, context: &Context) -> Result<(), Refusal> {
    if context.form == Form::Guide && !compute.tags.contains(way.target.as_str()) {
        return Err(Refusal::NotQuarantined(way.target.to_string()));
    }
    let same_name = |rule: &&FirewallRule| rule.name == way.rule.name && rule.network.project == way.rule.network.project;
    if let Some(found) = compute.firewall.iter().find(same_name) {
        let differences = way.rule.differences(found);
        if !differences.is_empty() {
            return Err(Refusal::DifferentRule { wanted: Box::new(way.rule.clone()), differences });
        }
    }
    let carrying = |tag: &ComputeName, except: Option<&NeighbourFacts>| -> Vec<InstanceRef> {
        let others = compute.ssh.neighbours.iter().filter(|neighbour| Some(*neighbour) != except && neighbour.tags.contains(tag.as_str()));
        others.map(|neighbour| neighbour.instance.clone()).collect()
    };
    for (tag, strangers) in [(&way.target, carrying(&way.target, None)), (&way.source, carrying(&way.source, Some(via)))] {
        if context.form == Form::Strict && !strangers.is_empty() {
            return Err(Refusal::OpensOthers { tag: tag.to_string(), instances: strangers });
        }
    }
    Ok(())
}

/// What is to be true in the end, and what to type then.
fn access(compute: &ComputeFacts, via: &NeighbourFacts, interface: &InterfaceFacts, way: &Way, key: &SshKey) -> SshAccess {
    let (user, target, jump) = (key.user(), &interface.internal_ip, &via.instance);
    let internal = via.address_on(&interface.network).unwrap_or_default();
    let mut commands = vec![format!("ssh -J {user}@{} {user}@{target}", via.external.as_deref().unwrap_or(internal))];
    if via.external.is_none() {
        commands.push(format!(
            "from outside the network: gcloud compute ssh {} --project {} --zone {} --tunnel-through-iap, and there: ssh {user}@{target}",
            jump.name, jump.project, jump.zone
        ));
    }
    SshAccess {
        instance: compute.instance.clone(),
        interface: interface.name.clone(),
        key: key.clone(),
        rule: way.rule.clone(),
        intermediate: jump.clone(),
        commands,
    }
}

fn describe(compute: &ComputeFacts, via: &NeighbourFacts, way: &Way, key: &SshKey, context: &Context) -> Consequences {
    let (name, jump) = (&compute.instance.name, &via.instance.name);
    let mut consequences = Consequences {
        blast_radius: vec![format!("{} can log in to {name} from {jump} over SSH; nothing else is opened", key.user())],
        decisions: vec![format!("key: {}", key.short()), format!("intermediate: {jump} in {}", via.instance.zone)],
        noticeable: vec!["who is root on the VM sees the new key, the new user and each login".into()],
        residual_risk: vec![
            "the way stays open until `revoke-ssh`".into(),
            format!("whoever controls {jump} reaches port 22 of the VM; the VM cannot reach back"),
            "the VM's guest agent must run for the key to arrive: an attacker with root can keep it out, or read what is typed".into(),
        ],
    };
    if let Some(group) = &compute.group {
        consequences.residual_risk.push(format!("the instance is a member of group {}: key and tag are lost if it is made anew", group.group.name));
    }
    if context.form == Form::Guide {
        let tagged = |tag: &ComputeName| -> Vec<&str> {
            let others = compute.ssh.neighbours.iter().filter(|neighbour| *neighbour != via && neighbour.tags.contains(tag.as_str()));
            others.map(|neighbour| neighbour.instance.name.as_str()).collect()
        };
        for (what, others) in [("lets SSH in to", tagged(&way.target)), ("lets SSH in from", tagged(&way.source))] {
            if !others.is_empty() {
                consequences.blast_radius.push(format!("form = \"guide\": the rule also {what} {}", others.join(", ")));
            }
        }
    }
    consequences
}
