//! Links as Compute writes them: full, under any of Google's hosts or the sandbox's, or partial.

use stanch_commands::target::{ComputeName, DiskRef, GroupRef, InstanceRef, Location, NetworkRef, Place, ProjectId};

/// The parts after `projects/`: project, the scope's kind and name if there is one, kind and name of the resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link<'a> {
    pub project: &'a str,
    pub scope: Option<(&'a str, &'a str)>,
    pub kind: &'a str,
    pub name: &'a str,
}

impl<'a> Link<'a> {
    /// Reads `…projects/P/(global|zones/Z|regions/R)/KIND/NAME`. A legacy project id may hold a colon, never a slash.
    pub fn parse(text: &'a str) -> Option<Self> {
        let start = if text.starts_with("projects/") { 0 } else { text.rfind("/projects/")?.checked_add(1)? };
        let parts: Vec<&str> = text.get(start..)?.split('/').collect();
        match parts.as_slice() {
            ["projects", project, "global", kind, name] => Some(Self { project, scope: None, kind, name }),
            ["projects", project, scope @ ("zones" | "regions"), place, kind, name] => {
                Some(Self { project, scope: Some((scope, place)), kind, name })
            }
            _ => None,
        }
    }

    /// Zone or region.
    pub fn place(&self) -> Option<Place> {
        match self.scope? {
            ("zones", zone) => zone.parse().ok().map(Place::Zone),
            (_, region) => region.parse().ok().map(Place::Region),
        }
    }
}

/// `projects/P/…` of a link under any host.
pub fn path(link: &str) -> &str {
    let start = if link.starts_with("projects/") { Some(0) } else { link.rfind("/projects/").and_then(|slash| slash.checked_add(1)) };
    start.and_then(|start| link.get(start..)).unwrap_or(link)
}

/// The network that a link names.
pub fn network(link: &str) -> Option<NetworkRef> {
    let link = Link::parse(link).filter(|link| link.kind == "networks")?;
    Some(NetworkRef { project: link.project.parse().ok()?, name: link.name.parse().ok()? })
}

/// `gce://PROJECT/ZONE/NAME`.
pub fn provider_id(text: &str) -> Option<(ProjectId, Location, ComputeName)> {
    let mut parts = text.strip_prefix("gce://")?.split('/');
    let found = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next().is_none().then_some(found)
}

/// The region of a zone: `us-central1` of `us-central1-a`.
pub fn region(zone: &Location) -> String {
    zone.as_str().rsplit_once('-').map_or(zone.as_str(), |(region, _)| region).to_owned()
}

/// `zones/Z` or `regions/R`.
pub fn place(place: &Place) -> String {
    match place {
        Place::Zone(zone) => format!("zones/{zone}"),
        Place::Region(region) => format!("regions/{region}"),
    }
}

/// `projects/P/zones/Z/instances/N`.
pub fn instance(instance: &InstanceRef) -> String {
    format!("projects/{}/zones/{}/instances/{}", instance.project, instance.zone, instance.name)
}

/// Path of a disk.
pub fn disk(disk: &DiskRef) -> String {
    format!("projects/{}/{}/disks/{}", disk.project, place(&disk.place), disk.name)
}

/// Path of a group.
pub fn group(group: &GroupRef) -> String {
    format!("projects/{}/{}/instanceGroupManagers/{}", group.project, place(&group.place), group.name)
}

/// Path of a global resource.
pub fn global(project: &ProjectId, kind: &str, name: &ComputeName) -> String {
    format!("projects/{project}/global/{kind}/{name}")
}
