// Slack's own SDKs against the emulator. Usage: node judge.mjs DIRECTORY, where DIRECTORY holds node_modules.
// Reads SLACK_API_URL, SLACK_BOT_TOKEN and SLACK_APP_TOKEN, answers one slash command, one click and one reaction, and prints what it
// saw as one line of JSON.

import { createRequire } from 'node:module';

const require = createRequire(`${process.argv[2]}/package.json`);
const { WebClient, ErrorCode, LogLevel } = require('@slack/web-api');
const { SocketModeClient } = require('@slack/socket-mode');

const { SLACK_API_URL: slackApiUrl, SLACK_BOT_TOKEN: botToken, SLACK_APP_TOKEN: appToken } = process.env;
const options = { slackApiUrl, logLevel: LogLevel.ERROR, retryConfig: { retries: 0 } };
const web = new WebClient(botToken, options);
const socket = new SocketModeClient({ appToken, logLevel: LogLevel.ERROR, clientOptions: options });
const seen = { retries: [], reactions: [] };

// The code of the error that a call ends with.
const refusal = async (call) => {
  try {
    await call;
    return 'none';
  } catch (error) {
    return error.code === ErrorCode.PlatformError ? error.data.error : String(error);
  }
};

const plan = (text) => [
  { type: 'header', text: { type: 'plain_text', text: 'Plan' } },
  { type: 'section', text: { type: 'mrkdwn', text } },
  { type: 'actions', elements: [{ type: 'button', action_id: 'approve', value: 'digest', text: { type: 'plain_text', text: 'Approve' } }] },
];

const answerCommand = async ({ ack, body }) => {
  await ack({ text: `working on ${body.text}` });
  seen.command = { command: body.command, text: body.text, user: body.user_id, channel: body.channel_id };
  await fetch(body.response_url, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"text":"later"}' });
  const { channel, ts } = await web.chat.postMessage({ channel: body.channel_id, text: 'a plan', blocks: plan('isolate') });
  const updated = await web.chat.update({ channel, ts, text: 'the plan', blocks: plan('isolate now') });
  await web.reactions.add({ channel, timestamp: ts, name: 'eyes' });
  const { message } = await web.reactions.get({ channel, timestamp: ts, full: true });
  seen.message = { text: updated.text, blocks: updated.message.blocks.length, reactions: message.reactions };
  const upload = { channel_id: channel, thread_ts: ts, filename: 'events.json', title: 'Events', file: Buffer.from('{}') };
  const uploaded = await web.filesUploadV2(upload);
  seen.files = uploaded.files.flatMap(({ files }) => files.map(({ name, title, size }) => ({ name, title, size })));
};

const answerClick = async ({ ack, body }) => {
  await ack();
  seen.click = { user: body.user.id, action: body.actions[0].action_id, value: body.actions[0].value, text: body.message.text };
};

// Slack tells of the app's own reactions too. The first of somebody else ends the judge's work.
const answerReaction = async ({ ack, event, retry_num: retry }) => {
  await ack();
  seen.retries.push(retry);
  seen.reactions.push({ user: event.user, reaction: event.reaction, item_user: event.item_user });
  return event.user !== identity.user_id;
};

const identity = await web.auth.test();
seen.identity = { user: identity.user_id, scopes: identity.response_metadata.scopes.includes('chat:write') };
seen.users = [];
for await (const page of web.paginate('users.list', { limit: 4 })) {
  seen.users.push(page.members.length);
}
seen.refusals = [
  await refusal(web.chat.postMessage({ channel: 'C0NOWHERE', text: 'x' })),
  await refusal(web.chat.postMessage({ channel: 'C0INCIDENTS', text: 'x', blocks: [{ type: 'marquee' }] })),
  await refusal(new WebClient('xoxb-wrong', options).auth.test()),
];

// Done once `answer` says anything but `false`.
const done = (name, answer) =>
  new Promise((resolve, reject) => socket.on(name, (event) => answer(event).then((last) => last !== false && resolve(), reject)));
const everything = Promise.all([
  done('slash_commands', answerCommand),
  done('interactive', answerClick),
  done('reaction_added', answerReaction),
]);
await socket.start();
await everything;
await socket.disconnect();
console.log(JSON.stringify(seen));
process.exit(0);
