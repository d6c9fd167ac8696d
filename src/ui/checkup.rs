//! What a doctor found, in words: a line for each finding, and what to do under those that should be
//! otherwise. Pure.

use crate::doctor::Finding;
use crate::report::text::{Level, Text};

/// All findings, and how many of them are to be mended.
pub fn report(findings: &[Finding]) -> Vec<Text> {
    let mut lines: Vec<Text> = findings.iter().flat_map(finding).collect();
    let wrong = findings.iter().filter(|finding| finding.fix.is_some());
    let (level, text) = match wrong.count() {
        0 => (Level::Good, "nothing to mend".to_owned()),
        1 => (Level::Warn, "one thing to mend".to_owned()),
        many => (Level::Warn, format!("{many} things to mend")),
    };
    lines.push(Text { level, text });
    lines
}

fn finding(finding: &Finding) -> Vec<Text> {
    let Finding { about, what, fix } = finding;
    let level = if fix.is_some() {
        Level::Warn
    } else {
        Level::Info
    };
    let what = what.replace('\n', "\n             ");
    let mut lines = vec![Text {
        level,
        text: format!("{about:>10}   {what}"),
    }];
    if let Some(fix) = fix.as_ref().filter(|fix| !fix.is_empty()) {
        lines.push(Text {
            level: Level::Info,
            text: format!("{:>10}   hint: {fix}", ""),
        });
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_mended_is_counted_and_has_its_hint() {
        let fine = Finding {
            about: "twins",
            what: "both".into(),
            fix: None,
        };
        let wrong = Finding {
            about: "limits",
            what: "12 open files\nare few".into(),
            fix: Some("`ulimit -n 4096`".into()),
        };
        let lines = |findings: &[Finding]| -> Vec<String> {
            let lines = report(findings).into_iter();
            lines.map(|line| line.text).collect()
        };
        assert_eq!(
            lines(std::slice::from_ref(&fine)),
            ["     twins   both", "nothing to mend"]
        );
        assert_eq!(
            lines(&[fine, wrong.clone(), wrong])[1..4],
            [
                "    limits   12 open files\n             are few",
                "             hint: `ulimit -n 4096`",
                "    limits   12 open files\n             are few",
            ]
        );
    }
}
