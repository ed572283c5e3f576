//! Looks at nodes before anything is planned for them: their pods and budgets, what runs everywhere else, what the API lets us do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use futures::stream::{self, StreamExt, TryStreamExt};
use jiff::Timestamp;
use kubewright_core::drain::{Consent, Ledger, Name, News, Permission, Policy, View, World, decide};
use kubewright_core::ids::HostName;

use crate::kube::is_final;
use crate::ports::{Fault, KubeApi, KubeError};

/// How long the API may take to tell everything about one node.
pub const LOOK: Duration = Duration::from_secs(30);

/// Nodes that are asked about at once: far below what the API server's fairness grants one user, and each a list of some
/// dozens of pods.
const NODES_AT_ONCE: usize = 16;

/// Lists for one node at once: a node rarely has pods of more budgets without room.
const VIEWS_AT_ONCE: usize = 4;

/// What was seen of nodes.
#[derive(Debug)]
pub struct Seen {
    /// Each, whole.
    pub nodes: BTreeMap<HostName, World>,
    /// What the API does not let us do.
    pub denied: Vec<Permission>,
}

/// Looks at these nodes and asks whether we may do what is needed, all at once; then what runs on all of them.
///
/// # Errors
/// [`KubeError`] where the API cannot tell about one of them.
pub async fn gather_nodes(
    api: &dyn KubeApi,
    names: impl IntoIterator<Item = HostName>,
    needed: Vec<Permission>,
    now: Timestamp,
) -> Result<Seen, KubeError> {
    let names: BTreeSet<HostName> = names.into_iter().collect();
    let may = try_join_all(needed.iter().map(|permission| api.may(*permission)));
    let (allowed, mut nodes) = tokio::try_join!(may, look_at_all(api, &names, now, LOOK))?;
    survey(api, nodes.values_mut()).await;
    let denied = needed.into_iter().zip(allowed).filter(|(_, allowed)| !allowed).map(|(one, _)| one).collect();
    Ok(Seen { nodes, denied })
}

/// A whole look at a node for those who plan: everything is listed once, and the pods of budgets without room too.
///
/// # Errors
/// [`KubeError`] where the API cannot tell within the time.
pub async fn look(api: &dyn KubeApi, node: &HostName, now: Timestamp, within: Duration) -> Result<World, KubeError> {
    let mut seen = look_at_all(api, &BTreeSet::from([node.clone()]), now, within).await?;
    Ok(seen.remove(node).unwrap_or_else(|| World::new(node.as_str(), now)))
}

/// The same of several: what is the same for all of them is listed once, kept once, and a thousand nodes are asked about a few at a time.
///
/// # Errors
/// As [`look`].
pub async fn look_at_all(
    api: &dyn KubeApi,
    names: &BTreeSet<HostName>,
    now: Timestamp,
    within: Duration,
) -> Result<BTreeMap<HostName, World>, KubeError> {
    let reading = async {
        let mut shared = World::new("", now);
        let alone = async {
            match api.served_alone(names).await {
                // It is only for a warning; whoever may not list Services drains all the same.
                Err(error) if error.fault == Fault::Forbidden => Ok(BTreeMap::new()),
                answered => answered,
            }
        };
        let (listed, mut alone) = tokio::try_join!(list_all(api, World::SHARED.into()), alone)?;
        listed.into_iter().for_each(|(view, news)| shared.take(&view, news));
        let looks = names.iter().map(|name| {
            let mut world = shared.about(name.as_str());
            world.served_alone = alone.remove(name).unwrap_or_default();
            async move { Ok((name.clone(), pods_of(api, world).await?)) }
        });
        stream::iter(looks.collect::<Vec<_>>()).buffer_unordered(NODES_AT_ONCE).try_collect().await
    };
    match tokio::time::timeout(within, reading).await {
        Ok(outcome) => outcome,
        Err(_) => {
            let said = format!("not everything was listed within {} s", within.as_secs());
            let whose = names.iter().map(HostName::as_str).take(3).collect::<Vec<_>>().join(", ");
            let more = if names.len() > 3 { format!(" and {} more nodes", names.len() - 3) } else { String::new() };
            Err(KubeError::new(Fault::Deadline, format!("look at the pods of {whose}{more}"), said))
        }
    }
}

/// Adds to what is the same for all nodes the pods of this one, and those of budgets without room.
async fn pods_of(api: &dyn KubeApi, mut world: World) -> Result<World, KubeError> {
    let mut seen = BTreeSet::from(World::SHARED);
    let mut views = world.views();
    while views != seen {
        let news = list_all(api, views.difference(&seen).cloned().collect()).await?;
        for (view, news) in news {
            world.take(&view, news);
            seen.insert(view);
        }
        // As if everything was agreed to: whatever budget is in the way shall be looked at.
        let open = Policy { consents: Consent::ALL.into(), ..Policy::default() };
        let decision = decide(&world, &open, &Ledger::default());
        views.extend(peers(&world, decision.blocked_budgets()));
    }
    Ok(world)
}

/// Everything in these views, a few of them at a time.
async fn list_all(api: &dyn KubeApi, views: Vec<View>) -> Result<Vec<(View, News)>, KubeError> {
    let lists = views.into_iter().map(|view| async move {
        let news = list(api, &view).await?;
        Ok((view, news))
    });
    stream::iter(lists).buffer_unordered(VIEWS_AT_ONCE).try_collect().await
}

async fn list(api: &dyn KubeApi, view: &View) -> Result<News, KubeError> {
    let mut stream = api.follow(view);
    loop {
        match stream.next().await {
            Some(Ok(news @ News::All(_))) => return Ok(news),
            Some(Ok(_)) => {}
            // Somebody waits for the plan: what we may not see is told at once.
            Some(Err(error)) if is_final(&error) || error.fault == Fault::Forbidden => return Err(error),
            Some(Err(error)) => tracing::debug!(%error, "asking again"),
            None => return Err(KubeError::new(Fault::Server, "look at the node", "a watch ended")),
        }
    }
}

/// Adds to looks at nodes what runs on all of them, asked for once; why not, where it cannot be had: it is only for a forecast, and
/// whoever may not list all pods drains all the same.
pub async fn survey<'w>(api: &dyn KubeApi, worlds: impl IntoIterator<Item = &'w mut World>) {
    let mut worlds: Vec<&mut World> = worlds.into_iter().collect();
    let pods = worlds.iter().flat_map(|world| world.pods.values());
    let kept_apart = pods.flat_map(|pod| pod.apart.iter().cloned()).collect();
    let occupancy = api.occupancy(&kept_apart).await.map(Arc::new).map_err(|error| error.to_string());
    worlds.iter_mut().for_each(|world| world.occupancy = Some(occupancy.clone()));
}

/// Views of the pods that budgets without room count: what they lack is the reason.
pub(crate) fn peers<'n>(world: &World, budgets: impl IntoIterator<Item = &'n Name>) -> Vec<View> {
    let view = |name: &Name| {
        let selector = world.budgets.get(name)?.selector.clone()?;
        Some(View::Peers { budget: name.clone(), selector })
    };
    budgets.into_iter().filter_map(view).collect()
}
