//! What blocks, elements and composition objects may look like: field names, kinds and limits, as in Slack's Block Kit reference.

/// Characters of a text object where nothing narrower is documented.
pub(super) const TEXT_CHARS: usize = 3000;

/// Characters of a URL.
const URL_CHARS: usize = 3000;

/// Characters of a string for which Slack documents no limit of its own.
const STRING_CHARS: usize = 3000;

/// A block or an element, by its type.
pub(super) struct Shape {
    kind: &'static str,
    /// Has an `action_id`.
    pub(super) interactive: bool,
    pub(super) fields: &'static [Field],
}

/// A field of an object.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) required: bool,
}

/// What a field holds, with its limits.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// Anything: nested values that this emulator does not look into.
    Any,
    /// A boolean.
    Bool,
    /// A number.
    Number,
    /// A string of at most so many characters.
    String(usize),
    /// One of these.
    Word(&'static [&'static str]),
    /// A text object.
    Text(Text, usize),
    /// At most so many text objects of at most so many characters.
    Texts(usize, usize),
    /// One element of these types.
    Element(&'static [&'static str]),
    /// At most so many elements of these types.
    Elements(usize, &'static [&'static str]),
    /// An option.
    Option,
    /// At most so many options.
    Options(usize),
    /// A confirmation dialog.
    Confirm,
    /// The parts of a rich text block.
    RichText,
}

/// Which text objects a field takes.
#[derive(Clone, Copy)]
pub(super) enum Text {
    /// `plain_text` only.
    Plain,
    /// `plain_text` or `mrkdwn`.
    Any,
}

impl Text {
    pub(super) fn allows(self, kind: &str) -> bool {
        match self {
            Self::Plain => kind == "plain_text",
            Self::Any => TEXTS.contains(&kind),
        }
    }
}

pub(super) fn block(kind: &str) -> Option<&'static Shape> {
    BLOCKS.iter().find(|shape| shape.kind == kind)
}

pub(super) fn element(kind: &str) -> Option<&'static Shape> {
    ELEMENTS.iter().find(|shape| shape.kind == kind)
}

const fn must(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, required: true }
}

const fn may(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, required: false }
}

const fn inert(kind: &'static str, fields: &'static [Field]) -> Shape {
    Shape { kind, interactive: false, fields }
}

const fn active(kind: &'static str, fields: &'static [Field]) -> Shape {
    Shape { kind, interactive: true, fields }
}

/// Types of text objects.
pub(super) const TEXTS: &[&str] = &["plain_text", "mrkdwn"];

/// Elements of a context block besides texts.
pub(super) const CONTEXT: &[&str] = &["image"];

/// Parts of a rich text block.
pub(super) const RICH_TEXT_PARTS: &[&str] = &["rich_text_section", "rich_text_list", "rich_text_preformatted", "rich_text_quote"];

const ACTIONS: &[&str] = &[
    "button",
    "checkboxes",
    "datepicker",
    "datetimepicker",
    "overflow",
    "radio_buttons",
    "static_select",
    "external_select",
    "users_select",
    "conversations_select",
    "channels_select",
    "timepicker",
];

const ACCESSORIES: &[&str] = &[
    "image",
    "button",
    "checkboxes",
    "datepicker",
    "overflow",
    "radio_buttons",
    "static_select",
    "external_select",
    "users_select",
    "conversations_select",
    "channels_select",
    "multi_static_select",
    "multi_users_select",
    "timepicker",
];

const INPUTS: &[&str] = &[
    "plain_text_input",
    "number_input",
    "checkboxes",
    "datepicker",
    "datetimepicker",
    "radio_buttons",
    "static_select",
    "external_select",
    "users_select",
    "conversations_select",
    "channels_select",
    "multi_static_select",
    "multi_users_select",
    "timepicker",
];

pub(super) const PLAIN_TEXT: &[Field] = &[must("text", Kind::String(usize::MAX)), may("emoji", Kind::Bool)];

pub(super) const MRKDWN: &[Field] = &[must("text", Kind::String(usize::MAX)), may("verbatim", Kind::Bool)];

pub(super) const OPTION: &[Field] = &[
    must("text", Kind::Text(Text::Any, 75)),
    must("value", Kind::String(150)),
    may("description", Kind::Text(Text::Any, 75)),
    may("url", Kind::String(URL_CHARS)),
];

pub(super) const CONFIRM: &[Field] = &[
    must("title", Kind::Text(Text::Plain, 100)),
    must("text", Kind::Text(Text::Any, 300)),
    must("confirm", Kind::Text(Text::Plain, 30)),
    must("deny", Kind::Text(Text::Plain, 30)),
    may("style", Kind::Word(STYLES)),
];

const STYLES: &[&str] = &["primary", "danger"];

const IMAGE: &[Field] = &[may("image_url", Kind::String(URL_CHARS)), may("slack_file", Kind::Any), must("alt_text", Kind::String(2000))];

const BLOCKS: &[Shape] = &[
    inert(
        "section",
        &[
            may("text", Kind::Text(Text::Any, TEXT_CHARS)),
            may("fields", Kind::Texts(10, 2000)),
            may("accessory", Kind::Element(ACCESSORIES)),
            may("expand", Kind::Bool),
        ],
    ),
    inert("divider", &[]),
    inert("header", &[must("text", Kind::Text(Text::Plain, 150))]),
    inert("context", &[must("elements", Kind::Elements(10, CONTEXT))]),
    inert("actions", &[must("elements", Kind::Elements(25, ACTIONS))]),
    inert(
        "image",
        &[
            may("image_url", Kind::String(URL_CHARS)),
            may("slack_file", Kind::Any),
            must("alt_text", Kind::String(2000)),
            may("title", Kind::Text(Text::Plain, 2000)),
        ],
    ),
    inert(
        "input",
        &[
            must("label", Kind::Text(Text::Plain, 2000)),
            must("element", Kind::Element(INPUTS)),
            may("hint", Kind::Text(Text::Plain, 2000)),
            may("optional", Kind::Bool),
            may("dispatch_action", Kind::Bool),
        ],
    ),
    inert("rich_text", &[must("elements", Kind::RichText)]),
    inert("markdown", &[must("text", Kind::String(12_000))]),
];

const ELEMENTS: &[Shape] = &[
    inert("image", IMAGE),
    active(
        "button",
        &[
            must("text", Kind::Text(Text::Plain, 75)),
            may("value", Kind::String(2000)),
            may("url", Kind::String(URL_CHARS)),
            may("style", Kind::Word(STYLES)),
            may("confirm", Kind::Confirm),
            may("accessibility_label", Kind::String(75)),
        ],
    ),
    active("overflow", &[must("options", Kind::Options(5)), CONFIRMED]),
    active(
        "static_select",
        &[
            may("options", Kind::Options(100)),
            may("option_groups", Kind::Any),
            may("initial_option", Kind::Option),
            PLACEHOLDER,
            CONFIRMED,
            FOCUS,
        ],
    ),
    active(
        "multi_static_select",
        &[
            may("options", Kind::Options(100)),
            may("option_groups", Kind::Any),
            may("initial_options", Kind::Options(100)),
            may("max_selected_items", Kind::Number),
            PLACEHOLDER,
            CONFIRMED,
            FOCUS,
        ],
    ),
    active("external_select", &[may("initial_option", Kind::Option), may("min_query_length", Kind::Number), PLACEHOLDER, CONFIRMED, FOCUS]),
    active("users_select", &[may("initial_user", Kind::String(STRING_CHARS)), PLACEHOLDER, CONFIRMED, FOCUS]),
    active(
        "multi_users_select",
        &[may("initial_users", Kind::Any), may("max_selected_items", Kind::Number), PLACEHOLDER, CONFIRMED, FOCUS],
    ),
    active(
        "conversations_select",
        &[
            may("initial_conversation", Kind::String(STRING_CHARS)),
            may("default_to_current_conversation", Kind::Bool),
            may("response_url_enabled", Kind::Bool),
            may("filter", Kind::Any),
            PLACEHOLDER,
            CONFIRMED,
            FOCUS,
        ],
    ),
    active(
        "channels_select",
        &[may("initial_channel", Kind::String(STRING_CHARS)), may("response_url_enabled", Kind::Bool), PLACEHOLDER, CONFIRMED, FOCUS],
    ),
    active("datepicker", &[may("initial_date", Kind::String(STRING_CHARS)), PLACEHOLDER, CONFIRMED, FOCUS]),
    active("datetimepicker", &[may("initial_date_time", Kind::Number), CONFIRMED, FOCUS]),
    active(
        "timepicker",
        &[may("initial_time", Kind::String(STRING_CHARS)), may("timezone", Kind::String(STRING_CHARS)), PLACEHOLDER, CONFIRMED, FOCUS],
    ),
    active("radio_buttons", &[must("options", Kind::Options(10)), may("initial_option", Kind::Option), CONFIRMED, FOCUS]),
    active("checkboxes", &[must("options", Kind::Options(10)), may("initial_options", Kind::Options(10)), CONFIRMED, FOCUS]),
    active(
        "plain_text_input",
        &[
            may("initial_value", Kind::String(STRING_CHARS)),
            may("multiline", Kind::Bool),
            may("min_length", Kind::Number),
            may("max_length", Kind::Number),
            may("dispatch_action_config", Kind::Any),
            PLACEHOLDER,
            FOCUS,
        ],
    ),
    active(
        "number_input",
        &[
            must("is_decimal_allowed", Kind::Bool),
            may("initial_value", Kind::String(STRING_CHARS)),
            may("min_value", Kind::String(STRING_CHARS)),
            may("max_value", Kind::String(STRING_CHARS)),
            may("dispatch_action_config", Kind::Any),
            PLACEHOLDER,
            FOCUS,
        ],
    ),
];

const PLACEHOLDER: Field = may("placeholder", Kind::Text(Text::Plain, 150));
const CONFIRMED: Field = may("confirm", Kind::Confirm);
const FOCUS: Field = may("focus_on_load", Kind::Bool);
