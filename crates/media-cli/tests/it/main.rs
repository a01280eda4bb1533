//! The program as a user runs it: the real binary, in a folder of its own, against the simulator.

// Clippy allows `unwrap` and the like in code under `cfg(test)`, helpers included.
#[cfg(test)]
mod batches;
#[cfg(test)]
mod budget;
#[cfg(test)]
mod chains;
#[cfg(test)]
mod charges;
#[cfg(test)]
#[cfg(unix)]
mod ci;
#[cfg(test)]
mod config;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod decode;
#[cfg(test)]
mod equal_rows;
#[cfg(test)]
mod faults_forvo;
#[cfg(test)]
mod faults_openai;
#[cfg(test)]
mod faults_runware;
#[cfg(test)]
mod folders;
#[cfg(test)]
mod handing_over;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod ledger;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod logs;
#[cfg(test)]
mod never_twice;
#[cfg(test)]
mod picks;
#[cfg(test)]
mod pipes;
#[cfg(test)]
mod quota;
#[cfg(test)]
mod report;
#[cfg(test)]
mod resume;
#[cfg(test)]
mod run;
#[cfg(test)]
mod signals;
#[cfg(test)]
mod support;
#[cfg(test)]
mod table;
#[cfg(test)]
mod takes;
#[cfg(test)]
mod tools;
#[cfg(test)]
mod voices;
