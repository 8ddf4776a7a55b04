//! Goal: people are offered the names that they may work on, soon or not at all. Method: suggestions over sources that count, fail and hang,
//! and over the emulated cluster.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use stanch::app::{Names, Suggestions};
use stanch::core::identity::{Account, ChannelRef, MessageRef, Platform};
use stanch::core::policy::{Groups, Policy, Subject};
use stanch::core::say::Message;
use stanch::ports::{Chat, ChatError, EveryName, LiveField, LiveNames, Suggest as _, SurveyError, Surveyor, Typing, Votes};

/// Looks everybody up at once.
struct Everybody(AtomicUsize);

#[async_trait]
impl Chat for Everybody {
    async fn post(&self, _: &ChannelRef, _: Option<&MessageRef>, _: &Message) -> Result<MessageRef, ChatError> {
        panic!("nothing is posted")
    }
    async fn edit(&self, _: &MessageRef, _: &Message) -> Result<(), ChatError> {
        panic!("nothing is edited")
    }
    async fn whisper(&self, _: &ChannelRef, _: &Account, _: &Message) -> Result<(), ChatError> {
        panic!("nothing is whispered")
    }
    async fn votes(&self, _: &MessageRef) -> Result<Votes, ChatError> {
        panic!("nobody votes")
    }
    async fn subject(&self, account: &Account) -> Result<Option<Subject>, ChatError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(Some(Subject { account: account.clone(), groups: Groups::Known(BTreeSet::new()) }))
    }
}

/// Lists these names, as often as it is asked.
struct Source {
    names: Result<LiveNames, SurveyError>,
    listings: AtomicUsize,
    hangs: bool,
}

#[async_trait]
impl Surveyor<EveryName, LiveNames> for Source {
    async fn survey(&self, EveryName: &EveryName) -> Result<LiveNames, SurveyError> {
        self.listings.fetch_add(1, Ordering::SeqCst);
        if self.hangs {
            std::future::pending::<()>().await;
        }
        self.names.clone()
    }
}

fn names(pods: &[&str]) -> LiveNames {
    let pod = |pod: &&str| pod.split_once('/').map(|(namespace, name)| (namespace.parse().unwrap(), name.parse().unwrap())).unwrap();
    LiveNames { pods: pods.iter().map(pod).collect(), nodes: ["gke-1", "gke-2"].map(|node| node.parse().unwrap()).into() }
}

fn source(names: Result<LiveNames, SurveyError>, hangs: bool) -> Arc<Source> {
    Arc::new(Source { names, listings: AtomicUsize::new(0), hangs })
}

/// Two clusters; the channel's is `prod`.
fn suggestions(source: &Arc<Source>) -> (Suggestions, Arc<Everybody>) {
    let policy = Policy::from_toml(include_str!("../corpus/policy/small.toml")).unwrap();
    let sources = ["prod", "stage"].map(|name| (name.parse().unwrap(), source.clone() as Arc<Names>)).into();
    let channels = BTreeMap::from([(channel(), "prod".parse().unwrap())]);
    let (suggestions, chat) = (Suggestions::new(Arc::new(policy), channels, sources), Arc::new(Everybody(AtomicUsize::new(0))));
    suggestions.connected(chat.clone());
    (suggestions, chat)
}

fn channel() -> ChannelRef {
    ChannelRef { platform: Platform::Slack, id: "C1".into() }
}

fn typing(who: &str, field: LiveField, prefix: &str) -> Typing {
    Typing {
        account: Account { platform: Platform::Slack, id: who.into() },
        channel: channel(),
        command: "quarantine".into(),
        field,
        cluster: None,
        prefix: prefix.into(),
        most: 25,
        patience: Duration::from_secs(30),
    }
}

const PODS: &[&str] = &["shop/cart-1", "shop/orders-0", "web/cart-proxy", "vault/vault-0"];

/// She may ask everywhere.
const ROSA: &str = "U1";
/// He may ask in the shop alone.
const SAM: &str = "U4";
/// He approves, and may ask for nothing.
const AMIR: &str = "U2";
const STRANGER: &str = "U99";

/// A person sees names in the scopes where they may request that command, and nobody else sees any; nothing is asked for a stranger.
#[tokio::test]
async fn names_are_filtered_by_policy() {
    let source = source(Ok(names(PODS)), false);
    let (suggestions, chat) = suggestions(&source);
    for who in [STRANGER, AMIR] {
        for field in [LiveField::Cluster, LiveField::Pod, LiveField::Node] {
            assert_eq!(suggestions.suggest(&typing(who, field, "")).await, Vec::<String>::new());
        }
    }
    assert_eq!((source.listings.load(Ordering::SeqCst), chat.0.load(Ordering::SeqCst)), (0, 1));
    for (typing, expected) in [
        // The vault is protected.
        (typing(ROSA, LiveField::Pod, ""), &["shop/cart-1", "shop/orders-0", "web/cart-proxy"][..]),
        (typing(ROSA, LiveField::Pod, "CART"), &["shop/cart-1", "web/cart-proxy"]),
        (typing(ROSA, LiveField::Pod, "s"), &["shop/cart-1", "shop/orders-0"]),
        (typing(ROSA, LiveField::Node, "2"), &["gke-2"]),
        (typing(ROSA, LiveField::Cluster, ""), &["prod", "stage"]),
        (typing(SAM, LiveField::Pod, ""), &["shop/cart-1", "shop/orders-0"]),
        // A command on a node needs every namespace.
        (typing(SAM, LiveField::Node, ""), &[]),
        (typing(SAM, LiveField::Cluster, ""), &["prod"]),
        (Typing { cluster: Some("stage".into()), ..typing(SAM, LiveField::Pod, "") }, &[]),
        (Typing { cluster: Some("moon".into()), ..typing(ROSA, LiveField::Pod, "") }, &[]),
        (Typing { command: "delete-node".into(), ..typing(SAM, LiveField::Pod, "") }, &[]),
    ] {
        assert_eq!(suggestions.suggest(&typing).await, expected, "{typing:?}");
    }
}

/// Goal: one listing serves everybody who types at the same time, and one look-up each account. Method: a hundred at once, then as many
/// again.
#[tokio::test]
async fn one_listing_serves_everybody() {
    let source = source(Ok(names(PODS)), false);
    let (suggestions, chat) = suggestions(&source);
    for _ in 0..2 {
        let asked = typing(ROSA, LiveField::Pod, "shop/cart");
        let all = futures::future::join_all((0..50).map(|_| suggestions.suggest(&asked))).await;
        assert!(all.iter().all(|names| names == &["shop/cart-1"]), "{all:?}");
    }
    assert_eq!((source.listings.load(Ordering::SeqCst), chat.0.load(Ordering::SeqCst)), (1, 1));
}

/// A cluster that hangs or refuses costs an empty answer, and is not asked again at once.
#[tokio::test]
async fn nothing_comes_late() {
    for source in [source(Ok(names(PODS)), true), source(Err(SurveyError::Refused("no right".into())), false)] {
        let (suggestions, _) = suggestions(&source);
        let short = Typing { patience: Duration::from_millis(20), ..typing(ROSA, LiveField::Pod, "") };
        for _ in 0..5 {
            assert_eq!(suggestions.suggest(&short).await, Vec::<String>::new());
        }
        assert_eq!(source.listings.load(Ordering::SeqCst), 1);
    }
}

/// If there are more pods than can be shown, their namespaces come first.
#[tokio::test]
async fn too_many_pods() {
    let many: Vec<String> = (0..40).flat_map(|n| ["shop", "web"].map(|namespace| format!("{namespace}/cart-{n:02}"))).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let (suggestions, _) = suggestions(&source(Ok(names(&many)), false));
    let offered = suggestions.suggest(&Typing { most: 4, ..typing(ROSA, LiveField::Pod, "cart") }).await;
    assert_eq!(offered, ["shop/", "web/", "shop/cart-00", "shop/cart-01"]);
    let offered = suggestions.suggest(&Typing { most: 2, ..typing(ROSA, LiveField::Pod, "web/") }).await;
    assert_eq!(offered, ["web/cart-00", "web/cart-01"]);
}

/// The adapter lists names with the right to list alone, page by page.
#[cfg(feature = "sandbox")]
#[tokio::test]
async fn listed_by_metadata() {
    let (emulator, client) = crate::kubernetes_adapter::emulator().await;
    emulator.grant_only([("", "pods", "list"), ("", "nodes", "list")].into_iter());
    let listed = stanch::adapters::kubernetes::KubernetesCluster::new(client).survey(&EveryName).await.unwrap();
    assert!(listed.pods.iter().any(|(namespace, name)| namespace.as_str() == "shop" && name.as_str() == "cart-7d4b9c6f5-x2x9q"));
    assert!(listed.nodes.iter().any(|node| node.as_str() == "gke-sandbox-public-1a2b3c4d-x7k2"));
    let queries = emulator.wire().exchanges().into_iter().map(|exchange| (exchange.path, exchange.query));
    let mut queries: Vec<(String, String)> = queries.collect();
    queries.sort();
    assert_eq!(queries, ["/api/v1/nodes", "/api/v1/pods"].map(|path| (path.to_owned(), "limit=500".to_owned())));
}
