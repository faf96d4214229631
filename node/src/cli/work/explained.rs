//! `weft exec --explain`: which functions of a program spent its fuel.

use protocol::units::Fuel;
use sandbox::metering::function_names;
use serde::Serialize;

use crate::cli::{human, table::Table};

/// Functions that are shown to people; documents have all.
const SHOWN_MAX: usize = 25;

/// What one function spent, without the functions that it called.
#[derive(Debug, Serialize)]
pub(super) struct Spent {
    /// Its name, if the module tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Its place among the module's own functions, from 0.
    function: u32,
    fuel: Fuel,
}

/// What all of them spent, most first.
#[derive(Debug, Serialize)]
pub(super) struct Explanation {
    functions: Vec<Spent>,
    /// Everything else: setting up, calls of the host, and what ended the program.
    fuel_elsewhere: Fuel,
}

impl Explanation {
    /// Gives the functions their names. `all` is what the program spent.
    pub(super) fn new(module: &[u8], spent: &[(u32, u64)], all: Fuel) -> Self {
        let mut names = function_names(module);
        let functions: Vec<_> = spent
            .iter()
            .filter(|(_, fuel)| *fuel > 0)
            .map(|(function, fuel)| Spent {
                name: names.remove(function),
                function: *function,
                fuel: Fuel(*fuel),
            })
            .collect();
        let told = functions.iter().fold(0_u64, |sum, one| sum.saturating_add(one.fuel.0));
        Self { functions, fuel_elsewhere: Fuel(all.0.saturating_sub(told)) }
    }

    /// The table for people.
    pub(super) fn table(&self, all: Fuel, with_header: bool) -> String {
        let mut table = Table::new(&["FUEL", "SHARE", "FUNCTION"]);
        let mut row = |fuel: Fuel, name: String| {
            table.row([human::fuel(fuel), share(fuel, all), name]);
        };
        for one in self.functions.iter().take(SHOWN_MAX) {
            let name = one.name.clone();
            row(one.fuel, name.unwrap_or_else(|| format!("function {}", one.function)));
        }
        let rest = self.functions.get(SHOWN_MAX..).unwrap_or_default();
        if !rest.is_empty() {
            let fuel = rest.iter().fold(0_u64, |sum, one| sum.saturating_add(one.fuel.0));
            let number = u64::try_from(rest.len()).unwrap_or(u64::MAX);
            row(Fuel(fuel), human::plural(number, "other function", "other functions"));
        }
        row(self.fuel_elsewhere, "(start, and calls of the host)".to_owned());
        table.render(with_header)
    }
}

/// A part of the whole: `12.5 %`.
fn share(part: Fuel, all: Fuel) -> String {
    let thousandths = u128::from(part.0).saturating_mul(1_000).checked_div(all.0.into());
    let thousandths = thousandths.unwrap_or(0);
    let (whole, tenth) =
        (thousandths.checked_div(10).unwrap_or(0), thousandths.checked_rem(10).unwrap_or(0));
    format!("{whole}.{tenth} %")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_named_as_far_as_the_module_tells_and_the_parts_add_up() {
        let module = sandbox::guests::example("primes").unwrap_or_default();
        let explained = Explanation::new(module, &[(7, 600), (3, 300), (9, 0)], Fuel(1_000));
        assert_eq!(explained.functions.len(), 2);
        assert_eq!(explained.fuel_elsewhere, Fuel(100));
        let text = explained.table(Fuel(1_000), true);
        assert!(text.starts_with("FUEL      SHARE   FUNCTION\n600 fuel  60.0 %  "), "{text}");
        assert!(text.ends_with("100 fuel  10.0 %  (start, and calls of the host)\n"), "{text}");
    }

    #[test]
    fn many_functions_are_shown_as_one_line() {
        let spent: Vec<_> = (0..30).map(|number| (number, 10)).collect();
        let text = Explanation::new(b"", &spent, Fuel(300)).table(Fuel(300), false);
        assert!(text.contains("function 24\n50 fuel  16.6 %  5 other functions\n"), "{text}");
    }

    #[test]
    fn nothing_is_divided_by_nothing() {
        assert_eq!(share(Fuel(0), Fuel(0)), "0.0 %");
    }
}
