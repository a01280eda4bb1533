//! The commands, one file each.

pub(crate) mod again;
pub(crate) mod budget;
pub(crate) mod cancel;
pub(crate) mod check;
pub(crate) mod config;
pub(crate) mod export;
pub(crate) mod init;
pub(crate) mod plan;
pub(crate) mod providers;
pub(crate) mod redo;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod sim;
pub(crate) mod status;
pub(crate) mod verify;
pub(crate) mod voices;
pub(crate) mod wait;
pub(crate) mod work;
