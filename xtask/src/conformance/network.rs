//! `glare conformance --stun … --turn …`

use conformance::dial::Tokio;
use conformance::stun::{self, Credential, Service, Target};
use conformance::{Case, Options, Report, Unreachable};

/// The servers that are no signaling servers.
#[derive(clap::Args)]
pub(crate) struct Network {
    /// A STUN server: HOST:PORT
    #[arg(long, value_name = "HOST:PORT", value_parser = |text: &str| Target::new(Service::Stun, text))]
    stun: Option<Target>,
    /// A TURN server: HOST:PORT
    #[arg(long, value_name = "HOST:PORT", requires = "users", value_parser = |text: &str| Target::new(Service::Turn, text))]
    turn: Option<Target>,
    /// A user of the TURN server; a second one lets the suite ask what somebody else may do
    #[arg(long = "user", id = "users", value_name = "NAME", requires = "credentials")]
    users: Vec<String>,
    /// The user's password
    #[arg(long = "credential", id = "credentials", value_name = "PASSWORD", requires = "users")]
    credentials: Vec<String>,
}

impl Network {
    /// What is wrong with the flags together.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let (users, credentials) = (self.users.len(), self.credentials.len());
        anyhow::ensure!(users == credentials, "{users} --user and {credentials} --credential: each user needs one");
        anyhow::ensure!(users <= 2, "{users} --user: one is asked for, a second one is somebody else");
        anyhow::ensure!(users == 0 || self.turn.is_some(), "--user is of no use without --turn HOST:PORT");
        Ok(())
    }

    /// The servers, each with every case that it can be asked.
    pub(crate) fn servers(&self) -> Vec<(Target, &'static [&'static Case])> {
        let users = self.users.iter().zip(&self.credentials);
        let users: Vec<_> =
            users.map(|(user, password)| Credential { user: user.clone(), password: password.clone() }).collect();
        let stun = self.stun.iter().map(|target| (target.clone(), stun::cases(Service::Stun)));
        let turn =
            self.turn.iter().map(|target| (target.clone().with_credentials(users.clone()), stun::cases(Service::Turn)));
        stun.chain(turn).collect()
    }

    /// Asks one server.
    pub(crate) async fn ask(
        target: &Target,
        cases: &[&'static Case],
        options: &Options,
    ) -> Result<Report, Unreachable> {
        let Options { deadline, jobs, seed, record } = *options;
        let options = stun::Options { deadline, jobs, seed, record };
        stun::run(Tokio, target, cases, &options).await
    }

    /// The flags that ask this server again. Secrets stay out of them.
    pub(crate) fn again(&self, target: &Target) -> String {
        let shown = target.to_string();
        let (service, address) = shown.split_once(':').expect("a scheme and an address");
        let users: String = self.users.iter().map(|user| format!(" --user {user} --credential …")).collect();
        let users = if service == "turn" { users } else { String::new() };
        format!("--{service} {address}{users}")
    }
}
