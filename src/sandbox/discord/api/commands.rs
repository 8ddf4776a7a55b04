//! Registration of commands, for all guilds or for one.

use axum::http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::{Access, Answer, Call, Route};
use crate::sandbox::discord::commands::{self, CREATES_PER_DAY, Command, MOST_COMMANDS, show, tidy};
use crate::sandbox::discord::limits::Bucket;
use crate::sandbox::discord::refusal::Refusal;
use crate::sandbox::discord::shape::{self, Shape};
use crate::sandbox::discord::snowflake::Snowflake;

const GLOBAL: &str = "applications/{application}/commands";
const GLOBAL_ONE: &str = "applications/{application}/commands/{command}";
const GUILD: &str = "applications/{application}/guilds/{guild}/commands";
const GUILD_ONE: &str = "applications/{application}/guilds/{guild}/commands/{command}";

type Handle = fn(&mut Call<'_>) -> Result<Answer, Refusal>;

const fn route(method: Method, path: &'static str, body: Option<&'static Shape>, handle: Handle) -> Route {
    Route { method, path, access: Access::Bot, bucket: Bucket::Other, query: &["with_localizations"], body, handle }
}

pub(super) const ROUTES: &[Route] = &[
    route(Method::GET, GLOBAL, None, list),
    route(Method::POST, GLOBAL, Some(&commands::CREATE), create),
    route(Method::PUT, GLOBAL, Some(&commands::OVERWRITE), overwrite),
    route(Method::GET, GLOBAL_ONE, None, get),
    route(Method::PATCH, GLOBAL_ONE, Some(&commands::EDIT), edit),
    route(Method::DELETE, GLOBAL_ONE, None, delete),
    route(Method::GET, GUILD, None, list),
    route(Method::POST, GUILD, Some(&commands::CREATE), create),
    route(Method::PUT, GUILD, Some(&commands::OVERWRITE), overwrite),
    route(Method::GET, GUILD_ONE, None, get),
    route(Method::PATCH, GUILD_ONE, Some(&commands::EDIT), edit),
    route(Method::DELETE, GUILD_ONE, None, delete),
];

/// The guild in the path, if the commands are a guild's. In a guild it takes the scope of the installation.
fn scope(call: &Call<'_>) -> Result<Option<Snowflake>, Refusal> {
    let application = call.id("application")?;
    if application != call.state.guild.application.id {
        return Err(Refusal::NOT_AUTHORIZED_ON_APPLICATION);
    }
    if !call.parameters.contains_key("guild") {
        return Ok(None);
    }
    let guild = call.id("guild")?;
    let installed = guild == call.state.guild.id && call.state.guild.application.scopes.contains("applications.commands");
    if installed { Ok(Some(guild)) } else { Err(Refusal::MISSING_ACCESS) }
}

fn of_scope<'c>(call: &'c Call<'_>, scope: Option<Snowflake>) -> impl Iterator<Item = &'c Command> {
    call.state.commands.values().filter(move |command| command.guild == scope)
}

fn shown(call: &Call<'_>, command: &Command) -> Value {
    show(command, call.state.guild.application.id)
}

fn named(call: &Call<'_>) -> Result<Command, Refusal> {
    let (scope, id) = (scope(call)?, call.id("command")?);
    of_scope(call, scope).find(|command| command.id == id).cloned().ok_or(Refusal::UNKNOWN_COMMAND)
}

fn list(call: &mut Call<'_>) -> Result<Answer, Refusal> {
    let scope = scope(call)?;
    Answer::ok(of_scope(call, scope).map(|command| shown(call, command)).collect())
}

fn get(call: &mut Call<'_>) -> Result<Answer, Refusal> {
    let command = named(call)?;
    Answer::ok(shown(call, &command))
}

/// A command of a name that exists already is replaced.
fn create(call: &mut Call<'_>) -> Result<Answer, Refusal> {
    let scope = scope(call)?;
    let given = call.body.as_object().cloned().unwrap_or_default();
    commands::check(&given, &[])?;
    let known = of_scope(call, scope).any(|command| command.definition.get("name") == given.get("name"));
    if !known && of_scope(call, scope).count() >= MOST_COMMANDS {
        return Err(Refusal::TOO_MANY_COMMANDS);
    }
    let command = put(call, scope, &given)?;
    let status = if known { StatusCode::OK } else { StatusCode::CREATED };
    Ok(Answer(status, Some(shown(call, &command))))
}

/// Commands of the same name keep their ids; those that are not named are gone.
fn overwrite(call: &mut Call<'_>) -> Result<Answer, Refusal> {
    let scope = scope(call)?;
    let given: Vec<Map<String, Value>> = call.body.as_array().into_iter().flatten().filter_map(|one| one.as_object().cloned()).collect();
    for (index, definition) in given.iter().enumerate() {
        commands::check(definition, &[index.to_string()])?;
        if given.iter().take(index).any(|earlier| earlier.get("name") == definition.get("name")) {
            let message = "Application command names must be unique";
            return Err(Refusal::field(&format!("{index}.name"), "APPLICATION_COMMANDS_DUPLICATE_NAME", message));
        }
        let id = definition.get("id").and_then(shape::id);
        if id.is_some_and(|id| !of_scope(call, scope).any(|command| command.id == id)) {
            return Err(Refusal::UNKNOWN_COMMAND);
        }
    }
    let stays = |command: &Command| given.iter().any(|one| one.get("name") == command.definition.get("name"));
    call.state.commands.retain(|_, command| command.guild != scope || stays(command));
    let mut answer = Vec::new();
    for definition in &given {
        let command = put(call, scope, definition)?;
        answer.push(shown(call, &command));
    }
    Answer::ok(json!(answer))
}

/// Stores a definition. The version changes only if the command does.
fn put(call: &mut Call<'_>, scope: Option<Snowflake>, given: &Map<String, Value>) -> Result<Command, Refusal> {
    let definition = tidy(given);
    let known = of_scope(call, scope).find(|command| command.definition.get("name") == definition.get("name")).cloned();
    let command = match known {
        Some(known) if known.definition == definition => known,
        Some(known) => Command { version: call.state.ids.next(), definition, ..known },
        None => {
            call.state.command_creates += 1;
            if call.state.command_creates > CREATES_PER_DAY {
                return Err(Refusal::TOO_MANY_COMMAND_CREATES);
            }
            Command { id: call.state.ids.next(), guild: scope, version: call.state.ids.next(), definition }
        }
    };
    call.state.commands.insert(command.id, command.clone());
    Ok(command)
}

fn edit(call: &mut Call<'_>) -> Result<Answer, Refusal> {
    let mut command = named(call)?;
    let mut merged = command.definition.clone();
    merged.extend(call.body.as_object().cloned().unwrap_or_default());
    commands::check(&merged, &[])?;
    let (definition, scope) = (tidy(&merged), command.guild);
    if of_scope(call, scope).any(|other| other.id != command.id && other.definition.get("name") == definition.get("name")) {
        let message = "Application command names must be unique";
        return Err(Refusal::field("name", "APPLICATION_COMMANDS_DUPLICATE_NAME", message));
    }
    if command.definition != definition {
        (command.definition, command.version) = (definition, call.state.ids.next());
    }
    call.state.commands.insert(command.id, command.clone());
    Answer::ok(shown(call, &command))
}

fn delete(call: &mut Call<'_>) -> Result<Answer, Refusal> {
    let command = named(call)?;
    call.state.commands.remove(&command.id);
    Answer::empty()
}
