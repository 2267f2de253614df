//! The manifests of `docs/scale`: they are YAML, they fit together, and the commands in them run.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use reports::campaign::{Campaign, StoryId};
use serde_json::Value;

use crate::campaign::folder;
use crate::queue::{Nats, ended, said};
use crate::tools;

#[test]
fn an_index_of_the_job_plays_its_own_range_and_goes_on_where_it_was() {
    let Some(objects) = objects("indexed-job.yaml") else { return };
    fits(&objects);
    let job = of_kind(&objects, "Job").next().expect("there is one");
    let spec = &job["spec"];
    assert_eq!(spec["completionMode"], "Indexed");
    // With another policy, Kubernetes refuses the limit for each index.
    assert!(spec["backoffLimitPerIndex"].is_u64() && spec["template"]["spec"]["restartPolicy"] == "Never", "{job}");
    let seeds: u64 = env(&container(job), "SEEDS").parse().expect("a number");
    assert_eq!(spec["completions"].as_u64().map(|parts| parts * seeds), Some(1_000_000_000), "as the page says");
    let campaigns = folder("scale-index");
    fs::create_dir_all(&campaigns).expect("a scratch folder");
    for seeds in ["2", "3"] {
        // Another SEEDS is another range; the same one again plays nothing.
        let more = [("JOB_COMPLETION_INDEX", "4"), ("SEEDS", seeds), ("CAMPAIGNS", campaigns.as_str())];
        for _ in 0..2 {
            let run = run(&container(job), &more).output().expect("sh starts");
            assert_eq!(run.status.code(), Some(0), "{}", said(&run));
        }
    }
    assert_eq!(stories(&format!("{campaigns}/4")), [8, 9, 12, 13, 14].map(StoryId::Seed));
    // What is no finding is a failure of the pod.
    let more = [("JOB_COMPLETION_INDEX", "4"), ("SEEDS", "0"), ("CAMPAIGNS", campaigns.as_str())];
    assert_eq!(run(&container(job), &more).output().expect("sh starts").status.code(), Some(1));
}

#[test]
fn the_workers_play_the_campaign() {
    let Some(objects) = objects("workers.yaml") else { return };
    fits(&objects);
    let Some(nats) = Nats::start("scale") else { return };
    let queue = of_kind(&objects, "StatefulSet").next().expect("there is one");
    assert_eq!(container(queue)["args"][0], "-js");
    let url = nats.url();
    let name = queue["metadata"]["name"].as_str().expect("a name");
    let campaigns = folder("scale-workers");
    fs::create_dir_all(&campaigns).expect("a scratch folder");
    let more = [("QUEUE", url.as_str()), ("SEEDS", "12"), ("CAMPAIGNS", campaigns.as_str())];
    let mut programs = Vec::new();
    for kind in ["Deployment", "Job"] {
        let container = container(of_kind(&objects, kind).next().expect("there is one"));
        assert_eq!(env(&container, "QUEUE"), format!("nats://{name}:4222"));
        programs.push(crate::queue::Program::start(&mut run(&container, &more)));
    }
    let campaign = ended(programs.pop().expect("there are two"));
    assert_eq!(campaign.status.code(), Some(0), "{}", said(&campaign));
    assert_eq!(stories(&format!("{campaigns}/shared")).len(), 12);
}

#[test]
fn the_parts_of_the_workflow_play_seeds_of_their_own_and_their_findings_are_put_together() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/scale/campaign.yml");
    let Some(modules) = tools::npm("action-runner", &["yaml@2.9.1"]) else { return };
    let read = tools::node("workflow.mjs", &modules, &[file.to_str().expect("UTF-8")], &[]);
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let steps: Vec<Value> = serde_json::from_slice(&read.stdout).expect("JSON");
    let workflow = read_yaml(&file).expect("npm works").remove(0);
    let parts = workflow["jobs"]["play"]["strategy"]["matrix"]["part"].as_array().expect("a list").len();
    assert_eq!(workflow["env"]["PARTS"], parts.to_string(), "else a night would play seeds of another");
    let dir = PathBuf::from(folder("scale-workflow"));
    fs::create_dir_all(&dir).expect("a scratch folder");
    let script = |name: &str| {
        let step = steps.iter().find(|step| step["name"] == name).expect("a step");
        step["run"].as_str().expect("a script").to_owned()
    };
    let step = |name: &str, more: &[(&str, &str)]| -> Output {
        // A runner's shell.
        let mut sh = shell(&["-e", "-c", &script(name)], more);
        sh.current_dir(&dir).output().expect("sh starts")
    };
    for part in ["0", "1"] {
        let env = [("NIGHT", "1"), ("PART", part), ("SEEDS", "2"), ("PARTS", "2")];
        let run = step("Play", &env);
        assert_eq!(run.status.code(), Some(0), "{}", said(&run));
        assert!(dir.join("campaign").join(part).join("report.html").exists());
    }
    assert_eq!(stories(dir.join("campaign/1").to_str().expect("UTF-8")), [6, 7].map(StoryId::Seed));
    let summary = dir.join("summary");
    let collect = || step("Put the findings together", &[("GITHUB_STEP_SUMMARY", summary.to_str().expect("UTF-8"))]);
    assert_eq!(collect().status.code(), Some(0), "no finding");
    for part in ["0", "1"] {
        let findings = dir.join("campaign").join(part).join("findings");
        fs::create_dir_all(&findings).expect("a folder");
        fs::write(findings.join("glare-0001.toml"), format!("# glare: ana, part {part}\n# more\n")).expect("a file");
    }
    let run = collect();
    assert_eq!(run.status.code(), Some(1), "{}", said(&run));
    assert_eq!(fs::read_to_string(&summary).expect("it is written").lines().count(), 1);
    assert!(dir.join("findings/glare-0001.toml").exists());
}

/// The objects of a manifest; `None` if npm does not work.
fn objects(name: &str) -> Option<Vec<Value>> {
    read_yaml(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/scale").join(name))
}

fn read_yaml(file: &Path) -> Option<Vec<Value>> {
    let modules = tools::npm("action-runner", &["yaml@2.9.1"])?;
    let read = tools::node("yaml.mjs", &modules, &[file.to_str().expect("UTF-8")], &[]);
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    Some(serde_json::from_slice(&read.stdout).expect("JSON"))
}

fn of_kind<'a>(objects: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(move |object| object["kind"] == kind)
}

/// Checks what Kubernetes would find missing: volumes that are mounted, claims, labels that a selector asks for.
fn fits(objects: &[Value]) {
    let claims: Vec<_> = of_kind(objects, "PersistentVolumeClaim").map(|claim| &claim["metadata"]["name"]).collect();
    for object in objects {
        assert!(object["apiVersion"].is_string() && object["metadata"]["name"].is_string(), "{object}");
        let template = &object["spec"]["template"];
        if template.is_null() {
            continue;
        }
        let mut volumes: BTreeMap<String, bool> = BTreeMap::new();
        let list = |value: &'_ Value| value.as_array().cloned().unwrap_or_default();
        let own = list(&template["spec"]["volumes"]);
        let made = list(&object["spec"]["volumeClaimTemplates"]);
        for volume in &own {
            assert!(claims.contains(&&volume["persistentVolumeClaim"]["claimName"]), "{volume}");
            volumes.insert(volume["name"].to_string(), false);
        }
        for volume in &made {
            volumes.insert(volume["metadata"]["name"].to_string(), false);
        }
        let container = container(object);
        for mount in &list(&container["volumeMounts"]) {
            *volumes.get_mut(&mount["name"].to_string()).unwrap_or_else(|| panic!("{mount} is no volume")) = true;
        }
        assert!(volumes.values().all(|is_mounted| *is_mounted), "{object}");
        if object["kind"] != "Job" {
            let labels = &template["metadata"]["labels"];
            assert_eq!(&object["spec"]["selector"]["matchLabels"], labels);
        }
    }
}

/// The only container of an object's pods.
fn container(object: &Value) -> Value {
    let containers = object["spec"]["template"]["spec"]["containers"].as_array().expect("containers");
    assert_eq!(containers.len(), 1);
    containers[0].clone()
}

fn env(container: &Value, name: &str) -> String {
    let variables = container["env"].as_array().expect("variables");
    let variable = variables.iter().find(|variable| variable["name"] == name).expect("a variable");
    variable["value"].as_str().expect("a string, as Kubernetes wants it").to_owned()
}

/// The command of a container, with other values of its variables.
fn run(container: &Value, more: &[(&str, &str)]) -> Command {
    assert_eq!(container["command"], serde_json::json!(["sh", "-c"]));
    shell(&["-c", container["args"][0].as_str().expect("a script")], more)
}

/// A shell that has this program.
fn shell(arguments: &[&str], env: &[(&str, &str)]) -> Command {
    let glare = Path::new(env!("CARGO_BIN_EXE_glare")).parent().expect("a folder");
    let mut path = glare.as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let mut sh = Command::new("sh");
    sh.args(arguments).env("PATH", path).env_remove("CARGO").envs(env.iter().copied());
    sh
}

fn stories(dir: &str) -> Vec<StoryId> {
    let (_, campaign) = Campaign::load(Path::new(dir)).unwrap_or_else(|wrong| panic!("{wrong}"));
    campaign.stories.into_iter().map(|(id, _)| id).collect()
}
