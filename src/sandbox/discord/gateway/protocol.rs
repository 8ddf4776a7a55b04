//! What the bot may say on a connection, and what it is answered.

use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use super::{Event, EventKind, Frame, intent, payload};
use crate::sandbox::discord::render;
use crate::sandbox::discord::state::State;

/// Payloads that a bot may send in a minute.
const PAYLOADS_PER_MINUTE: u32 = 120;

/// One connection, as far as the protocol goes.
pub(super) struct Connection {
    pub(super) id: u64,
    /// Address of the gateway, for READY.
    pub(super) url: String,
    /// It identified itself or resumed.
    pub(super) known: bool,
    pub(super) heard: Instant,
    minute: Instant,
    payloads: u32,
}

/// A close code with its reason.
type Close = (u16, &'static str);

const UNKNOWN_OPCODE: Close = (4001, "Unknown opcode.");
const DECODE: Close = (4002, "Error while decoding payload.");
const NOT_AUTHENTICATED: Close = (4003, "Not authenticated.");
const AUTHENTICATION_FAILED: Close = (4004, "Authentication failed.");
const ALREADY_AUTHENTICATED: Close = (4005, "Already authenticated.");
const INVALID_SEQUENCE: Close = (4007, "Invalid seq.");
const RATE_LIMITED: Close = (4008, "Rate limited.");
const INVALID_SHARD: Close = (4010, "Invalid shard.");
const INVALID_INTENTS: Close = (4013, "Invalid intent(s).");
const DISALLOWED_INTENTS: Close = (4014, "Disallowed intent(s).");

impl Connection {
    pub(super) fn new(id: u64, url: String) -> Self {
        let now = Instant::now();
        Self { id, url, known: false, heard: now, minute: now, payloads: 0 }
    }

    /// Takes a payload of the bot and returns the answer. A close is noted, since it is always the bot's fault.
    pub(super) fn hear(&mut self, state: &mut State, text: &str) -> Vec<Frame> {
        let answered = self.answer(state, text);
        answered.unwrap_or_else(|(code, reason)| {
            state.violations.push(format!("the gateway closed with {code} ({reason}) after: {}", redacted(state, text)));
            vec![Frame::Close(code, reason)]
        })
    }

    fn answer(&mut self, state: &mut State, text: &str) -> Result<Vec<Frame>, Close> {
        self.count()?;
        let parsed: Value = serde_json::from_str(text).map_err(|_| DECODE)?;
        let op = parsed.get("op").and_then(Value::as_u64).ok_or(DECODE)?;
        let data = parsed.get("d").cloned().unwrap_or_default();
        match op {
            1 => self.heartbeat(state, &data),
            2 => self.identify(state, &data).map(|()| Vec::new()),
            6 => self.resume(state, &data),
            // Presence: the emulator shows none.
            3 if self.known => Ok(Vec::new()),
            3 | 4 | 8 if !self.known => Err(NOT_AUTHENTICATED),
            _ => Err(UNKNOWN_OPCODE),
        }
    }

    fn count(&mut self) -> Result<(), Close> {
        if self.minute.elapsed() >= Duration::from_mins(1) {
            (self.minute, self.payloads) = (Instant::now(), 0);
        }
        self.payloads += 1;
        if self.payloads > PAYLOADS_PER_MINUTE { Err(RATE_LIMITED) } else { Ok(()) }
    }

    fn heartbeat(&mut self, state: &State, data: &Value) -> Result<Vec<Frame>, Close> {
        let reached = state.gateway.sequence_on(self.id).unwrap_or_default();
        match data.as_u64() {
            None if data.is_null() => {}
            Some(number) if number <= reached => {}
            None | Some(_) => return Err(INVALID_SEQUENCE),
        }
        self.heard = Instant::now();
        Ok(if state.gateway.acknowledges { vec![payload(11, &Value::Null)] } else { Vec::new() })
    }

    fn identify(&mut self, state: &mut State, data: &Value) -> Result<(), Close> {
        if self.known {
            return Err(ALREADY_AUTHENTICATED);
        }
        authenticate(state, data)?;
        let properties = data.get("properties").and_then(Value::as_object).ok_or(DECODE)?;
        if !["os", "browser", "device"].iter().all(|name| properties.get(*name).is_some_and(Value::is_string)) {
            return Err(DECODE);
        }
        if data.get("shard").is_some_and(|shard| *shard != json!([0, 1])) {
            return Err(INVALID_SHARD);
        }
        let intents = data.get("intents").and_then(Value::as_u64).filter(|bits| bits & !intent::ALL == 0).ok_or(INVALID_INTENTS)?;
        if intents & intent::PRIVILEGED & !state.guild.application.privileged_intents != 0 {
            return Err(DISALLOWED_INTENTS);
        }
        state.gateway.identifies_left = state.gateway.identifies_left.checked_sub(1).ok_or(AUTHENTICATION_FAILED)?;
        self.known = true;
        let guild = (intents & intent::GUILDS != 0).then(|| Event::new(EventKind::GuildCreate, render::guild_create(state, intents)));
        let user = render::current_user(state);
        let (guild_id, application, url) = (state.guild.id, state.guild.application.id, self.url.clone());
        let first = move |session: &str| {
            let ready = json!({
                "v": 10,
                "user_settings": {},
                "user": user,
                "session_type": "normal",
                "session_id": session,
                "resume_gateway_url": url,
                "relationships": [],
                "private_channels": [],
                "presences": [],
                "guilds": [{ "id": guild_id, "unavailable": true }],
                "guild_join_requests": [],
                "geo_ordered_rtc_regions": [],
                "shard": [0, 1],
                "application": { "id": application, "flags": 0 },
                "auth": {},
                "_trace": ["[\"gateway-sandbox\"]"],
            });
            [Event::new(EventKind::Ready, ready)].into_iter().chain(guild).collect()
        };
        state.gateway.begin(self.id, intents, first);
        Ok(())
    }

    fn resume(&mut self, state: &mut State, data: &Value) -> Result<Vec<Frame>, Close> {
        if self.known {
            return Err(ALREADY_AUTHENTICATED);
        }
        authenticate(state, data)?;
        let session = data.get("session_id").and_then(Value::as_str).ok_or(DECODE)?;
        let sequence = data.get("seq").and_then(Value::as_u64).ok_or(DECODE)?;
        let patience = state.guild.timing.resume;
        self.known = state.gateway.resume(self.id, session, sequence, patience);
        Ok(if self.known { Vec::new() } else { vec![payload(9, &json!(false))] })
    }
}

fn authenticate(state: &State, data: &Value) -> Result<(), Close> {
    let token = data.get("token").and_then(Value::as_str).ok_or(DECODE)?;
    let token = token.strip_prefix("Bot ").unwrap_or(token);
    if token == state.guild.application.token { Ok(()) } else { Err(AUTHENTICATION_FAILED) }
}

fn redacted(state: &State, text: &str) -> String {
    text.replace(&state.guild.application.token, "…")
}
