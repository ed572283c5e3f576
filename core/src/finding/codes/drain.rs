//! What keeps pods on a node.

use super::{Area, code};
use crate::finding::Severity::{Blocks, Info, NeedsConsent, Warns};

/// Found before a node is drained.
pub const DRAIN: Area = Area {
    title: "Draining a node",
    about: "Found by looking at a node's pods and their budgets before it is cordoned. Agreeing to a code of a budget lets \
            its pods be deleted past it where it can never have room: with their whole grace, one at a time, each once as many serve as must.",
    sources: &["core/src/drain"],
    codes: &[
        code("DRAIN001", NeedsConsent, "Pods without a controller: nobody makes them anew elsewhere."),
        code(
            "DRAIN002",
            NeedsConsent,
            "Pods with scratch volumes (`emptyDir`) on the node's disk: what is in them is lost.",
        ),
        code(
            "DRAIN003",
            NeedsConsent,
            "Pods have ended, and a finalizer holds their objects. With consent the drain goes on without them; finalizers are never taken off.",
        ),
        code(
            "DRAIN004",
            NeedsConsent,
            "Pods have not ended two minutes after their grace. With consent the drain goes on without them; they may still run.",
        ),
        code(
            "DRAIN005",
            NeedsConsent,
            "Nobody reaches the node, so that its pods cannot be known to have ended. With consent they are evicted and not waited for.",
        ),
        code(
            "DRAIN006",
            NeedsConsent,
            "Pods come back after each eviction: they tolerate the cordon, or are bound to the node by its name. With consent they are left.",
        ),
        code(
            "DRAIN007",
            NeedsConsent,
            "No other node takes the pods, by taints, selectors and affinity, whatever its room.",
        ),
        code("DRAIN008", Info, "Pods that may take five minutes or more to end. Nothing cuts that short."),
        code("DRAIN010", Blocks, "The API does not let us do what a drain needs."),
        code(
            "DRAIN011",
            Info,
            "The node is cordoned already, not by us. That cordon stays whatever becomes of the drain.",
        ),
        code("DRAIN012", Info, "Pods that stay: of DaemonSets, static ones, finished ones."),
        code("DRAIN013", NeedsConsent, "The node's cordon is not ours; taking it needs a yes."),
        code("DRAIN014", Blocks, "The cluster has no node of that name."),
        code(
            "DRAIN015",
            Warns,
            "Services with `externalTrafficPolicy: Local` have no endpoint but on this node: from outside nothing answers until their pods serve elsewhere.",
        ),
        code(
            "DRAIN016",
            NeedsConsent,
            "Other nodes would take the pods and have no room for them: by what pods of the same or a higher priority ask for there, all that move counted, and by required anti-affinity.",
        ),
        code(
            "DRAIN017",
            Info,
            "Whether pods fit elsewhere also hangs on things that are not judged: where volumes can be attached, topology spread, affinity to other pods, host ports, devices, what runs on nodes that could not be asked.",
        ),
        code(
            "DRAIN018",
            Warns,
            "Pods must keep apart from their like, which run on every other node that would take them: there is one less of them until a node is free.",
        ),
        code(
            "DRAIN019",
            Warns,
            "Pods find room elsewhere only in place of pods of lower priority, which the scheduler evicts; it keeps budgets only where it finds another way.",
        ),
        code("PDB001", NeedsConsent, "A budget wants every pod there should be: it can never allow an eviction."),
        code("PDB002", NeedsConsent, "A budget wants the only replica there is: it can never allow an eviction."),
        code("PDB003", NeedsConsent, "More than one budget counts a pod: the API server evicts no such pod."),
        code(
            "PDB004",
            NeedsConsent,
            "The controller cannot work a budget out, mostly because it counts pods whose owner has no scale (a Job).",
        ),
        code(
            "PDB005",
            Warns,
            "A budget has no room at the moment. The drain waits for it, for ever only with `--wait`.",
        ),
        code(
            "PDB006",
            NeedsConsent,
            "A budget wants no healthy pod and none is: the API server then lets no pod go that is not Ready.",
        ),
        code(
            "PDB007",
            Warns,
            "The controller has not caught up with a budget: until then the API server evicts none of its pods.",
        ),
        code(
            "PDB008",
            Warns,
            "A budget holds pods that are not Ready, because too few others serve (unhealthyPodEvictionPolicy).",
        ),
        code("PDB009", Info, "A budget counts pods of several controllers, which share what it allows."),
    ],
};
