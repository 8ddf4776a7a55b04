//! `allow-ssh`: a way into an isolated VM for the people who investigate, from one intermediate VM and with one key.

use std::collections::BTreeSet;

use crate::abandon;
use crate::action::{ComputeAction, Intermediate, NewIntermediate, SshAccess};
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
              of it back and prints the ssh command. Without an intermediate VM, --create-intermediate makes one. Refused where OS Login is on, \
              which ignores such keys. `revoke-ssh` takes it back.",
    arguments: &[
        Argument::PodOrNode,
        Argument::Key,
        Argument::Via,
        Argument::CreateIntermediate,
        Argument::Cluster,
        Argument::Incident,
        Argument::Reason,
        Argument::IncludeStanch, Argument::DryRun,
    ],
    examples: &[
        "node gke-prod-pool-1-abcd via:bastion key:\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f rosa\"",
        "node gke-prod-pool-1-abcd --create-intermediate \
         key:\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f rosa\"",
    ],
    does: Does::Mitigate(plan),
};

/// The guide's tag of an intermediate VM.
const GUIDE_SOURCE: &str = "intermediate";

/// What the tags of intermediates start with, but for the guide's.
pub const SOURCE_PREFIX: &str = "stanch-via-";

/// The smallest shape that is in every zone.
const MACHINE_TYPE: &str = "e2-micro";

/// What it runs: Debian, with Google's guest agent and nothing that an investigation would have to explain.
const IMAGE: &str = "projects/debian-cloud/global/images/family/debian-12";

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
    let source = named(GUIDE_SOURCE, format!("{SOURCE_PREFIX}{id}"));
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
    let (via, interface) = match wants_a_new_one(compute, context)? {
        Some(interface) => (None, interface),
        None => intermediate(compute, context).map(|(via, interface)| (Some(via), interface))?,
    };
    let way = way(context.form, &compute.instance, &interface.network);
    check_names(compute, via, &way, context)?;
    let has_key = compute.ssh.keys.iter().any(|line| key.is_on(line));
    let tagged = |via: &NeighbourFacts| compute.tags.contains(way.target.as_str()) && via.tags.contains(way.source.as_str());
    if let Some(via) = via.filter(|via| has_key && tagged(via) && compute.firewall.contains(&way.rule)) {
        return Err(Refusal::AlreadySo(format!("{} may log in to {} from {}", key.user(), compute.instance.name, via.instance.name)));
    }
    let intermediate = match via {
        Some(via) => Intermediate::There(via.instance.clone()),
        None => Intermediate::Made(Box::new(new_intermediate(compute, interface, &way, key, context))),
    };
    let mut consequences = describe(compute, via, intermediate.name(), &way, key, context);
    match &intermediate {
        Intermediate::There(via) => consequences.decisions.push(format!("intermediate: {} in {}", via.name, via.zone)),
        Intermediate::Made(new) => describe_new(new, &mut consequences),
    }
    let access = SshAccess {
        instance: compute.instance.clone(),
        interface: interface.name.clone(),
        key: key.clone(),
        rule: way.rule.clone(),
        intermediate,
    };
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
    let source = match &access.intermediate {
        Intermediate::There(via) => ComputeAction::TagIntermediate { intermediate: via.clone(), tag: way.source.clone() },
        Intermediate::Made(new) => ComputeAction::CreateIntermediate(new.clone()),
    };
    let source = steps.add(source, [Edge::Requires(saved)]);
    let mut last = steps.add(ComputeAction::EnsureFirewallRule(way.rule.clone()), [Edge::Requires(key), Edge::Requires(source)]);
    if context.form == Form::Strict {
        let open = ComputeAction::TagForSsh { instance: instance.clone(), tag: way.target.clone() };
        last = steps.add(open, [Edge::Requires(last)]);
    }
    steps.add(ComputeAction::VerifySsh(Box::new(access)), [Edge::Requires(last)]);
}

/// The VM to come from, and the interface that it reaches. Without a name only one that was set up for this is taken.
///
/// # Errors
/// [`Refusal::NoIntermediate`].
pub fn intermediate<'f>(compute: &'f ComputeFacts, context: &Context) -> Result<(&'f NeighbourFacts, &'f InterfaceFacts), Refusal> {
    let no = |why: String| Err(Refusal::NoIntermediate(why));
    let fits = |neighbour: &&NeighbourFacts| match &context.arguments.via {
        Some(name) => neighbour.instance.name == *name,
        None if context.arguments.create_intermediate => is_made(neighbour, &compute.instance),
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
fn check_names(compute: &ComputeFacts, via: Option<&NeighbourFacts>, way: &Way, context: &Context) -> Result<(), Refusal> {
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
    for (tag, strangers) in [(&way.target, carrying(&way.target, None)), (&way.source, carrying(&way.source, via))] {
        if context.form == Form::Strict && !strangers.is_empty() {
            return Err(Refusal::OpensOthers { tag: tag.to_string(), instances: strangers });
        }
    }
    Ok(())
}

/// The interface from whose subnetwork a new intermediate comes, if one is to be made.
fn wants_a_new_one<'f>(compute: &'f ComputeFacts, context: &Context) -> Result<Option<&'f InterfaceFacts>, Refusal> {
    // Asked again: it is there.
    let made = compute.ssh.neighbours.iter().any(|neighbour| is_made(neighbour, &compute.instance));
    match (context.arguments.create_intermediate, &context.arguments.via) {
        (false, _) => Ok(None),
        (true, Some(via)) => Err(Refusal::NoIntermediate(format!("`via:{via}` names one, and --create-intermediate asks for another"))),
        (true, None) if made => Ok(None),
        (true, None) => match compute.interfaces.first() {
            Some(interface) if !interface.subnetwork.is_empty() => Ok(Some(interface)),
            Some(_) | None => Err(Refusal::NoIntermediate("the subnetwork of the instance is not known".into())),
        },
    }
}

/// The intermediate that an earlier request made for the instance.
fn is_made(neighbour: &NeighbourFacts, instance: &InstanceRef) -> bool {
    neighbour.made_by.is_some() && neighbour.instance.name == new_name(instance)
}

/// One intermediate per instance, in its zone.
#[expect(clippy::expect_used, reason = "an id has at most 20 digits")]
fn new_name(instance: &InstanceRef) -> ComputeName {
    format!("{SOURCE_PREFIX}{}", instance.id).parse().expect("a fixed prefix and a number are a valid name")
}

fn new_intermediate(compute: &ComputeFacts, interface: &InterfaceFacts, way: &Way, key: &SshKey, context: &Context) -> NewIntermediate {
    let labels = [("stanch-request", context.request.to_string()), ("stanch-incident", context.incident.to_string())];
    NewIntermediate {
        project: compute.instance.project.clone(),
        zone: compute.instance.zone.clone(),
        name: new_name(&compute.instance),
        machine_type: MACHINE_TYPE.into(),
        image: IMAGE.into(),
        subnetwork: interface.subnetwork.clone(),
        tag: way.source.clone(),
        labels: labels.map(|(key, value)| (key.into(), value)).into(),
        key: key.clone(),
        request: context.request.clone(),
    }
}

fn describe_new(new: &NewIntermediate, consequences: &mut Consequences) {
    consequences.blast_radius.push(format!("instance {} is made in {} and costs money until `revoke-ssh` deletes it", new.name, new.zone));
    consequences.decisions.push(format!(
        "intermediate: {} ({}, Debian), no external address, no service account, in the subnetwork of the VM, which lets the same key in",
        new.name, new.machine_type
    ));
    consequences.residual_risk.push("IAP reaches the intermediate only if a firewall rule lets 35.235.240.0/20 in on tcp:22".into());
}

fn describe(
    compute: &ComputeFacts,
    via: Option<&NeighbourFacts>,
    jump: &ComputeName,
    way: &Way,
    key: &SshKey,
    context: &Context,
) -> Consequences {
    let name = &compute.instance.name;
    let mut consequences = Consequences {
        blast_radius: vec![format!("{} can log in to {name} from {jump} over SSH; nothing else is opened", key.user())],
        decisions: vec![format!("key: {}", key.short())],
        noticeable: vec!["who is root on the VM sees the new key, the new user and each login".into()],
        residual_risk: vec![
            "the way stays open until `revoke-ssh`".into(),
            format!("whoever controls {jump} reaches port 22 of the VM; the VM cannot reach back"),
            "the VM's guest agent must run for the key to arrive: an attacker with root can keep it out, or read what is typed".into(),
        ],
    };
    if !compute.tags.iter().any(|tag| tag.starts_with(firewall::PREFIX)) {
        consequences.decisions.push("the VM is not quarantined: a quarantine that follows reports this rule as an open way".into());
    }
    if let Some(group) = &compute.group {
        consequences.residual_risk.push(format!("the instance is a member of group {}: key and tag are lost if it is made anew", group.group.name));
    }
    if context.form == Form::Guide {
        let tagged = |tag: &ComputeName| -> Vec<&str> {
            let others = compute.ssh.neighbours.iter().filter(|neighbour| Some(*neighbour) != via && neighbour.tags.contains(tag.as_str()));
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
