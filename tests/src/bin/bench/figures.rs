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

    /// Prints the table.
    #[expect(clippy::print_stdout, reason = "this is what the program is for")]
    pub(crate) fn print(&self) {
        println!("{:<32} {:>14}  {:<8} {:>12}", "FIGURE", "VALUE", "UNIT", "GOAL");
        for figure in &self.figures {
            let goal = figure.goal.map_or_else(|| "-".to_owned(), |goal| format!("{goal}"));
            println!("{:<32} {:>14.2}  {:<8} {goal:>12}", figure.name, figure.value, figure.unit);
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
