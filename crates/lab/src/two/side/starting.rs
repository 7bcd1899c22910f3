//! How a side comes up: its control plane first, then agent, gateways and nodes; nobody knows the other side yet.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use super::super::config::{self, ANY, Place};
use super::super::{NODE, SPARE, Wish};
use super::{Gateway, OPEN, REPLICA, Side, other, part};
use crate::control::{Home, Options as ControlOptions};
use crate::erl::{self, Options};
use crate::relay::Relay;
use crate::{AgentProcess, ControlProcess, ErlNode, Error, Policy};

/// As in production.
const LEAF: Duration = Duration::from_secs(3600);
impl Side {
    pub(in crate::two) async fn start(
        skans: &Path,
        erl: &Path,
        within: &Path,
        name: &'static str,
        wish: &Wish,
    ) -> Result<Self, Error> {
        let directory = within.join(name);
        make(&directory)?;
        let (control, endpoint) = match wish.control {
            None => (None, None),
            Some(ip) => plane(skans, &directory, name, ip, wish.lines).await?,
        };
        Policy::enforced(OPEN, "").write(&directory.join("policy"))?;
        let spare = wish.spare && name == "theirs";
        let controlled = control.is_some();
        let agent = Place {
            side: name,
            within: &directory,
            part: "agent",
            controlled,
            listen: ANY,
        };
        make(&directory.join("agent"))?;
        if let Some(control) = &control {
            let names: Vec<_> = [NODE, SPARE].map(str::to_owned).to_vec();
            let token = control.token("nodes", "lab", &names).await?;
            write_secret(&agent.token(), &token)?;
        }
        agent.write(&config::agent(controlled, spare, &[]))?;
        let process = AgentProcess::spawn(skans, name, agent.files())?
            .ready()
            .await?;
        let mut gateways = Vec::new();
        for number in 1..=wish.gateways {
            let part = part(number);
            let place = Place {
                part: &part,
                ..agent
            };
            make(&directory.join(&part))?;
            if let Some(control) = &control {
                let names = [format!("gateway/g{number}@localhost")];
                let token = control.token(&part, "gateway", &names).await?;
                write_secret(&place.token(), &token)?;
            }
            place.write(&config::gateway(number, other(name), None))?;
            let process = AgentProcess::spawn_gateway(skans, name, place.files())?
                .ready()
                .await?;
            let address = process.link_address()?;
            let line = match wish.lines {
                true => Some(Relay::line_to(address).await?),
                false => None,
            };
            gateways.push(Gateway {
                process: Some(process),
                line,
                number,
                address,
                listen: ANY,
            });
        }
        let node = node(&directory, erl, name, NODE).await?;
        let spare = match spare {
            true => Some(self::node(&directory, erl, name, SPARE).await?),
            false => None,
        };
        Ok(Self {
            node,
            spare,
            agent: process,
            gateways,
            control,
            endpoint,
            name,
            directory,
            within: within.to_owned(),
            staleness: wish.staleness,
        })
    }
}

/// A control plane at a port that stays the same, and a relay before it.
async fn plane(
    skans: &Path,
    directory: &Path,
    name: &str,
    ip: IpAddr,
    line: bool,
) -> Result<(Option<ControlProcess>, Option<Relay>), Error> {
    let home = Home {
        trust_domain: format!("{name}.test"),
        cluster: name.to_owned(),
        name: REPLICA.to_owned(),
        listen: free_port(ip)?,
    };
    let options = ControlOptions { leaf: LEAF };
    let directory = directory.join("control");
    let control = ControlProcess::start_as(skans, &directory, options, &home).await?;
    let relay = match line {
        true => Some(Relay::line_to(home.listen).await?),
        false => None,
    };
    Ok((Some(control), relay))
}

/// A port that nobody has just now: tokens say it, so it has to be known before the process has it.
fn free_port(ip: IpAddr) -> Result<SocketAddr, Error> {
    let failed = || Error::system(format!("cannot listen at {ip}"));
    TcpListener::bind((ip, 0))
        .map_err(failed())?
        .local_addr()
        .map_err(failed())
}

async fn node(directory: &Path, erl: &Path, side: &str, name: &str) -> Result<ErlNode, Error> {
    let alive = name.split('@').next().unwrap_or(name);
    let home = directory.join(format!("home-{alive}"));
    make(&home)?;
    let environment = directory.join(format!("agent/run/env/{alive}.env"));
    // Several VMs share few cores here: schedulers that spin would take them from each other.
    let args = [
        "-sname",
        name,
        "+sbwt",
        "none",
        "+sbwtdcpu",
        "none",
        "+sbwtdio",
        "none",
    ];
    let options = Options {
        label: format!("{name} of {side}"),
        erl: erl.to_owned(),
        home,
        args: args.map(str::to_owned).to_vec(),
        env: erl::environment(&environment)?,
    };
    ErlNode::start(&options).await
}

fn make(path: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(path).map_err(Error::system(path.display().to_string()))
}

fn write_secret(path: &Path, text: &str) -> Result<(), Error> {
    let failed = || Error::system(path.display().to_string());
    std::fs::write(path, text).map_err(failed())?;
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(path, private).map_err(failed())
}
