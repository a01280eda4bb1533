//! The core as a whole, in virtual time: a small provider, an in-memory transport, no network.

#[cfg(feature = "config")]
#[cfg(test)]
mod config;
#[cfg(test)]
mod journal;
#[cfg(test)]
mod lane;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod links;
#[cfg(test)]
mod money;
#[cfg(test)]
mod output;
#[cfg(test)]
mod pacer;
#[cfg(test)]
mod pauses;
#[cfg(test)]
mod resume;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod support;
