#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| hotrun::hostile::xnu_processes(input));
