//! How the ends of transactions reach the counters.

use activity::table_stats;
use transam::{Participant, Phase};

use crate::report::{at_subxact_end, at_xact_end};
use crate::twophase;

/// Enters the statistics among those who take part in each transaction. Once, in each process that has transactions
/// (or before they are forked). C: the calls of `AtEOXact_PgStat` and `AtEOSubXact_PgStat` in xact.c.
pub fn register() {
    table_stats::set_nest_level_source(|| transam::nest_level().max(1));
    twophase::register();
    transam::register(Participant {
        at_commit: Some(|| at_xact_end(true)),
        at_abort: Some(|| at_xact_end(false)),
        at_prepare: Some(twophase::at_prepare),
        post_prepare: Some(twophase::post_prepare),
        at_sub_commit: Some(|level| at_subxact_end(level, true)),
        at_sub_abort: Some(|level| at_subxact_end(level, false)),
        ..Participant::new("statistics", Phase::Statistics)
    });
}
