//! Names to choose from while somebody types. All of it happens beside the app: the names come from a small store that is filled behind
//! people's backs, and an answer that cannot be given in time is an empty one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use stanch_commands::target::{ClusterName, Namespace};
use tokio::sync::{OnceCell, Semaphore, watch};
use tokio::time::Instant;

use crate::core::identity::{Account, ChannelRef};
use crate::core::policy::{Ask, Policy, Subject};
use crate::ports::{Chat, EveryName, LiveField, LiveNames, Suggest, SurveyError, Surveyor, Typing};

/// Names are listed anew when somebody types and they are older than this. A pod that came since can be typed, and is offered with the next
/// letter; a busy channel costs a cluster four listings of metadata a minute, whoever types how fast.
const FRESH: Duration = Duration::from_secs(15);

/// Names that are older are not offered, even if no newer ones are to be had: most of the pods may be others by then.
const STALE: Duration = Duration::from_secs(5 * 60);

/// After a listing that failed the API server is left alone for as long.
const REST: Duration = Duration::from_secs(5);

/// How long a listing may take. 5,000 pods are ten pages, of about 50 ms each.
const LISTING: Duration = Duration::from_secs(10);

/// Who is in which group is asked again after as long. A role that was lost shows names for half a minute more, and permits nothing.
const KNOWN: Duration = Duration::from_secs(30);

/// Answers that are waited for at a time. A fast typist causes ten a second; whoever comes beyond gets nothing for that letter.
const WAITING: usize = 64;

/// Characters of a prefix that matter: the longest name is 63 of a namespace, a slash, and 253.
const PREFIX: usize = 317;

/// Where the names of a cluster come from.
pub type Names = dyn Surveyor<EveryName, LiveNames>;

/// Suggestions for every cluster.
pub struct Suggestions {
    policy: Arc<Policy>,
    channels: BTreeMap<ChannelRef, ClusterName>,
    shelves: BTreeMap<ClusterName, Arc<Shelf>>,
    /// Set once there is one: the chat needs this to be connected.
    chat: OnceLock<Arc<dyn Chat>>,
    /// Only accounts of the policy get in, so that these are as few.
    people: Mutex<BTreeMap<Account, Known>>,
    waiting: Semaphore,
}

/// What the platform says of an account.
#[derive(Clone)]
struct Known {
    since: Instant,
    subject: Arc<OnceCell<Option<Subject>>>,
}

/// The names of one cluster.
struct Shelf {
    source: Arc<Names>,
    stock: watch::Sender<Stock>,
}

#[derive(Default)]
struct Stock {
    names: Option<(Arc<LiveNames>, Instant)>,
    /// When the listing under way was begun.
    listing: Option<Instant>,
    failed: Option<Instant>,
}

impl Stock {
    /// Names that may be offered.
    fn names(&self) -> Option<Arc<LiveNames>> {
        self.names.as_ref().filter(|(_, at)| at.elapsed() < STALE).map(|(names, _)| names.clone())
    }

    /// Whether a listing should begin. One that never ended, because its task died, does not count for ever.
    fn is_due(&self) -> bool {
        let within = |at: Option<Instant>, span: Duration| at.is_some_and(|at| at.elapsed() < span);
        !within(self.listing, LISTING.saturating_mul(2)) && !within(self.failed, REST) && !within(self.names.as_ref().map(|it| it.1), FRESH)
    }
}

impl Shelf {
    /// Lists anew beside everything, unless that is under way or too early.
    fn restock(self: &Arc<Self>) {
        let mut begins = false;
        self.stock.send_if_modified(|stock| {
            begins = stock.is_due();
            if begins {
                stock.listing = Some(Instant::now());
            }
            false
        });
        if !begins {
            return;
        }
        let shelf = self.clone();
        tokio::spawn(async move {
            let late = |_| Err(SurveyError::Unavailable(format!("no list of names within {LISTING:?}")));
            let found = tokio::time::timeout(LISTING, shelf.source.survey(&EveryName)).await.unwrap_or_else(late);
            shelf.stock.send_modify(|stock| {
                stock.listing = None;
                match found {
                    Ok(names) => (stock.names, stock.failed) = (Some((Arc::new(names), Instant::now())), None),
                    Err(error) => {
                        tracing::warn!(%error, "names cannot be offered");
                        stock.failed = Some(Instant::now());
                    }
                }
            });
        });
    }

    /// What is there, or what the listing under way brings.
    async fn names(self: &Arc<Self>) -> Option<Arc<LiveNames>> {
        self.restock();
        let mut stock = self.stock.subscribe();
        let settled = stock.wait_for(|stock| stock.names().is_some() || stock.listing.is_none()).await.ok()?;
        settled.names()
    }
}

impl Suggestions {
    /// Suggestions from these sources. Nothing is listed before somebody types.
    #[must_use]
    pub fn new(policy: Arc<Policy>, channels: BTreeMap<ChannelRef, ClusterName>, sources: BTreeMap<ClusterName, Arc<Names>>) -> Self {
        let shelf = |source| Arc::new(Shelf { source, stock: watch::Sender::new(Stock::default()) });
        Self {
            policy,
            channels,
            shelves: sources.into_iter().map(|(name, source)| (name, shelf(source))).collect(),
            chat: OnceLock::new(),
            people: Mutex::default(),
            waiting: Semaphore::new(WAITING),
        }
    }

    /// The chat that tells who is behind an account. Nobody is offered anything before it is there.
    pub fn connected(&self, chat: Arc<dyn Chat>) {
        // A second one would be a mistake in assembling the bot; the first stays.
        let _ = self.chat.set(chat);
    }

    /// The person behind an account, as the platform said a moment ago. The look-up goes on when nobody waits any more.
    async fn subject(&self, account: &Account) -> Option<Subject> {
        self.policy.person(account)?;
        let chat = self.chat.get()?.clone();
        let known = {
            let mut people = self.people.lock().unwrap_or_else(PoisonError::into_inner);
            let fresh = || Known { since: Instant::now(), subject: Arc::default() };
            let known = people.entry(account.clone()).or_insert_with(fresh);
            // A look-up without an answer is not kept.
            if known.since.elapsed() > KNOWN || matches!(known.subject.get(), Some(None)) {
                *known = fresh();
            }
            known.subject.clone()
        };
        let account = account.clone();
        tokio::spawn(async move { known.get_or_init(|| async { chat.subject(&account).await.ok().flatten() }).await.clone() }).await.ok()?
    }

    async fn found(&self, typing: &Typing) -> Vec<String> {
        let Some(subject) = self.subject(&typing.account).await else { return Vec::new() };
        let may = |cluster: &ClusterName, namespace: Option<&str>| {
            let ask = Ask { command: &typing.command, cluster: Some(cluster.as_str()), namespace };
            self.policy.may_request(&subject, &ask).permitted
        };
        let prefix: String = typing.prefix.trim().chars().take(PREFIX).collect::<String>().to_lowercase();
        if typing.field == LiveField::Cluster {
            let reachable = self.shelves.keys().filter(|cluster| self.policy.reaches(&subject, &typing.command, cluster.as_str()));
            return nearest(reachable.map(|cluster| (cluster.to_string(), None)), &prefix, typing.most);
        }
        let Some((cluster, shelf)) = self.shelf(typing) else { return Vec::new() };
        // Whoever may ask for it nowhere in this cluster causes no listing.
        if !self.policy.reaches(&subject, &typing.command, cluster.as_str()) {
            return Vec::new();
        }
        let Some(names) = shelf.names().await else { return Vec::new() };
        match typing.field {
            LiveField::Node if may(cluster, None) => nearest(names.nodes.iter().map(|node| (node.to_string(), None)), &prefix, typing.most),
            LiveField::Node | LiveField::Cluster => Vec::new(),
            LiveField::Pod => {
                let every: BTreeSet<&Namespace> = names.pods.iter().map(|(namespace, _)| namespace).collect();
                let open: BTreeSet<&Namespace> = every.into_iter().filter(|namespace| may(cluster, Some(namespace.as_str()))).collect();
                let pods = names.pods.iter().filter(|(namespace, _)| open.contains(namespace));
                pods_nearest(pods.map(|(namespace, name)| (namespace, name.as_str())), &prefix, typing.most)
            }
        }
    }

    /// The cluster that was filled in, or the channel's, or the only one.
    fn shelf(&self, typing: &Typing) -> Option<(&ClusterName, &Arc<Shelf>)> {
        let named = typing.cluster.as_deref().map(str::trim).filter(|name| !name.is_empty());
        match (named, self.channels.get(&typing.channel)) {
            (Some(name), _) => self.shelves.iter().find(|(cluster, _)| cluster.as_str() == name),
            (None, Some(default)) => self.shelves.get_key_value(default),
            (None, None) if self.shelves.len() == 1 => self.shelves.iter().next(),
            (None, None) => None,
        }
    }
}

#[async_trait]
impl Suggest for Suggestions {
    async fn suggest(&self, typing: &Typing) -> Vec<String> {
        let Ok(_turn) = self.waiting.try_acquire() else { return Vec::new() };
        tokio::time::timeout(typing.patience, self.found(typing)).await.unwrap_or_default()
    }
}

/// Pods that fit. If they are too many to show, the namespaces come first, as a way to go on typing.
fn pods_nearest<'n>(pods: impl Iterator<Item = (&'n Namespace, &'n str)> + Clone, prefix: &str, most: usize) -> Vec<String> {
    let all = || pods.clone().map(|(namespace, name)| (format!("{namespace}/{name}"), Some(name)));
    let fitting: BTreeSet<&Namespace> = pods
        .clone()
        .filter(|(namespace, name)| near(&format!("{namespace}/{name}"), Some(name), prefix).is_some())
        .map(|it| it.0)
        .collect();
    let too_many = all().filter(|(full, name)| near(full, *name, prefix).is_some()).nth(most).is_some();
    let mut found: Vec<String> = match too_many && !prefix.contains('/') && fitting.len() > 1 {
        true => fitting.iter().map(|namespace| format!("{namespace}/")).take(most / 2).collect(),
        false => Vec::new(),
    };
    found.extend(nearest(all(), prefix, most.saturating_sub(found.len())));
    found
}

/// How near a name is: it begins so, its last part begins so, or it holds it.
fn near(full: &str, last: Option<&str>, prefix: &str) -> Option<u8> {
    match () {
        () if full.starts_with(prefix) => Some(0),
        () if last.is_some_and(|last| last.starts_with(prefix)) => Some(1),
        () if full.contains(prefix) => Some(2),
        () => None,
    }
}

fn nearest<'n>(names: impl Iterator<Item = (String, Option<&'n str>)>, prefix: &str, most: usize) -> Vec<String> {
    let mut found: Vec<(u8, String)> = names.filter_map(|(full, last)| Some((near(&full, last, prefix)?, full))).collect();
    found.sort();
    found.into_iter().map(|(_, name)| name).take(most).collect()
}
