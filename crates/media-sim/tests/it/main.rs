//! The simulator over a real socket, as any client meets it.

// Clippy allows `unwrap` and the like in code under `cfg(test)`, helpers included.
#[cfg(test)]
mod batches;
#[cfg(test)]
mod check;
#[cfg(test)]
mod compat;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod forvo;
#[cfg(test)]
mod openai;
#[cfg(test)]
mod runware;
#[cfg(test)]
mod server;
#[cfg(test)]
mod speech;
