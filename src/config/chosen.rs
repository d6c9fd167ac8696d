//! The target that the user has chosen at the terminal: it counts where the settings name none. Pure.

use super::layer::Build;

/// The target.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// Its package.
    pub package: String,
    /// It is an example, not a binary.
    pub is_example: bool,
    /// Its name.
    pub name: String,
}

/// The settings with the target that was chosen, unless they name another target or package.
pub(super) fn with(chosen: Option<&Chosen>, build: &Build) -> Build {
    let mut build = build.clone();
    let Some(chosen) = chosen else {
        return build;
    };
    let names_target = build.bin.is_some() || build.example.is_some();
    // `name@version` is a package too.
    let is_other = |name: &String| name.split('@').next() != Some(&chosen.package);
    if names_target || build.package.as_ref().is_some_and(is_other) {
        return build;
    }
    build.package.get_or_insert_with(|| chosen.package.clone());
    let target = if chosen.is_example {
        &mut build.example
    } else {
        &mut build.bin
    };
    *target = Some(chosen.name.clone());
    build
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn case(settings: [Option<&str>; 3], expected: [Option<&str>; 3]) {
        let own = |name: Option<&str>| name.map(str::to_owned);
        let [package, bin, example] = settings.map(own);
        let settings = Build {
            package,
            bin,
            example,
            ..Build::default()
        };
        let chosen = Chosen {
            package: "server".into(),
            is_example: false,
            name: "api".into(),
        };
        let build = with(Some(&chosen), &settings);
        assert_eq!([build.package, build.bin, build.example], expected.map(own));
        assert_eq!(with(None, &settings), settings);
    }

    #[test]
    fn what_the_settings_name_wins() {
        let (server, api) = (Some("server"), Some("api"));
        case([None; 3], [server, api, None]);
        case([server, None, None], [server, api, None]);
        let version = Some("server@1.0.0");
        case([version, None, None], [version, api, None]);
        for named in [
            [Some("client"), None, None],
            [None, Some("worker"), None],
            [server, None, Some("demo")],
        ] {
            case(named, named);
        }
    }
}
