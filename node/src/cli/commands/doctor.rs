//! `weft doctor`.

use std::{collections::BTreeMap, path::Path};

use portal_api::views::{Kind, List, Status};
use serde::Serialize;

use super::daemon::variables;
use crate::{
    cli::{
        args::{AreaArg, DoctorArgs},
        client::Client,
        clock,
        context::Context,
        error::CliError,
        exit::Exit,
        human,
    },
    doctor::{self, Answers, Area, Bundle, Diagnosis, Place, Severity},
};

/// Columns before the text of a line.
const NAME_COLUMNS: usize = 13;
/// Columns before the code of a finding.
const CODE_COLUMN: usize = 74;

/// What was found, for programs.
#[derive(Debug, Serialize)]
struct Report {
    healthy: bool,
    problems: usize,
    warnings: usize,
    notes: usize,
    items: Vec<Diagnosis>,
    /// What `--fix` did, or would do.
    treated: Vec<Treated>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bundle: Option<String>,
}

impl Kind for Report {
    const KIND: &'static str = "DoctorReport";
}

/// Something that was mended.
#[derive(Debug, Serialize)]
struct Treated {
    check: &'static str,
    what: String,
    done: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Looks, mends if that is wanted, and says what there is.
///
/// # Errors
///
/// If there is no place to look at, or the bundle cannot be written. What is found is no error, but exit code 8.
pub async fn doctor(context: &Context, args: &DoctorArgs) -> Result<Exit, CliError> {
    let mut place = place(context).await?;
    let area = args.area.map(|AreaArg::Net| Area::Net);
    let mut found = doctor::examine(&place, area).await;
    let mut treated = Vec::new();
    if args.fix {
        treated = treat(context, &found);
        if treated.iter().any(|treated| treated.done) {
            place.answers = answers(context).await?;
            found = doctor::examine(&place, area).await;
        }
    }
    let bundle = args.bundle.as_deref().filter(|_| !context.dry_run());
    if let Some(path) = bundle {
        write_bundle(path, &place, &found)?;
    }
    let count = |severity| found.iter().filter(|diagnosis| diagnosis.severity == severity).count();
    let report = Report {
        healthy: count(Severity::Problem) == 0,
        problems: count(Severity::Problem),
        warnings: count(Severity::Warn),
        notes: count(Severity::Note),
        items: found,
        treated,
        bundle: bundle.map(|path| path.display().to_string()),
    };
    let exit = if report.healthy { Exit::SUCCESS } else { Exit::UNHEALTHY };
    context.screen.document(
        report,
        |report| {
            let codes = report.items.iter().filter_map(|it| it.code.map(doctor::Finding::code));
            codes.collect::<Vec<_>>().join("\n")
        },
        |report| in_words(context, report, area),
    )?;
    Ok(exit)
}

/// This machine, and what the node in the data directory says.
async fn place(context: &Context) -> Result<Place, CliError> {
    Ok(Place {
        root: "/".into(),
        dir: std::path::absolute(context.data_dir()?).unwrap_or_default(),
        variables: variables().collect::<BTreeMap<_, _>>(),
        answers: answers(context).await?,
        now: clock::now(),
    })
}

async fn answers(context: &Context) -> Result<Answers, CliError> {
    let mut client = context.client()?;
    let mut answers = Answers::default();
    let asked = async {
        match client.get::<Status>("/api/v1/status").await {
            Ok(status) => answers.status = Some(status),
            Err(error) => {
                answers.silence = Some(error.detail().to_owned());
                return;
            }
        }
        ask_more(&mut client, &mut answers).await;
    };
    if tokio::time::timeout(doctor::LOOK_WITHIN, asked).await.is_err() {
        answers.silence.get_or_insert_with(|| "it did not answer in time".to_owned());
    }
    Ok(answers)
}

/// What may be missing: a node that waits knows no members.
async fn ask_more(client: &mut Client, answers: &mut Answers) {
    answers.health = match client.get("/healthz").await {
        Ok(health) => Some(health),
        Err(error) => Some(portal_api::views::Health::of(error.checks().to_vec())),
    };
    let peers = client.get::<List<_>>("/api/v1/peers").await;
    answers.peers = peers.map(|list| list.items).unwrap_or_default();
    let nodes = client.get::<List<_>>("/api/v1/nodes?limit=500").await;
    answers.nodes = nodes.map(|list| list.items).unwrap_or_default();
}

fn treat(context: &Context, found: &[Diagnosis]) -> Vec<Treated> {
    let treatments = found.iter().filter_map(|it| Some((it.check, it.treatment.as_ref()?)));
    let treat = |(check, treatment): (_, &doctor::Treatment)| {
        let applied = if context.dry_run() { None } else { Some(treatment.apply()) };
        Treated {
            check,
            what: treatment.summary(),
            done: matches!(applied, Some(Ok(()))),
            error: applied.and_then(Result::err).map(|error| error.to_string()),
        }
    };
    treatments.map(treat).collect()
}

fn write_bundle(path: &Path, place: &Place, found: &[Diagnosis]) -> Result<(), CliError> {
    let seconds = place.now.0.checked_div(1_000).unwrap_or(0);
    Bundle::new(place, found)
        .write(path, seconds)
        .map_err(|error| CliError::unwritable(path, &error.source))
}

fn in_words(context: &Context, report: &Report, area: Option<Area>) -> String {
    let mut text = String::new();
    for diagnosis in &report.items {
        // `-q`: what is as it should be needs no words.
        if context.globals().quiet && diagnosis.severity == Severity::Ok {
            continue;
        }
        text.push_str(&line(context, diagnosis, area.is_some()));
    }
    for treated in &report.treated {
        let how = match (&treated.error, treated.done) {
            (Some(error), _) => format!("failed: {error}"),
            (None, true) => "done".to_owned(),
            (None, false) => "would be done".to_owned(),
        };
        text.push_str(&format!("  mended: {}   ({how})\n", treated.what));
    }
    let plural = |count: usize, one, many| {
        human::plural(u64::try_from(count).unwrap_or(u64::MAX), one, many)
    };
    let mut counts = Vec::new();
    for (count, one, many) in [
        (report.problems, "problem", "problems"),
        (report.warnings, "warning", "warnings"),
        (report.notes, "note", "notes"),
    ] {
        if count > 0 || one == "problem" {
            counts.push(plural(count, one, many));
        }
    }
    let exit = if report.healthy { "" } else { "  Exit 8." };
    text.push_str(&format!("  {}.{exit}", counts.join(", ")));
    match &report.bundle {
        Some(path) => text.push_str(&format!("   bundle: {path} (it holds no secret)")),
        None => text.push_str("   share: weft doctor --bundle FILE (without secrets)"),
    }
    text.push_str(if area.is_none() { "     network detail: weft doctor net\n" } else { "\n" });
    text
}

/// `  ✗ firewall      udp/4301 is blocked by ufw              [WD-014]`
fn line(context: &Context, diagnosis: &Diagnosis, detailed: bool) -> String {
    let begin = format!(
        "  {} {:<NAME_COLUMNS$} {}",
        diagnosis.severity.sign(),
        diagnosis.check,
        crate::cli::table::printable(&diagnosis.text)
    );
    let mut text = match diagnosis.code {
        Some(code) => format!("{begin:<CODE_COLUMN$} [{code}]\n"),
        None => format!("{begin}\n"),
    };
    let indent = " ".repeat(NAME_COLUMNS.saturating_add(5));
    if detailed || context.screen.is_wide() || diagnosis.severity >= Severity::Warn {
        for seen in diagnosis.evidence.iter().filter(|seen| !seen.is_empty()) {
            text.push_str(&format!("{indent}{}\n", crate::cli::table::printable(seen)));
        }
    }
    if diagnosis.severity >= Severity::Warn {
        let help = diagnosis.code.map(doctor::Finding::help).unwrap_or_default();
        let fix = diagnosis.fix.as_deref().unwrap_or(help);
        text.push_str(&format!("      fix: {}\n", crate::cli::table::printable(fix)));
    }
    if diagnosis.treatment.is_some() {
        text.push_str("      weft doctor --fix does it\n");
    }
    text
}
