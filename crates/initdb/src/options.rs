//! The command line.

use std::path::{Path, PathBuf};

use common::getopt::{self, Argument, Opt};
use common::pg_control::is_valid_segment_size;
use common::version::{PACKAGE, PG_VERSION};

use crate::auth::{self, Connection};
use crate::report::{Failure, Result, complain, fail, say};

/// What the command line asks for.
pub(crate) enum Command {
    Help,
    Version,
    SyncOnly(PathBuf),
    Init(Box<Options>),
}

/// How the cluster shall be. Names are those of the long options.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(crate) data_dir: PathBuf,
    /// As the user spelled it, for the instructions at the end.
    pub(crate) data_dir_as_given: PathBuf,
    pub(crate) auth_local: String,
    pub(crate) auth_host: String,
    /// No method was given for one of them, and "trust" needs a warning.
    pub(crate) auth_warning: bool,
    pub(crate) username: Option<String>,
    pub(crate) pwprompt: bool,
    pub(crate) pwfile: Option<PathBuf>,
    pub(crate) encoding: Option<String>,
    pub(crate) locale: Option<String>,
    /// `--lc-collate` and so on, in the order of [`crate::locale::CATEGORIES`].
    pub(crate) lc: [Option<String>; 6],
    pub(crate) text_search_config: Option<String>,
    pub(crate) data_checksums: bool,
    pub(crate) group_access: bool,
    pub(crate) wal_dir: Option<PathBuf>,
    pub(crate) wal_segment_bytes: u32,
    pub(crate) no_sync: bool,
    pub(crate) no_clean: bool,
    pub(crate) no_instructions: bool,
    pub(crate) show: bool,
}

const OPTIONS: &[Opt] = &[
    Opt::value(Some('D'), "pgdata"),
    Opt::value(Some('A'), "auth"),
    Opt::value(None, "auth-local"),
    Opt::value(None, "auth-host"),
    Opt::value(Some('E'), "encoding"),
    Opt::flag(Some('g'), "allow-group-access"),
    Opt::value(None, "icu-locale"),
    Opt::flag(Some('k'), "data-checksums"),
    Opt::value(None, "locale"),
    Opt::value(None, "lc-collate"),
    Opt::value(None, "lc-ctype"),
    Opt::value(None, "lc-monetary"),
    Opt::value(None, "lc-numeric"),
    Opt::value(None, "lc-time"),
    Opt::value(None, "lc-messages"),
    Opt::flag(None, "no-locale"),
    Opt::value(None, "locale-provider"),
    Opt::value(None, "pwfile"),
    Opt::value(Some('T'), "text-search-config"),
    Opt::value(Some('U'), "username"),
    Opt::flag(Some('W'), "pwprompt"),
    Opt::value(Some('X'), "waldir"),
    Opt::value(None, "wal-segsize"),
    Opt::flag(Some('d'), "debug"),
    Opt::flag(None, "discard-caches"),
    Opt { key: "L", short: Some('L'), long: "", takes_value: true },
    Opt::flag(Some('n'), "no-clean"),
    Opt::flag(Some('N'), "no-sync"),
    Opt::flag(None, "no-instructions"),
    Opt::flag(Some('s'), "show"),
    Opt::flag(Some('S'), "sync-only"),
    Opt::flag(Some('V'), "version"),
    Opt::flag(Some('?'), "help"),
];

/// Default of `--wal-segsize`. C: `DEFAULT_XLOG_SEG_SIZE`.
const DEFAULT_WAL_SEGMENT_BYTES: u32 = 16 << 20;

/// Reads the command line and checks that its parts go together.
pub(crate) fn parse(program: &str, args: &[String]) -> Result<Command> {
    // Only as first word: that is when they work for root, and beside nonsense.
    match args.first().map(String::as_str) {
        Some("--help" | "-?") => return Ok(Command::Help),
        Some("--version" | "-V") => return Ok(Command::Version),
        _ => {}
    }
    let arguments = getopt::parse(args, OPTIONS)
        .map_err(|error| Failure::bare(format!("{program}: {error}")).advice())?;
    let mut found = Found { wal_segment_megabytes: None, ..Found::default() };
    let mut operands = Vec::new();
    for argument in arguments {
        match argument {
            Argument::Flag("help") => return Ok(Command::Help),
            Argument::Flag("version") => return Ok(Command::Version),
            Argument::Flag(key) => found.flag(key),
            Argument::Value(key, value) => found.value(key, value)?,
            Argument::Operand(word) => operands.push(word),
        }
    }
    found.take_operands(operands)?;
    found.finish()
}

/// The options as they come in, before they are checked against one another.
#[derive(Default)]
struct Found {
    options: Options,
    data_dir: Option<String>,
    auth_local: Option<String>,
    auth_host: Option<String>,
    wal_segment_megabytes: Option<String>,
    icu: bool,
    sync_only: bool,
}

impl Found {
    fn flag(&mut self, key: &str) {
        let options = &mut self.options;
        match key {
            "allow-group-access" => options.group_access = true,
            "data-checksums" => options.data_checksums = true,
            "no-locale" => options.locale = Some("C".to_owned()),
            "pwprompt" => options.pwprompt = true,
            "no-clean" => {
                options.no_clean = true;
                say("Running in no-clean mode.  Mistakes will not be cleaned up.\n");
            }
            "debug" => say("Running in debug mode.\n"),
            "no-sync" => options.no_sync = true,
            "no-instructions" => options.no_instructions = true,
            "show" => options.show = true,
            "sync-only" => self.sync_only = true,
            // --discard-caches: there are no caches.
            _ => {}
        }
    }

    fn value(&mut self, key: &str, value: String) -> Result<()> {
        let options = &mut self.options;
        let category = crate::locale::CATEGORIES.iter().position(|category| category.option == key);
        match key {
            _ if category.is_some() => options.lc[category.unwrap_or(0)] = Some(value),
            "pgdata" => self.data_dir = Some(value),
            "auth" => {
                // For the other kind of connection each of these two has a twin.
                self.auth_local = Some(if value == "ident" { "peer".to_owned() } else { value.clone() });
                self.auth_host = Some(if value == "peer" { "ident".to_owned() } else { value });
            }
            "auth-local" => self.auth_local = Some(value),
            "auth-host" => self.auth_host = Some(value),
            "encoding" => options.encoding = Some(value),
            "locale" => options.locale = Some(value),
            "icu-locale" => self.icu = true,
            "locale-provider" => match value.as_str() {
                "libc" => self.icu = false,
                "icu" => self.icu = true,
                other => return fail(format!("unrecognized locale provider: {other}")),
            },
            "pwfile" => options.pwfile = Some(value.into()),
            "text-search-config" => options.text_search_config = Some(value),
            "username" => options.username = Some(value),
            "waldir" => options.wal_dir = Some(value.into()),
            "wal-segsize" => self.wal_segment_megabytes = Some(value),
            // -L: there are no input files.
            _ => {}
        }
        Ok(())
    }

    fn take_operands(&mut self, operands: Vec<String>) -> Result<()> {
        for word in operands {
            if self.data_dir.is_some() {
                let message = format!("too many command-line arguments (first is \"{word}\")");
                return Err(Failure::new(message).advice());
            }
            self.data_dir = Some(word);
        }
        Ok(())
    }

    fn finish(self) -> Result<Command> {
        let Found { mut options, data_dir, auth_local, auth_host, wal_segment_megabytes, icu, sync_only } =
            self;
        if icu {
            return fail("ICU is not supported in this build");
        }
        if sync_only {
            return Ok(Command::SyncOnly(canonical(&data_dir_or_environment(data_dir)?)));
        }
        if options.pwprompt && options.pwfile.is_some() {
            return fail("password prompt and password file cannot be specified together");
        }
        options.auth_warning = auth_local.is_none() || auth_host.is_none();
        options.auth_local = auth_local.unwrap_or_else(|| "trust".to_owned());
        options.auth_host = auth_host.unwrap_or_else(|| "trust".to_owned());
        auth::check(&options.auth_local, Connection::Local)?;
        auth::check(&options.auth_host, Connection::Host)?;
        if auth::needs_password(&options.auth_local)
            && auth::needs_password(&options.auth_host)
            && !options.pwprompt
            && options.pwfile.is_none()
        {
            return fail("must specify a password for the superuser to enable password authentication");
        }
        options.wal_segment_bytes = match wal_segment_megabytes {
            Some(megabytes) => wal_segment_bytes(&megabytes)?,
            None => DEFAULT_WAL_SEGMENT_BYTES,
        };
        options.data_dir_as_given = data_dir_or_environment(data_dir)?;
        options.data_dir = canonical(&options.data_dir_as_given);
        Ok(Command::Init(Box::new(options)))
    }
}

fn wal_segment_bytes(megabytes: &str) -> Result<u32> {
    let Ok(number) = megabytes.trim().parse::<i64>() else {
        return fail("argument of --wal-segsize must be a number");
    };
    let bytes = u32::try_from(number).ok().and_then(|number| number.checked_mul(1 << 20));
    match bytes.filter(|bytes| is_valid_segment_size(*bytes)) {
        Some(bytes) => Ok(bytes),
        None => fail("argument of --wal-segsize must be a power of 2 between 1 and 1024"),
    }
}

fn data_dir_or_environment(given: Option<String>) -> Result<PathBuf> {
    let from_environment = || std::env::var_os("PGDATA").filter(|value| !value.is_empty());
    if let Some(dir) = given.map(PathBuf::from).or_else(|| from_environment().map(PathBuf::from)) {
        return Ok(dir);
    }
    Err(Failure::new("no data directory specified").hint(
        "You must identify the directory where the data for this database system will reside.  Do this with either the invocation option -D or the environment variable PGDATA.",
    ))
}

/// Without slashes at the end. C: the part of `canonicalize_path` that shows in messages.
fn canonical(dir: &Path) -> PathBuf {
    if dir.as_os_str().is_empty() { ".".into() } else { dir.components().collect() }
}

/// `--show`.
pub(crate) fn show(options: &Options, superuser: &str) {
    complain(&format!(
        "VERSION={PG_VERSION} ({PACKAGE})\nPGDATA={}\nPOSTGRES_SUPERUSERNAME={superuser}\n",
        options.data_dir.display()
    ));
}

/// `--help`.
pub(crate) const HELP: &str = r#"initdb initializes a PostgreSQL database cluster.

Usage:
  initdb [OPTION]... [DATADIR]

Options:
  -A, --auth=METHOD         default authentication method for local connections
      --auth-host=METHOD    default authentication method for local TCP/IP connections
      --auth-local=METHOD   default authentication method for local-socket connections
 [-D, --pgdata=]DATADIR     location for this database cluster
  -E, --encoding=ENCODING   set default encoding for new databases
  -g, --allow-group-access  allow group read/execute on data directory
  -k, --data-checksums      use data page checksums
      --locale=LOCALE       set default locale for new databases
      --lc-collate=, --lc-ctype=, --lc-messages=LOCALE
      --lc-monetary=, --lc-numeric=, --lc-time=LOCALE
                            set default locale in the respective category for
                            new databases (default taken from environment)
      --no-locale           equivalent to --locale=C
      --locale-provider={libc}
                            set default locale provider for new databases
      --pwfile=FILE         read password for the new superuser from file
  -T, --text-search-config=CFG
                            default text search configuration
  -U, --username=NAME       database superuser name
  -W, --pwprompt            prompt for a password for the new superuser
  -X, --waldir=WALDIR       location for the write-ahead log directory
      --wal-segsize=SIZE    size of WAL segments, in megabytes

Less commonly used options:
  -d, --debug               accepted, has no effect
      --discard-caches      accepted, has no effect
  -L DIRECTORY              accepted, has no effect
  -n, --no-clean            do not clean up after errors
  -N, --no-sync             do not wait for changes to be written safely to disk
      --no-instructions     do not print instructions for next steps
  -s, --show                show internal settings
  -S, --sync-only           only sync database files to disk, then exit

Other options:
  -V, --version             output version information, then exit
  -?, --help                show this help, then exit

If the data directory is not specified, the environment variable PGDATA
is used.
"#;
