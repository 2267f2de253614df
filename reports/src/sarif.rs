//! SARIF 2.1.0, for code scanning: findings, located in the scenario or dialect file.

use serde_json::{Value, json};

use crate::model::{Case, Finding, Verdict};
use crate::result::Results;
use crate::words::{account, text};

/// Results as one SARIF log, one run per result.
pub fn sarif(results: &[Results]) -> String {
    let log = json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": results.iter().map(run).collect::<Vec<_>>(),
    });
    serde_json::to_string_pretty(&log).expect("keys are strings") + "\n"
}

fn run(result: &Results) -> Value {
    let mut rules: Vec<(String, Value)> = Vec::new();
    let mut found = Vec::new();
    for case in result.bad() {
        for finding in &case.findings {
            let id = text(&finding.rule);
            let index = rules.iter().position(|(rule, _)| *rule == id).unwrap_or_else(|| {
                rules.push((id.clone(), rule(&id, case, finding)));
                rules.len() - 1
            });
            found.push(one(result, case, finding, &id, index));
        }
    }
    json!({
        "tool": { "driver": {
            "name": "Glare",
            "version": env!("CARGO_PKG_VERSION"),
            "rules": rules.into_iter().map(|(_, rule)| rule).collect::<Vec<_>>(),
        } },
        "automationDetails": { "id": format!("glare/{}/{}/", result.opening.suite.word(), text(&result.opening.name)) },
        "invocations": [{
            "commandLine": text(&result.opening.command),
            "executionSuccessful": result.closing.is_some() && result.counts().harness_error == 0,
        }],
        "columnKind": "unicodeCodePoints",
        "results": found,
    })
}

fn rule(id: &str, case: &Case, finding: &Finding) -> Value {
    let promise = sentence(&text(finding.promise.as_deref().unwrap_or(&case.title)));
    let mut rule = json!({
        "id": id,
        "shortDescription": { "text": promise },
        "fullDescription": { "text": promise },
        "help": { "text": help(case, &promise) },
    });
    let url = case.citations.iter().find_map(|citation| citation.url.as_deref());
    if let Some(url) = url.filter(|url| url.starts_with("https://") && url.chars().all(is_uri)) {
        rule["helpUri"] = json!(url);
    }
    rule
}

/// The rule, and the relevant passages of public specifications.
fn help(case: &Case, promise: &str) -> String {
    let cited = case.citations.iter().map(|citation| {
        let quote = citation.quote.as_ref().map(|quote| format!(": \"{}\"", text(quote))).unwrap_or_default();
        format!("\n{}{quote}", text(&citation.section))
    });
    std::iter::once(promise.to_owned()).chain(cited).collect()
}

fn one(result: &Results, case: &Case, finding: &Finding, rule: &str, index: usize) -> Value {
    let mut one = json!({
        "ruleId": rule,
        "ruleIndex": index,
        "level": if case.verdict == Verdict::HarnessError { "warning" } else { "error" },
        "message": { "text": sentence(&format!("{}: {}", text(&case.id), text(&finding.message))) },
        "partialFingerprints": { "glareCase/v1": format!("{}:{}:{rule}", result.opening.suite.word(), text(&case.id)) },
        "properties": { "replay": text(&case.replay), "account": account(case) },
    });
    if let Some(location) = &case.location {
        one["locations"] = json!([{ "physicalLocation": {
            "artifactLocation": { "uri": uri(&location.file) },
            "region": { "startLine": finding.line.or(location.line).unwrap_or(1).max(1) },
        } }]);
    }
    one
}

/// SARIF requires sentences with a final punctuation mark.
fn sentence(text: &str) -> String {
    if text.ends_with(['.', '!', '?', '…']) { text.to_owned() } else { format!("{text}.") }
}

/// A path as a URI reference. RFC 3986 §4.2.
fn uri(path: &str) -> String {
    let mut out = if path.starts_with('/') { "file://".to_owned() } else { String::new() };
    for byte in path.bytes() {
        match char::from(byte) {
            '\\' => out.push('/'),
            c if c.is_ascii_alphanumeric() || "-._~/".contains(c) => out.push(c),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn is_uri(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=%".contains(c)
}
