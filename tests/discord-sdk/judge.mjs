// discord.js against the emulator. Usage: node judge.mjs DIRECTORY, where DIRECTORY holds node_modules.
// Reads DISCORD_API_URL, DISCORD_TOKEN, GUILD and CHANNEL, registers a command, answers it, its autocompletion, a button, a modal and
// a reaction, and prints what it saw as one line of JSON.

import { createRequire } from 'node:module';

const require = createRequire(`${process.argv[2]}/package.json`);
const {
  ActionRowBuilder, ButtonBuilder, ButtonStyle, Client, EmbedBuilder, Events, GatewayIntentBits, MessageFlags, ModalBuilder, Partials,
  SlashCommandBuilder, TextInputBuilder, TextInputStyle,
} = require('discord.js');

const { DISCORD_API_URL: api, DISCORD_TOKEN: token, GUILD: guildId, CHANNEL: channelId } = process.env;
const { Guilds, GuildMessages, GuildMessageReactions } = GatewayIntentBits;
const client = new Client({
  intents: [Guilds, GuildMessages, GuildMessageReactions],
  partials: [Partials.Message, Partials.Reaction, Partials.User],
  allowedMentions: { parse: [] },
  rest: { api, retries: 0 },
});
const seen = {};
const resumed = new Promise((resolve) => client.once(Events.ShardResume, () => resolve(true)));

const command = new SlashCommandBuilder()
  .setName('stanch')
  .setDescription('Contains incidents.')
  .addSubcommand((sub) =>
    sub
      .setName('quarantine')
      .setDescription('Isolates a node.')
      .addStringOption((option) => option.setName('pod').setDescription('Suspect.').setRequired(true).setAutocomplete(true))
      .addIntegerOption((option) => option.setName('minutes').setDescription('How long.').setMinValue(1))
      .addBooleanOption((option) => option.setName('dry').setDescription('Only plan.'))
      .addUserOption((option) => option.setName('owner').setDescription('Whom to tell.')),
  );

const buttons = (disabled) => [
  new ActionRowBuilder().addComponents(
    new ButtonBuilder().setCustomId('approve').setLabel('Approve').setStyle(ButtonStyle.Success).setDisabled(disabled),
  ),
];

const answerCommand = async (interaction) => {
  const { options } = interaction;
  seen.command = {
    name: `${interaction.commandName} ${options.getSubcommand()}`,
    pod: options.getString('pod'),
    minutes: options.getInteger('minutes'),
    dry: options.getBoolean('dry'),
    owner: options.getUser('owner').username,
    user: interaction.user.username,
    roles: interaction.member.roles.cache.map((role) => role.name).sort(),
  };
  await interaction.deferReply({ flags: MessageFlags.Ephemeral });
  const embed = new EmbedBuilder().setTitle('Plan').setDescription('@everyone isolate').addFields({ name: 'node', value: 'x' });
  const plan = await interaction.channel.send({ embeds: [embed], components: buttons(false) });
  const thread = await plan.startThread({ name: 'inc-42' });
  await thread.send({ content: 'step one', files: [{ attachment: Buffer.from('{}'), name: 'events.json' }] });
  await plan.edit({ embeds: [embed.setColor(0xff0000)] });
  await plan.react('👀');
  await interaction.editReply('its plan is in this channel');
  await interaction.followUp({ content: 'later', flags: MessageFlags.Ephemeral });
  seen.plan = { embed: plan.embeds[0].title, thread: thread.name, parent: thread.parentId === channelId };
};

const answerButton = async (interaction) => {
  const why = new TextInputBuilder().setCustomId('why').setLabel('Why?').setStyle(TextInputStyle.Short);
  const modal = new ModalBuilder().setCustomId('reason').setTitle('Approve').addComponents(new ActionRowBuilder().addComponents(why));
  await interaction.showModal(modal);
};

const answerModal = async (interaction) => {
  seen.modal = { why: interaction.fields.getTextInputValue('why'), user: interaction.user.username };
  await interaction.update({ components: buttons(true) });
};

const answer = async (interaction) => {
  if (interaction.isAutocomplete()) {
    seen.autocomplete = interaction.options.getFocused();
    await interaction.respond([{ name: 'shop/cart', value: 'shop/cart' }]);
  } else if (interaction.isChatInputCommand()) {
    await answerCommand(interaction);
  } else if (interaction.isButton()) {
    await answerButton(interaction);
  } else if (interaction.isModalSubmit()) {
    await answerModal(interaction);
  }
};

// The reaction that is told by the resumption ends the judge's work.
const answerReaction = async (reaction, user) => {
  if (user.id === client.user.id) {
    return;
  }
  const users = await reaction.users.fetch();
  const member = await client.guilds.cache.get(guildId).members.fetch({ user: user.id, force: true });
  seen.reaction = { emoji: reaction.emoji.name, users: users.map(({ username }) => username), member: member.user.username };
  seen.resumed = await resumed;
  console.log(JSON.stringify(seen));
  await client.destroy();
  process.exit(0);
};

const fail = (error) => {
  console.error(error);
  process.exit(1);
};

client.on(Events.InteractionCreate, (interaction) => answer(interaction).catch(fail));
client.on(Events.MessageReactionAdd, (reaction, user) => answerReaction(reaction, user).catch(fail));
client.on(Events.Error, fail);
client.once(Events.ClientReady, async () => {
  try {
    const guild = client.guilds.cache.get(guildId);
    seen.identity = { user: client.user.username, guild: guild.name, channels: guild.channels.cache.map(({ name }) => name).sort() };
    const registered = await guild.commands.set([command]);
    seen.registered = registered.map(({ name, options }) => [name, options[0].options.length]);
    seen.refusals = [];
    for (const body of [{ content: 'x'.repeat(2001) }, { embeds: [{ title: 'x'.repeat(257) }] }]) {
      await guild.channels.cache.get(channelId).send(body).catch(({ code, status }) => seen.refusals.push([code, status]));
    }
    const channel = await client.channels.fetch(channelId, { force: true });
    await channel.send('ready');
  } catch (error) {
    fail(error);
  }
});
await client.login(token);
