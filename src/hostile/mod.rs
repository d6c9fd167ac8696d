//! Inputs as nobody would write them, for what reads a user's, a file's, a program's or a client's bytes.
//!
//! A target is beside the code that it tests, in a module `hostile_tests`. Each has a unit test here, which
//! tries mutations of its inputs, and a program in `fuzz/`, for which a fuzzer looks for inputs that reach
//! more of the code.

#[cfg(test)]
mod mutations;

#[cfg(test)]
pub(crate) use mutations::Random;

type Read = dyn Fn(&[u8]) + Send + Sync;

/// Reads bytes, and panics where something does not hold that has to hold of all.
pub(crate) struct Target {
    /// Inputs as they are in fact.
    corpus: Vec<Vec<u8>>,
    /// How much longer it takes than others.
    #[cfg_attr(
        fuzzing,
        expect(dead_code, reason = "the fuzzer has no number to reach")
    )]
    slowness: u64,
    read: Box<Read>,
}

impl Target {
    /// What reads bytes.
    pub(crate) fn bytes(
        corpus: &[&[u8]],
        slowness: u64,
        read: impl Fn(&[u8]) + Send + Sync + 'static,
    ) -> Self {
        Self {
            corpus: corpus.iter().map(|input| input.to_vec()).collect(),
            slowness,
            read: Box::new(read),
        }
    }

    /// What reads text.
    pub(crate) fn text(
        corpus: &[&str],
        slowness: u64,
        read: impl Fn(&str) + Send + Sync + 'static,
    ) -> Self {
        let corpus: Vec<&[u8]> = corpus.iter().map(|text| text.as_bytes()).collect();
        Self::bytes(&corpus, slowness, move |input| {
            read(&String::from_utf8_lossy(input));
        })
    }
}

/// For each target a function that a fuzzer calls, or a unit test of the same name.
macro_rules! targets {
    ($($(#[$only:meta])* $name:ident: $target:path,)*) => {
        $(
            $(#[$only])*
            #[cfg(fuzzing)]
            #[expect(missing_docs, reason = "the name of the target says it")]
            pub fn $name(input: &[u8]) {
                static TARGET: std::sync::LazyLock<Target> = std::sync::LazyLock::new($target);
                (TARGET.read)(input);
            }
        )*

        #[cfg(test)]
        mod tests {
            $(
                $(#[$only])*
                #[test]
                fn $name() {
                    super::check(stringify!($name), &$target());
                }
            )*

            /// Also those that are not for this system.
            pub(super) const NAMES: &[&str] = &[$(stringify!($name)),*];
        }
    };
}

targets! {
    // What a user writes.
    config_file: crate::config::file::hostile_tests::any_file_is_read_or_refused_with_a_way_out,
    config_variables: crate::config::variables::hostile_tests::any_variable_is_read_or_refused_with_a_way_out,
    listen_address: crate::sockets::spec::hostile_tests::any_text_is_an_address_or_refused_with_a_way_out,
    // What cargo writes and reads.
    cargo_config: crate::build::hostile_tests::any_configuration_of_cargo_is_read_as_far_as_it_goes,
    cargo_messages: crate::build::messages::hostile_tests::any_line_of_stdout_is_a_message_or_text,
    cargo_stderr: crate::build::messages::hostile_tests::any_piece_of_stderr_is_read,
    dep_info: crate::build::any_dep_info_is_none_or_can_be_written_again,
    // What hotrun's own processes and files say.
    control_protocol: crate::control::hostile_tests::any_line_of_a_client_or_server_is_read_or_refused,
    event_records: crate::report::hostile_tests::any_line_is_an_event_or_none,
    keeper_frames: crate::keeper::protocol::hostile_tests::any_frames_are_messages_or_skipped,
    remembered_addresses: crate::sockets::remembered::hostile_tests::any_file_is_read_as_far_as_it_has_ports,
    // What the app says.
    ansi_text: crate::browser::ansi::hostile_tests::any_text_becomes_no_longer,
    output_lines: crate::lines::hostile_tests::no_byte_of_any_output_is_lost,
    ready_answer: crate::app::hostile_tests::what_is_known_of_any_answer_stays_so,
    // What browsers say.
    http_head: crate::browser::page::hostile_tests::what_is_clear_of_any_bytes_stays_so,
    livereload_messages: crate::browser::livereload::any_message_of_a_client_greets_or_does_not,
    livereload_requests: crate::browser::livereload::no_request_of_another_page_is_answered,
    // What `--inject` rewrites.
    accept_encoding: crate::browser::front::of_any_codings_those_are_left_that_can_be_read,
    entity_tags: crate::browser::front::any_tag_comes_back_as_the_app_has_sent_it,
    page: crate::browser::front::hostile_tests::any_page_differs_by_the_script_alone,
    page_brotli: crate::browser::front::hostile_tests::any_brotli_page_is_read_or_passed_on,
    page_gzip: crate::browser::front::hostile_tests::any_gzip_page_is_read_or_passed_on,
    page_policy: crate::browser::front::any_policy_is_extended_once_and_loses_nothing,
    // What the app passes to system calls, and what systems answer.
    #[cfg(target_os = "linux")]
    call_arguments: crate::sys::calls::hostile_tests::any_arguments_of_a_call_are_read,
    #[cfg(target_os = "linux")]
    netlink: crate::sys::connections::hostile_tests::any_answer_of_the_kernel_is_read,
    #[cfg(target_os = "linux")]
    sockaddr: crate::sys::calls::hostile_tests::any_bytes_are_an_address_or_none,
    xnu_arguments: crate::sys::hostile_tests::any_arguments_are_read_or_cut_off,
    xnu_processes: crate::sys::hostile_tests::any_processes_belong_or_do_not,
    xnu_structures: crate::sys::hostile_tests::any_structures_are_read_or_cut_off,
}

/// Where the programs and their inputs are; not in the published crate.
#[cfg(test)]
const FUZZ: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz");

#[cfg(test)]
fn entries(dir: &str) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(format!("{FUZZ}/{dir}"));
    let mut paths: Vec<_> = (entries.into_iter().flatten())
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

/// Tries what a fuzzer has found too.
#[cfg(test)]
fn check(name: &str, target: &Target) {
    for path in entries(&format!("corpus/{name}")) {
        mutations::shown(target, &std::fs::read(path).unwrap());
    }
    mutations::each(target);
}

#[test]
fn every_target_can_be_fuzzed() {
    for dir in ["fuzz_targets", "corpus"] {
        let found = entries(dir);
        let names: Vec<_> = found.iter().map(|path| path.file_stem().unwrap()).collect();
        let mut expected = tests::NAMES.to_vec();
        expected.sort_unstable();
        assert!(names == expected || names.is_empty(), "{names:?}");
    }
}
