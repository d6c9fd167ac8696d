//! Cargo's configuration as nobody would write it: hotrun reads it before cargo can refuse it.

use super::cargo_config::{CargoConfig, cfg_of};
use crate::config::Build;
use crate::hostile::Target;
use crate::sys::testing::absolute;

const HOST: &str = "x86_64-unknown-linux-gnu";

pub(crate) fn any_configuration_of_cargo_is_read_as_far_as_it_goes() -> Target {
    let corpus = [
        "build.rustc = \"bin/rustc\"\nbuild.target = [\"x86_64-unknown-linux-musl\", \"a.json\"]",
        "[target.'cfg(all(unix, not(target_os = \"macos\")))']\nrunner = [\"sudo\", \"-E\"]\n",
        "[target.x86_64-unknown-linux-gnu]\nrunner = 'valgrind --quiet'\n[profile.dev]\ndebug = 1\n",
        "include = [{ path = \"a.toml\", optional = true }, \"b.toml\"]\n",
        "[target.'cfg(any(target_feature=\"sse2\", windows))']\nrunner = \"x y\"\n",
    ];
    let cfg = cfg_of("unix\ntarget_os=\"linux\"\ntarget_feature=\"sse2\"\n");
    assert_eq!(cfg.len(), 3);
    let nowhere = absolute("/nowhere");
    Target::text(&corpus, 20, move |text| {
        let config = CargoConfig::read(&Build {
            dir: nowhere.clone(),
            env: vec![("CARGO_HOME".into(), nowhere.clone().into())],
            config: vec![text.to_owned()],
            ..Build::default()
        });
        config.rustc();
        config.has_workspace_wrapper();
        config.of_profile("dev", "debug");
        assert!(!config.target(None, HOST).is_empty());
        assert!(config.conditions().len() <= text.matches("cfg(").count());
        for triple in [HOST, text] {
            let Ok(runner) = config.runner(triple, &cfg) else {
                continue;
            };
            let length: usize = runner.iter().map(|word| word.len()).sum();
            assert!(length <= text.len() + nowhere.as_os_str().len() + 1);
            let laid_over = config.runner_override(triple, ["hotrun", "run"]).unwrap();
            assert!(!laid_over.contains('\n'));
        }
        cfg_of(text);
    })
}
