//! Who may do what: everybody everything, or one service account only what a test grants.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::KubernetesEmulator;
use super::failure::Failure;
use super::object::text;
use super::resources::{ACCESS_REVIEWS, Resource};

/// Who every request comes from while rights are granted one by one.
const USER: &str = "system:serviceaccount:stanch:stanch";

/// API group, resource with its subresource, verb.
type Right = (String, String, String);

/// What is granted; `None` for everything.
#[derive(Clone, Debug, Default)]
pub struct Grants(Option<BTreeSet<Right>>);

/// What is attempted.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The resource.
    pub resource: &'static Resource,
    /// What is below it.
    pub subresource: Option<&'a str>,
    /// The verb.
    pub verb: &'a str,
    /// The namespace, if it is one.
    pub namespace: Option<&'a str>,
    /// The object; empty for a collection.
    pub name: &'a str,
}

impl Grants {
    /// Refuses what is not granted. Everybody may ask for their own rights.
    ///
    /// # Errors
    /// 403.
    pub fn check(&self, attempt: &Attempt<'_>) -> Result<(), Failure> {
        let resource = match attempt.subresource {
            Some(sub) => format!("{}/{sub}", attempt.resource.plural),
            None => attempt.resource.plural.to_owned(),
        };
        if attempt.resource.is(&ACCESS_REVIEWS) || self.allow(attempt.resource.group, &resource, attempt.verb) {
            return Ok(());
        }
        let place = match attempt.namespace {
            Some(namespace) => format!("in the namespace \"{namespace}\""),
            None => "at the cluster scope".to_owned(),
        };
        let group = attempt.resource.group;
        let why = format!("User \"{USER}\" cannot {} resource \"{resource}\" in API group \"{group}\" {place}", attempt.verb);
        Err(Failure::forbidden(attempt.resource, attempt.name, &why))
    }

    /// What a SelfSubjectAccessReview is answered.
    pub fn review(&self, review: &Value) -> Value {
        let attributes = |field: &str| text(review, &["spec", "resourceAttributes", field]).to_owned();
        let resource = match (attributes("resource"), attributes("subresource")) {
            (resource, sub) if sub.is_empty() => resource,
            (resource, sub) => format!("{resource}/{sub}"),
        };
        match (&self.0, self.allow(&attributes("group"), &resource, &attributes("verb"))) {
            (None, _) => json!({ "allowed": true, "reason": "the emulator allows everything" }),
            (Some(_), true) => json!({ "allowed": true, "reason": "the emulator grants it" }),
            (Some(_), false) => json!({ "allowed": false }),
        }
    }

    fn allow(&self, group: &str, resource: &str, verb: &str) -> bool {
        let wanted = (group.to_owned(), resource.to_owned(), verb.to_owned());
        self.0.as_ref().is_none_or(|granted| granted.contains(&wanted))
    }
}

impl KubernetesEmulator {
    /// From now on every request comes from the service account `stanch/stanch`, which has these rights and no others: API group, resource
    /// with its subresource behind a slash, and verb.
    pub fn grant_only<'a>(&self, rights: impl IntoIterator<Item = (&'a str, &'a str, &'a str)>) {
        let rights = rights.into_iter().map(|(group, resource, verb)| (group.into(), resource.into(), verb.into()));
        let grants = Grants(Some(rights.collect()));
        self.cluster.write(|state, _| state.grants = grants);
    }

    /// From now on everything is allowed, as at the start.
    pub fn grant_everything(&self) {
        self.cluster.write(|state, _| state.grants = Grants::default());
    }
}
