//! The command line, in PostgreSQL's spelling.

use common::SqlState;
use elog::fatal;
use guc::StartupProblem;

/// What the program is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// `--help`
    Help,
    /// `--version`
    Version,
    /// `--describe-config`
    DescribeConfig,
    /// `-C name`
    ShowSetting(String),
    /// Be a postmaster.
    Serve,
    /// `--single`: serve the terminal, without a postmaster.
    Single,
}

/// The command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) command: Command,
    /// `-D`
    pub(crate) data_dir: Option<String>,
    /// Settings in the order given: a later one wins.
    pub(crate) settings: Vec<(String, String)>,
    /// `-T`
    pub(crate) send_stop: bool,
    /// `-j`, of `--single`
    pub(crate) semicolon_newline: bool,
    /// `-E`, of `--single`
    pub(crate) echo: bool,
    /// The word that is no option, of `--single`
    pub(crate) database: Option<String>,
}

const ADVICE: &str = "Try \"postgres --help\" for more information.";

/// Options that take an argument and are another way to write a setting.
const WITH_ARGUMENT: [(char, &str); 7] = [
    ('B', "shared_buffers"),
    ('h', "listen_addresses"),
    ('k', "unix_socket_directories"),
    ('N', "max_connections"),
    ('p', "port"),
    ('S', "work_mem"),
    ('W', "post_auth_delay"),
];

/// Options without argument and the setting each stands for.
const FLAGS: [(char, &str, &str); 6] = [
    ('e', "datestyle", "euro"),
    ('F', "fsync", "false"),
    ('i', "listen_addresses", "*"),
    ('l', "ssl", "true"),
    ('O', "allow_system_table_mods", "true"),
    ('P', "ignore_system_indexes", "true"),
];

/// Reads the arguments after the program's name. `program` is the name it was called by, which only messages
/// about single letters repeat.
///
/// # Errors
/// What the terminal or the log is told; the program then ends with status 1.
pub(crate) fn parse(program: &str, arguments: &[String]) -> Result<Options, StartupProblem> {
    let mut options = Options {
        command: Command::Serve,
        data_dir: None,
        settings: Vec::new(),
        send_stop: false,
        semicolon_newline: false,
        echo: false,
        database: None,
    };
    match arguments.first().map(String::as_str) {
        Some("--help" | "-?") => options.command = Command::Help,
        Some("--version" | "-V") => options.command = Command::Version,
        Some("--describe-config") => options.command = Command::DescribeConfig,
        Some("--single") => {
            options.command = Command::Single;
            parse_all(program, &arguments[1..], &mut options)?;
        }
        Some(mode @ ("--boot" | "--check")) => {
            return text(format!("postgres: {mode} is not supported yet"));
        }
        _ => parse_all(program, arguments, &mut options)?,
    }
    Ok(options)
}

fn parse_all(program: &str, arguments: &[String], options: &mut Options) -> Result<(), StartupProblem> {
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if let Some(assignment) = argument.strip_prefix("--") {
            options.settings.push(assignment_of(assignment, &format!("--{assignment}"))?);
            continue;
        }
        let Some(letters) = argument.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
            if options.command == Command::Single && options.database.is_none() {
                options.database = Some(argument.clone());
                continue;
            }
            if options.command == Command::Single {
                return invalid_in_single(argument);
            }
            return text(format!("postgres: invalid argument: \"{argument}\"\n{ADVICE}"));
        };
        parse_letters(program, letters, &mut rest, options)?;
    }
    Ok(())
}

/// Single-user mode complains through the log. C: the end of `process_postgres_switches`.
fn invalid_in_single<T>(argument: &str) -> Result<T, StartupProblem> {
    let error = fatal!(SqlState::SYNTAX_ERROR, "postgres: invalid command-line argument: {argument}");
    Err(StartupProblem::Report(error.hint(ADVICE)))
}

/// `-Dx`, `-D x`, or several flags in one word, as getopt reads them.
fn parse_letters<'a>(
    program: &str,
    letters: &str,
    rest: &mut impl Iterator<Item = &'a String>,
    options: &mut Options,
) -> Result<(), StartupProblem> {
    for (at, letter) in letters.char_indices() {
        if let Some((_, name, value)) = FLAGS.iter().find(|(flag, ..)| *flag == letter) {
            options.settings.push(((*name).to_owned(), (*value).to_owned()));
            continue;
        }
        let flag = match letter {
            'T' => Some(&mut options.send_stop),
            'j' => Some(&mut options.semicolon_newline),
            'E' => Some(&mut options.echo),
            _ => None,
        };
        if let Some(flag) = flag {
            *flag = true;
            continue;
        }
        // Flags without an effect here.
        if matches!(letter, 'n' | 's') {
            continue;
        }
        let attached = &letters[at + letter.len_utf8()..];
        let mut value = || {
            let value = if attached.is_empty() { rest.next().cloned() } else { Some(attached.to_owned()) };
            value.map_or_else(
                || text(format!("{program}: option requires an argument -- '{letter}'\n{ADVICE}")),
                Ok,
            )
        };
        match letter {
            'D' => options.data_dir = Some(value()?),
            'C' => options.command = Command::ShowSetting(value()?),
            'c' => {
                let text = value()?;
                options.settings.push(assignment_of(&text, &format!("-c {text}"))?);
            }
            'd' => {
                let level = value()?;
                options.settings.push(("log_min_messages".into(), debug_level(&level)));
            }
            _ => match WITH_ARGUMENT.iter().find(|(option, _)| *option == letter) {
                Some((_, name)) => options.settings.push(((*name).to_owned(), value()?)),
                None if options.command == Command::Single => {
                    return invalid_in_single(&format!("-{letters}"));
                }
                None => return text(format!("{program}: invalid option -- '{letter}'\n{ADVICE}")),
            },
        }
        return Ok(());
    }
    Ok(())
}

/// `-d 3` is `debug3`; `-d 0` is `notice`. C: `set_debug_options`.
fn debug_level(level: &str) -> String {
    match level.parse::<i32>() {
        Ok(level @ 1..) => format!("debug{}", level.min(5)),
        _ => "notice".into(),
    }
}

fn assignment_of(text: &str, shown: &str) -> Result<(String, String), StartupProblem> {
    match guc::parse_long_option(text) {
        (name, Some(value)) => Ok((name, value)),
        // PostgreSQL has its log by then, and uses it.
        (_, None) => Err(fatal!(SqlState::SYNTAX_ERROR, "{shown} requires a value").into()),
    }
}

fn text<T>(message: String) -> Result<T, StartupProblem> {
    Err(StartupProblem::Text(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse("/bin/postgres", &words).map_err(|problem| match problem {
            StartupProblem::Text(text) => text,
            StartupProblem::Report(error) => error.to_string(),
        })
    }

    #[test]
    fn settings_in_every_spelling() {
        let options =
            parsed("-D d1 -p 5601 -h * -c work_mem=4MB --log-connections=on -Fi -N20 -d 2").unwrap();
        assert_eq!(options.data_dir.as_deref(), Some("d1"));
        let expected = [
            ("port", "5601"),
            ("listen_addresses", "*"),
            ("work_mem", "4MB"),
            ("log_connections", "on"),
            ("fsync", "false"),
            ("listen_addresses", "*"),
            ("max_connections", "20"),
            ("log_min_messages", "debug2"),
        ];
        let expected: Vec<(String, String)> =
            expected.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        assert_eq!(options.settings, expected);
    }

    #[test]
    fn commands() {
        assert_eq!(parsed("--version").unwrap().command, Command::Version);
        assert_eq!(parsed("-D d -C port").unwrap().command, Command::ShowSetting("port".into()));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let check = |line, expected: &str| {
            let message = parsed(line).unwrap_err();
            assert_eq!(message.lines().next(), Some(expected));
        };
        check("-Z", "/bin/postgres: invalid option -- 'Z'");
        check("-D", "/bin/postgres: option requires an argument -- 'D'");
        check("extra", "postgres: invalid argument: \"extra\"");
        check("-c port", "FATAL:  -c port requires a value");
        check("--single a b", "FATAL:  postgres: invalid command-line argument: b");
        check("--single -Z", "FATAL:  postgres: invalid command-line argument: -Z");
        check("--boot", "postgres: --boot is not supported yet");
    }
}
