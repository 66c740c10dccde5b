//! The options as a table for programs: `manage.py serve` makes its own options of it.

use clap::ArgAction;
use serde_json::{Value, json};

use super::command as command_line;

/// The options of a command, one JSON object each; none if there is no such command.
///
/// `value` is what the option's value is called, null for a flag; `repeated` is whether it may be
/// given more than once.
pub(crate) fn of(command: &str) -> Option<Value> {
    let cli = command_line();
    let options = cli
        .find_subcommand(command)?
        .get_arguments()
        .filter_map(|option| {
            let long = option.get_long().filter(|long| *long != "help")?;
            let flag = matches!(option.get_action(), ArgAction::SetTrue);
            let value = option.get_value_names().and_then(|names| names.first());
            Some(json!({
                "name": long,
                "variable": option.get_env().and_then(|variable| variable.to_str()),
                "value": value.filter(|_| !flag).map(ToString::to_string),
                "repeated": matches!(option.get_action(), ArgAction::Append),
                "group": option.get_help_heading(),
                "help": option.get_help().map(ToString::to_string),
            }))
        });
    Some(options.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_flags_from_options_with_a_value() {
        let table = of("serve").unwrap();
        let find = |name: &str| {
            let options = table.as_array().unwrap();
            let found = options.iter().find(|option| option["name"] == name);
            found.unwrap_or_else(|| panic!("no option {name}"))
        };
        assert_eq!(find("port")["value"], "PORT");
        assert_eq!(find("port")["variable"], "HURRICANE_PORT");
        assert_eq!(find("no-probe")["value"], Value::Null);
        assert!(of("nothing").is_none());
    }
}
