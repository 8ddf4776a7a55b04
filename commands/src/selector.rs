//! Label selectors, as the API server evaluates them: what a rewriting of labels must escape is known before anything is written.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// A `LabelSelector`, in the API's own spelling. An empty one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Selector {
    /// Each must be equal.
    pub match_labels: BTreeMap<String, String>,
    /// Each must hold.
    pub match_expressions: Vec<Expression>,
}

/// A requirement on one label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expression {
    /// The label's key.
    pub key: String,
    /// What is asked of it.
    pub operator: Operator,
    /// Values of `In` and `NotIn`.
    #[serde(default)]
    pub values: BTreeSet<String>,
}

/// What an expression asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operator {
    /// One of the values.
    In,
    /// None of the values, or no such label.
    NotIn,
    /// There is such a label.
    Exists,
    /// There is none.
    DoesNotExist,
}

impl Selector {
    /// Whether it selects these labels.
    #[must_use]
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        let equal = self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value));
        equal && self.match_expressions.iter().all(|expression| expression.holds(labels.get(&expression.key)))
    }

    /// Keys whose removal ends the selection.
    pub fn needed(&self) -> impl Iterator<Item = &String> {
        let positive = |operator| matches!(operator, Operator::In | Operator::Exists);
        let expressions = self.match_expressions.iter().filter(move |expression| positive(expression.operator));
        self.match_labels.keys().chain(expressions.map(|expression| &expression.key))
    }

    /// Keys whose presence ends the selection.
    pub fn forbidden(&self) -> impl Iterator<Item = &String> {
        let absent = self.match_expressions.iter().filter(|expression| expression.operator == Operator::DoesNotExist);
        absent.map(|expression| &expression.key)
    }
}

impl Expression {
    fn holds(&self, value: Option<&String>) -> bool {
        let listed = value.is_some_and(|value| self.values.contains(value));
        match self.operator {
            Operator::In => listed,
            Operator::NotIn => !listed,
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_evaluated_as_the_server_does() {
        let labels = BTreeMap::from([("app".to_owned(), "cart".to_owned())]);
        let expression = |key: &str, operator, values: &[&str]| Selector {
            match_expressions: vec![Expression { key: key.into(), operator, values: values.iter().map(|value| (*value).into()).collect() }],
            ..Selector::default()
        };
        let equal = |key: &str, value: &str| Selector { match_labels: [(key.into(), value.into())].into(), ..Selector::default() };
        for (selector, expected) in [
            (Selector::default(), true),
            (equal("app", "cart"), true),
            (equal("app", "search"), false),
            (expression("app", Operator::In, &["a", "cart"]), true),
            (expression("tier", Operator::NotIn, &["x"]), true),
            (expression("app", Operator::NotIn, &["cart"]), false),
            (expression("app", Operator::DoesNotExist, &[]), false),
            (expression("app", Operator::Exists, &[]), true),
        ] {
            assert_eq!(selector.selects(&labels), expected, "{selector:?}");
        }
    }
}
