//! Goal: every planner makes the right plan, or the right refusal. Method: the sandbox's node as facts, varied; whole plans as snapshots.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use jiff::Timestamp;
use stanch_commands::action::AccessConfig;
use stanch_commands::check;
use stanch_commands::definition::{Context, Does, Limits};
use stanch_commands::facts::*;
use stanch_commands::firewall;
use stanch_commands::parse::parse;
use stanch_commands::plan::{Draft, Edge, Form, Plan};
use stanch_commands::refusal::Refusal;
use stanch_commands::runtime::{NodeAccess, PrivilegedPod, SshLogin};
use stanch_commands::target::*;

pub(crate) const NODE: &str = "gke-sandbox-public-1a2b3c4d-x7k2";

fn pod(namespace: &str, name: &str, owner: Option<&str>) -> PodFacts {
    let app = name.split('-').next().unwrap_or(name).to_owned();
    let owner_selector = match owner {
        Some("ReplicaSet") => BTreeSet::from(["app".to_owned(), "pod-template-hash".into()]),
        Some(_) => BTreeSet::from(["app".to_owned()]),
        None => BTreeSet::new(),
    };
    PodFacts {
        pod: PodRef { namespace: namespace.parse().unwrap(), name: name.parse().unwrap(), uid: format!("uid-{name}").parse().unwrap() },
        phase: "Running".into(),
        terminating: false,
        labels: BTreeMap::from([("app".into(), app.clone()), ("pod-template-hash".into(), "7d4b9c6f5".into())]),
        owner: owner.map(|kind| Owner { kind: kind.into(), name: app }),
        owner_selector,
        mirror: owner == Some("Node"),
        empty_dirs: vec![],
        host_network: false,
        service_account: "default".into(),
        deleted_when_unreachable: true,
        restart_policy: "Always".into(),
        containers: vec![ContainerFacts {
            name: "server".into(),
            runtime_id: format!("containerd://{}", "4f1c0d7a9e2b3c5d".repeat(4)),
            running: true,
            ephemeral: false,
        }],
    }
}

fn network() -> NetworkRef {
    NetworkRef { project: "sandbox-project".parse().unwrap(), name: "prod-vpc".parse().unwrap() }
}

fn compute() -> ComputeFacts {
    let project: ProjectId = "sandbox-project".parse().unwrap();
    let zone: Location = "us-central1-a".parse().unwrap();
    let instance =
        InstanceRef { project: project.clone(), zone: zone.clone(), name: NODE.parse().unwrap(), id: 6_120_613_059_854_544_701.into() };
    let disk = |name: &str, id: u64| DiskRef {
        project: project.clone(),
        place: Place::Zone(zone.clone()),
        name: name.parse().unwrap(),
        id: id.into(),
    };
    let attached = |device: &str, disk, boot| DiskFacts {
        device: device.into(),
        disk,
        boot,
        auto_delete: boot,
        recent_snapshot: None,
        ready_snapshot: None,
    };
    ComputeFacts {
        instance,
        status: "RUNNING".into(),
        preemptible: false,
        deletion_protection: false,
        tags: BTreeSet::from(["gke-sandbox-node".into()]),
        interfaces: vec![InterfaceFacts {
            name: "nic0".into(),
            network: network(),
            subnetwork: "projects/sandbox-project/regions/us-central1/subnetworks/prod-vpc".into(),
            internal_ip: "10.128.0.11".into(),
            dual_stack: false,
            access_configs: vec![AccessConfig {
                interface: "nic0".into(),
                name: "external-nat".into(),
                address: "203.0.113.11".into(),
                ipv6: false,
                reserved: false,
            }],
        }],
        disks: vec![
            attached("persistent-disk-0", Some(disk(NODE, 71)), true),
            attached("pvc-orders-0", Some(disk("pvc-orders-0", 72)), false),
            attached("local-ssd-0", None, false),
        ],
        group: Some(GroupFacts {
            group: GroupRef { project, place: Place::Zone(zone), name: "gke-sandbox-public-1a2b3c4d-grp".parse().unwrap() },
            target_size: 2,
            current_action: "NONE".into(),
        }),
        service_accounts: BTreeMap::from([("nodes@sandbox-project.iam.gserviceaccount.com".into(), vec!["cloud-platform".into()])]),
        firewall: vec![],
        tagged: BTreeMap::new(),
        overriding: vec![],
        ssh: SshFacts::default(),
    }
}

/// The suspect's Deployment, with two pods, an autoscaler and a tool that makes it again.
fn deployment(suspect: &PodRef) -> WorkloadFacts {
    let of = |kind, name: &str| WorkloadRef {
        kind,
        namespace: suspect.namespace.clone(),
        name: name.parse().unwrap(),
        uid: format!("uid-{name}").parse().unwrap(),
    };
    let other = PodRef { name: "cart-7d4b9c6f5-b8n5z".parse().unwrap(), uid: "uid-other".parse().unwrap(), ..suspect.clone() };
    WorkloadFacts {
        chain: vec![of(WorkloadKind::ReplicaSet, "cart-7d4b9c6f5"), of(WorkloadKind::Deployment, "cart")],
        pods: vec![(other, Some("node-b".parse().unwrap())), (suspect.clone(), Some(NODE.parse().unwrap()))],
        replicas: Some(2),
        autoscalers: vec!["cart".into()],
        makers: vec!["Flux Kustomization shop".into()],
        ..WorkloadFacts::default()
    }
}

pub fn facts() -> Facts {
    let suspect = pod("shop", "cart-7d4b9c6f5-x2x9q", Some("ReplicaSet"));
    let search = PodFacts { empty_dirs: vec!["cache".into()], ..pod("shop", "search-5b8d7f9c44-k6m2p", Some("ReplicaSet")) };
    let checkout = pod("shop", "checkout-66c9d8b7f5-q4w7e", Some("ReplicaSet"));
    let workload = deployment(&suspect.pod);
    Facts {
        surveyed_at: Timestamp::UNIX_EPOCH,
        cluster: ClusterFacts {
            name: "sandbox".parse().unwrap(),
            project: "sandbox-project".parse().unwrap(),
            location: "us-central1-a".parse().unwrap(),
        },
        kubernetes: KubernetesFacts {
            suspect: Some(suspect.clone()),
            node: NodeFacts {
                node: NodeRef { name: NODE.parse().unwrap(), uid: "uid-node".parse().unwrap() },
                unschedulable: false,
                ready: true,
                labels: BTreeMap::new(),
                pool: Some("public".into()),
                provider_id: format!("gce://sandbox-project/us-central1-a/{NODE}"),
                instance_id: Some("6120613059854544701".into()),
                autopilot: false,
                runtime: "containerd://2.0.4".into(),
            },
            pods: vec![
                pod("kube-system", "fluentbit-gke-4hd8s", Some("DaemonSet")),
                pod("kube-system", "kube-proxy", Some("Node")),
                suspect,
                checkout.clone(),
                pod("shop", "one-off", None),
                search,
            ],
            budgets: vec![BudgetFacts {
                namespace: "shop".parse().unwrap(),
                name: "checkout".into(),
                disruptions_allowed: 0,
                covers: vec![checkout.pod],
            }],
            services: BTreeMap::from([("shop/cart".into(), BTreeMap::from([("app".into(), "cart".into())]))]),
            policies: vec![],
            other_schedulable_nodes: 2,
            namespace_policies: vec![],
            workload: Some(workload),
        },
        compute: Ok(compute()),
    }
}

/// Both ways onto a node.
pub(crate) fn node_access() -> NodeAccess {
    let image = format!("registry.example/node-tools@sha256:{}", "5".repeat(64));
    NodeAccess {
        privileged_pod: Some(PrivilegedPod { namespace: "stanch-privileged".parse().unwrap(), image: image.parse().unwrap() }),
        ssh: Some(SshLogin { user: "stanch".parse().unwrap(), externally: false, sudo: true }),
    }
}

pub(crate) fn context(line: &str, form: Form) -> (Does, Context) {
    let parsed = parse(line).unwrap();
    let context = Context {
        request: "r-k3f9qz".parse().unwrap(),
        incident: "inc-42".parse().unwrap(),
        requester: "rosa".into(),
        arguments: parsed.arguments,
        form,
        limits: Limits::default(),
        node_access: node_access(),
        protected_namespaces: BTreeSet::new(),
        own: Default::default(),
        isolated_instances: BTreeSet::new(),
        tagged_instances: BTreeSet::new(),
        earlier: None,
        isolated_nodes: BTreeSet::new(),
        now: Timestamp::UNIX_EPOCH,
    };
    (parsed.definition.does, context)
}

pub(crate) fn plan(line: &str, form: Form, facts: &Facts) -> Result<Plan, Refusal> {
    let (does, context) = context(line, form);
    let Does::Mitigate(planner) = does else { panic!("`{line}` makes no plan") };
    check::checked(planner(facts, &context)?)
}

pub(crate) fn text(plan: &Plan) -> String {
    let mut text = format!("{}\n", plan.command);
    for (id, step) in plan.steps() {
        let needs: Vec<String> = step
            .needs
            .iter()
            .map(|edge| match edge {
                Edge::Requires(on) => on.to_string(),
                Edge::After(on) => format!("({on})"),
            })
            .collect();
        writeln!(text, "{id:>3} <- {:<28} {:?}: {}", needs.join(" "), step.action.class(), step.action.summary()).unwrap();
    }
    for (title, lines) in [
        ("blast radius", &plan.consequences.blast_radius),
        ("decisions", &plan.consequences.decisions),
        ("noticeable", &plan.consequences.noticeable),
        ("residual risk", &plan.consequences.residual_risk),
    ] {
        lines.iter().for_each(|line| writeln!(text, "{title}: {line}").unwrap());
    }
    text
}

pub(crate) const SUSPECT: &str = "pod shop/cart-7d4b9c6f5-x2x9q";

#[test]
fn quarantine_is_the_sequence_of_the_design() {
    insta::assert_snapshot!("quarantine_strict", text(&plan(&format!("quarantine {SUSPECT}"), Form::Strict, &facts()).unwrap()));
}

#[test]
fn quarantine_under_form_guide_is_the_guides_sequence() {
    insta::assert_snapshot!("quarantine_guide", text(&plan(&format!("quarantine {SUSPECT}"), Form::Guide, &facts()).unwrap()));
}

#[test]
fn isolate_first_cuts_the_network_before_the_drain() {
    insta::assert_snapshot!(
        "quarantine_isolate_first",
        text(&plan(&format!("quarantine {SUSPECT} --isolate-first"), Form::Strict, &facts()).unwrap())
    );
}

#[test]
fn every_other_mitigation_has_its_plan() {
    let mut all = String::new();
    for line in ["snapshot", "cordon", "label", "drain", "abandon", "firewall", "remove-external-ip"] {
        all.push_str(&text(&plan(&format!("{line} {SUSPECT}"), Form::Strict, &facts()).unwrap()));
        all.push('\n');
    }
    let mut cordoned = facts();
    cordoned.kubernetes.node.unschedulable = true;
    all.push_str(&text(&plan(&format!("uncordon node {NODE}"), Form::Strict, &cordoned).unwrap()));
    insta::assert_snapshot!("other_mitigations", all);
}

#[test]
fn traps_are_found_when_planning() {
    let quarantine = format!("quarantine {SUSPECT}");
    let refusal = |line: &str, change: fn(&mut Facts)| {
        let mut facts = facts();
        change(&mut facts);
        let refusal = plan(line, Form::Strict, &facts).unwrap_err();
        format!("{refusal}; hint: {}", refusal.hint())
    };
    let cases = [
        refusal(&quarantine, |facts| facts.kubernetes.node.autopilot = true),
        refusal(&quarantine, |facts| facts.cluster.project = "another-project".parse().unwrap()),
        refusal(&quarantine, |facts| facts.cluster.location = "europe-west1".parse().unwrap()),
        refusal(&quarantine, |facts| {
            facts.compute = Err(NoInstance::AnotherId { expected: "1".into(), found: "2".into() });
        }),
        refusal(&quarantine, |facts| {
            if let Some(suspect) = &mut facts.kubernetes.suspect {
                suspect.terminating = true;
            }
        }),
        refusal(&quarantine, |facts| {
            if let Ok(ComputeFacts { group: Some(group), .. }) = &mut facts.compute {
                group.current_action = "RECREATING".into();
            }
        }),
        refusal(&quarantine, |facts| {
            let (_, context) = context("list", Form::Strict);
            if let Ok(compute) = &mut facts.compute {
                let mut rule = firewall::cut(compute, &context).unwrap().rules.remove(0);
                rule.priority = 900;
                compute.firewall.push(rule);
            }
        }),
        refusal(&quarantine, |facts| {
            if let Ok(compute) = &mut facts.compute {
                let stranger = InstanceRef { id: 5.into(), name: "web-1".parse().unwrap(), ..compute.instance.clone() };
                compute.tagged.insert("quarantine-inc-42".into(), vec![stranger]);
            }
        }),
        refusal(&format!("abandon {SUSPECT}"), |facts| {
            if let Ok(compute) = &mut facts.compute {
                compute.group = None;
            }
        }),
        refusal(&format!("remove-external-ip {SUSPECT}"), |facts| {
            if let Ok(compute) = &mut facts.compute {
                compute.interfaces.iter_mut().for_each(|interface| interface.access_configs.clear());
            }
        }),
    ];
    insta::assert_snapshot!("refusals", cases.join("\n"));
}

#[test]
fn dual_stack_and_several_networks_get_a_rule_each() {
    let mut facts = facts();
    if let Ok(compute) = &mut facts.compute {
        let mut second = compute.interfaces.first().unwrap().clone();
        second.name = "nic1".into();
        second.dual_stack = true;
        second.network.name = "storage-vpc".parse().unwrap();
        second.network.project = "host-project".parse().unwrap();
        compute.interfaces.push(second);
    }
    let (_, context) = context("list", Form::Strict);
    let cut = firewall::cut(facts.compute.as_ref().unwrap(), &context).unwrap();
    let rules: Vec<String> = cut.rules.iter().map(|rule| format!("{}/{}", rule.network.project, rule.summary())).collect();
    insta::assert_snapshot!("dual_stack_rules", rules.join("\n"));
    assert!(matches!(plan(&format!("quarantine {SUSPECT}"), Form::Guide, &facts), Err(Refusal::SeveralNetworks(_))));
}

/// Dropping any one edge, or any one step, must not go unnoticed where the linter has a rule about it.
#[test]
fn the_linter_finds_missing_edges() {
    let good = plan(&format!("quarantine {SUSPECT}"), Form::Strict, &facts()).unwrap();
    let mut found = 0;
    for (step, _) in good.steps() {
        let mut draft: Draft = good.clone().into();
        let Some(body) = draft.steps.get_mut(step.index()) else { panic!("no step {step}") };
        body.needs.retain(|edge| matches!(edge, Edge::After(_)));
        found += usize::from(check::checked(draft).is_err());
    }
    let with_requirements = good.steps().filter(|(_, step)| step.needs.iter().any(|edge| matches!(edge, Edge::Requires(_)))).count();
    assert_eq!(found, with_requirements, "every step that requires something is guarded by a rule");
}

#[test]
fn a_plan_of_another_node_has_another_digest() {
    let line = format!("quarantine {SUSPECT}");
    let digest = |facts: &Facts| plan(&line, Form::Strict, facts).unwrap().digest();
    let mut recreated = facts();
    recreated.kubernetes.node.node.uid = "uid-another".parse().unwrap();
    assert_eq!(digest(&facts()), digest(&facts()));
    assert_ne!(digest(&facts()), digest(&recreated));
    let stored: Plan = serde_json::from_str(&serde_json::to_string(&plan(&line, Form::Strict, &facts()).unwrap()).unwrap()).unwrap();
    assert_eq!(stored.digest(), digest(&facts()), "a plan read back from the log has the digest that was approved");
}
