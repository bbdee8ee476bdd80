//! How a handover ended on one side: where the instance is, and what to do about it.

use std::fmt;

use crate::error::Error;
use crate::id::{HostId, InstanceId, TransferId};

/// Where the instance is, as far as this side knows for certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// Source: it is active here, as before. Let the guest go on.
    StaysHere,
    /// Source: it is gone from here, and lives at the destination.
    Moved,
    /// Source: it is gone from here, and the destination has not said yet that it lives there.
    Committed,
    /// Source, settling an earlier transfer: that one was called back, and nothing comes of it.
    /// Where the instance is, its journal says.
    CalledBack,
    /// Destination: nothing of this transfer is here.
    NotTaken,
    /// Destination: it is safe here, and waits for the source's word.
    Waits,
    /// Destination: it lives here.
    LivesHere,
    /// Either: a write to the journal failed, and only opening the file tells what it holds.
    Unknown,
}

impl Outcome {
    /// Whether this host may run the instance now.
    #[must_use]
    pub fn may_run(&self) -> bool {
        matches!(self, Self::StaysHere | Self::LivesHere)
    }
}

/// How a handover ended on this side.
#[derive(Debug)]
pub struct Ending {
    /// Where the instance is.
    pub outcome: Outcome,
    /// Which instance; none if it ended before one was named.
    pub instance: Option<InstanceId>,
    /// Which transfer; none if it ended before one was named.
    pub transfer: Option<TransferId>,
    /// The other host, if it was proven to be it.
    pub peer: Option<HostId>,
    /// Why it ended early; none if it is complete.
    pub error: Option<Error>,
}

impl Ending {
    /// Whether everything was done that was meant to be.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.error.is_none()
    }

    /// What the operator can do next.
    #[must_use]
    pub fn advice(&self) -> String {
        let transfer = self.transfer.map_or_else(|| "it".into(), |id| format!("transfer {id}"));
        match self.outcome {
            Outcome::StaysHere => match self.error {
                None => "nothing is left to do".into(),
                Some(_) => "the vTPM stays here and its guest can go on; mend the cause and hand \
                            it over again"
                    .into(),
            },
            Outcome::CalledBack => match self.error {
                None => "nothing is left to do".into(),
                Some(_) => "nothing can run by that transfer; what is left of it at the \
                            destination can be settled again with `vtpm handover resume`"
                    .into(),
            },
            Outcome::Moved | Outcome::LivesHere => "nothing is left to do".into(),
            Outcome::Committed => format!(
                "the vTPM is gone from here and cannot run anywhere before the destination knows: \
                 run `vtpm handover resume` for {transfer} on this host until it succeeds"
            ),
            Outcome::NotTaken => {
                "nothing of the vTPM is here; it is with its source, look there".into()
            }
            Outcome::Waits => format!(
                "the vTPM is safe here but must not run yet: run `vtpm handover resume` for \
                 {transfer} on its source, and delete nothing here before"
            ),
            Outcome::Unknown => {
                "do not start the vTPM anywhere yet: open its file again with `vtpm handover \
                 status`, which says whether it is active, outgoing, prepared or gone"
                    .into()
            }
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.outcome, &self.error) {
            (Outcome::StaysHere, None) => "the vTPM is active here",
            (Outcome::StaysHere, Some(_)) => "the handover failed",
            (Outcome::CalledBack, None) => "settled: that transfer was called back",
            (Outcome::CalledBack, Some(_)) => "called back, but not settled",
            (Outcome::Moved, _) => "handed over",
            (Outcome::Committed, _) => "handed over, but not confirmed",
            (Outcome::NotTaken, None) => "settled: the vTPM is not here",
            (Outcome::NotTaken, Some(_)) => "the handover failed",
            (Outcome::Waits, _) => "received, but not released by its source",
            (Outcome::LivesHere, _) => "received",
            (Outcome::Unknown, _) => "the handover failed in the midst of a write to the journal",
        })?;
        if let Some(error) = &self.error {
            write!(f, ": {error}")?;
        }
        write!(f, "; {}", self.advice())
    }
}
