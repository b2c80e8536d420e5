//! Sending many cases through both proxies, and looking closer at those that differ.
//!
//! Owns the proxies, how many cases are under way at once, and what is done with a difference: it is
//! looked at again, with more patience, and what stays of it is made small. Called by
//! `tests/differential.rs`.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use tokio::runtime;
use tokio::task::{LocalSet, spawn_local};

use super::documented::{self, Found};
use super::judge::{Fault, Look, judge};
use super::lane::Lane;
use super::variants::{self, Plan};
use super::{Case, Pieces};
use crate::process::{Binary, Proxy, Setup};

/// Conversations at once.
const LANES: usize = 8;
/// How long nothing may move before a conversation counts as over: at first, when it is looked at again, and
/// while it is made small.
const QUIET: Duration = Duration::from_millis(60);
const AGAIN: [Duration; 3] = [
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_secs(1),
];
const WHILE_SMALLER: Duration = Duration::from_millis(120);
/// Faults that are made small unless the caller wants another number, and attempts at each.
const SHOWN: usize = 12;
const ATTEMPTS: usize = 150;

/// The programs on both sides, and what each is configured with.
#[derive(Clone, Debug)]
pub struct Sides {
    /// What is the measure.
    pub envoy: (Binary, Vec<variants::Variant>),
    /// What is held against it.
    pub nuncio: (Binary, Vec<variants::Variant>),
    /// How many faults are made small: more would only say the same.
    pub shown: usize,
}

impl Sides {
    /// Both with the same configurations.
    #[must_use]
    pub fn alike(envoy: Binary, nuncio: Binary) -> Self {
        let variants = variants::ALL.to_vec();
        Self {
            envoy: (envoy, variants.clone()),
            nuncio: (nuncio, variants),
            shown: SHOWN,
        }
    }
}

/// How many of so many cases may differ once and then not any more: a proxy that had no time in the first
/// [`QUIET`] shows so, and so does a race in nuncio.
const PASSING: usize = 50;

/// What came of a hunt.
#[derive(Debug, Default)]
pub struct Bag {
    /// Cases that were the same.
    pub same: usize,
    /// Of these, how many went through: requests to the upstream, answers to the client.
    pub served: usize,
    /// Cases in which Envoy sends what is no HTTP, so that nothing is known of them but that nuncio does not.
    pub unmeasured: usize,
    /// Cases that differ as it is documented, by the names of the differences.
    pub documented: BTreeMap<&'static str, usize>,
    /// Differences that were gone, or others, when they were looked at again, by what they were at first.
    pub passing: BTreeMap<Fault, usize>,
    /// All others.
    pub faults: Vec<Finding>,
}

/// A difference that nothing explains.
#[derive(Debug)]
pub struct Finding {
    /// What it is.
    pub fault: Fault,
    /// What it shows with.
    pub case: Case,
    /// What Envoy did.
    pub envoy: Look,
    /// What nuncio did.
    pub nuncio: Look,
}

/// One proxy, and the lanes behind it.
struct Side {
    proxy: Proxy,
    lanes: Vec<Lane>,
}

impl Side {
    async fn start(binary: &Binary, plan: &Plan<'_>) -> Self {
        let template = plan.template();
        let proxy = Proxy::start_with(binary, &template, Setup::for_template(&template));
        let mut lanes = Vec::new();
        for lane in 0..plan.lanes {
            lanes.push(Lane::start(proxy.address(&Plan::upstream(lane))).await);
        }
        Self { proxy, lanes }
    }

    async fn look(&self, lane: usize, case: &Case, quiet: Duration) -> Look {
        let address = self.proxy.address(&Plan::listener(case.variant, lane));
        let seen = self.lanes[lane].play(address, case, quiet).await;
        Look::new(case, &seen)
    }
}

struct Hunt {
    envoy: Rc<Side>,
    nuncio: Rc<Side>,
    /// Whether cases can go through the first variant, which is the plainest.
    has_default: bool,
    shown: usize,
    cases: RefCell<VecDeque<Case>>,
    bag: RefCell<Bag>,
}

/// Sends the cases through both.
#[must_use]
pub fn hunt(sides: &Sides, cases: Vec<Case>) -> Bag {
    let used = &cases.iter().map(|case| case.variant).collect();
    let lanes = cases.len().min(LANES);
    // What is asked of an upstream shows best where each request has a connection of its own; whether one
    // is left clean shows where it is used again.
    let reuse = cases.iter().any(|case| case.answer.is_some());
    let plan = |variants| Plan {
        variants,
        used,
        lanes,
        reuse,
    };
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be made");
    LocalSet::new().block_on(&runtime, async {
        let (envoy, nuncio) = (&sides.envoy, &sides.nuncio);
        let hunt = Rc::new(Hunt {
            envoy: Rc::new(Side::start(&envoy.0, &plan(&envoy.1)).await),
            nuncio: Rc::new(Side::start(&nuncio.0, &plan(&nuncio.1)).await),
            has_default: used.contains(&0),
            shown: sides.shown,
            cases: RefCell::new(cases.into()),
            bag: RefCell::default(),
        });
        let workers = (0..lanes).map(|lane| spawn_local(Rc::clone(&hunt).work(lane)));
        let workers: Vec<_> = workers.collect();
        for worker in workers {
            worker.await.expect("no case ends the hunt");
        }
        hunt.bag.take()
    })
}

impl Hunt {
    async fn work(self: Rc<Self>, lane: usize) {
        loop {
            let Some(case) = self.cases.borrow_mut().pop_front() else {
                return;
            };
            if let Some(found) = self.persists(lane, &case).await {
                let shown = self.bag.borrow().faults.len() < self.shown;
                let found = if shown {
                    self.smaller(lane, found).await
                } else {
                    found
                };
                self.bag.borrow_mut().faults.push(found);
            }
        }
    }

    /// Counts what a case shows, and answers a difference that nothing explains however often it is looked at.
    async fn persists(&self, lane: usize, case: &Case) -> Option<Finding> {
        let mut first = None;
        let mut last = None;
        for quiet in std::iter::once(QUIET).chain(AGAIN) {
            let (fault, envoy, nuncio) = self.look(lane, case, quiet).await;
            let mut bag = self.bag.borrow_mut();
            let Some(fault) = fault else {
                bag.has_passed(first);
                if envoy.is_measure() {
                    bag.same += 1;
                    bag.served += usize::from(goes_through(case, &envoy));
                } else {
                    bag.unmeasured += 1;
                }
                return None;
            };
            let finding = Finding {
                fault,
                case: case.clone(),
                envoy,
                nuncio,
            };
            if let Some(difference) = documented::find(&finding.found()) {
                *bag.documented.entry(difference.name).or_default() += 1;
                bag.has_passed(first);
                return None;
            }
            first = first.or(Some(fault));
            last = Some(finding);
        }
        last
    }

    /// Looks at a case on both sides at the same time.
    async fn look(&self, lane: usize, case: &Case, quiet: Duration) -> (Option<Fault>, Look, Look) {
        let (side, sent) = (Rc::clone(&self.envoy), case.clone());
        let envoy = spawn_local(async move { side.look(lane, &sent, quiet).await });
        let nuncio = self.nuncio.look(lane, case, quiet).await;
        let envoy = envoy.await.expect("no case ends a look");
        (judge(case, &envoy, &nuncio), envoy, nuncio)
    }

    /// The same fault with as few bytes as can be found.
    async fn smaller(&self, lane: usize, finding: Finding) -> Finding {
        let mut best = finding;
        let mut left = ATTEMPTS;
        let first = if self.has_default {
            0
        } else {
            best.case.variant
        };
        let whole = best.case.with_subject(vec![best.case.subject().concat()]);
        for case in [
            Case {
                variant: first,
                ..whole.clone()
            },
            whole,
            Case {
                variant: first,
                ..best.case.clone()
            },
        ] {
            if let Some(found) = self.is_still_so(lane, &best, case).await {
                best = found;
                break;
            }
        }
        let mut step = best.case.subject().concat().len() / 2;
        while step > 0 && left > 0 && best.case.subject().len() == 1 {
            let mut at = 0;
            while at < best.case.subject()[0].len() && left > 0 {
                left -= 1;
                let bytes = &best.case.subject()[0];
                let end = bytes.len().min(at + step);
                let less: Pieces = vec![[&bytes[..at], &bytes[end..]].concat()];
                match self
                    .is_still_so(lane, &best, best.case.with_subject(less))
                    .await
                {
                    Some(found) => best = found,
                    None => at += step,
                }
            }
            step = if step > 8 { step / 2 } else { step.min(2) - 1 };
        }
        best
    }

    async fn is_still_so(&self, lane: usize, best: &Finding, case: Case) -> Option<Finding> {
        if case == best.case {
            return None;
        }
        let (fault, envoy, nuncio) = self.look(lane, &case, WHILE_SMALLER).await;
        let found = Finding {
            fault: fault?,
            case,
            envoy,
            nuncio,
        };
        let alike = found.fault == best.fault
            && found.envoy.finals().first() == best.envoy.finals().first();
        (alike && documented::find(&found.found()).is_none()).then_some(found)
    }
}

/// Whether what is made up goes on to the other side.
fn goes_through(case: &Case, look: &Look) -> bool {
    match case.answer {
        None => !look.requests.is_empty(),
        Some(_) => !look.finals().is_empty() && !look.has_no_answer(),
    }
}

impl Bag {
    fn has_passed(&mut self, first: Option<Fault>) {
        if let Some(fault) = first {
            *self.passing.entry(fault).or_default() += 1;
        }
    }

    /// How many cases were looked at.
    #[must_use]
    pub fn looked_at(&self) -> usize {
        let documented: usize = self.documented.values().sum();
        self.same + self.unmeasured + documented + self.faults.len()
    }

    /// Whether so few differences have passed that what was looked at twice is no more than noise.
    #[must_use]
    pub fn is_steady(&self) -> bool {
        self.passing.values().sum::<usize>() * PASSING <= self.looked_at()
    }
}

impl Finding {
    fn found(&self) -> Found<'_> {
        Found {
            case: &self.case,
            fault: self.fault,
            envoy: &self.envoy,
            nuncio: &self.nuncio,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variant = variants::ALL[self.case.variant].name;
        writeln!(f, "{:?}, with the configuration {variant:?}", self.fault)?;
        let shown = |pieces: &Pieces| {
            let pieces: Vec<_> = pieces
                .iter()
                .map(|piece| format!("\"{}\"", piece.escape_ascii()))
                .collect();
            pieces.join(", then ")
        };
        writeln!(f, "  client sends    {}", shown(&self.case.client))?;
        if let Some(answer) = &self.case.answer {
            let end = if answer.ends { ", then the end" } else { "" };
            writeln!(f, "  upstream sends  {}{end}", shown(&answer.pieces))?;
        }
        for (name, look) in [("Envoy", &self.envoy), ("nuncio", &self.nuncio)] {
            writeln!(
                f,
                "  {name:7} client gets {:?} \"{}\"",
                look.ending,
                look.client.escape_ascii()
            )?;
            for message in &look.requests {
                let text = |fields: &[super::reading::Field]| -> String {
                    let lines = fields.iter();
                    lines
                        .map(|(name, value)| {
                            format!("{}: {}\\r\\n", name.escape_ascii(), value.escape_ascii())
                        })
                        .collect()
                };
                let (fields, trailers) = (text(&message.fields), text(&message.trailers));
                let (start, body) = (message.start.escape_ascii(), message.body.escape_ascii());
                writeln!(
                    f,
                    "          upstream gets {:?} \"{start}\\r\\n{fields}\\r\\n{body}\" {trailers}",
                    message.end
                )?;
            }
            if look.ill_upstream {
                writeln!(f, "          upstream gets what is no HTTP")?;
            }
            if let Some((is_clean, second)) = look.probe {
                let on = if second { "the same" } else { "another" };
                let how = if is_clean {
                    "answered"
                } else {
                    "not answered as it should be"
                };
                writeln!(
                    f,
                    "          a request behind it is {how}, on {on} connection"
                )?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Bag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            same,
            served,
            unmeasured,
            documented,
            passing,
            faults,
        } = self;
        writeln!(
            f,
            "{same} the same, of which {served} went through; {unmeasured} without a measure; {} differed at first",
            passing.values().sum::<usize>()
        )?;
        for (fault, count) in passing {
            writeln!(f, "{count} at first: {fault:?}")?;
        }
        for (name, count) in documented {
            writeln!(f, "{count} as documented: {name}")?;
        }
        let mut kinds: BTreeMap<Fault, Vec<&Finding>> = BTreeMap::new();
        for finding in faults {
            kinds.entry(finding.fault).or_default().push(finding);
        }
        for (fault, mut findings) in kinds {
            writeln!(f, "\n{} {fault:?}", findings.len())?;
            findings.sort_by_key(|finding| finding.case.subject().concat().len());
            for finding in findings.iter().take(SHOWN) {
                writeln!(f, "{finding}")?;
            }
        }
        Ok(())
    }
}
