//! Meshes that meet: who asks whom to join, and which node of the other mesh is asked when.
//!
//! A mesh that was just made holds nothing worth keeping: it is *pristine* until it holds more than Genesis and
//! enrolment. When two meshes meet, [`meet`] says the same on both sides. Only a node of a pristine mesh asks, and one
//! that is in no mesh asks the mesh that it was told to wait for. [`Seeker`] asks one node at a time, of the best mesh
//! that it met, again and again until somebody has decided there.
//!
//! # Invariants
//!
//! 1. Of two meshes at most one asks the other, whichever side looks.
//! 2. At most one question is under way.
//! 3. At most [`MET_MAX`] nodes and [`REFUSALS_MAX`] refusals are remembered.
//! 4. A mesh that refused is not asked again for [`REFUSED_FOR`].

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use protocol::{
    ids::{MeshId, NodeId},
    machine::Machine,
    time::{Timestamp, UnixMillis},
    wire::enroll::MeshHello,
};

/// Nodes of other meshes that are remembered.
pub const MET_MAX: usize = 64;
/// Meshes that are remembered to have refused this node.
pub const REFUSALS_MAX: usize = 64;
/// How long a node that was met is remembered.
pub const MET_FOR: Duration = Duration::from_secs(180);
/// How long a refusal counts.
pub const REFUSED_FOR: Duration = Duration::from_secs(600);
/// How long a node that did not answer is not asked.
const FAILED_FOR: Duration = Duration::from_secs(5);
/// A question of which nothing is heard for this long counts as failed.
const ASK_TIMEOUT: Duration = Duration::from_secs(30);
/// The shortest and the longest time between two questions to a node that lets this one wait.
const AGAIN_MIN: Duration = Duration::from_millis(500);
const AGAIN_MAX: Duration = Duration::from_secs(15);

/// What decides between two meshes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Its id.
    pub mesh: MeshId,
    /// How many nodes are approved.
    pub members: u32,
    /// Whether it holds nothing but Genesis and enrolment.
    pub pristine: bool,
    /// When it was founded.
    pub founded: UnixMillis,
}

impl From<&MeshHello> for Facts {
    fn from(hello: &MeshHello) -> Self {
        Self {
            mesh: hello.mesh,
            members: hello.members,
            pristine: hello.pristine,
            founded: hello.founded,
        }
    }
}

impl Facts {
    /// The better mesh has the larger rank: more members, then one that holds something, then the earlier Genesis,
    /// then the smaller id. Different meshes never have the same.
    fn rank(&self) -> (u32, bool, Reverse<u64>, Reverse<MeshId>) {
        (self.members, !self.pristine, Reverse(self.founded.0), Reverse(self.mesh))
    }
}

/// What two meshes that meet do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meeting {
    /// It is the same mesh.
    Same,
    /// Mine asks to join theirs.
    Ask,
    /// Theirs asks to join mine.
    Asked,
    /// Neither: the one that would have to give way holds something.
    Apart,
}

/// What my mesh and theirs do. Their side comes to the same.
#[must_use]
pub fn meet(mine: &Facts, theirs: &Facts) -> Meeting {
    if mine.mesh == theirs.mesh {
        return Meeting::Same;
    }
    let mine_gives_way = theirs.rank() > mine.rank();
    match (mine_gives_way, mine.pristine, theirs.pristine) {
        (true, true, _) => Meeting::Ask,
        (false, _, true) => Meeting::Asked,
        (true, false, _) | (false, _, false) => Meeting::Apart,
    }
}

/// Which mesh a person wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// One of this name.
    Name(String),
    /// This one, whatever it is called: the node was invited to it.
    Mesh(MeshId),
}

impl Wanted {
    fn is(&self, facts: &Facts, called: &str) -> bool {
        match self {
            Self::Name(name) => called == name,
            Self::Mesh(mesh) => facts.mesh == *mesh,
        }
    }
}

/// Where this node belongs now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mine {
    /// To nobody, and it is to stay so: it does not look on the local network.
    Nobody,
    /// To nobody: it waits for this mesh.
    Wants(Wanted),
    /// To this mesh.
    Mesh(Facts),
    /// To this mesh, which it may leave only for that one.
    MeshBut(Facts, Wanted),
}

/// Asks to join the best mesh that was met.
#[derive(Debug, Clone)]
pub struct Seeker {
    mine: Mine,
    met: BTreeMap<NodeId, Met>,
    /// Who refused this node, and until when that counts.
    refused: BTreeMap<MeshId, Timestamp>,
    under_way: Option<(NodeId, Timestamp)>,
}

#[derive(Debug, Clone)]
struct Met {
    facts: Facts,
    name: String,
    at: Timestamp,
    /// Not to be asked before.
    not_before: Timestamp,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Where this node belongs from now on.
    Mine(Mine),
    /// A node said which mesh it is in.
    Met(NodeId, MeshHello),
    /// A node that was asked lets this one wait.
    Wait(NodeId, Duration),
    /// A node that was asked refused in the name of its mesh.
    Refused(NodeId),
    /// A node that was asked did not answer, or cannot decide.
    Failed(NodeId),
    /// Forget who refused: a person wants it tried again.
    Forgive,
    /// Look at the clock.
    Tick,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Ask this node to join its mesh.
    Ask(NodeId, MeshId),
}

impl Seeker {
    /// Has met nobody.
    #[must_use]
    pub const fn new(mine: Mine) -> Self {
        Self { mine, met: BTreeMap::new(), refused: BTreeMap::new(), under_way: None }
    }

    /// The mesh that this node would join, with its name; nothing if it met none.
    #[must_use]
    pub fn best(&self) -> Option<(Facts, &str)> {
        let wanted = self.met.values().filter(|met| self.wants(met));
        let best = wanted.max_by_key(|met| (met.facts.rank(), Reverse(met.at)))?;
        Some((best.facts, best.name.as_str()))
    }

    /// Whether a node was met lately, and is in another mesh.
    #[must_use]
    pub fn knows(&self, node: &NodeId) -> bool {
        self.met.contains_key(node)
    }

    /// The nodes of a mesh that were met.
    #[must_use]
    pub fn nodes(&self, mesh: &MeshId) -> Vec<NodeId> {
        self.met.iter().filter(|(_, met)| met.facts.mesh == *mesh).map(|(node, _)| *node).collect()
    }

    fn wants(&self, met: &Met) -> bool {
        if self.refused.contains_key(&met.facts.mesh) {
            return false;
        }
        match &self.mine {
            Mine::Nobody => false,
            Mine::Wants(wanted) => wanted.is(&met.facts, &met.name),
            Mine::Mesh(mine) => meet(mine, &met.facts) == Meeting::Ask,
            Mine::MeshBut(mine, wanted) => {
                mine.pristine && mine.mesh != met.facts.mesh && wanted.is(&met.facts, &met.name)
            }
        }
    }

    fn on_met(&mut self, now: Timestamp, node: NodeId, hello: MeshHello) {
        if let Mine::Mesh(mine) | Mine::MeshBut(mine, _) = &self.mine
            && mine.mesh == hello.mesh
        {
            self.met.remove(&node);
            return;
        }
        let before = self.met.get(&node).filter(|met| met.facts.mesh == hello.mesh);
        let not_before = before.map_or(now, |met| met.not_before);
        if self.met.len() >= MET_MAX && !self.met.contains_key(&node) {
            let oldest = self.met.iter().min_by_key(|(_, met)| met.at).map(|(node, _)| *node);
            if let Some(oldest) = oldest {
                self.met.remove(&oldest);
            }
        }
        let met = Met { facts: Facts::from(&hello), name: hello.name, at: now, not_before };
        self.met.insert(node, met);
    }

    fn on_refused(&mut self, now: Timestamp, node: &NodeId) {
        let Some(met) = self.met.get(node) else { return };
        if self.refused.len() >= REFUSALS_MAX {
            let first = self.refused.iter().min_by_key(|(_, until)| **until).map(|(mesh, _)| *mesh);
            if let Some(first) = first {
                self.refused.remove(&first);
            }
        }
        self.refused.insert(met.facts.mesh, now.saturating_add(REFUSED_FOR));
    }

    /// What was asked is answered, one way or another: it may be asked again after this long.
    fn answered(&mut self, now: Timestamp, node: &NodeId, after: Duration) {
        if self.under_way.is_some_and(|(asked, _)| asked == *node) {
            self.under_way = None;
        }
        if let Some(met) = self.met.get_mut(node) {
            met.not_before = now.saturating_add(after);
        }
    }

    /// Who is asked next, and when.
    fn next(&self) -> Option<(Timestamp, NodeId, MeshId)> {
        let (best, _) = self.best()?;
        let of_it = self.met.iter().filter(|(_, met)| met.facts.mesh == best.mesh);
        let (node, met) = of_it.min_by_key(|(node, met)| (met.not_before, **node))?;
        Some((met.not_before, *node, best.mesh))
    }

    fn expire(&mut self, now: Timestamp) {
        self.refused.retain(|_, until| *until > now);
        let under_way = self.under_way.map(|(node, _)| node);
        self.met
            .retain(|node, met| met.at.saturating_add(MET_FOR) > now || under_way == Some(*node));
        if let Some((node, until)) = self.under_way
            && until <= now
        {
            self.answered(now, &node, FAILED_FOR);
        }
    }
}

impl Machine for Seeker {
    type Input = Input;
    type Output = Output;
    const TICK: Input = Input::Tick;

    fn handle(&mut self, now: Timestamp, input: Input) -> Vec<Output> {
        match input {
            Input::Mine(mine) => self.mine = mine,
            Input::Met(node, hello) => self.on_met(now, node, hello),
            Input::Wait(node, after) => {
                self.answered(now, &node, after.clamp(AGAIN_MIN, AGAIN_MAX));
            }
            Input::Refused(node) => {
                self.on_refused(now, &node);
                self.answered(now, &node, FAILED_FOR);
            }
            Input::Failed(node) => self.answered(now, &node, FAILED_FOR),
            Input::Forgive => self.refused.clear(),
            Input::Tick => {}
        }
        self.expire(now);
        match self.next() {
            Some((at, node, mesh)) if at <= now && self.under_way.is_none() => {
                self.under_way = Some((node, now.saturating_add(ASK_TIMEOUT)));
                vec![Output::Ask(node, mesh)]
            }
            Some(_) | None => Vec::new(),
        }
    }

    fn deadline(&self) -> Option<Timestamp> {
        match self.under_way {
            Some((_, until)) => Some(until),
            None => self.next().map(|(at, ..)| at),
        }
    }
}

#[cfg(test)]
mod tests;
