//! The library that the bot uses, from the greeting to the reactions.

use std::sync::Arc;

use hyper_rustls::HttpsConnectorBuilder;
use serde_json::json;
use slack_morphism::prelude::*;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::{App, PATIENCE, Socket, word};

type Client = SlackClient<SlackClientHyperHttpsConnector>;

/// A client of the emulator, over plain HTTP.
fn client(app: &App) -> Arc<Client> {
    let tls = rustls::ClientConfig::builder().with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
    let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
    Arc::new(SlackClient::new(SlackClientHyperConnector::from(https).with_slack_api_url(&app.slack.api_url())))
}

/// What the callbacks were given.
#[derive(Debug)]
enum Heard {
    Command(Box<SlackCommandEvent>),
    Interaction(Box<SlackInteractionEvent>),
    Event(Box<SlackPushEventCallback>),
}

/// Listens on one connection; everything that is heard comes out of the receiver.
async fn listen(
    app: &App,
    client: &Arc<Client>,
) -> (SlackClientSocketModeListener<SlackClientHyperHttpsConnector>, UnboundedReceiver<Heard>) {
    let (heard, ears) = unbounded_channel();
    let mut callbacks = SlackSocketModeListenerCallbacks::new();
    let tell = heard.clone();
    callbacks.command_callback = Box::new(move |event, _: Arc<Client>, _: SlackClientEventsUserState| {
        tell.send(Heard::Command(Box::new(event))).expect("a listener");
        async { Ok(SlackCommandEventResponse::new(SlackMessageContent::new().with_text("working on it".into()))) }
    });
    let tell = heard.clone();
    callbacks.interaction_callback = Box::new(move |event, _: Arc<Client>, _: SlackClientEventsUserState| {
        tell.send(Heard::Interaction(Box::new(event))).expect("a listener");
        async { Ok(SlackInteractionResponse::Empty) }
    });
    callbacks.push_events_callback = Box::new(move |event, _: Arc<Client>, _: SlackClientEventsUserState| {
        heard.send(Heard::Event(Box::new(event))).expect("a listener");
        async { Ok(()) }
    });
    let environment = Arc::new(SlackClientEventsListenerEnvironment::new(client.clone()));
    let config = SlackClientSocketModeConfig::new().with_max_connections_count(1);
    let listener = SlackClientSocketModeListener::new(&config, environment, callbacks);
    listener.listen_for(&SlackApiToken::new(app.slack.app_token().into())).await.expect("a listener");
    listener.start().await;
    (listener, ears)
}

async fn next(ears: &mut UnboundedReceiver<Heard>) -> Heard {
    tokio::time::timeout(PATIENCE, ears.recv()).await.expect("in time").expect("a connection")
}

/// Goal: the production library's whole round works. Method: greeting, command, message with blocks, update, thread, reaction, click,
/// answer by response URL, look-ups and an upload, each through its typed API.
#[tokio::test]
async fn the_whole_round() {
    let app = App::start().await;
    let client = client(&app);
    let (listener, mut ears) = listen(&app, &client).await;
    let token = SlackApiToken::new(app.slack.bot_token().into());
    let session = client.open_session(&token);
    app.slack.wait_until(|view| view.connections() == 1, PATIENCE).await.expect("a connection");

    let (typed, command) = tokio::join!(app.slack.type_command("U0RESPONDER", "C0INCIDENTS", "/stanch help"), next(&mut ears));
    let typed = typed.expect("an answer");
    assert_eq!(typed.payload, Some(json!({ "text": "working on it" })));
    let Heard::Command(command) = command else { panic!("no command") };
    assert_eq!((command.text.as_deref(), command.trigger_id.value()), (Some("help"), &typed.trigger_id));

    let button = SlackBlockButtonElement::new(pt!("Approve")).with_action_id("approve".into()).with_value("digest".into());
    let blocks: Vec<SlackBlock> = slack_blocks![SlackHeaderBlock::new(pt!("Plan")), SlackActionsBlock::new(slack_blocks![button])];
    let content = SlackMessageContent::new().with_text("a plan".into()).with_blocks(blocks);
    let posted =
        session.chat_post_message(&SlackApiChatPostMessageRequest::new("C0INCIDENTS".into(), content.clone())).await.expect("a post");
    let updated = content.with_text("the plan".into());
    let update = SlackApiChatUpdateRequest::new("C0INCIDENTS".into(), updated, posted.ts.clone());
    assert_eq!(session.chat_update(&update).await.expect("an update").message.content.text.as_deref(), Some("the plan"));
    let reply = SlackMessageContent::new().with_text("step 1".into());
    let reply = SlackApiChatPostMessageRequest::new("C0INCIDENTS".into(), reply).with_thread_ts(posted.ts.clone());
    assert_eq!(session.chat_post_message(&reply).await.expect("a reply").message.origin.thread_ts, Some(posted.ts.clone()));

    let ts = posted.ts.value();
    app.slack.react("U0APPROVER1", "C0INCIDENTS", ts, "white_check_mark").await.expect("a reaction");
    let Heard::Event(event) = next(&mut ears).await else { panic!("no event") };
    let SlackEventCallbackBody::ReactionAdded(reaction) = event.event else { panic!("no reaction") };
    assert_eq!((reaction.user, reaction.reaction), ("U0APPROVER1".into(), SlackReactionName("white_check_mark".into())));
    let request = SlackApiReactionsGetRequest::new().with_channel("C0INCIDENTS".into()).with_timestamp(posted.ts.clone()).with_full(true);
    let SlackApiReactionsGetResponse::Message(read) = session.reactions_get(&request).await.expect("reactions") else { panic!("a file") };
    let expected = SlackReaction::new(SlackReactionName("white_check_mark".into()), 1, vec!["U0APPROVER1".into()]);
    assert_eq!(read.message.content.reactions, Some(vec![expected]));

    let (clicked, interaction) = tokio::join!(app.slack.click("U0APPROVER2", "C0INCIDENTS", ts, "approve"), next(&mut ears));
    clicked.expect("an answer");
    let Heard::Interaction(interaction) = interaction else { panic!("no interaction") };
    let SlackInteractionEvent::BlockActions(click) = *interaction else { panic!("no click") };
    assert_eq!(click.actions.expect("actions")[0].value.as_deref(), Some("digest"));
    let answer = SlackApiPostWebhookMessageRequest::new(SlackMessageContent::new().with_text("counted".into()));
    client.respond_to_event(&click.response_url.expect("a URL"), &answer).await.expect("an answer");
    let seen: Vec<_> = app.slack.channel_transcript("C0INCIDENTS").into_iter().map(|entry| (entry.text, entry.only_for)).collect();
    let for_one = |text: &str, user: &str| (text.to_owned(), Some(user.to_owned()));
    let for_all = |text: &str| (text.to_owned(), None);
    let expected = vec![for_one("working on it", "U0RESPONDER"), for_all("the plan"), for_all("step 1"), for_one("counted", "U0APPROVER2")];
    assert_eq!(seen, expected);
    listener.shutdown().await;
    app.finish().await;
}

/// The look-ups of an adapter, the upload, and an error with its code.
#[tokio::test]
async fn look_ups_and_errors() {
    let app = App::start().await;
    let client = client(&app);
    let token = SlackApiToken::new(app.slack.bot_token().into());
    let session = client.open_session(&token);
    assert_eq!(session.auth_test().await.expect("an identity").bot_id, Some("B0STANCH".into()));
    assert_eq!(session.team_info(&SlackApiTeamInfoRequest::new()).await.expect("a team").team.domain.as_deref(), Some("stanch-sandbox"));
    let stranger = session.users_info(&SlackApiUsersInfoRequest::new("U0STRANGER".into())).await.expect("a user").user;
    assert_eq!((stranger.flags.is_stranger, stranger.team_id), (Some(true), Some("T0FOREIGN".into())));
    let listed = session.users_list(&SlackApiUsersListRequest::new()).await.expect("users");
    assert_eq!(listed.members.len(), 9);
    let groups = session.usergroups_list(&SlackApiUserGroupsListRequest::new()).await.expect("groups").usergroups;
    assert_eq!(groups.iter().map(|group| group.handle.as_str()).collect::<Vec<_>>(), vec!["sec-approvers", "sec-responders"]);
    let members = SlackApiUserGroupsUsersListRequest::new("S0APPROVERS".into());
    assert_eq!(session.usergroups_users_list(&members).await.expect("users").users, vec!["U0APPROVER1".into(), "U0APPROVER2".into()]);
    for channel in ["C0INCIDENTS", "D0RESPONDER"] {
        let info = session.conversations_info(&SlackApiConversationsInfoRequest::new(channel.into())).await.expect("a channel");
        assert_eq!(info.channel.flags.is_im.unwrap_or_default(), channel.starts_with('D'));
    }

    let content = b"{}".to_vec();
    let url = SlackApiFilesGetUploadUrlExternalRequest::new("events.json".into(), content.len());
    let url = session.get_upload_url_external(&url).await.expect("a URL");
    let send = SlackApiFilesUploadViaUrlRequest::new(url.upload_url, content, "application/json".into());
    session.files_upload_via_url(&send).await.expect("an upload");
    let complete = SlackApiFilesCompleteUploadExternalRequest::new(vec![SlackApiFilesComplete::new(url.file_id)]);
    session.files_complete_upload_external(&complete.with_channel_id("C0INCIDENTS".into())).await.expect("a file");
    assert_eq!(app.slack.channel_transcript("C0INCIDENTS")[0].files[0].content, b"{}");

    let wrong = SlackApiChatPostMessageRequest::new("C0NOWHERE".into(), SlackMessageContent::new().with_text("x".into()));
    let Err(errors::SlackClientError::ApiError(error)) = session.chat_post_message(&wrong).await else { panic!("no error") };
    assert_eq!(error.code, "channel_not_found");
    app.finish().await;
}

/// A modal opens through the library, whose views the emulator takes and gives back.
#[tokio::test]
async fn modals() {
    let app = App::start().await;
    let client = client(&app);
    let token = SlackApiToken::new(app.slack.bot_token().into());
    let mut socket: Socket = app.connect().await;
    let (_, envelope) = tokio::join!(app.slack.type_command("U0RESPONDER", "C0INCIDENTS", "/stanch"), socket.take());
    let input = SlackInputBlock::new(pt!("Reason"), SlackBlockPlainTextInputElement::new().with_action_id("why".into()).into());
    let view = SlackModalView::new(pt!("Release"), slack_blocks![input]).with_submit(pt!("Send"));
    let trigger: SlackTriggerId = word(&envelope["payload"], "trigger_id").into();
    let open = SlackApiViewsOpenRequest::new(trigger, SlackView::Modal(view));
    let opened = client.open_session(&token).views_open(&open).await.expect("a view");
    let seen = app.slack.look(|view| view.modals("U0RESPONDER"));
    assert_eq!(seen.iter().map(|view| word(view, "id")).collect::<Vec<_>>(), vec![opened.view.state_params.id.value().clone()]);
    app.finish().await;
}
