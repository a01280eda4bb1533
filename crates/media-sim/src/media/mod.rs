//! Making valid media: pictures that show their prompt, sounds that differ by text, and spoiled versions of both.

mod flac;
mod mp3;
mod opus;
mod picture;
mod plain;
mod spoil;
mod tune;
mod vorbis;
mod wav;

pub(crate) use picture::{PictureFormat, PictureSpec, Print, Studio, picture};
pub(crate) use spoil::spoil;
pub(crate) use tune::{SoundFormat, SoundSpec, length_of};
