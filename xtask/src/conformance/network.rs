//! `glare conformance --stun … --turn …`

use conformance::stun::{Credential, Service, ServiceTarget};

/// The STUN and TURN servers to test.
#[derive(clap::Args)]
pub(crate) struct Network {
    /// Test a STUN server; with --sim, test the reference server and give no address
    #[arg(long, value_name = "HOST:PORT", num_args = 0..=1, value_parser = target_of(Service::Stun))]
    stun: Option<Option<ServiceTarget>>,
    /// Test a TURN server; with --sim, test the reference server and give no address
    #[arg(long, value_name = "HOST:PORT", num_args = 0..=1, value_parser = target_of(Service::Turn))]
    turn: Option<Option<ServiceTarget>>,
    /// User of the TURN server; give a second one to test access to another user's allocations. With --sim, the
    /// reference server is configured with these users
    #[arg(long = "user", id = "users", value_name = "NAME", requires = "credentials")]
    users: Vec<String>,
    /// Password of the user
    #[arg(long = "credential", id = "credentials", value_name = "PASSWORD", requires = "users")]
    credentials: Vec<String>,
}

fn target_of(service: Service) -> impl Fn(&str) -> Result<ServiceTarget, conformance::BadUrl> + Clone {
    move |text| ServiceTarget::new(service, text)
}

impl Network {
    /// Checks that the flags fit together. `sim`: the server is the simulated one.
    ///
    /// # Errors
    /// A flag is missing, or has no effect.
    pub(crate) fn check(&self, sim: bool) -> anyhow::Result<()> {
        let (users, credentials) = (self.users.len(), self.credentials.len());
        anyhow::ensure!(
            users == credentials,
            "{users} --user but {credentials} --credential: give one --credential per --user"
        );
        anyhow::ensure!(users <= 2, "{users} --user: the suite uses at most two");
        anyhow::ensure!(users == 0 || self.turn.is_some(), "--user has no effect without --turn");
        for (service, address) in [(Service::Stun, &self.stun), (Service::Turn, &self.turn)] {
            match address {
                Some(None) if !sim => anyhow::bail!("--{service} needs an address: --{service} HOST:PORT"),
                Some(Some(_)) if sim => {
                    anyhow::bail!("--sim tests the reference server: write --{service} without an address")
                }
                _ => {}
            }
        }
        anyhow::ensure!(sim || self.turn.is_none() || users > 0, "--turn needs --user NAME --credential PASSWORD");
        Ok(())
    }

    /// The services that are named, with or without an address.
    pub(crate) fn services(&self) -> impl Iterator<Item = Service> {
        let named = [(Service::Stun, self.stun.is_some()), (Service::Turn, self.turn.is_some())];
        named.into_iter().filter(|(_, named)| *named).map(|(service, _)| service)
    }

    /// The servers whose addresses are named.
    pub(crate) fn servers(&self) -> impl Iterator<Item = ServiceTarget> {
        let turn = self.turn.iter().flatten().map(|target| target.clone().with_credentials(self.users()));
        self.stun.iter().flatten().cloned().chain(turn)
    }

    /// The users of the TURN server.
    pub(crate) fn users(&self) -> Vec<Credential> {
        let users = self.users.iter().zip(&self.credentials);
        users.map(|(user, password)| Credential { user: user.clone(), password: password.clone() }).collect()
    }

    /// The flags that repeat the test of a service, at an address if it has one. Secrets are left out.
    pub(crate) fn again(&self, service: Service, address: &str) -> String {
        let gap = if address.is_empty() { "" } else { " " };
        let users: String = self.users.iter().map(|user| format!(" --user {user} --credential …")).collect();
        let users = if service == Service::Turn { users } else { String::new() };
        format!("--{service}{gap}{address}{users}")
    }
}
