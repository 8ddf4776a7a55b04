//! The permissions that a project has to grant: all that the commands need, and nothing more.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use stanch_commands::CATALOGUE;
use stanch_commands::permission::{beyond_surveys, project_rights};

const HEADER: &str = "\
# Generated from commands/src/permission.rs; a test fails when it is out of date.
#
# What Stanch may do in a project that holds nodes:
#   gcloud iam roles create stanch --project PROJECT --file deploy/gcp/role.yaml
#   gcloud projects add-iam-policy-binding PROJECT --member serviceAccount:NAME@PROJECT.iam.gserviceaccount.com --role projects/PROJECT/roles/stanch
# With Shared VPC the host project needs the role as well: the firewall rules are there.
# `stanch doctor` tells what is missing. Permissions without a comment are those of every survey.
title: Stanch
description: Contains security incidents on GKE. Every permission is needed by some command.
stage: GA
includedPermissions:
";

/// `deploy/gcp/role.yaml`: a custom role for `gcloud iam roles create --file`.
#[must_use]
pub fn role() -> String {
    let commands: BTreeSet<&str> = CATALOGUE.iter().map(|definition| definition.name).collect();
    project_rights(&commands).into_iter().fold(HEADER.to_owned(), |mut text, (permission, needing)| {
        let comment = beyond_surveys(&needing).map(|commands| format!(" # {commands}")).unwrap_or_default();
        // Writing to a text does not fail.
        let _ = writeln!(text, "- {permission}{comment}");
        text
    })
}
