//! Reads a TOML table key by key and collects every problem with its place. Keys that nobody asked for are problems.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;

use toml::{Table, Value};

/// A table that is being read.
#[derive(Debug)]
pub struct Section {
    /// How problems name it, such as `[clusters.prod]`; empty for the root.
    place: String,
    path: String,
    table: Table,
    asked: BTreeSet<String>,
    problems: Vec<String>,
}

impl Section {
    /// The whole file.
    pub fn root(table: Table) -> Self {
        Self { place: String::new(), path: String::new(), table, asked: BTreeSet::new(), problems: Vec::new() }
    }

    /// Keys that are there.
    pub fn keys(&self) -> Vec<String> {
        self.table.keys().cloned().collect()
    }

    /// Whether the file has the key, whatever its value.
    pub fn was_given(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Notes a problem of this section.
    pub fn problem(&mut self, problem: impl fmt::Display) {
        let separator = if self.place.is_empty() { "" } else { ": " };
        self.problems.push(format!("{}{separator}{problem}", self.place));
    }

    /// Notes a problem in place of a value.
    pub fn refuse<T>(&mut self, problem: impl fmt::Display) -> Option<T> {
        self.problem(problem);
        None
    }

    /// A text that is not empty.
    pub fn text(&mut self, key: &str) -> Option<String> {
        let value = self.value(key)?;
        let text = value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        text.or_else(|| self.refuse(format!("`{key}` must be a text that is not empty")))
    }

    /// A text that passes a check.
    pub fn checked<T>(&mut self, key: &str, check: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = self.text(key)?;
        check(&text).map_err(|why| self.problem(format!("`{key}` {why}"))).ok()
    }

    /// A text that must be there and passes a check.
    pub fn required<T>(&mut self, key: &str, check: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        match self.was_given(key) {
            true => self.checked(key, check),
            false => {
                self.asked.insert(key.to_owned());
                self.refuse(format!("needs `{key}`"))
            }
        }
    }

    /// `true` or `false`.
    pub fn flag(&mut self, key: &str) -> Option<bool> {
        let value = self.value(key)?;
        value.as_bool().or_else(|| self.refuse(format!("`{key}` must be true or false")))
    }

    /// A whole number in a range.
    pub fn number(&mut self, key: &str, range: RangeInclusive<u32>) -> Option<u32> {
        let value = self.value(key)?;
        let number = value.as_integer().and_then(|number| u32::try_from(number).ok()).filter(|number| range.contains(number));
        number.or_else(|| self.refuse(format!("`{key}` must be a number from {} to {}", range.start(), range.end())))
    }

    /// A table in this one. Give it back with [`Section::adopt`].
    pub fn section(&mut self, key: &str) -> Option<Self> {
        match self.value(key)?.try_into() {
            Ok(table) => Some(self.child(key, table)),
            Err(_) => self.refuse(format!("`{key}` must be a section")),
        }
    }

    /// A list of tables in this one.
    pub fn sections(&mut self, key: &str) -> Vec<Self> {
        let Some(value) = self.value(key) else { return Vec::new() };
        match value.try_into::<Vec<Table>>() {
            Ok(tables) => tables.into_iter().enumerate().map(|(at, table)| self.child(&format!("{key}.{}", at + 1), table)).collect(),
            Err(_) => {
                self.problem(format!("`{key}` must be a list of sections, [[{key}]]"));
                Vec::new()
            }
        }
    }

    /// Takes the problems of a section that was read.
    pub fn adopt(&mut self, section: Self) {
        self.problems.extend(section.finish());
    }

    /// Every problem.
    pub fn finish(mut self) -> Vec<String> {
        for key in self.keys().into_iter().filter(|key| !self.asked.contains(key)).collect::<Vec<_>>() {
            self.problem(format!("`{key}` is no key of this file"));
        }
        self.problems
    }

    fn value(&mut self, key: &str) -> Option<Value> {
        self.asked.insert(key.to_owned());
        self.table.get(key).cloned()
    }

    fn child(&self, key: &str, table: Table) -> Self {
        let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        Self { place: format!("[{path}]"), path, table, asked: BTreeSet::new(), problems: Vec::new() }
    }
}
