//! OpenAI and OpenAI-compatible servers as a media provider: images and speech.
