//! A PostgreSQL server of our own, on the disk under measurement.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use postgres::{Client, NoTls, Statement};
use stiver_ledger::{
    id::AccountId,
    order::{Action, VerifiedOrder},
};

use crate::proxy::{find, open_to_others};

const MISSING: &str =
    "PostgreSQL is not installed: `apt-get install postgresql` (Debian) brings it";
const TABLES: &str = "
create table account (id bytea primary key, posted bigint not null);
create table transfer (
  hash bytea primary key, debit bytea not null, credit bytea not null, units bigint not null,
  nonce bytea not null, expires bigint not null, signed bytea not null
);
";
const INSERT: &str = "
insert into transfer
select * from unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::bigint[], $5::bytea[],
  $6::bigint[], $7::bytea[])";
const BALANCES: &str = "
update account set posted = posted + moved.delta
from (
  select id, sum(delta) as delta from (
    select unnest($1::bytea[]) as id, -unnest($3::bigint[]) as delta
    union all select unnest($2::bytea[]), unnest($3::bigint[])
  ) as side group by id
) as moved where account.id = moved.id";

/// A server, a connection to it and its statements. Stopped when dropped.
pub struct Postgres {
    client: Client,
    insert: Statement,
    balances: Statement,
    _server: Server,
}

/// A server's files and programs. Stopped when dropped.
pub struct Server {
    programs: PathBuf,
    data: PathBuf,
    address: String,
}

impl Postgres {
    /// Makes a database in a folder and starts its server, durable as it comes.
    pub fn start(base: &Path) -> Result<Self> {
        let server = Server::start(base, "")?;
        let mut client = server.client()?;
        client.batch_execute(TABLES)?;
        Ok(Self {
            insert: client.prepare(INSERT)?,
            balances: client.prepare(BALANCES)?,
            client,
            _server: server,
        })
    }

    /// Opens accounts with money in them.
    pub fn open_accounts(&mut self, accounts: impl Iterator<Item = AccountId>) -> Result<()> {
        let open = "insert into account values ($1, 1000000000000)";
        let mut all = self.client.transaction()?;
        for account in accounts {
            all.execute(open, &[&account.as_bytes().as_slice()])?;
        }
        Ok(all.commit()?)
    }

    /// Inserts transfers in one statement, durably.
    pub fn insert(&mut self, orders: &[VerifiedOrder]) -> Result<()> {
        let columns = Columns::of(orders);
        let count = self.client.execute(&self.insert, &columns.params())?;
        ensure!(
            count == orders.len() as u64,
            "PostgreSQL inserted {count} rows"
        );
        Ok(())
    }

    /// Inserts transfers and moves the balances, in one transaction.
    pub fn transfer(&mut self, orders: &[VerifiedOrder]) -> Result<()> {
        let columns = Columns::of(orders);
        let mut both = self.client.transaction()?;
        both.execute(&self.insert, &columns.params())?;
        let moved = both.execute(
            &self.balances,
            &[&columns.debit, &columns.credit, &columns.units],
        )?;
        ensure!(moved > 0, "PostgreSQL moved no balance");
        Ok(both.commit()?)
    }
}

/// Orders, column by column.
#[derive(Default)]
struct Columns {
    hash: Vec<Vec<u8>>,
    debit: Vec<Vec<u8>>,
    credit: Vec<Vec<u8>>,
    units: Vec<i64>,
    nonce: Vec<Vec<u8>>,
    expires: Vec<i64>,
    signed: Vec<Vec<u8>>,
}

impl Columns {
    fn of(orders: &[VerifiedOrder]) -> Self {
        let mut columns = Self::default();
        for verified in orders {
            let order = verified.order();
            let Action::Transfer { payee, amount, .. } = &order.action else {
                continue;
            };
            columns.hash.push(verified.hash().as_bytes().to_vec());
            columns.debit.push(order.account.as_bytes().to_vec());
            columns.credit.push(payee.as_bytes().to_vec());
            columns
                .units
                .push(i64::try_from(*amount).unwrap_or(i64::MAX));
            columns.nonce.push(order.nonce.as_bytes().to_vec());
            let expires = i64::try_from(order.expires.as_millis());
            columns.expires.push(expires.unwrap_or(i64::MAX));
            columns.signed.push(verified.signed().to_bytes());
        }
        columns
    }

    fn params(&self) -> [&(dyn postgres::types::ToSql + Sync); 7] {
        [
            &self.hash,
            &self.debit,
            &self.credit,
            &self.units,
            &self.nonce,
            &self.expires,
            &self.signed,
        ]
    }
}

impl Server {
    /// Makes a database in a folder and starts its server with these options, durable as it comes.
    pub fn start(base: &Path, options: &str) -> Result<Self> {
        let programs = programs().context(MISSING)?;
        // The server must not be root's, so that it needs a folder that its user can reach.
        open_to_others(base)?;
        let data = base.join("postgres");
        fs::create_dir(&data).context("making a folder")?;
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(&data))?;
        }
        let shown = data.display().to_string();
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let server = Self {
            programs,
            data,
            address: format!("host={shown} port={port} user=postgres dbname=postgres"),
        };
        server.run(
            "initdb",
            &["-D", &shown, "-A", "trust", "-U", "postgres", "--no-sync"],
        )?;
        let options = format!(
            "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={shown} {options}"
        );
        let log = format!("{shown}/log");
        server.run(
            "pg_ctl",
            &["-D", &shown, "-w", "-l", &log, "-o", &options, "start"],
        )?;
        Ok(server)
    }

    /// A connection to it.
    pub fn client(&self) -> Result<Client> {
        Client::connect(&self.address, NoTls).context("connecting to PostgreSQL")
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<()> {
        let program = self.programs.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
            command.arg(program);
            command
        } else {
            Command::new(program)
        };
        run(command.args(arguments).current_dir("/"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let data = self.data.display().to_string();
        // A server that cannot be stopped is told so by `pg_ctl` itself.
        let _ = self.run("pg_ctl", &["-D", &data, "-m", "immediate", "stop"]);
    }
}

fn run(command: &mut Command) -> Result<()> {
    let shown = format!("{:?}", command.get_program());
    let output = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .status()
        .with_context(|| format!("starting {shown}"))?;
    if !output.success() {
        bail!("{command:?} ended with {output}");
    }
    Ok(())
}

fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}

/// The folder of the server's programs, the newest version first.
fn programs() -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|folder| folder.join("initdb").is_file())
        .collect();
    folders.sort();
    folders
        .pop()
        .or_else(|| Some(find("initdb", &[])?.parent()?.to_owned()))
}
