//! What an option is: one row tells its names, its help, where its value may come from, and what it
//! sets.

use super::given::{Given, Origin};
use super::values::Settings;
use std::ffi::OsStr;

/// One option that is also a setting. See [`super::table`] for all of them.
pub struct Declaration {
    /// The flag without its dashes; the line's name in `--show-config`.
    pub name: &'static str,
    /// What stands behind the flag.
    pub takes: Takes,
    /// One sentence, without a full stop.
    pub help: &'static str,
    /// What holds if nothing is given, in words; for help.
    pub unset: &'static str,
    /// Whether the short help (`-h`) has it.
    pub common: bool,
    /// Variables, the first that is set counts.
    pub environment: &'static [&'static str],
    /// Whether the variables are read by the store itself: they are only shown here.
    pub read_by_store: bool,
    /// A field of the nodes' config.json.
    pub field: Option<&'static str>,
    /// The value where nothing is given.
    pub default: Option<&'static str>,
    /// Whether `--show-config` masks the value.
    pub secret: bool,
    /// Puts a value in its place. Called once for each value; the value has not been looked at.
    pub set: fn(&mut Settings, &Given) -> Result<(), String>,
}

/// What stands behind a flag.
#[derive(Clone, Copy)]
pub enum Takes {
    /// Nothing: the flag is a switch. A variable or field says `true` or `false`.
    Nothing,
    /// One value, called so.
    One(&'static str),
    /// One value for each time that the flag is given; in a variable several, with colons between.
    Several(&'static str),
    /// One of these values, called so.
    Choice(&'static str, fn() -> Vec<&'static str>),
}

impl Declaration {
    /// An option with one value.
    pub const fn one(name: &'static str, value: &'static str, help: &'static str, set: Set) -> Self {
        Self::new(name, Takes::One(value), help, set)
    }

    /// An option that may be given several times.
    pub const fn several(name: &'static str, value: &'static str, help: &'static str, set: Set) -> Self {
        Self::new(name, Takes::Several(value), help, set)
    }

    /// A switch.
    pub const fn switch(name: &'static str, help: &'static str, set: Set) -> Self {
        Self::new(name, Takes::Nothing, help, set)
    }

    /// An option whose values are names.
    pub const fn choice(
        name: &'static str,
        value: &'static str,
        names: fn() -> Vec<&'static str>,
        help: &'static str,
        set: Set,
    ) -> Self {
        Self::new(name, Takes::Choice(value, names), help, set)
    }

    const fn new(name: &'static str, takes: Takes, help: &'static str, set: Set) -> Self {
        Self {
            name,
            takes,
            help,
            unset: "",
            common: false,
            environment: &[],
            read_by_store: false,
            field: None,
            default: None,
            secret: false,
            set,
        }
    }

    /// Shows it in the short help as well.
    #[must_use]
    pub const fn common(self) -> Self {
        Self { common: true, ..self }
    }

    /// Takes it from these variables.
    #[must_use]
    pub const fn environment(self, names: &'static [&'static str]) -> Self {
        Self { environment: names, ..self }
    }

    /// Shows these variables, which the store reads by itself.
    #[must_use]
    pub const fn environment_of_store(self, names: &'static [&'static str]) -> Self {
        Self { environment: names, read_by_store: true, ..self }
    }

    /// Takes it from this field of the nodes' config.json.
    #[must_use]
    pub const fn field(self, name: &'static str) -> Self {
        Self { field: Some(name), ..self }
    }

    /// Has this value where nothing is given.
    #[must_use]
    pub const fn default(self, value: &'static str) -> Self {
        Self { default: Some(value), ..self }
    }

    /// Says in help what holds where nothing is given.
    #[must_use]
    pub const fn unset(self, words: &'static str) -> Self {
        Self { unset: words, ..self }
    }

    /// Masks it in `--show-config`.
    #[must_use]
    pub const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    /// Whether this is a value that the option takes; the reason why not.
    pub fn check(&self, value: &OsStr) -> Result<(), String> {
        let given = Given { value: value.to_owned(), origin: Origin::Flag };
        (self.set)(&mut Settings::default(), &given)
    }

    /// The whole help: the sentence, the default, the variables and the field.
    pub fn explained(&self) -> String {
        let default = self.default.or(Some(self.unset).filter(|words| !words.is_empty()));
        let default = default.map(|value| format!(" [default: {value}]"));
        let variables = Some(self.environment.join(", ")).filter(|names| !names.is_empty());
        let variables = variables.map(|names| format!(" [env: {names}]"));
        let field = self.field.map(|name| format!(" [config.json: {name}]"));
        let parts = [default, variables, field].into_iter().flatten();
        std::iter::once(self.help.to_owned()).chain(parts).collect()
    }
}

type Set = fn(&mut Settings, &Given) -> Result<(), String>;
