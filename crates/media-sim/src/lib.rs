//! A faithful local server of the OpenAI, Runware and Forvo APIs, with limits, a bill and faults on demand.
//!
//! It is written from the API references and knows no client: where a client is wrong, it says so the way the
//! real service would. `README.md` has the scenario reference, the faults and the known differences.
//!
//! ```no_run
//! # async fn demo() -> std::io::Result<()> {
//! let sim = media_sim::Sim::start(media_sim::Scenario::default()).await?;
//! println!("{} takes the key {:?}", sim.url(), sim.key("openai"));
//! assert_eq!(sim.bill().total_usd, 0.0);
//! # Ok(()) }
//! ```

mod answer;
mod bill;
mod bucket;
mod calls;
mod clock;
mod control;
mod fault;
mod forvo;
mod gate;
mod hash;
mod media;
mod openai;
mod runware;
mod scenario;
mod server;
mod sim;
mod state;

pub use bill::{Bill, Charge, Quota};
pub use calls::Call;
pub use fault::{Fault, FaultKind, Op, Provider, WrongType};
pub use scenario::{
    Batch, Clock, Compat, CompatDelivery, Forvo, ForvoKey, ForvoLatency, ForvoLimits, ForvoNotFound,
    ImageLimits, Media, OpenAi, OpenAiKey, OpenAiLatency, OpenAiLimits, OpenAiModel, OpenAiTrait, Picture,
    Runware, RunwareKey, RunwareLatency, RunwareLimits, RunwareModel, RunwareTrait, Scenario, ScenarioError,
    Shape, SpeechLimits, UnknownTask,
};
pub use sim::Sim;
