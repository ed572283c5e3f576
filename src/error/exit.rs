//! The exit codes: an interface that scripts rely on. A code never changes its meaning.

use super::ErrorKind;

/// What the process tells its caller. `docs/reference/exit-codes.md` is written from this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ExitCode {
    /// Done.
    Done = 0,
    /// A mistake of ours.
    Internal = 1,
    /// The command line or the spec is wrong.
    Usage = 2,
    /// Nothing to do.
    NothingToDo = 3,
    /// There is something to do.
    ChangesPending = 4,
    /// Something stands in the way.
    Blocked = 5,
    /// The user has to say yes first.
    ConsentNeeded = 6,
    /// Stopped half way, resumable.
    Failed = 7,
    /// Reality moved since the plan.
    Moved = 8,
    /// Somebody else is at work.
    Locked = 9,
    /// A person must look.
    InDoubt = 10,
}

impl ExitCode {
    /// All of them, in order.
    pub const ALL: [Self; 11] = [
        Self::Done,
        Self::Internal,
        Self::Usage,
        Self::NothingToDo,
        Self::ChangesPending,
        Self::Blocked,
        Self::ConsentNeeded,
        Self::Failed,
        Self::Moved,
        Self::Locked,
        Self::InDoubt,
    ];

    /// Two words for a table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Internal => "internal",
            Self::Usage => "usage or spec",
            Self::NothingToDo => "nothing to do",
            Self::ChangesPending => "changes pending",
            Self::Blocked => "blocked",
            Self::ConsentNeeded => "consent needed",
            Self::Failed => "failed, resumable",
            Self::Moved => "reality moved",
            Self::Locked => "locked by another",
            Self::InDoubt => "in doubt",
        }
    }

    /// When the process ends with it.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Done => "Everything that was asked was done and proved.",
            Self::Internal => "A mistake of kubewright's own, or this machine refused a file it needs.",
            Self::Usage => "The command line or the spec is wrong. Nothing was contacted.",
            Self::NothingToDo => "Reality is as asked already. Nothing was changed.",
            Self::ChangesPending => "A plan was made and not run: there is something to do. Nothing was changed.",
            Self::Blocked => {
                "A finding blocks, or a host cannot be reached: nothing was changed. Or a drain could not finish and gave the node back."
            }
            Self::ConsentNeeded => "A finding needs a yes that was not given. Nothing was changed.",
            Self::Failed => "A run stopped, because a step failed or because the user asked. It can be resumed.",
            Self::Moved => "What the plan relied on is no longer so. What was done stays; a new plan is needed.",
            Self::Locked => "Another run works on the cluster, or one was left unfinished.",
            Self::InDoubt => "Nobody can tell whether a step was done, or a journal is damaged. A person must look.",
        }
    }

    /// What a script should do with it.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Done | Self::NothingToDo => "Go on.",
            Self::Internal => "Stop; report it with the output of `kubewright version`.",
            Self::Usage => "Mend what the message shows.",
            Self::ChangesPending => "Show the plan, then `kubewright apply`.",
            Self::Blocked => "Mend what the findings name, then the same command again.",
            Self::ConsentNeeded => "Ask a person, then the same command with `--consent CODE`.",
            Self::Failed => "`kubewright ops resume ID`; repeating it does no harm.",
            Self::Moved => "Make a new plan and have it looked at.",
            Self::Locked => "Wait, or resume the unfinished run the message names.",
            Self::InDoubt => "Do not repeat it. Call a person.",
        }
    }

    /// The reference page.
    pub fn page() -> String {
        let mut page = String::from(
            "# Exit codes\n\n\
             What the process tells its caller. A code never changes its meaning.\n\n\
             | code | name | when | what a script does |\n\
             | ---: | --- | --- | --- |\n",
        );
        for code in Self::ALL {
            let (number, name) = (code as u8, code.name());
            page.push_str(&format!("| {number} | {name} | {} | {} |\n", code.meaning(), code.advice()));
        }
        page.push_str(
            "\nWith `--output json` an error is the last line on standard output, with the same number in `exit` \
             ([output](output.md)).\n",
        );
        page
    }
}

impl From<ErrorKind> for ExitCode {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Internal => Self::Internal,
            ErrorKind::Usage => Self::Usage,
            ErrorKind::Blocked => Self::Blocked,
            ErrorKind::Consent => Self::ConsentNeeded,
            ErrorKind::Failed | ErrorKind::Stopped => Self::Failed,
            ErrorKind::Moved => Self::Moved,
            ErrorKind::Locked => Self::Locked,
            ErrorKind::InDoubt => Self::InDoubt,
        }
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}
