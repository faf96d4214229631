//! What a person sees while something goes on: a bar on a terminal, lines with a time elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use portal_api::{rfc3339, views::Job};
use protocol::{time::UnixMillis, wire::view::JobState};

use crate::cli::{args::Progress, clock, screen::Screen};

/// How often a bar is redrawn.
const REDRAW: Duration = Duration::from_millis(120);

/// How often a job that goes on is worth a line in plain mode. Another state always is.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// A bar on standard error, or nothing.
fn bar(screen: Screen, len: u64, template: &str) -> ProgressBar {
    if screen.progress() != Progress::Bar {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(len), ProgressDrawTarget::stderr());
    // A template is part of the program; if it were wrong, the plain style is still a bar.
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style.progress_chars("█▉▊▋▌▍▎▏ "));
    bar.enable_steady_tick(REDRAW);
    bar
}

/// Reading and hashing files.
#[derive(Debug)]
pub struct Hashing {
    bar: ProgressBar,
}

impl Hashing {
    /// Begins to read so many bytes.
    #[must_use]
    pub fn begin(screen: Screen, bytes: u64) -> Self {
        Self {
            bar: bar(
                screen,
                bytes,
                "  Reading   {bar:24} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left",
            ),
        }
    }

    /// So many bytes more were read.
    pub fn step(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    /// All were read.
    pub fn end(self) {
        self.bar.finish_and_clear();
    }
}

/// Moving contents from or to the node.
#[derive(Debug)]
pub struct Transfer {
    screen: Screen,
    bar: ProgressBar,
    moved: u64,
    skipped: u64,
}

impl Transfer {
    /// Begins to move so many contents.
    #[must_use]
    pub fn begin(screen: Screen, verb: &str, count: usize) -> Self {
        let template = format!("  {verb:<9} {{bar:24}} {{pos}}/{{len}}  {{eta}} left");
        let len = u64::try_from(count).unwrap_or(u64::MAX);
        Self { screen, bar: bar(screen, len, &template), moved: 0, skipped: 0 }
    }

    /// One was moved.
    pub fn step(&mut self) {
        self.moved = self.moved.saturating_add(1);
        self.bar.inc(1);
    }

    /// One was there already.
    pub fn skip(&mut self) {
        self.skipped = self.skipped.saturating_add(1);
        self.bar.inc(1);
    }

    /// All were moved.
    pub fn end(self) {
        self.bar.finish_and_clear();
        self.screen.detail(&format!("  moved {}, {} were there already", self.moved, self.skipped));
    }
}

/// A job that is being followed.
#[derive(Debug)]
pub struct Following {
    screen: Screen,
    bar: ProgressBar,
    last: Option<Line>,
}

/// A line of plain mode that was printed.
#[derive(Debug)]
struct Line {
    at: UnixMillis,
    state: JobState,
    line: String,
}

impl Following {
    /// Begins to follow a job.
    #[must_use]
    pub fn begin(screen: Screen, job: &Job) -> Self {
        let template = "  {prefix}  {bar:24} {pos}/{len} tasks  {msg}  {elapsed}, {eta} left";
        let bar = bar(screen, u64::from(job.tasks.total), template);
        bar.set_prefix(job.name.clone());
        Self { screen, bar, last: None }
    }

    /// Shows where the job is.
    pub fn show(&mut self, job: &Job) {
        let tasks = job.tasks;
        self.bar.set_position(u64::from(tasks.done.saturating_add(tasks.failed)));
        self.bar.set_message(notes(job));
        if self.screen.progress() == Progress::Plain {
            let (now, line) = (clock::now(), plain(job));
            let is_due = self.last.as_ref().is_none_or(|last| {
                let is_new = last.state != job.state || now.saturating_since(last.at) >= LINE_EVERY;
                is_new && last.line != line
            });
            if is_due {
                self.screen.news(&format!("{} {line}", rfc3339::format(now)));
                self.last = Some(Line { at: now, state: job.state, line });
            }
        }
    }

    /// Says something without breaking the bar.
    pub fn say(&self, line: &str) {
        self.bar.suspend(|| self.screen.news(line));
    }

    /// Ends.
    pub fn end(self) {
        self.bar.finish_and_clear();
    }
}

/// `4 running · 2 retried`.
fn notes(job: &Job) -> String {
    let tasks = job.tasks;
    let mut notes = Vec::new();
    if job.state == JobState::Queued {
        notes.push("waiting".to_owned());
    }
    for (count, word) in
        [(tasks.running, "running"), (tasks.retried, "retried"), (tasks.failed, "failed")]
    {
        if count > 0 {
            notes.push(format!("{count} {word}"));
        }
    }
    notes.join(" · ")
}

/// The line of plain mode, without its time.
fn plain(job: &Job) -> String {
    let tasks = job.tasks;
    format!(
        "job={} state={} tasks={}/{} failed={} retried={}",
        job.id,
        job.state.name().to_ascii_lowercase(),
        tasks.done,
        tasks.total,
        tasks.failed,
        tasks.retried
    )
}
