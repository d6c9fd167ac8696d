//! A small workspace: what its files are, and what the program made of them answers.

use std::collections::BTreeMap;

/// The numbers and choices that the files are made of.
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tree {
    pub(super) main: u32,
    pub(super) module: u32,
    /// One more module.
    pub(super) extra: Option<u32>,
    pub(super) lib: u32,
    /// The program has no library of its own, which would use all others.
    pub(super) bare: bool,
    pub(super) one: u32,
    pub(super) two: u32,
    /// A library that no other one uses.
    pub(super) solo: u32,
    pub(super) macros: u32,
    /// A function of `one` has one more argument.
    pub(super) wide: bool,
    /// The comments above what tells its line, in two files.
    pub(super) lines_main: u32,
    pub(super) lines_one: u32,
    pub(super) asset: u32,
    /// A text that two crates include, one by a link.
    pub(super) common: u32,
    pub(super) script: u32,
    /// A text that the build script reads, and the program includes.
    pub(super) input: u32,
    pub(super) feature: bool,
    /// The program depends on one more library.
    pub(super) spare: bool,
    pub(super) checked: bool,
    pub(super) flag: bool,
    pub(super) variable: u32,
    pub(super) toolchain: Option<String>,
    pub(super) broken: Option<Broken>,
}

/// The file that does not compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    Main,
    Module,
    Lib,
    One,
    Two,
    Solo,
    Script,
}

impl Broken {
    pub(super) const ALL: [Self; 7] = [
        Self::Main,
        Self::Module,
        Self::Lib,
        Self::One,
        Self::Two,
        Self::Solo,
        Self::Script,
    ];

    fn path(self) -> &'static str {
        match self {
            Self::Main => "src/main.rs",
            Self::Module => "src/module.rs",
            Self::Lib => "src/lib.rs",
            Self::One => "one/src/lib.rs",
            Self::Two => "two/src/lib.rs",
            Self::Solo => "solo/src/lib.rs",
            Self::Script => "made/build.rs",
        }
    }
}

/// A link that is there from the beginning, and the file that it leads to.
pub(super) const LINK: [&str; 2] = ["solo/src/link.txt", "../../common.txt"];

/// So many lines of comments are the most.
const COMMENTS: u32 = 7;

impl Tree {
    /// What the program answers; `None`: there is none.
    pub(super) fn answer(&self) -> Option<String> {
        if self.broken.is_some() {
            return None;
        }
        let Self {
            main,
            module,
            lib,
            one,
            two,
            solo,
            ..
        } = self;
        let extra = self
            .extra
            .map_or_else(|| "no".into(), |extra| extra.to_string());
        let line = |comments: u32| comments % COMMENTS + 2;
        Some(format!(
            "m{main}-p{module}-x{extra}-l{lib}-o{one}-t{two}.{one}-s{solo}-q{}-a{}-c{}.{}-b{}.{}-i{}\
             -f{}-d{}-g{}-e{}-z{}-n{}.{}",
            self.macros,
            self.asset,
            self.common,
            self.common,
            self.script,
            self.input,
            self.input,
            self.feature,
            self.checked,
            self.flag,
            self.variable,
            self.spare,
            line(self.lines_main),
            line(self.lines_one),
        ))
    }

    /// All files, by their paths.
    pub(super) fn files(&self) -> BTreeMap<String, String> {
        let mut files = BTreeMap::new();
        let mut add = |path: &str, text: String| _ = files.insert(path.to_owned(), text);
        self.manifests(&mut add);
        self.libraries(&mut add);
        let extra = match self.extra {
            Some(_) => "mod extra;\nfn extra() -> String { extra::EXTRA.to_string() }",
            None => "fn extra() -> String { \"no\".into() }",
        };
        let lib = if self.bare {
            self.lib.to_string()
        } else {
            "my_app::lib()".into()
        };
        let spare = if self.spare { "spare::SPARE" } else { "false" };
        let value = if self.wide {
            "one::value(1, 2)"
        } else {
            "one::value(1)"
        };
        add(
            "src/main.rs",
            format!(
                "{}const LINE: u32 = line!();\nconst MAIN: u32 = {};\nmod module;\n{extra}\n\
                 fn answer() -> String {{\n    format!(\n        \"m{{}}-p{{}}-x{{}}-l{{}}-o{{}}-t{{}}\
                 -s{{}}-q{{}}-a{{}}-c{{}}.{{}}-b{{}}-i{{}}-f{{}}-d{{}}-g{{}}-e{{}}-z{{}}-n{{}}.{{}}\",\n        \
                 MAIN, module::module(), extra(), {lib}, {value}, two::two(), solo::solo(),\n        \
                 macros::number!(), include_str!(\"asset.txt\"), include_str!(\"../common.txt\"),\n        \
                 solo::COMMON, made::MADE, include_str!(\"../input.txt\"), cfg!(feature = \"more\"),\n        \
                 cfg!(debug_assertions), cfg!(flag), option_env!(\"VARIABLE\").unwrap_or(\"0\"), {spare},\n        \
                 LINE, one::LINE,\n    )\n}}\n{SERVER}",
                comments(self.lines_main),
                self.main,
            ),
        );
        add(
            "src/module.rs",
            format!(
                "pub fn module() -> u32 {{\n    let all = vec![{}u32];\n    all[all.len() - 1]\n}}\n",
                self.module
            ),
        );
        if let Some(extra) = self.extra {
            add("src/extra.rs", format!("pub const EXTRA: u32 = {extra};\n"));
        }
        add("src/asset.txt", self.asset.to_string());
        add("common.txt", self.common.to_string());
        add("input.txt", self.input.to_string());
        if !self.bare {
            add(
                "src/lib.rs",
                format!(
                    "pub fn lib() -> u32 {{\n    let all = vec![{}u32];\n    all[all.len() - 1]\n}}\n",
                    self.lib
                ),
            );
        }
        if let Some(broken) = self.broken {
            let text = files.get_mut(broken.path()).unwrap();
            // Syntax, or a type.
            text.push_str(match broken {
                Broken::One | Broken::Main => "pub const BROKEN: u32 = \"\";\n",
                _ => "fn broken( {\n",
            });
        }
        files
    }

    /// One of these files is another one there.
    pub(super) fn differs_in(&self, other: &Self, is: impl Fn(&str) -> bool) -> bool {
        let (own, others) = (self.files(), other.files());
        let mut paths = own.keys().chain(others.keys());
        paths.any(|path| is(path) && own.get(path) != others.get(path))
    }

    fn manifests(&self, add: &mut impl FnMut(&str, String)) {
        let package = |name: &str| {
            format!("[package]\nname = \"{name}\"\nversion = \"1.0.0\"\nedition = \"2024\"\n")
        };
        let depends = |names: &[&str], at: &str| {
            let lines = names
                .iter()
                .map(|name| format!("{name} = {{ path = \"{at}{name}\" }}\n"));
            format!("[dependencies]\n{}", lines.collect::<String>())
        };
        let mut uses = vec!["one", "two", "solo", "macros", "made"];
        uses.extend(self.spare.then_some("spare"));
        let default = if self.feature { "\"more\"" } else { "" };
        add(
            "Cargo.toml",
            format!(
                "{}{}[features]\ndefault = [{default}]\nmore = []\n[workspace]\nmembers = [\"spare\"]\n\
                 [profile.dev]\ndebug-assertions = {}\n[lints.rust]\nunexpected_cfgs = \"allow\"\n",
                package("my-app"),
                depends(&uses, ""),
                self.checked,
            ),
        );
        for name in ["one", "solo", "spare", "made"] {
            add(&format!("{name}/Cargo.toml"), package(name));
        }
        let two = format!("{}{}", package("two"), depends(&["one"], "../"));
        add("two/Cargo.toml", two);
        let macros = format!("{}[lib]\nproc-macro = true\n", package("macros"));
        add("macros/Cargo.toml", macros);
        let flags = if self.flag { "\"--cfg\", \"flag\"" } else { "" };
        add(
            ".cargo/config.toml",
            format!(
                "[build]\nrustflags = [{flags}]\n[env]\nVARIABLE = \"{}\"\n",
                self.variable
            ),
        );
        if let Some(toolchain) = &self.toolchain {
            let text = format!("[toolchain]\nchannel = \"{toolchain}\"\n");
            add("rust-toolchain.toml", text);
        }
    }

    fn libraries(&self, add: &mut impl FnMut(&str, String)) {
        let more = if self.wide { ", more: u32" } else { "" };
        let sum = if self.wide { " + more - 2" } else { "" };
        add(
            "one/src/lib.rs",
            format!(
                "{}pub const LINE: u32 = line!();\npub fn value(first: u32{more}) -> u32 {{\n    \
                 let all = vec![first - 1, {}{sum}];\n    all[all.len() - 1]\n}}\n",
                comments(self.lines_one),
                self.one,
            ),
        );
        let value = if self.wide {
            "one::value(1, 2)"
        } else {
            "one::value(1)"
        };
        add(
            "two/src/lib.rs",
            format!(
                "pub fn two() -> String {{\n    format!(\"{{}}.{{}}\", {}, {value})\n}}\n",
                self.two
            ),
        );
        add(
            "solo/src/lib.rs",
            format!(
                "pub const COMMON: &str = include_str!(\"link.txt\");\n\
                 pub fn solo() -> u32 {{\n    let all = vec![{}u32];\n    all[all.len() - 1]\n}}\n",
                self.solo
            ),
        );
        add("spare/src/lib.rs", "pub const SPARE: bool = true;\n".into());
        add(
            "macros/src/lib.rs",
            format!(
                "use proc_macro::TokenStream;\n#[proc_macro]\npub fn number(_: TokenStream) -> \
                 TokenStream {{\n    \"{}u32\".parse().unwrap()\n}}\n",
                self.macros
            ),
        );
        add(
            "made/build.rs",
            format!(
                "fn main() {{\n    println!(\"cargo::rerun-if-changed=build.rs\");\n    \
                 println!(\"cargo::rerun-if-changed=../input.txt\");\n    \
                 let input = std::fs::read_to_string(\"../input.txt\").unwrap();\n    \
                 let out = std::env::var(\"OUT_DIR\").unwrap();\n    \
                 let made = format!(\"pub const MADE: &str = \\\"{}.{{input}}\\\";\");\n    \
                 std::fs::write(format!(\"{{out}}/made.rs\"), made).unwrap();\n}}\n",
                self.script
            ),
        );
        add(
            "made/src/lib.rs",
            "include!(concat!(env!(\"OUT_DIR\"), \"/made.rs\"));\n".into(),
        );
    }
}

fn comments(lines: u32) -> String {
    let lines = usize::try_from(lines % COMMENTS + 1).unwrap();
    "// one more line\n".repeat(lines)
}

/// A server on the socket that it is given.
const SERVER: &str = r#"
fn main() {
    use std::io::{Read, Write};
    use std::os::fd::FromRawFd;
    // SAFETY: hotrun has passed a listening socket here, and nothing else owns it.
    let listener = unsafe { std::net::TcpListener::from_raw_fd(3) };
    listener.set_nonblocking(false).unwrap();
    loop {
        let (mut stream, _) = listener.accept().unwrap();
        let mut read = Vec::new();
        while !read.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            match stream.read(&mut byte) {
                Ok(1) => read.push(byte[0]),
                _ => break,
            }
        }
        let answer = answer();
        let length = answer.len();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
        stream.write_all((head + &answer).as_bytes()).ok();
    }
}
"#;
