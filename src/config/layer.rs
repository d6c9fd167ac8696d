//! Every setting, defined once: its section, key, type, default, what a change of it does to a
//! session that runs, and what it means. From this come the types here, the reading of files and
//! variables, and the reference (`docs/configuration.md`).
//!
//! A [`Layer`] is what one source says: the file, an overlay of it, the environment or the command
//! line. Layers are laid over each other key by key. Pure.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::path::Path;

use serde::{Deserialize, Deserializer};
use serde_json::json;

use super::value::{
    Address, CargoConfig, Command, Dos, EditorUrl, FilePath, HostName, Jobs, Pattern, Port, Ready,
    Shape, SocketName, StopSignal, Text, TextVisitor, Time, Value, VariableName, text_value,
};
use super::wording::nearest;
use crate::sockets::spec::Wrong;
use crate::sockets::steering::Steering;

/// What a changed setting does to a session that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// It applies the next time it is used.
    Next,
    /// The app is started again.
    Restart,
    /// The project is read and built again.
    Rebuild,
}

/// One key of a section, for the reference and for reading values from text.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What kind of value it has.
    pub kind: fn() -> String,
    /// How that is written in an environment variable.
    pub shape: Shape,
    /// The values it can have, as JSON Schema.
    pub schema: fn() -> serde_json::Value,
    /// The default, as it would be written, without quotes.
    pub default: fn() -> Option<String>,
    /// A value as it is written in the file, where there is no default.
    pub example: Option<&'static str>,
    /// What a change of it does.
    pub effect: Effect,
    /// What it means.
    pub about: &'static [&'static str],
}

/// What every section implements, key by key.
trait Part {
    /// Lays this section over that of a lower layer.
    fn over(self, lower: Self) -> Self;

    /// Makes relative paths in it relative to this directory.
    fn rebase(&mut self, dir: &Path);

    /// The keys whose values differ, and the effect of each.
    fn changed(&self, other: &Self) -> Vec<(&'static str, Effect)>;
}

/// A section: a struct with one optional field per key, an accessor for every key with a default,
/// and the list of its keys. `=` is followed by the default of a key, or `=>` by an example of one that
/// has none, in the form of the file with single quotes.
macro_rules! section {
    ($(#[doc = $about:literal])+ $name:ident {
        $($(#[doc = $doc:literal])+ $key:ident: $type:ty $(= $default:expr)? $(=> $example:literal)?, $effect:ident;)+
    }) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, Default, PartialEq, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $($(#[doc = $doc])+ pub $key: Option<$type>,)+
        }

        impl $name {
            /// What it is for.
            pub const ABOUT: &[&str] = &[$($about),+];

            /// Its keys.
            pub const KEYS: &[Key] = &[$(Key {
                name: stringify!($key),
                kind: <$type as Value>::kind,
                shape: <$type as Value>::SHAPE,
                schema: <$type as Value>::schema,
                example: [$($example)?].first().copied(),
                default: || -> Option<String> {
                    $(return Some($default.to_string());)?
                    #[allow(unreachable_code, reason = "a key with a default returns it above")]
                    None
                },
                effect: Effect::$effect,
                about: &[$($doc),+],
            }),+];

            $($(
                #[doc = concat!("`", stringify!($key), "`, or its default.")]
                pub fn $key(&self) -> $type {
                    self.$key.clone().unwrap_or($default)
                }
            )?)+
        }

        impl Part for $name {
            fn over(self, lower: Self) -> Self {
                Self {
                    $($key: match (self.$key, lower.$key) {
                        (Some(upper), Some(lower)) => Some(upper.over(lower)),
                        (upper, lower) => upper.or(lower),
                    },)+
                }
            }

            fn rebase(&mut self, dir: &Path) {
                $(if let Some(value) = &mut self.$key {
                    value.rebase(dir);
                })+
            }

            fn changed(&self, other: &Self) -> Vec<(&'static str, Effect)> {
                let mut changed = Vec::new();
                $(if self.$key != other.$key {
                    changed.push((stringify!($key), Effect::$effect));
                })+
                changed
            }
        }
    };
}

section! {
    /// Which target is built, and how: cargo's flags under cargo's names.
    Build {
        /// `--package`
        package: String => "'api'", Rebuild;
        /// `--bin`
        bin: String => "'server'", Rebuild;
        /// `--example`
        example: String => "'demo'", Rebuild;
        /// Further binaries of the package that are built with it, since it starts them from beside its
        /// own executable. Without it: those that it was seen to start.
        bins: Vec<String> => "['helper']", Rebuild;
        /// `--features`
        features: Vec<String> => "['metrics']", Rebuild;
        /// `--all-features`
        all_features: bool = false, Rebuild;
        /// `--no-default-features`
        no_default_features: bool = false, Rebuild;
        /// `--release`
        release: bool = false, Rebuild;
        /// `--profile`
        profile: String => "'dev-opt'", Rebuild;
        /// A profile of its own that inherits the chosen one, with less debug information: line numbers
        /// of your own packages, for panics and backtraces, and nothing else. It is built into a
        /// directory of its own, so that no other cargo is waited for. While nothing but sources of the
        /// workspace changes, the compiler is called as cargo called it last, without cargo. Where mold,
        /// wild or lld is installed and was the fastest linker for the program in a trial, that links.
        fast: bool = false, Rebuild;
        /// `--target`
        target: String => "'x86_64-unknown-linux-musl'", Rebuild;
        /// `--target-dir`
        target_dir: FilePath => "'target/hot'", Rebuild;
        /// `--jobs`
        jobs: Jobs => "'-1'", Next;
        /// `--keep-going`
        keep_going: bool = false, Next;
        /// `--timings`
        timings: bool = false, Next;
        /// `--locked`
        locked: bool = false, Rebuild;
        /// `--offline`
        offline: bool = false, Rebuild;
        /// `--frozen`
        frozen: bool = false, Rebuild;
        /// `--ignore-rust-version`
        ignore_rust_version: bool = false, Rebuild;
        /// `--config` of cargo: `KEY=VALUE`, or a file
        config: Vec<CargoConfig> => "['profile.dev.debug=1']", Rebuild;
        /// `-Z`
        unstable: Vec<String> => "['build-std']", Rebuild;
        /// Anything else that `cargo build` takes, after the rest
        args: Vec<String> => "['--verbose']", Rebuild;
        /// What a change does to a running build: end it and start anew, or let it end first.
        on_change: OnChange = OnChange::Cancel, Next;
    }
}

section! {
    /// How the app is started and stopped.
    App {
        /// Its arguments, unless some are given on the command line.
        args: Vec<String> => "['--port', '3000']", Restart;
        /// Its working directory; without it the one that hotrun was started in.
        dir: FilePath => "'.'", Restart;
        /// Further variables of its environment.
        env: BTreeMap<VariableName, String> => "{ RUST_LOG = 'debug' }", Restart;
        /// Files of such variables (`KEY=value` lines), for the app and for hooks.
        env_files: Vec<FilePath> => "['.env']", Restart;
        /// What proves that it serves: `notify` (it says `READY=1` on `NOTIFY_SOCKET`),
        /// `http:/path` (a `GET` is answered with a status below 400), `https:/path` (the same over
        /// TLS, with any certificate), `tcp` (it accepts a connection, whatever it speaks),
        /// `log:REGEX` (it prints such a line), `delay:TIME` (it has lived this long). Without it:
        /// the best that can be seen.
        ready: Ready => "'http:/health'", Next;
        /// How long it may take to get ready.
        ready_timeout: Time = Time::ms(30_000), Next;
        /// How long it must live to count as ready where nothing better can be seen.
        settle: Time = Time::ms(300), Next;
        /// The signal that asks it to end; `auto` is `INT` where it catches that and not `TERM`, and
        /// else `TERM`.
        stop_signal: StopSignal = StopSignal(None), Next;
        /// How long it may take to end; then it is killed.
        stop_timeout: Time = Time::ms(5_000), Next;
        /// How long it must stay live to count as good: one that dies before is rolled back.
        probation: Time = Time::ms(5_000), Next;
        /// Whether what it listens on by itself is held from then on, with no change to it (Linux, by
        /// a filter of its system calls; each of them takes a little longer, and programs that it
        /// starts can't gain privileges).
        capture: bool = true, Restart;
        /// Whether it gets a terminal of its own as stdin, stdout and stderr.
        tty: bool = false, Restart;
    }
}

section! {
    /// One address that is held for the app.
    Listen {
        /// Where: as after `--listen`.
        address: Address => "'127.0.0.1:3000'", Restart;
        /// Its name in `LISTEN_FDNAMES`.
        name: SocketName => "'web'", Restart;
        /// Whether accept on it returns at once, as tokio needs it; `false` for blocking servers.
        nonblocking: bool = true, Restart;
    }
}

section! {
    /// How a new generation takes over.
    Handover {
        /// `overlap` starts it beside the live one, `stop-first` never runs two, `auto` is
        /// `overlap` until a program shows that it can't run beside itself.
        mode: Mode = Mode::Auto, Next;
        /// How clients are sent to one version alone, so that none is lost in a swap. `kernel`: each
        /// version has a socket at the address, of which the kernel chooses one; outside of Linux it is
        /// `relay`. `relay`: hotrun answers at TCP addresses and passes everything on. `none`: both
        /// versions share one socket.
        steering: Steering = Steering::Kernel, Restart;
        /// How long the old version is waited for at the most before it is asked to end, until nothing
        /// is under way at its connections. One that does not handle the stop signal has `stop_timeout`.
        quiesce_max: Time = Time::ms(250), Next;
        /// What new clients get from a save until the next version is ready: `serve` (the old one) or
        /// `hold` (they wait for the new one).
        while_building: WhileBuilding = WhileBuilding::Serve, Next;
        /// How long they wait at the most.
        hold_limit: Time = Time::ms(30_000), Next;
    }
}

/// How often files are polled where `watch.poll` is not set.
pub const POLL: Time = Time::ms(1_000);

section! {
    /// What is watched, and when it counts.
    Watch {
        /// How long a build waits for more changes: in a burst of saves, before a command of yours
        /// (`before_build`), and where the system does not tell when a file is finished. A single finished
        /// save is built at once.
        debounce: Time = Time::ms(8), Next;
        /// Its cap when saves keep coming.
        max_wait: Time = Time::ms(500), Next;
        /// Look for changes every so often instead of waiting for events. Where the system tells of
        /// none (network file systems, a limit of inotify), they are looked for every second.
        poll: Time => "'1s'", Next;
        /// Further files and directories whose changes rebuild, such as those that procedural macros
        /// read: the package of one that cargo knows nothing of is built anew.
        paths: Vec<FilePath> => "['proto/']", Next;
        /// Paths that never do.
        ignore: Vec<Pattern> => "['*.tmp', 'uploads/']", Next;
    }
}

section! {
    /// A cheaper reaction to changes of certain paths. The first rule that matches a path decides.
    On {
        /// The paths. Those with a slash are watched even where git ignores them.
        paths: Vec<Pattern> => "['config/*.toml']", Next;
        /// What happens, in order: `rebuild`, `restart` (the same program again), `signal:NAME`
        /// (to the live app), `reload-browser` (no build, no restart), `run:COMMAND` (with `sh`; if it
        /// fails, what follows in this rule is left out), `ignore`.
        r#do: Dos => "'restart'", Next;
    }
}

section! {
    /// Commands of yours around the app. They run in its directory, with the environment of hotrun,
    /// the variables of `app.env_files`, `HOTRUN_HOOK`, `HOTRUN_SESSION` and, where it is about one,
    /// `HOTRUN_GENERATION`: `before_build`, a `run:` of `[[on]]` and `on_error` after a command of
    /// yours are about none.
    Hooks {
        /// Before cargo is started: generates code. If it fails, nothing is built until a file or a
        /// setting changes.
        before_build: Command => "'make css'", Next;
        /// Before a program is started, while live serves: migrates a database. If it fails, the
        /// program is not started.
        before_start: Command => "'sqlx migrate run'", Next;
        /// When a generation has become live.
        after_live: Command => "'touch .live'", Next;
        /// When a build or a generation has failed; `HOTRUN_ERROR` says how.
        on_error: Command => "'notify-send hotrun'", Next;
        /// How long each of them, and a `run:` of `[[on]]`, may take; then it is killed.
        timeout: Time = Time::ms(60_000), Next;
    }
}

section! {
    /// What is shown of the output, and where the app's goes besides.
    Log {
        /// A file that whole lines are appended to, with a mark where a generation becomes live
        /// and where it ends.
        /// SIGUSR1 has it opened anew, for `logrotate`.
        file: FilePath => "'app.log'", Next;
        /// Whether a terminal is cleared before each build; what has scrolled out of it stays.
        clear: bool = false, Next;
    }
}

section! {
    /// What a browser gets while nothing can answer it.
    Page {
        /// Whether a browser that opens a page while no generation runs is shown how far the build is, or
        /// what is wrong; the page gives way to the app.
        enabled: bool = true, Next;
        /// How long other clients wait for the app at the most; then they get a 503 answer, or are closed
        /// if they do not speak HTTP.
        hold: Time = Time::ms(30_000), Next;
        /// The editor in which places in the errors open: `vscode`, `vscodium`, `cursor`, `zed`, `idea`, or
        /// a URL with `{path}`, `{line}` and `{column}`. Without it: the one whose terminal hotrun runs in.
        editor: EditorUrl => "'vscode'", Next;
        /// Names by which you reach the app in a browser, beside `localhost`, names below it and IP
        /// addresses. Pages of other names see nothing of your build.
        hosts: Vec<HostName> => "['app.test']", Next;
    }
}

section! {
    /// Browsers reload when a new generation is live, and show the errors of a build that failed:
    /// LiveReload's protocol, for its browser extensions or one line in your page.
    Livereload {
        /// Whether there is such a server.
        enabled: bool = true, Next;
        /// Its port on the loopback addresses; the next free one if it is taken.
        port: Port = Port(35729), Next;
        /// Whether hotrun puts the script into the app's pages, so that they need no line for it: it answers
        /// at the app's TCP addresses and passes everything on to the app.
        inject: bool = false, Restart;
    }
}

/// Value of `handover.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Beside live where that works.
    Auto,
    /// Always beside live.
    Overlap,
    /// Live is stopped first.
    StopFirst,
}

/// Value of `handover.while_building`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhileBuilding {
    /// The old generation serves.
    Serve,
    /// New connections wait.
    Hold,
}

/// Value of `build.on_change`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnChange {
    /// Cancel it and start anew.
    Cancel,
    /// Let it end first.
    Queue,
}

macro_rules! choice {
    ($type:ty { $($variant:ident: $name:literal),+ }) => {
        text_value! {
            $type: [$(concat!("`", $name, "`")),+].join(", "), json!({ "enum": [$($name),+] });
        }

        impl Text for $type {
            fn read(text: &str) -> Result<Self, Wrong> {
                match text {
                    $($name => Ok(Self::$variant),)+
                    _ => Err(Wrong {
                        reason: format!("`{text}` is none of {}", Self::kind()),
                        hint: match nearest(text, [$($name),+].into_iter()) {
                            Some(near) => format!("did you mean `{near}`?"),
                            None => "write one of them".into(),
                        },
                    }),
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self { $(Self::$variant => $name),+ })
            }
        }
    };
}

choice! { Mode { Auto: "auto", Overlap: "overlap", StopFirst: "stop-first" } }
choice! { Steering { Kernel: "kernel", Relay: "relay", None: "none" } }
choice! { WhileBuilding { Serve: "serve", Hold: "hold" } }
choice! { OnChange { Cancel: "cancel", Queue: "queue" } }

/// Defines the layer: every section, the sections that may be repeated, and the overlays.
macro_rules! layer {
    ({ $($section:ident: $type:ident,)+ } { $($list:ident: $entry:ident,)+ }) => {
        /// The settings of one source.
        #[derive(Clone, Debug, Default, PartialEq, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Layer {
            $(#[doc = concat!("`[", stringify!($section), "]`")] pub $section: $type,)+
            $(#[doc = concat!("`[[", stringify!($list), "]]`")] pub $list: Option<Vec<$entry>>,)+
            /// `[env.NAME]`: what is laid over the rest by `--env NAME`.
            pub env: BTreeMap<String, Layer>,
        }

        /// Every section with its keys; those of the second part can be repeated.
        pub const SECTIONS: (&[Section], &[Section]) = (
            &[$(Section {
                name: stringify!($section),
                about: $type::ABOUT,
                keys: $type::KEYS,
            }),+],
            &[$(Section {
                name: stringify!($list),
                about: $entry::ABOUT,
                keys: $entry::KEYS,
            }),+],
        );

        impl Layer {
            /// This layer over a lower one. A list replaces a list; a table adds to a table.
            #[must_use]
            pub fn over(self, mut lower: Self) -> Self {
                lower.build.give_way(&self.build);
                Self {
                    $($section: self.$section.over(lower.$section),)+
                    $($list: self.$list.or(lower.$list),)+
                    env: BTreeMap::new(),
                }
            }

            /// Makes relative paths in it relative to this directory.
            pub fn rebase(&mut self, dir: &Path) {
                $(self.$section.rebase(dir);)+
                $(for entry in self.$list.iter_mut().flatten() {
                    entry.rebase(dir);
                })+
                for overlay in self.env.values_mut() {
                    overlay.rebase(dir);
                }
            }

            /// The settings whose values differ, by name, and the effect of each.
            pub fn changed(&self, other: &Self) -> Vec<(String, Effect)> {
                let mut changed = Vec::new();
                $(for (key, effect) in self.$section.changed(&other.$section) {
                    changed.push((format!("{}.{key}", stringify!($section)), effect));
                })+
                $(if self.$list != other.$list {
                    let effect = $entry::KEYS.iter().map(|key| key.effect).max();
                    changed.push((stringify!($list).to_owned(), effect.unwrap_or(Effect::Next)));
                })+
                changed
            }
        }
    };
}

/// One section, for the reference and for reading values from text.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub about: &'static [&'static str],
    /// Its keys.
    pub keys: &'static [Key],
}

layer! {
    {
        build: Build,
        app: App,
        handover: Handover,
        watch: Watch,
        hooks: Hooks,
        page: Page,
        livereload: Livereload,
        log: Log,
    }
    {
        listen: Listen,
        on: On,
    }
}

impl Build {
    /// A target chosen in the upper layer replaces both `bin` and `example` of the lower one: otherwise
    /// `--example` would conflict with a `bin` in the file.
    fn give_way(&mut self, upper: &Self) {
        if upper.bin.is_some() || upper.example.is_some() {
            (self.bin, self.example) = (None, None);
        }
        if upper.release.is_some() || upper.profile.is_some() {
            (self.release, self.profile) = (None, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(text: &str) -> Layer {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn an_upper_layer_wins_key_by_key() {
        let lower = layer(
            "[build]\nbin = 'a'\nrelease = true\n[app]\nargs = ['x']\nsettle = '1s'\n\
             env = { A = '1', B = '1' }\n[[listen]]\naddress = '127.0.0.1:1'",
        );
        let upper = layer("[build]\nexample = 'b'\n[app]\nargs = []\nenv = { B = '2' }");
        let both = upper.over(lower);
        assert_eq!(
            (both.build.bin, both.build.example.as_deref()),
            (None, Some("b"))
        );
        assert_eq!(both.build.release, Some(true));
        assert_eq!(both.app.args, Some(vec![]));
        assert_eq!(both.app.settle(), Time::ms(1000));
        let env: Vec<&str> = both
            .app
            .env
            .iter()
            .flatten()
            .map(|(_, value)| &**value)
            .collect();
        assert_eq!(env, ["1", "2"]);
        assert_eq!(both.listen.map(|list| list.len()), Some(1));
    }

    #[test]
    fn what_changed_is_named_with_its_effect() {
        let before = layer("[watch]\ndebounce = '8ms'\n[app]\nargs = ['x']");
        let after = layer("[watch]\ndebounce = '9ms'\n[[listen]]\naddress = '127.0.0.1:1'");
        let expected = [
            ("app.args", Effect::Restart),
            ("watch.debounce", Effect::Next),
            ("listen", Effect::Restart),
        ];
        let changed = before.changed(&after);
        let changed: Vec<(&str, Effect)> = changed
            .iter()
            .map(|(name, effect)| (&**name, *effect))
            .collect();
        assert_eq!(changed, expected);
    }

    #[test]
    fn defaults_stand_in_one_place() {
        let watch = Watch::default();
        assert_eq!(watch.debounce(), Time::ms(8));
        let key = Watch::KEYS
            .iter()
            .find(|key| key.name == "debounce")
            .unwrap();
        assert_eq!((key.default)().as_deref(), Some("8ms"));
        assert!(Watch::KEYS.iter().any(|key| (key.default)().is_none()));
    }
}
