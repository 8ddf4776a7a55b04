//! Links between resources, and fingerprints.
//!
//! The state holds every link under Google's host ([`CANONICAL`]), so that it does not depend on where the emulator listens. Answers
//! carry another base, requests may carry any of those that the real API takes.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// What every link in the state starts with.
pub const CANONICAL: &str = "https://www.googleapis.com/compute/v1/";

/// The other host of the same API.
const COMPUTE_HOST: &str = "https://compute.googleapis.com/compute/v1/";

/// Bytes of a fingerprint, as Google's have.
const FINGERPRINT_BYTES: usize = 8;

/// The link of a resource path such as `projects/P/global/networks/N`.
pub fn link(path: &str) -> String {
    format!("{CANONICAL}{path}")
}

/// The resource path of a link of the state.
pub fn path(link: &str) -> &str {
    link.strip_prefix(CANONICAL).unwrap_or(link)
}

/// The last segment of a path or link.
pub fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Everything before the last segment of a path.
pub fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// The project of a path.
pub fn project(path: &str) -> &str {
    path.split('/').nth(1).unwrap_or_default()
}

/// The resource path that a client means: a full link on any host of the API or the emulator's own, or one without host, or without
/// project. `None` if it is none of these.
pub fn parse(given: &str, own: &str, project: &str) -> Option<String> {
    let partial = [own, CANONICAL, COMPUTE_HOST].iter().find_map(|base| given.strip_prefix(base)).unwrap_or(given);
    let partial = partial.trim_start_matches('/');
    if partial.is_empty() || partial.split('/').any(str::is_empty) {
        return None;
    }
    match partial.split('/').next()? {
        "projects" => Some(partial.to_owned()),
        "zones" | "regions" | "global" => Some(format!("projects/{project}/{partial}")),
        _ => None,
    }
}

/// Gives every link in an answer another base.
pub fn render(value: &mut Value, base: &str) {
    match value {
        Value::String(text) => {
            if let Some(path) = text.strip_prefix(CANONICAL) {
                *text = format!("{base}{path}");
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| render(item, base)),
        Value::Object(fields) => fields.values_mut().for_each(|field| render(field, base)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A fingerprint of some content, in the alphabet that Google writes and its Rust client insists on.
pub fn fingerprint(content: &Value) -> String {
    let digest = Sha256::digest(content.to_string());
    URL_SAFE.encode(digest.get(..FINGERPRINT_BYTES).unwrap_or_default())
}

/// Whether two fingerprints are the same bytes. Clients use either alphabet of base64.
pub fn same_fingerprint(one: &str, other: &str) -> bool {
    let bytes = |text: &str| STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok();
    one == other || bytes(one).is_some_and(|one| Some(one) == bytes(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_may_be_written_in_any_way_that_google_takes() {
        let own = "http://127.0.0.1:4000/compute/v1/";
        let check = |given: &str, expected: Option<&str>| assert_eq!(parse(given, own, "p").as_deref(), expected, "{given}");
        let wanted = Some("projects/p/zones/z/instances/i");
        check("http://127.0.0.1:4000/compute/v1/projects/p/zones/z/instances/i", wanted);
        check("https://www.googleapis.com/compute/v1/projects/p/zones/z/instances/i", wanted);
        check("https://compute.googleapis.com/compute/v1/projects/p/zones/z/instances/i", wanted);
        check("projects/p/zones/z/instances/i", wanted);
        check("zones/z/instances/i", wanted);
        check("/zones/z/instances/i", wanted);
        check("global/networks/n", Some("projects/p/global/networks/n"));
        check("https://example.com/compute/v1/projects/p/zones/z/instances/i", None);
        check("http://127.0.0.1:4001/compute/v1/projects/p/zones/z/instances/i", None);
        check("i", None);
        check("", None);
    }

    #[test]
    fn fingerprints_are_compared_as_bytes() {
        assert!(same_fingerprint("5b8+w+vzwp0=", "5b8-w-vzwp0="));
        assert!(!same_fingerprint("5b8+w+vzwp0=", "5b8-w-vzwp1="));
        assert!(!same_fingerprint("", "5b8-w-vzwp0="));
    }
}
