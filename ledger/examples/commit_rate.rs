//! How many commands a second one voter makes durable, and how long one takes.
//!
//! ```text
//! cargo run --release -p ledger --example commit_rate [DIR]
//! ```
//!
//! Each command is a signed transfer. `DIR` chooses the disk; the default is the system's directory for temporary
//! files.

use std::{env, error::Error, sync::Arc, time::SystemTime};

use ledger::{
    command::Command,
    replica::{Consensus, Proposal, Replica, ReplicaConfig},
    testing::{FOUNDED, TestMesh},
};
use protocol::{ids::RequestId, time::UnixMillis};
use tokio::task::JoinSet;

/// Commands for each number of proposers.
const COMMANDS: u64 = 4_096;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "its output is what it is for")]
#[expect(clippy::arithmetic_side_effects, reason = "nothing is divided by zero")]
#[expect(clippy::disallowed_methods, reason = "it measures time")]
async fn main() -> Result<(), Box<dyn Error>> {
    let parent = env::args().nth(1).map_or_else(env::temp_dir, Into::into);
    let dir = tempfile::tempdir_in(parent)?;
    let mesh = TestMesh::default();
    let config = ReplicaConfig::new(mesh.id, mesh.coordinator.node(), [0; 16]);
    let replica = Arc::new(Replica::open(dir.path(), config, Arc::new(|| UnixMillis(FOUNDED.0)))?);
    replica
        .propose(Proposal {
            request: RequestId([0xff; 16]),
            command: Command::Found(mesh.genesis.clone()),
        })
        .await?;

    println!("proposers  commands/s  ms each");
    for proposers in [1_u64, 4, 16, 64, 256] {
        let each = COMMANDS / proposers;
        let mut waiting: Vec<Vec<Proposal>> = Vec::new();
        for proposer in 0..proposers {
            let number =
                |step| u128::from(proposers) << 64 | u128::from(proposer) << 32 | u128::from(step);
            waiting.push((0..each).map(|step| mesh.gift(number(step))).collect());
        }
        let began = SystemTime::now();
        let mut tasks = JoinSet::new();
        for proposals in waiting {
            let replica = Arc::clone(&replica);
            tasks.spawn(async move {
                for proposal in proposals {
                    replica.propose(proposal).await?;
                }
                Ok::<_, ledger::replica::ProposeError>(())
            });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        let micros = began.elapsed()?.as_micros().max(1);
        let rate = u128::from(COMMANDS).saturating_mul(1_000_000) / micros;
        let each_micros = micros / u128::from(each);
        println!(
            "{proposers:>9}  {rate:>10}  {:>3}.{:03}",
            each_micros / 1_000,
            each_micros % 1_000
        );
    }
    replica.shutdown().await;
    Ok(())
}
