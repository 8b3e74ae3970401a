//! Finding deadlocks in a picture of who waits for whom, without locks or processes.
//!
//! A process waits for those who hold what conflicts with its wish (*hard* edges) and for those before it in the
//! queue whose wish conflicts with its own (*soft* edges). A cycle with a soft edge can be broken by letting the waiter
//! go first; one of hard edges only is a deadlock. Reversing an edge can close another cycle, so the search tries
//! the soft edges of each cycle one after the other, with those already reversed as constraints on the queues' order.
//!
//! - **D1** A reported deadlock is a cycle of hard edges, or one whose soft edges cannot be reversed.
//! - **D2** A proposed order keeps every reversed edge and has no cycle through a process that it moved.
//!
//! C counterpart: storage/lmgr/deadlock.c.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::mode::LockMode;
use crate::shard::LockView;
use crate::tag::LockTag;

/// One line of the report: this process waits for that, and the next line's process (the first's, for the last line)
/// is in its way. C: `DEADLOCK_INFO`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) process: u32,
    pub(crate) tag: LockTag,
    pub(crate) mode: LockMode,
}

/// What the search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// No cycle through the starting process.
    None,
    /// Queues (by index in the picture) with the orders of processes that leave no cycle, and the cycle they break.
    Soft { orders: Vec<(usize, Vec<u32>)>, cycle: Vec<Edge> },
    /// A deadlock, beginning with the starting process.
    Hard(Vec<Edge>),
}

/// `waiter` is to come before `blocker` in the queue of `lock`. C: `EDGE`.
#[derive(Clone, Copy, Debug)]
struct Constraint {
    waiter: u32,
    blocker: u32,
    lock: usize,
}

/// A cycle: its edges, and those of them that could be reversed.
struct Cycle {
    edges: Vec<Edge>,
    soft: Vec<Constraint>,
}

/// Reversed edges on the way to one solution. C: `maxCurConstraints`.
const MAX_CONSTRAINTS: usize = 64;

type Orders = HashMap<usize, Vec<u32>>;

struct Search<'a> {
    locks: &'a [LockView],
    /// What each waiting process waits for.
    waits: HashMap<u32, (usize, LockMode)>,
}

/// Looks for deadlocks that `start` is part of. `locks` are all that are waited for. C: `DeadLockCheck`.
pub(crate) fn check(locks: &[LockView], start: u32) -> Verdict {
    let queued =
        locks.iter().enumerate().flat_map(|(at, l)| l.queue.iter().map(move |(p, m)| (*p, (at, *m))));
    let search = Search { locks, waits: queued.collect() };
    let Some(cycle) = search.find_cycle(start, &Orders::new()) else { return Verdict::None };
    match search.resolve(start, &mut Vec::new()) {
        Some(orders) => {
            let mut orders: Vec<_> = orders.into_iter().collect();
            orders.sort_unstable();
            Verdict::Soft { orders, cycle: cycle.edges }
        }
        None => Verdict::Hard(cycle.edges),
    }
}

/// How a configuration turned out. C: the result of `TestConfiguration`.
enum Outcome {
    Good(Orders),
    Soft(Vec<Constraint>),
    Impossible,
}

impl Search<'_> {
    /// Orders that satisfy the constraints and leave no cycle, with more edges reversed if need be.
    /// C: `DeadLockCheckRecurse`.
    fn resolve(&self, start: u32, constraints: &mut Vec<Constraint>) -> Option<Orders> {
        let soft = match self.test(start, constraints) {
            Outcome::Good(orders) => return Some(orders),
            Outcome::Impossible => return None,
            Outcome::Soft(soft) => soft,
        };
        if constraints.len() >= MAX_CONSTRAINTS {
            return None;
        }
        for edge in soft {
            constraints.push(edge);
            let found = self.resolve(start, constraints);
            constraints.pop();
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// C: `TestConfiguration`.
    fn test(&self, start: u32, constraints: &[Constraint]) -> Outcome {
        let Some(orders) = self.expand(constraints) else { return Outcome::Impossible };
        let moved = constraints.iter().flat_map(|c| [c.waiter, c.blocker]);
        let mut soft = None;
        for process in moved.chain([start]) {
            match self.find_cycle(process, &orders) {
                None => {}
                Some(cycle) if cycle.soft.is_empty() => return Outcome::Impossible,
                Some(cycle) => soft = Some(cycle.soft),
            }
        }
        soft.map_or(Outcome::Good(orders), Outcome::Soft)
    }

    /// The new order of each queue that a constraint is about; `None` if they contradict each other.
    /// C: `ExpandConstraints`.
    fn expand(&self, constraints: &[Constraint]) -> Option<Orders> {
        let mut orders = Orders::new();
        for constraint in constraints {
            if let Entry::Vacant(missing) = orders.entry(constraint.lock) {
                missing.insert(self.sort(constraint.lock, constraints)?);
            }
        }
        Some(orders)
    }

    /// Sorts a queue by its constraints, from the end: the last place goes to the last process that nobody must
    /// follow, so that order changes no more than it must. C: `TopoSort`.
    fn sort(&self, lock: usize, constraints: &[Constraint]) -> Option<Vec<u32>> {
        let mut left: Vec<u32> = self.locks[lock].queue.iter().map(|(process, _)| *process).collect();
        let mut order = Vec::with_capacity(left.len());
        while !left.is_empty() {
            let must_precede = |p: u32| {
                constraints.iter().any(|c| c.lock == lock && c.waiter == p && left.contains(&c.blocker))
            };
            let at = left.iter().rposition(|p| !must_precede(*p))?;
            order.push(left.remove(at));
        }
        order.reverse();
        Some(order)
    }

    /// A cycle through `start`, with the queues in these orders. C: `FindLockCycle`.
    fn find_cycle(&self, start: u32, orders: &Orders) -> Option<Cycle> {
        let mut cycle = Cycle { edges: Vec::new(), soft: Vec::new() };
        let mut visited = Vec::new();
        self.walk(start, orders, &mut visited, &mut cycle).then(|| {
            cycle.edges.reverse();
            cycle
        })
    }

    /// Depth first; on the way back from a found cycle its edges are noted, the last first.
    /// C: `FindLockCycleRecurse`.
    fn walk(&self, process: u32, orders: &Orders, visited: &mut Vec<u32>, cycle: &mut Cycle) -> bool {
        if visited.contains(&process) {
            // Back at the start is a cycle; anywhere else, that cycle is for its own members to find.
            return visited[0] == process;
        }
        visited.push(process);
        let Some(&(at, mode)) = self.waits.get(&process) else { return false };
        let lock = &self.locks[at];
        let edge = Edge { process, tag: lock.tag, mode };
        for (holder, held) in &lock.holders {
            let blocks = *holder != process && mode.conflicts().intersects(*held);
            if blocks && self.walk(*holder, orders, visited, cycle) {
                cycle.edges.push(edge);
                return true;
            }
        }
        let queue: Vec<u32> = match orders.get(&at) {
            Some(order) => order.clone(),
            None => lock.queue.iter().map(|(waiter, _)| *waiter).collect(),
        };
        for blocker in queue.into_iter().take_while(|waiter| *waiter != process) {
            let blocks = self.waits.get(&blocker).is_some_and(|(_, awaited)| mode.conflicts_with(*awaited));
            if blocks && self.walk(blocker, orders, visited, cycle) {
                cycle.edges.push(edge);
                cycle.soft.push(Constraint { waiter: process, blocker, lock: at });
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests;
