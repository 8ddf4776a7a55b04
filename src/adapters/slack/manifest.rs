//! The manifest from which the Slack app is made: all that the adapter needs, and nothing more.

use serde_json::{Value, json};

/// What the bot may do, and for what.
pub(super) const SCOPES: &[&str] = &[
    // Posting, editing, whispering.
    "chat:write",
    // The slash command.
    "commands",
    // Votes.
    "reactions:read",
    // Roles by user group.
    "usergroups:read",
    // Whether an account is a full, present human member.
    "users:read",
];

/// What Slack tells the bot unasked.
const EVENTS: &[&str] = &["reaction_added", "reaction_removed"];

/// The manifest of the Slack app; `deploy/slack/manifest.json` is this.
#[must_use]
pub fn manifest() -> Value {
    json!({
        "_metadata": { "major_version": 1, "minor_version": 1 },
        "display_information": {
            "name": "Stanch",
            "description": "Contains security incidents on GKE, with two-person approval and a record.",
        },
        "features": {
            // The direct message is where people read what cannot be whispered in a channel, and where they may ask for help and status.
            "app_home": { "home_tab_enabled": false, "messages_tab_enabled": true, "messages_tab_read_only_enabled": false },
            "bot_user": { "display_name": "stanch", "always_online": true },
            "shortcuts": [{
                "name": "Propose quarantine",
                "type": "message",
                "callback_id": super::alert::PROPOSE,
                "description": "Opens a form for the pod that this message names",
            }],
            "slash_commands": [{
                "command": "/stanch",
                "description": "Contain a security incident",
                "usage_hint": "help | form quarantine | quarantine pod NAMESPACE/NAME --dry-run",
                // People type names of Kubernetes objects, not of users and channels.
                "should_escape": false,
            }],
        },
        "oauth_config": { "scopes": { "bot": SCOPES } },
        "settings": {
            "event_subscriptions": { "bot_events": EVENTS },
            "interactivity": { "is_enabled": true },
            "org_deploy_enabled": false,
            "socket_mode_enabled": true,
            "token_rotation_enabled": false,
        },
    })
}
