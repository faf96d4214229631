//! What determinism and metering cost, and how fast tasks start and stop.

mod peers;

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, bail, ensure};
use protocol::{
    ids::{AccountId, Hash},
    outcome::{Interruption, Outcome},
    units::Fuel,
    wire::job::TaskLimits,
};
use sandbox::{
    pool::{Config, Pool, Priority, find_runner},
    task::{ModuleSource, TaskDone, TaskRun},
};
use tokio::time::Instant;

use self::peers::{Native, Peer};
use crate::figures::Figures;

/// The module that has all kernels in it.
pub(crate) const KERNELS: &[u8] = include_bytes!("../../../../sandbox/guests/wasm/kernels.wasm");

/// How often each kernel is measured on each engine; the fastest counts.
const REPEATS: u32 = 5;
/// How long one measurement should take at least.
const ENOUGH: Duration = Duration::from_millis(60);
/// Tasks that latencies are taken from.
const TASKS: usize = 2_000;
/// Starts that latencies are taken from.
const STARTS: usize = 40;
/// Guests that are stopped at their deadline.
const STOPS: usize = 10;

/// A kernel, and the names of its figures.
struct Kernel {
    name: &'static str,
    /// Whether it does little but call.
    calls: bool,
    ratio: &'static str,
    canonical: &'static str,
    stock: &'static str,
    native: &'static str,
}

macro_rules! kernels {
    ($($name:literal $calls:literal),* $(,)?) => {
        &[$(Kernel {
            name: $name,
            calls: $calls,
            ratio: concat!("sandbox-kernel-", $name),
            canonical: concat!("sandbox-kernel-", $name, "-nan"),
            stock: concat!("sandbox-kernel-", $name, "-stock"),
            native: concat!("sandbox-kernel-", $name, "-native"),
        }),*]
    };
}

const ALL: &[Kernel] = kernels![
    "sieve" false, "matmul" false, "nbody" false, "mandelbrot" false, "calls" true, "sort" true,
    "sha256" false, "crc32" false, "compress" false, "strings" false, "image" false, "fourier" false,
    "table" false, "interpreter" false,
];

/// Measures all of it.
///
/// # Errors
///
/// If a guest does not do what it should, or the runner is not there.
pub(crate) async fn measure(figures: &mut Figures) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let mut config = Config::new(find_runner()?, directory.path().join("artifacts"), 1);
    config.priority = Priority::Normal;
    config.spare = true;
    let pool = Pool::new(config)?;
    kernels(figures, &pool, directory.path()).await?;
    tasks(figures, &pool).await?;
    starts(figures, &pool).await?;
    stops(figures, &pool).await?;
    withdrawals(figures, &pool).await
}

fn task(wasm: &[u8], args: &[&str]) -> TaskRun {
    TaskRun {
        module: Hash::of(wasm),
        source: ModuleSource::Bytes(wasm.into()),
        owner: AccountId([1; 32]),
        args: args.iter().map(ToString::to_string).collect(),
        env: Vec::new(),
        stdin: Arc::from([]),
        files: Vec::new(),
        limits: TaskLimits { fuel: Fuel(1 << 50), timeout_ms: 600_000, ..TaskLimits::default() },
        seed: [0; 32],
    }
}

/// Runs a kernel so many rounds in the sandbox; the time, and what it printed.
async fn ours(pool: &Pool, name: &str, rounds: u32) -> anyhow::Result<(Duration, Vec<u8>)> {
    let done = pool.run(task(KERNELS, &[name, &rounds.to_string()])).await;
    ensure!(done.outcome == Outcome::Exit(0), "{name}: {} {:?}", done.outcome, done.detail);
    Ok((done.timings.ran.saturating_sub(done.timings.ready), done.stdout))
}

/// The time of one round: the difference of two measurements, so that starting and ending do not count.
fn per_round(long: Duration, short: Duration, rounds: u32) -> f64 {
    long.saturating_sub(short).as_secs_f64() / f64::from(rounds)
}

/// The engines that a kernel is measured on besides ours.
struct Peers {
    plain: Peer,
    canonical: Peer,
    stock: Peer,
    native: Option<Native>,
}

/// Seconds of one round: here, in plain wasmer, with its canonical NaNs, with its metering too, native.
async fn best(pool: &Pool, peers: &Peers, name: &str) -> anyhow::Result<[f64; 5]> {
    // As many rounds as take long enough.
    let once = peers.plain.run(name, 2)?.0.saturating_sub(peers.plain.run(name, 1)?.0);
    let mut rounds = 1_u32;
    while once.saturating_mul(rounds) < ENOUGH && rounds < 1_000 {
        rounds = rounds.saturating_add(1);
    }
    let many = rounds.saturating_add(1);
    let mut best = [f64::MAX; 5];
    for _ in 0..REPEATS {
        let (long, said) = ours(pool, name, many).await?;
        let (short, _) = ours(pool, name, 1).await?;
        let mut times = vec![per_round(long, short, rounds)];
        for peer in [&peers.plain, &peers.canonical, &peers.stock] {
            let (long, also) = peer.run(name, many)?;
            let (short, _) = peer.run(name, 1)?;
            ensure!(said == also, "{name}: another result");
            times.push(per_round(long, short, rounds));
        }
        if let Some(native) = &peers.native {
            times.push(per_round(native.run(name, many)?, native.run(name, 1)?, rounds));
        }
        for (best, time) in best.iter_mut().zip(times) {
            *best = best.min(time);
        }
    }
    Ok(best)
}

async fn kernels(figures: &mut Figures, pool: &Pool, directory: &Path) -> anyhow::Result<()> {
    let native = Native::compile(directory)?;
    let (plain, canonical, stock) = (Peer::plain()?, Peer::canonical()?, Peer::stock()?);
    let peers = Peers { plain, canonical, stock, native };
    if peers.native.is_none() {
        say("native: no C compiler installed");
    }
    say("wasmtime: not a part of this build");
    let (mut sum, mut nan_sum, mut stock_sum) = (0.0, 0.0, 0.0);
    let (mut worst_loop, mut worst_calls) = (0.0_f64, 0.0_f64);
    for kernel in ALL {
        let [ours, plain, canonical, stock, native] = best(pool, &peers, kernel.name).await?;
        let ratio = ours / plain;
        figures.at_most(kernel.ratio, ratio, "x", if kernel.calls { 2.2 } else { 1.5 });
        figures.add(kernel.canonical, canonical / plain, "x");
        figures.add(kernel.stock, stock / plain, "x");
        if peers.native.is_some() {
            figures.add(kernel.native, ours / native, "x");
        }
        sum += ratio.ln();
        nan_sum += (canonical / plain).ln();
        stock_sum += (stock / plain).ln();
        let worst = if kernel.calls { &mut worst_calls } else { &mut worst_loop };
        *worst = worst.max(ratio);
    }
    let count = f64::from(u32::try_from(ALL.len())?);
    figures.at_most("sandbox-kernels-mean", (sum / count).exp(), "x", 1.25);
    figures.at_most("sandbox-kernels-worst-loop", worst_loop, "x", 1.5);
    figures.at_most("sandbox-kernels-worst-calls", worst_calls, "x", 2.2);
    figures.add("sandbox-kernels-mean-nan", (nan_sum / count).exp(), "x");
    figures.add("sandbox-kernels-mean-stock", (stock_sum / count).exp(), "x");
    Ok(())
}

/// The value that so many hundredths of all are not above.
fn percentile(sorted: &[Duration], hundredths: usize) -> f64 {
    let place = sorted.len().saturating_mul(hundredths) / 100;
    let at = sorted.get(place.min(sorted.len().saturating_sub(1)));
    at.map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
}

fn sorted(mut times: Vec<Duration>) -> Vec<Duration> {
    times.sort_unstable();
    times
}

/// A task that does nothing, in a warm runner.
async fn tasks(figures: &mut Figures, pool: &Pool) -> anyhow::Result<()> {
    let noop =
        wasmer::wat2wasm(br#"(module (memory (export "memory") 1) (func (export "_start")))"#)?;
    let mut all: Vec<(Duration, TaskDone)> = Vec::with_capacity(TASKS);
    for _ in 0..TASKS {
        let began = Instant::now();
        let done = pool.run(task(&noop, &[])).await;
        ensure!(done.outcome == Outcome::Exit(0), "{} {:?}", done.outcome, done.detail);
        all.push((began.elapsed(), done));
    }
    let warm = all.get(TASKS / 10..).unwrap_or_default();
    let whole = sorted(warm.iter().map(|(time, _)| *time).collect());
    let ready = sorted(warm.iter().map(|(_, done)| done.timings.ready).collect());
    let cpu = sorted(warm.iter().map(|(_, done)| done.timings.cpu).collect());
    figures.at_most("sandbox-warm-start-p50", percentile(&ready, 50), "us", 100.0);
    figures.at_most("sandbox-warm-start-p99", percentile(&ready, 99), "us", 500.0);
    figures.at_most("sandbox-warm-cpu", percentile(&cpu, 50), "us", 200.0);
    figures.at_most("sandbox-noop-pipe-p50", percentile(&whole, 50), "us", 250.0);
    figures.add("sandbox-noop-pipe-p99", percentile(&whole, 99), "us");
    figures.at_most("sandbox-idle-runner-memory", resident(pool)?, "MiB", 20.0);
    Ok(())
}

/// What a runner that waits has of the machine's memory, with the process that waits for it.
fn resident(pool: &Pool) -> anyhow::Result<f64> {
    // The last is the spare one, which has no module.
    let idle = pool.idle_processes();
    let pid = *idle.iter().rev().nth(1).context("no runner is idle")?;
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let inner = children.unwrap_or_default();
    let mut kilobytes = 0.0;
    for pid in inner.split_whitespace().chain([pid.to_string().as_str()]) {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = rss.and_then(|text| text.trim().split(' ').next()).unwrap_or("0");
        kilobytes += number.parse::<f64>()?;
    }
    Ok(kilobytes / 1024.0)
}

/// Modules of a megabyte, more of them than are kept warm, each a little different.
fn megabytes() -> anyhow::Result<Vec<Vec<u8>>> {
    const MODULES: u32 = 4;
    let function = |number: u32| {
        let body: String = (0..60)
            .map(|step| {
                format!("(local.set 0 (i32.xor (i32.mul (local.get 0) (i32.const {number}{step}1)) (i32.const {step})))")
            })
            .collect();
        format!("(func (param i32) (result i32) {body} (local.get 0))")
    };
    let module = |number: u32| {
        let functions: String = (1..1_600).map(function).collect();
        let text = format!(
            r#"(module (memory (export "memory") 1) (func (export "_start") (drop (i32.const {number}))) {functions})"#
        );
        Ok(wasmer::wat2wasm(text.as_bytes())?.into_owned())
    };
    (0..MODULES).map(module).collect()
}

/// A process for a module that was compiled before, but is not warm: a megabyte of it.
async fn starts(figures: &mut Figures, pool: &Pool) -> anyhow::Result<()> {
    let modules = megabytes()?;
    let bytes = modules.first().map_or(0, Vec::len);
    say(&format!("the modules of a megabyte have {} KiB", bytes / 1024));
    let (mut compiled, mut times) = (Vec::new(), Vec::new());
    for round in 0..=STARTS.div_ceil(modules.len()) {
        for wasm in &modules {
            let done = pool.run(task(wasm, &[])).await;
            ensure!(done.outcome == Outcome::Exit(0), "{} {:?}", done.outcome, done.detail);
            if round == 0 { &mut compiled } else { &mut times }.push(done.timings.prepared);
        }
    }
    let compiled = percentile(&sorted(compiled), 50) / 1e3;
    figures.add("sandbox-compile-1mb", compiled, "ms");
    let times = sorted(times);
    figures.at_most("sandbox-artifact-start-p50", percentile(&times, 50) / 1e3, "ms", 5.0);
    Ok(())
}

/// Guests that never end.
async fn stops(figures: &mut Figures, pool: &Pool) -> anyhow::Result<()> {
    let wasm = sandbox::guests::example("hostile-loop").context("an example is missing")?;
    let limit = Duration::from_millis(100);
    let mut times = Vec::new();
    for _ in 0..STOPS {
        let mut task = task(wasm, &[]);
        task.limits.timeout_ms = u32::try_from(limit.as_millis())?;
        let done = pool.run(task).await;
        ensure!(
            done.outcome == Outcome::Indeterminate(Interruption::Timeout),
            "{} {:?}",
            done.outcome,
            done.detail
        );
        times.push(done.timings.ran.saturating_sub(limit));
    }
    let slowest = percentile(&sorted(times), 100) / 1e3;
    figures.at_most("sandbox-stop-after-deadline", slowest, "ms", 50.0);
    Ok(())
}

/// Guests that never end, whose owner wants the machine back.
async fn withdrawals(figures: &mut Figures, pool: &Pool) -> anyhow::Result<()> {
    let wasm = sandbox::guests::example("hostile-loop").context("an example is missing")?;
    let mut times = Vec::new();
    for _ in 0..STOPS {
        pool.clear();
        let mut run = Box::pin(pool.run(task(wasm, &[])));
        // Two processes, and one of them works.
        let running = async {
            let mut runners = Vec::new();
            while !runners.iter().any(|pid| works(*pid)) {
                tokio::time::sleep(Duration::from_millis(5)).await;
                runners = descendants(std::process::id());
            }
            runners
        };
        let runners = tokio::select! {
            done = &mut run => bail!("it ended: {} {:?}", done.outcome, done.detail),
            runners = running => runners,
        };
        let began = Instant::now();
        drop(run);
        while runners.iter().any(|pid| state(*pid).is_some_and(|state| state != 'Z')) {
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        times.push(began.elapsed());
    }
    let slowest = percentile(&sorted(times), 100) / 1e3;
    figures.at_most("sandbox-withdrawn", slowest, "ms", 100.0);
    Ok(())
}

/// The state of a process, as `ps` shows it; `None` if there is none.
fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(") ").next()?.chars().next()
}

/// Whether a process has used processor time for long enough that it is no longer starting.
fn works(pid: u32) -> bool {
    const TICKS: u64 = 10;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let user = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(11));
    user.and_then(|ticks| ticks.parse().ok()).is_some_and(|ticks: u64| ticks >= TICKS)
}

/// The processes that a process started, and those that they did.
fn descendants(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut open = vec![pid];
    while let Some(pid) = open.pop() {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
        for thread in threads.flatten() {
            let children = std::fs::read_to_string(thread.path().join("children"));
            let children: Vec<u32> = children
                .unwrap_or_default()
                .split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect();
            open.extend(&children);
            found.extend(children);
        }
    }
    found
}

#[expect(clippy::print_stdout, reason = "this is what the program is for")]
fn say(text: &str) {
    println!("{text}");
}
