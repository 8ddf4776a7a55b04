//! The head of the log in a channel of its own: at the start, once a day, and again after a restart.

use stanch::core::identity::{ChannelRef, Platform};

use super::Theatre;

fn audit() -> ChannelRef {
    ChannelRef { platform: Platform::Slack, id: "C0AUDIT".into() }
}

/// Waits until the channel saw so many heads.
async fn seen(theatre: &Theatre, count: usize) {
    theatre
        .until(&format!("{count} heads of the log"), |stage| {
            let chat = stage.outside.chat.lock().unwrap();
            let heads = chat.posts.iter().filter(|(at, root, message)| {
                at.channel == audit() && root.is_none() && format!("{:?}", message.blocks).contains("audit log at a start or a new day")
            });
            (heads.count() == count).then_some(())
        })
        .await;
}

#[tokio::test]
async fn a_channel_of_its_own_sees_the_head_of_the_log_every_day() {
    let mut theatre = Theatre::witnessed_in(&audit());
    seen(&theatre, 1).await;
    // The fake clock begins at 08:00.
    theatre.outside.pass(15 * 3_600);
    theatre.types(super::ROSA, "help").await;
    theatre.whispered(super::ROSA, "/stanch").await;
    seen(&theatre, 1).await;
    theatre.outside.pass(3_600);
    seen(&theatre, 2).await;
    theatre.restart().await;
    seen(&theatre, 3).await;
    theatre.shut_down().await.unwrap();
}
