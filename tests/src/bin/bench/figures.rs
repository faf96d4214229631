//! What was measured.

use std::{fs, io, path::Path};

use serde::Serialize;

/// One figure. The names are stable: `docs/figures.md` has the list.
#[derive(Debug, Clone, Serialize)]
struct Figure {
    name: &'static str,
    value: f64,
    unit: &'static str,
    goal: Option<f64>,
    met: bool,
}

/// The figures of a suite, in the order in which they were measured.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    figures: Vec<Figure>,
}

impl Figures {
    /// Adds a figure that has no goal yet.
    pub(crate) fn add(&mut self, name: &'static str, value: f64, unit: &'static str) {
        self.figures.push(Figure { name, value, unit, goal: None, met: true });
    }

    /// Adds a figure that should be no more than its goal.
    pub(crate) fn at_most(
        &mut self,
        name: &'static str,
        value: f64,
        unit: &'static str,
        goal: f64,
    ) {
        self.figures.push(Figure { name, value, unit, goal: Some(goal), met: value <= goal });
    }

    /// Prints the table.
    #[expect(clippy::print_stdout, reason = "this is what the program is for")]
    pub(crate) fn print(&self) {
        println!("{:<40} {:>14}  {:<8} {:>12}  MET", "FIGURE", "VALUE", "UNIT", "GOAL");
        for figure in &self.figures {
            let goal = figure.goal.map_or_else(|| "-".to_owned(), |goal| format!("{goal}"));
            let met = if figure.met { "yes" } else { "NO" };
            println!(
                "{:<40} {:>14.2}  {:<8} {goal:>12}  {met}",
                figure.name, figure.value, figure.unit
            );
        }
    }

    /// Writes them as a JSON array.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        fs::write(path, serde_json::to_vec_pretty(&self.figures)?)
    }
}

/// The value below which that many percent lie; not a number if there are none.
pub(crate) fn quantile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = values.len().saturating_mul(percent).checked_div(100).unwrap_or(0);
    values.get(at.min(values.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}
