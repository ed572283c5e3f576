//! Looks at nodes before anything is planned for them: their pods and budgets, what runs everywhere else, what the API lets us do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::try_join_all;
use jiff::Timestamp;
use kubewright_core::drain::{Consent, Ledger, Name, News, Permission, Policy, View, World, decide};
use kubewright_core::ids::HostName;

use crate::ports::{Fault, KubeApi, KubeError};

/// How long the API may take to tell everything about one node.
pub const LOOK: Duration = Duration::from_secs(30);

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
    let may = try_join_all(needed.iter().map(|permission| api.may(*permission)));
    let looks = names.into_iter().map(|name| async move {
        let seen = look(api, &name, now, LOOK).await?;
        Ok((name, seen))
    });
    let (allowed, nodes) = tokio::try_join!(may, try_join_all(looks))?;
    let mut nodes: BTreeMap<HostName, World> = nodes.into_iter().collect();
    survey(api, nodes.values_mut()).await;
    let denied = needed.into_iter().zip(allowed).filter(|(_, allowed)| !allowed).map(|(one, _)| one).collect();
    Ok(Seen { nodes, denied })
}

/// A whole look at a node for those who plan: everything is listed once, and the pods of budgets without room too.
///
/// # Errors
/// [`KubeError`] where the API cannot tell within the time.
pub async fn look(api: &dyn KubeApi, node: &HostName, now: Timestamp, within: Duration) -> Result<World, KubeError> {
    let mut world = World::new(node.as_str(), now);
    let mut views = world.views();
    let reading = async {
        let mut seen = BTreeSet::new();
        while views != seen {
            for view in views.difference(&seen.clone()) {
                let mut stream = api.follow(view);
                loop {
                    match stream.next().await {
                        Some(Ok(news)) => {
                            let whole = matches!(news, News::All(_));
                            world.take(view, news);
                            if whole {
                                break;
                            }
                        }
                        Some(Err(error)) if is_final(&error) => return Err(error),
                        Some(Err(error)) => tracing::debug!(%error, "asking again"),
                        None => return Err(KubeError::new(Fault::Server, "look at the node", "a watch ended")),
                    }
                }
                seen.insert(view.clone());
            }
            // As if everything was agreed to: whatever budget is in the way shall be looked at.
            let open = Policy { consents: Consent::ALL.into(), ..Policy::default() };
            let decision = decide(&world, &open, &Ledger::default());
            views.extend(peers(&world, decision.blocked_budgets()));
        }
        world.served_alone = match api.served_alone(node).await {
            Ok(services) => services,
            // It is only for a warning; whoever may not list Services drains all the same.
            Err(error) if error.fault == Fault::Forbidden => BTreeSet::new(),
            Err(error) => return Err(error),
        };
        Ok(())
    };
    match tokio::time::timeout(within, reading).await {
        Ok(outcome) => outcome.map(|()| world),
        Err(_) => {
            let said = format!("not everything was listed within {} s", within.as_secs());
            Err(KubeError::new(Fault::Deadline, format!("look at the pods of {node}"), said))
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

/// Whether waiting is in vain.
pub(crate) fn is_final(error: &KubeError) -> bool {
    use crate::ports::ConnectionFault::Tls;
    matches!(error.fault, Fault::Unauthorized | Fault::Forbidden | Fault::Invalid | Fault::Connection(Tls))
}
